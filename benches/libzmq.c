/* libzmq's side of benches/transport.rs: `pub|sub ENDPOINT BYTES COUNT`. The declarations are those of zmq.h, version 4. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *zmq_ctx_new(void);
void *zmq_socket(void *, int);
int zmq_setsockopt(void *, int, const void *, size_t);
int zmq_bind(void *, const char *);
int zmq_connect(void *, const char *);
int zmq_send(void *, const void *, size_t, int);
int zmq_recv(void *, void *, size_t, int);
int zmq_close(void *);
int zmq_ctx_term(void *);

enum { SUB = 2, XPUB = 9, SUBSCRIBE = 6, LINGER = 17, SNDHWM = 23, RCVHWM = 24, SNDMORE = 2 };

static const char TOPIC[] = "org.fedoraproject.prod.bodhi.update.comment";
static char buffer[1 << 20];

static void must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    int publishes = strcmp(argv[1], "pub") == 0;
    size_t topic = sizeof TOPIC - 1, body = (size_t)atol(argv[3]) - topic;
    long count = atol(argv[4]);
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, publishes ? XPUB : SUB);
    int unlimited = 0, linger = -1;
    must(zmq_setsockopt(socket, publishes ? SNDHWM : RCVHWM, &unlimited, sizeof unlimited), "hwm");
    must(zmq_setsockopt(socket, LINGER, &linger, sizeof linger), "linger");
    if (publishes) {
        must(zmq_bind(socket, argv[2]), "bind");
        must(zmq_recv(socket, buffer, sizeof buffer, 0), "subscription");
        for (long n = 0; n <= count; n++) {
            must(zmq_send(socket, TOPIC, topic, SNDMORE), "send");
            must(zmq_send(socket, buffer, n == 0 ? 0 : body, 0), "send");
        }
        /* A subscriber loses what it has not read when its publisher goes, so the publisher waits for it to leave. */
        must(zmq_recv(socket, buffer, sizeof buffer, 0), "unsubscription");
    } else {
        must(zmq_setsockopt(socket, SUBSCRIBE, "org.fedoraproject", 17), "subscribe");
        must(zmq_connect(socket, argv[2]), "connect");
        struct timespec begun, ended;
        for (long n = 0; n <= count; n++) {
            must(zmq_recv(socket, buffer, sizeof buffer, 0), "receive");
            must(zmq_recv(socket, buffer, sizeof buffer, 0), "receive");
            if (n == 0)
                clock_gettime(CLOCK_MONOTONIC, &begun);
        }
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%f\n", (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
