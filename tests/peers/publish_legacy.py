"""A Python fedmsg publisher, signing with a legacy authority that it makes.

    publish_legacy.py ENDPOINT DIRECTORY MSG..

It makes ca.crt, crl.pem and a certificate in DIRECTORY, binds, prints {"ready": ENDPOINT}, and waits for a subscription. Then it
publishes each MSG (JSON) on org.example.dev.legacy.test.message, as fedmsg does, printing each body as {"published": BODY}. It
ends with its input, so that what it sent can be received first.
"""

import json
import sys

import fedmsg.core
import fedmsg_config
from legacy_ca import LegacyCA
from publish import bind, wait_for_subscription

SIGNER = "legacy-app01.example.org"


def main():
    endpoint, directory, *messages = sys.argv[1:]
    ca = LegacyCA(directory)
    ca.issue(SIGNER)
    ca.write_crl()
    config = fedmsg_config.load({"legacy.app01": [endpoint]})
    # Mute: fedmsg would bind its port on every interface. The socket below takes that one's place.
    config.update(
        name="legacy.app01", mute=True, post_init_sleep=0,
        topic_prefix="org.example", environment="dev", sign_messages=True, crypto_backend="x509",
        ssldir=str(ca.dir), certnames={"legacy.app01": SIGNER})
    context = fedmsg.core.FedMsgContext(**config)
    context.publisher = bind(endpoint)
    print(json.dumps({"ready": endpoint}), flush=True)
    wait_for_subscription(context.publisher)
    for message in messages:
        context.publish(
            topic="test.message", msg=json.loads(message), modname="legacy",
            pre_fire_hook=lambda body: print(json.dumps({"published": body}), flush=True))
    sys.stdin.read()
    context.publisher.close()


if __name__ == "__main__":
    main()
