/* Sending and receiving what wire.h defines. Every function leaves errno set where it returns -1. */
#ifndef DX_FRAMES_H
#define DX_FRAMES_H

#include "wire.h"

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

void close_all(const int *fds, size_t n);

/* Wait until `fd` can be read or has ended; ETIMEDOUT after `deadline_ns` (0: never). */
int wait_readable(int fd, uint64_t deadline_ns);

/* Send one frame whole, its descriptors on its first byte. They stay the caller's. */
int frame_send(int sock, uint8_t type, const void *payload, size_t length, const int *fds, size_t nfds);

/* Receive one frame whole. Descriptors come close-on-exec and are the caller's; on failure all are closed.
 * With `fds` NULL a frame that carries any is refused. EBADMSG: the other side broke the wire's rules. */
int frame_receive(int sock, struct dx_head *head, void *payload, size_t capacity, int *fds, size_t *nfds,
                  uint64_t deadline_ns);

struct records {
    const char *at;
    size_t left;
};

/* The next record: 1, or 0 at the end, or -1 where the bytes are cut short. Its payload is not aligned. */
int record_next(struct records *r, struct dx_record *record, const char **payload);

#endif
