"""A pyzmq REQ that asks a replay endpoint.

    ask.py ENDPOINT

It prints {"ready": ENDPOINT}. Then each line of its input is sent as a request, and of the answer it prints {"header": …, "frames":
[…]}, the frames after the header in base64. It ends with its input.
"""

import base64
import json
import sys

import zmq


def main():
    endpoint = sys.argv[1]
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 30000)
    socket.connect(endpoint)
    print(json.dumps({"ready": endpoint}), flush=True)
    for line in sys.stdin:
        socket.send(line.strip().encode())
        header, *frames = socket.recv_multipart()
        frames = [base64.b64encode(frame).decode() for frame in frames]
        print(json.dumps({"header": json.loads(header), "frames": frames}), flush=True)
    socket.close()


if __name__ == "__main__":
    main()
