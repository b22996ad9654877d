/* `agent link`: this program stands in for the daemon, where the agent's control socket is out of reach from outside.
 *
 * The engine begins it beside the agent (`exec`), and it carries bytes between its standard streams and that socket. */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_NS 15000000000ULL

/* Beside a container that has just begun, the agent may need a moment. The kernel tells nobody of a name that appears in
 * another process's hands but by inotify, whose watch would race with it just the same. */
int agent_reach(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint64_t deadline = now_ns() + CONNECT_NS;
    strcpy(address.sun_path, path);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (sock >= 0 && connect(sock, (struct sockaddr *)&address, sizeof address) < 0) {
        if ((errno != ENOENT && errno != ECONNREFUSED) || now_ns() > deadline) {
            close(sock);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return sock;
}

static bool pass(int from, int to) {
    static char bytes[65536];
    ssize_t n = read(from, bytes, sizeof bytes);
    for (ssize_t at = 0, done; at < n; at += done)
        if ((done = write(to, bytes + at, (size_t)(n - at))) < 0)
            return false;
    return n > 0;
}

int link_daemon(void) {
    int sock = agent_reach(PORTABLE_CONTROL);
    if (sock < 0) {
        fprintf(stderr, "dx agent: cannot reach the agent: %s\n", strerror(errno));
        return 1;
    }
    struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = sock, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            return 1;
        if ((fds[0].revents && !pass(0, sock)) || (fds[1].revents && !pass(sock, 1)))
            return 0;
    }
}
