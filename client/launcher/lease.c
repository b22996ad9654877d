/* Asking the daemon for a run: POST /v1/runs with records, answered with records.
 *
 * HTTP/1.0, so that an answer which begins with notes and progress needs no chunks: it ends with its last record. */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

extern char **environ;

#define MAX_HEAD 16384
#define MAX_ANSWER_RECORD (1U << 20)
#define TRIES 3 /* with a daemon that ends before it has answered; nothing has begun by then */

struct body {
    char *bytes;
    size_t length, room;
};

static char *grow(struct body *b, size_t more) {
    if (b->length + more > DX_MAX_LEASE_BODY)
        die(EXIT_DX, "the arguments and the environment are too long (8 MiB at most)");
    if (b->length + more > b->room) {
        b->room = (b->length + more) * 2;
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes)
            die(EXIT_DX, "no memory");
    }
    char *at = b->bytes + b->length;
    b->length += more;
    return at;
}

static void put(struct body *b, uint32_t type, const void *payload, size_t length) {
    struct dx_record record = {type, (uint32_t)length};
    memcpy(grow(b, sizeof record), &record, sizeof record);
    if (length)
        memcpy(grow(b, length), payload, length);
}

static void put_strings(struct body *b, uint32_t type, char **strings) {
    size_t head = b->length, length = 0;
    grow(b, sizeof(struct dx_record));
    for (char **s = strings; *s; s++) {
        size_t n = strlen(*s) + 1;
        memcpy(grow(b, n), *s, n);
        length += n;
    }
    struct dx_record record = {type, (uint32_t)length};
    memcpy(b->bytes + head, &record, sizeof record);
}

static void write_request(struct body *b, const struct request *r) {
    uint32_t version = DX_WIRE_VERSION;
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof cwd) || cwd[0] != '/')
        die(EXIT_DX, "the current directory is gone; change into one that exists");
    put(b, DX_Q_VERSION, &version, sizeof version);
    put(b, DX_Q_COMMAND, r->command, strlen(r->command));
    put(b, DX_Q_CWD, cwd, strlen(cwd));
    if (r->shim)
        put(b, DX_Q_SHIM, NULL, 0);
    if (r->late)
        put(b, DX_Q_LATE, &r->late, sizeof r->late);
    if (r->bind)
        put(b, DX_Q_BIND, &r->bind, sizeof r->bind);
    for (char **option = r->options; *option; option++)
        put(b, DX_Q_OPTION, *option, strlen(*option));
    put_strings(b, DX_Q_ARGV, r->args);
    put_strings(b, DX_Q_ENV, environ);
}

