"""A pyzmq publisher of whatever frames it is given, well-formed or not.

    publish.py [--heartbeat MS] ENDPOINT

It binds, prints {"ready": ENDPOINT}, waits for a subscription and prints {"subscribed": PREFIX}. Then each line of its input, a
JSON list of frames in base64 (or a number: so many bytes), is sent as one message. It ends with its input.
"""

import argparse
import base64
import json
import sys

import zmq


def bind(endpoint, heartbeat=0):
    """A PUB socket that shows its subscriptions, bound."""
    socket = zmq.Context.instance().socket(zmq.XPUB)
    if heartbeat:
        socket.setsockopt(zmq.HEARTBEAT_IVL, heartbeat)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 10 * heartbeat)
    socket.setsockopt(zmq.LINGER, 2000)
    socket.bind(endpoint)
    return socket


def wait_for_subscription(socket):
    while True:
        message = socket.recv()
        if message[:1] == b"\x01":
            print(json.dumps({"subscribed": message[1:].decode("utf-8", "replace")}), flush=True)
            return


def frame(given):
    return b"x" * given if isinstance(given, int) else base64.b64decode(given)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--heartbeat", type=int, default=0)
    arguments.add_argument("endpoint")
    given = arguments.parse_args()
    endpoint = given.endpoint
    socket = bind(endpoint, given.heartbeat)
    print(json.dumps({"ready": endpoint}), flush=True)
    wait_for_subscription(socket)
    for line in sys.stdin:
        socket.send_multipart([frame(f) for f in json.loads(line)])
    socket.close()


if __name__ == "__main__":
    main()
