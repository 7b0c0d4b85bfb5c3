"""A pyzmq subscriber: prints each message as a JSON line, {"frames": [text or null], "base64": [..]}.

    subscribe.py [--topic PREFIX] ENDPOINT..

First it prints {"ready": [ENDPOINT..]}: from then on it connects, however late the publisher binds. It ends with its input.
"""

import argparse
import base64
import json
import sys

import zmq


def text(frame):
    try:
        return frame.decode("utf-8")
    except UnicodeDecodeError:
        return None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--topic", default="")
    arguments.add_argument("endpoints", nargs="+")
    given = arguments.parse_args()
    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.SUBSCRIBE, given.topic.encode())
    for endpoint in given.endpoints:
        socket.connect(endpoint)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    print(json.dumps({"ready": given.endpoints}), flush=True)
    while True:
        ready = dict(poller.poll())
        if socket in ready:
            frames = socket.recv_multipart()
            line = {"frames": [text(f) for f in frames], "base64": [base64.b64encode(f).decode() for f in frames]}
            print(json.dumps(line), flush=True)
        if sys.stdin.fileno() in ready and not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
