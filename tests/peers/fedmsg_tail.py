"""Python fedmsg's own consumer: prints what `fedmsg.tail_messages` yields, {"topic": .., "message": ..} a line.

    fedmsg_tail.py [--topic PREFIX] [--ca CA --crl CRL] ENDPOINT..

With --ca and --crl it validates signatures, as deployments configure it; without, it takes what comes. First it prints
{"ready": [ENDPOINT..]}. It is ended by a signal.
"""

import argparse
import json
import logging

import fedmsg
import fedmsg_config


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--topic", default="")
    arguments.add_argument("--ca")
    arguments.add_argument("--crl")
    arguments.add_argument("endpoints", nargs="+")
    given = arguments.parse_args()
    fedmsg_config.load({"peer": given.endpoints})
    config = {"name": None, "mute": True, "post_init_sleep": 0,
              "zmq_reconnect_ivl": 20, "validate_signatures": bool(given.ca)}
    if given.ca:
        config.update(ca_cert_location=given.ca, crl_location=given.crl, crypto_backend="x509",
                      crypto_validate_backends=["x509"], routing_policy={}, routing_nitpicky=False)
    fedmsg.init(**config)
    # Its messages go to standard output, which is for ours.
    logging.disable(logging.CRITICAL)
    print(json.dumps({"ready": given.endpoints}), flush=True)
    for _name, _endpoint, topic, message in fedmsg.tail_messages(topic=given.topic):
        print(json.dumps({"topic": topic, "message": message}), flush=True)


if __name__ == "__main__":
    main()
