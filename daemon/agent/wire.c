/* Frames and records: see wire.h. Used by the agent and by the launcher. */
#include "frames.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

void close_all(const int *fds, size_t n) {
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

int frame_send(int sock, uint8_t type, const void *payload, size_t length, const int *fds, size_t nfds) {
    struct dx_head head = {.length = (uint32_t)length, .type = type, .nfds = (uint16_t)nfds};
    struct iovec iov[2] = {{&head, sizeof head}, {(void *)(uintptr_t)payload, length}};
    union {
        char bytes[CMSG_SPACE(DX_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (nfds > DX_MAX_FDS) {
        errno = E2BIG;
        return -1;
    }
    if (nfds) {
        memset(&control, 0, CMSG_SPACE(nfds * sizeof(int)));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    size_t left = sizeof head + length;
    while (left) {
        ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        left -= (size_t)n;
        msg.msg_control = NULL; /* the descriptors went with the first byte */
        msg.msg_controllen = 0;
        for (size_t i = 0; i < 2; i++) {
            size_t step = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
            iov[i].iov_base = (char *)iov[i].iov_base + step;
            iov[i].iov_len -= step;
            n -= (ssize_t)step;
        }
    }
    return 0;
}

int wait_readable(int fd, uint64_t deadline_ns) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int timeout = -1;
        if (deadline_ns) {
            uint64_t now = now_ns();
            timeout = now >= deadline_ns ? 0 : (int)((deadline_ns - now) / 1000000U) + 1;
        }
        int n = poll(&p, 1, timeout);
        if (n > 0)
            return 0;
        if (n == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (errno != EINTR)
            return -1;
    }
}

/* Receive into `buffer`; where `fds` is given, descriptors too, at most DX_MAX_FDS. */
static ssize_t receive(int sock, void *buffer, size_t size, int *fds, size_t *nfds) {
    union {
        char bytes[CMSG_SPACE(DX_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {buffer, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
    }
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); fds && c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const unsigned char *data = CMSG_DATA(c);
        for (size_t i = 0; i < count; i++, data += sizeof(int)) {
            int fd;
            memcpy(&fd, data, sizeof fd);
            if (*nfds < DX_MAX_FDS)
                fds[(*nfds)++] = fd;
            else
                close(fd);
        }
    }
    if (msg.msg_flags & MSG_CTRUNC) { /* descriptors where none may be, or too many */
        errno = EBADMSG;
        return -1;
    }
    return n;
}

static int receive_all(int sock, void *buffer, size_t size, int *fds, size_t *nfds, uint64_t deadline_ns) {
    char *at = buffer;
    while (size) {
        ssize_t n = receive(sock, at, size, fds, nfds);
        if (n < 0 && errno == EAGAIN) {
            if (wait_readable(sock, deadline_ns) < 0)
                return -1;
            continue;
        }
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = ECONNRESET;
            return -1;
        }
        at += n;
        size -= (size_t)n;
        fds = NULL; /* only the first byte may carry descriptors */
    }
    return 0;
}

int frame_receive(int sock, struct dx_head *head, void *payload, size_t capacity, int *fds, size_t *nfds,
                  uint64_t deadline_ns) {
    size_t got = 0;
    int none[1];
    if (!fds) {
        fds = none;
        nfds = &got;
    }
    *nfds = 0;
    if (receive_all(sock, head, sizeof *head, fds == none ? NULL : fds, nfds, deadline_ns) < 0)
        goto fail;
    if (head->length > capacity || head->nfds != *nfds || head->flags) {
        errno = EBADMSG;
        goto fail;
    }
    if (receive_all(sock, payload, head->length, NULL, NULL, deadline_ns) < 0)
        goto fail;
    return 0;
fail:
    if (fds != none)
        close_all(fds, *nfds);
    *nfds = 0;
    return -1;
}

int record_next(struct records *r, struct dx_record *record, const char **payload) {
    if (r->left == 0)
        return 0;
    if (r->left < sizeof *record)
        return -1;
    memcpy(record, r->at, sizeof *record);
    r->at += sizeof *record;
    r->left -= sizeof *record;
    if (record->length > r->left)
        return -1;
    *payload = r->at;
    r->at += record->length;
    r->left -= record->length;
    return 1;
}
