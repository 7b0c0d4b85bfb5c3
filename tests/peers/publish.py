"""A pyzmq publisher of whatever frames it is given, well-formed or not.

    publish.py ENDPOINT

It binds, prints {"ready": ENDPOINT}, waits for a subscription and prints {"subscribed": PREFIX}. Then each line of its input, a
JSON list of frames in base64, is sent as one message. It ends with its input.
"""

import base64
import json
import sys

import zmq


def bind(endpoint):
    """A PUB socket that shows its subscriptions, bound."""
    socket = zmq.Context.instance().socket(zmq.XPUB)
    socket.setsockopt(zmq.LINGER, 2000)
    socket.bind(endpoint)
    return socket


def wait_for_subscription(socket):
    while True:
        message = socket.recv()
        if message[:1] == b"\x01":
            print(json.dumps({"subscribed": message[1:].decode("utf-8", "replace")}), flush=True)
            return


def main():
    endpoint = sys.argv[1]
    socket = bind(endpoint)
    print(json.dumps({"ready": endpoint}), flush=True)
    wait_for_subscription(socket)
    for line in sys.stdin:
        socket.send_multipart([base64.b64decode(frame) for frame in json.loads(line)])
    socket.close()


if __name__ == "__main__":
    main()
