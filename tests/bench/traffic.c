/* Traffic for tests/bench/test_doors.py: `traffic serve PORT`, and clients `traffic KIND HOST PORT COUNT SIZE`, which print MB/s,
 * or microseconds for each of COUNT.
 *
 *   d  send COUNT bytes      u  receive COUNT bytes      e  COUNT round trips of SIZE bytes      c  COUNT connections */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char bytes[1 << 18];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t upto(long n) {
    return n < (long)sizeof bytes ? (size_t)n : sizeof bytes;
}

static void put(int sock, long n) {
    for (ssize_t done; n > 0; n -= done)
        if ((done = write(sock, bytes, upto(n))) <= 0)
            exit(1);
}

static long take(int sock, long n) {
    long got = 0;
    for (ssize_t done; got < n && (done = read(sock, bytes, upto(n - got))) > 0;)
        got += done;
    return got;
}

static void answer(int sock) {
    char kind;
    long n;
    ssize_t got;
    if (read(sock, &kind, 1) != 1)
        return;
    if (kind == 'd') {
        while (read(sock, bytes, sizeof bytes) > 0)
            ;
        put(sock, 1);
    } else if (kind == 'u' && read(sock, &n, sizeof n) == sizeof n) {
        put(sock, n);
    } else if (kind == 'e') {
        while ((got = read(sock, bytes, sizeof bytes)) > 0)
            put(sock, got);
    } else if (kind == 'c') {
        put(sock, 1);
    }
}

static void serve(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGCHLD, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 1024) < 0)
        exit(1);
    for (;;) {
        int sock = accept(listener, NULL, NULL);
        if (sock >= 0 && fork() == 0) {
            setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            answer(sock);
            _exit(0);
        }
        close(sock);
    }
}

static int reach(const char *host, int port, char kind) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1, sock = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, host, &at.sin_addr);
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(sock, (struct sockaddr *)&at, sizeof at) < 0 || write(sock, &kind, 1) != 1)
        exit(1);
    return sock;
}

int main(int argc, char **argv) {
    if (argc == 3)
        serve(atoi(argv[2]));
    if (argc != 6)
        return 2;
    char kind = argv[1][0];
    int port = atoi(argv[3]);
    long count = atol(argv[4]), size = atol(argv[5]);
    double began = now();
    if (kind == 'c') {
        for (long n = 0; n < count; n++) {
            int sock = reach(argv[2], port, kind);
            if (take(sock, 1) != 1)
                return 1;
            close(sock);
        }
    } else {
        int sock = reach(argv[2], port, kind);
        if (kind == 'd') {
            put(sock, count);
            shutdown(sock, SHUT_WR);
            if (take(sock, 1) != 1)
                return 1;
        } else if (kind == 'u') {
            if (write(sock, &count, sizeof count) != sizeof count || take(sock, count) != count)
                return 1;
        }
        for (long n = 0; kind == 'e' && n < count; n++) {
            put(sock, size);
            if (take(sock, size) != size)
                return 1;
        }
    }
    double took = now() - began;
    printf("%.2f\n", kind == 'd' || kind == 'u' ? (double)count / took / 1e6 : took / (double)count * 1e6);
    return 0;
}