static int send_request(int sock, const struct body *b) {
    char head[256];
    int n = snprintf(head, sizeof head,
                     "POST /v1/runs HTTP/1.0\r\nHost: dx\r\nContent-Type: application/vnd.dx.lease\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     b->length);
    struct iovec iov[2] = {{head, (size_t)n}, {b->bytes, b->length}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    while (iov[0].iov_len + iov[1].iov_len) {
        ssize_t sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        for (size_t i = 0; i < 2; i++) {
            size_t step = (size_t)sent < iov[i].iov_len ? (size_t)sent : iov[i].iov_len;
            iov[i].iov_base = (char *)iov[i].iov_base + step;
            iov[i].iov_len -= step;
            sent -= (ssize_t)step;
        }
    }
    return 0;
}

/* What has arrived, and how far it was read. The answer's records point into it, so it only ever grows. */
struct answer {
    int sock;
    char *bytes;
    size_t at, length, room;
};

static bool fill(struct answer *a) {
    if (a->length == a->room)
        die(EXIT_DX, "the daemon's answer is too long; run: dx daemon restart");
    for (;;) {
        ssize_t n = read(a->sock, a->bytes + a->length, a->room - a->length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        a->length += (size_t)n;
        return true;
    }
}

/* False where the daemon ended before that. */
static bool read_head(struct answer *a) {
    char *end;
    while (!(end = memmem(a->bytes, a->length, "\r\n\r\n", 4))) {
        if (a->length > MAX_HEAD)
            die(EXIT_DX, "the daemon's answer is malformed; run: dx daemon restart");
        if (!fill(a))
            return false;
    }
    *end = '\0';
    if (!strcasestr(a->bytes, "\r\ncontent-type: application/vnd.dx.lease"))
        die(EXIT_DX, "the daemon of another version answers; run: dx daemon restart");
    a->at = (size_t)(end + 4 - a->bytes);
    return true;
}

static bool next_record(struct answer *a, struct dx_record *record, const char **payload) {
    for (;;) {
        if (a->length - a->at >= sizeof *record) {
            memcpy(record, a->bytes + a->at, sizeof *record);
            if (record->length > MAX_ANSWER_RECORD)
                die(EXIT_DX, "the daemon's answer is malformed; run: dx daemon restart");
            if (a->length - a->at - sizeof *record >= record->length) {
                *payload = a->bytes + a->at + sizeof *record;
                a->at += sizeof *record + record->length;
                return true;
            }
        }
        if (!fill(a))
            return false;
    }
}

static const char *text_of(const char *payload, size_t length) {
    char *text = malloc(length + 1);
    if (!text)
        die(EXIT_DX, "no memory");
    memcpy(text, payload, length);
    text[length] = '\0';
    return text;
}

/* Progress lines take each other's place on a terminal and are not shown elsewhere. */
static void show(uint32_t type, const char *payload, size_t length) {
    static bool pending;
    bool terminal = isatty(2);
    if (type == DX_A_PROGRESS) {
        if (terminal)
            fprintf(stderr, "\r\033[Kdx: %.*s", (int)length, payload);
        pending = terminal;
        return;
    }
    if (pending)
        fputs("\r\033[K", stderr);
    pending = false;
    if (length)
        fprintf(stderr, "dx: %.*s\n", (int)length, payload);
}

static void take(const struct request *request, struct lease *lease, uint32_t type, const char *payload, size_t length) {
    uint32_t code = EXIT_DX;
    switch (type) {
    case DX_A_RUN:
        if (length == sizeof lease->run)
            memcpy(&lease->run, payload, length);
        break;
    case DX_A_TOKEN:
        if (length == sizeof lease->token)
            memcpy(lease->token, payload, length);
        break;
    case DX_A_AGENT:
        lease->agent = text_of(payload, length);
        break;
    case DX_A_GRANT:
        if (length < 4 || lease->ngrants == MAX_LEASE_GRANTS)
            die(EXIT_DX, "the lease has more grants than this launcher can open");
        memcpy(&lease->grants[lease->ngrants].flags, payload, 4);
        lease->grants[lease->ngrants++].path = text_of(payload + 4, length - 4);
        break;
    case DX_A_NOTE:
    case DX_A_PROGRESS:
        show(type, payload, length);
        break;
    case DX_A_ERROR:
        show(DX_A_NOTE, "", 0);
        if (lease->native && request->shim)
            native_exec(request);
        lease->again = lease->project && trust_ask(lease->project);
        if (lease->again)
            break;
        if (length >= 4) {
            memcpy(&code, payload, 4);
            die((int)code, "%.*s", (int)(length - 4), payload + 4);
        }
        die(EXIT_DX, "the daemon refused the run");
    case DX_A_PROJECT:
        lease->project = text_of(payload, length);
        break;
    case DX_A_NATIVE:
        lease->native = true;
        break;
    case DX_A_PORTABLE:
        show(DX_A_NOTE, "", 0);
        give_way(request);
    case DX_A_WAIT:
        lease->still_alive = true;
        break;
    default:
        die(EXIT_DX, "the daemon of another version answers; run: dx daemon restart");
    }
}

/* True with the whole answer; false where the daemon ended before it was. */
static bool ask_once(const struct request *request, const struct body *body, struct lease *lease) {
    static char buffer[4U << 20];
    struct dx_record record = {0};
    const char *payload;
    struct answer answer = {.sock = daemon_connect(), .bytes = buffer, .room = sizeof buffer - 1};
    bool whole = false;
    memset(lease, 0, sizeof *lease);
    /* Where it takes no more of the request, its answer says why. */
    if (send_request(answer.sock, body) < 0 && errno != EPIPE && errno != ECONNRESET)
        die(EXIT_DX, "the daemon does not take the request: %s", strerror(errno));
    if (read_head(&answer)) {
        while (!whole && next_record(&answer, &record, &payload)) {
            whole = record.type == DX_A_GO || record.type == DX_A_WAIT;
            if (record.type != DX_A_GO)
                take(request, lease, record.type, payload, record.length);
            whole = whole || lease->again;
        }
        show(DX_A_NOTE, "", 0);
    }
    close(answer.sock);
    return whole;
}

void lease_ask(const struct request *request, struct lease *lease) {
    struct body body = {0};
    write_request(&body, request);
    for (int tries = 1; !ask_once(request, &body, lease) || lease->again; tries++)
        if (tries == TRIES && !lease->again)
            die(EXIT_DX, "the daemon ended before it had answered; try again, or see: dx daemon logs");
    free(body.bytes);
}
