/* What the test image's programs cannot do: `talker PATH` prints what a Unix socket says, `talker -u PORT` says
 * "ready" and prints the first datagram that comes to the port. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int hear(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        perror(path);
    return sock;
}

static int listen_at(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) < 0)
        perror(port);
    puts("ready");
    fflush(stdout);
    return sock;
}

int main(int argc, char **argv) {
    char text[256];
    if (argc < 2)
        return 2;
    ssize_t length = read(argc > 2 ? listen_at(argv[2]) : hear(argv[1]), text, sizeof text);
    return length < 1 || write(1, text, (size_t)length) != length;
}
