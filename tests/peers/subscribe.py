"""A pyzmq subscriber: prints each message as a JSON line, {"frames": [text or null], "base64": [..]}.

    subscribe.py [--topic PREFIX] [--many N] [--heartbeat MS] [--sizes] ENDPOINT..

--many subscribes to many.0. to many.N-1. as well; --sizes prints {"sizes": [bytes..]} instead.

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
    arguments.add_argument("--many", type=int, default=0)
    arguments.add_argument("--heartbeat", type=int, default=0)
    arguments.add_argument("--sizes", action="store_true")
    arguments.add_argument("endpoints", nargs="+")
    given = arguments.parse_args()
    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    # Subscriptions over it are dropped in silence.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.SUBSCRIBE, given.topic.encode())
    for n in range(given.many):
        socket.setsockopt(zmq.SUBSCRIBE, f"many.{n}.".encode())
    if given.heartbeat:
        socket.setsockopt(zmq.HEARTBEAT_IVL, given.heartbeat)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 10 * given.heartbeat)
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
            if given.sizes:
                print(json.dumps({"sizes": [len(f) for f in frames]}), flush=True)
                continue
            line = {"frames": [text(f) for f in frames], "base64": [base64.b64encode(f).decode() for f in frames]}
            print(json.dumps(line), flush=True)
        if sys.stdin.fileno() in ready and not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
