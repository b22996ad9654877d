/* libFuzzer: bytes and descriptors on a socket, as a launcher would send them; see tests/agent/test_fuzz.py.
 *
 * The first byte says how many descriptors come with the rest, the second where the rest is cut in two. */
#include "frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int lowest_free(void) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        abort();
    close(fd);
    return fd;
}

static void send_some(int sock, const uint8_t *data, size_t size, size_t nfds) {
    int fds[8];
    union {
        char bytes[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    for (size_t i = 0; i < nfds; i++)
        fds[i] = STDIN_FILENO;
    if (nfds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    if (size && sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char payload[512];
    struct dx_head head;
    int pair[2], fds[DX_MAX_FDS];
    size_t nfds = 0;
    if (size < 2 || size > 60000)
        return 0;
    int before = lowest_free();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    size_t nsent = data[0] % 9, cut = data[1] % (size - 1);
    send_some(pair[0], data + 2, cut < size - 2 ? cut : size - 2, nsent);
    if (cut < size - 2)
        send_some(pair[0], data + 2 + cut, size - 2 - cut, nsent / 2);
    shutdown(pair[0], SHUT_WR);
    for (int i = 0; i < 4; i++) { /* one frame with descriptors allowed, the next without */
        int rc = i % 2 ? frame_receive(pair[1], &head, payload, sizeof payload, NULL, NULL, 1)
                       : frame_receive(pair[1], &head, payload, sizeof payload, fds, &nfds, 1);
        if (rc < 0) {
            if (nfds && !(i % 2))
                abort(); /* what failed keeps no descriptor */
            break;
        }
        if (head.length > sizeof payload || (i % 2 ? head.nfds != 0 : head.nfds != nfds))
            abort();
        if (!(i % 2))
            close_all(fds, nfds);
        nfds = 0;
    }
    close_all(pair, 2);
    if (lowest_free() != before)
        abort(); /* a descriptor was kept */
    return 0;
}
