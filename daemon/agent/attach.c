/* `agent attach`: this program stands in for a launcher, where the agent's socket is out of reach from outside.
 *
 * What the run reads and writes goes through pipes of this process, and in frames to and from the launcher. Neither side
 * sends more than the other has room for, so neither ever waits for the other before it reads. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define LINGER_NS 5000000000ULL
#define MAX_STREAMS 4
#define PIECE (DX_MAX_RUN_FRAME - sizeof(uint32_t))

/* One that the run reads (input) or writes; `fd` is our end of it, -1 when it is over. */
struct stream {
    uint32_t number;
    bool input, ending;
    int fd;
    size_t credit;          /* of an output: what the launcher has room for */
    size_t at, length, owed; /* of an input: what is not written yet, and room that was not told yet */
    uint64_t written;
    int kept; /* of an input's pipe that has ended: to see how much of it is still there */
    char *bytes;
};

static struct stream streams[MAX_STREAMS];
static size_t nstreams;
static struct dx_stream described[DX_MAX_FDS];
static size_t ndescribed;
static int agent = -1, master = -1;
static bool terminal, over;
static struct dx_exit last;

static void say(uint8_t type, const void *payload, size_t length) {
    struct dx_head head = {.length = (uint32_t)length, .type = type};
    static char frame[sizeof head + DX_MAX_RUN_FRAME];
    memcpy(frame, &head, sizeof head);
    if (length)
        memcpy(frame + sizeof head, payload, length);
    for (size_t at = 0; at < sizeof head + length;) {
        ssize_t n = write(1, frame + at, sizeof head + length - at);
        if (n < 0 && errno != EINTR)
            _exit(1); /* nobody is there any more; the agent sees this connection end */
        at += n > 0 ? (size_t)n : 0;
    }
}

/* The last frame, and then no end before the launcher's: some engines lose what a program prints right before its own. */
static void say_last(uint8_t type, const void *payload, size_t length) __attribute__((noreturn));
static void say_last(uint8_t type, const void *payload, size_t length) {
    static char rest[4096];
    uint64_t deadline = now_ns() + LINGER_NS;
    say(type, payload, length);
    while (wait_readable(0, deadline) == 0 && read(0, rest, sizeof rest) > 0)
        ;
    _exit(0);
}

static void end(void) __attribute__((noreturn));
static void end(void) {
    for (size_t i = 0; i < nstreams; i++) {
        const struct stream *s = &streams[i];
        int left = 0;
        struct dx_taken taken = {.number = s->number};
        if (!s->input || (terminal && s->number == 0))
            continue;
        ioctl(s->fd >= 0 ? s->fd : s->kept, FIONREAD, &left);
        taken.bytes = s->written - (uint64_t)left;
        say(DX_TAKEN, &taken, sizeof taken);
    }
    say_last(DX_EXIT, &last, sizeof last);
}

static void give_up(const char *what) __attribute__((noreturn));
static void give_up(const char *what) {
    char payload[sizeof(struct dx_failed) + MESSAGE_BYTES];
    struct dx_failed failed = {125};
    memcpy(payload, &failed, sizeof failed);
    int n = snprintf(payload + sizeof failed, MESSAGE_BYTES, "%s: %s", what, strerror(errno));
    say_last(DX_FAILED, payload, sizeof failed + (size_t)n);
}

static struct stream *find(uint32_t number, bool input) {
    for (size_t i = 0; i < nstreams; i++)
        if (streams[i].number == number && streams[i].input == input)
            return &streams[i];
    return NULL;
}

static struct stream *add(uint32_t number, bool input, int fd) {
    struct stream *s = &streams[nstreams];
    if (nstreams == MAX_STREAMS)
        return NULL;
    *s = (struct stream){.number = number, .input = input, .fd = fd, .credit = DX_WINDOW, .kept = -1};
    if (input && !(s->bytes = malloc(DX_WINDOW)))
        return NULL;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    nstreams++;
    return s;
}

static void finish(struct stream *s) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
    if (s->input && s->fd >= 0 && s->fd != master)
        s->kept = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (s->fd >= 0 && s->fd != master)
        close(s->fd);
    s->fd = -1;
}

/* A pipe for each stream; `theirs` gets the run's end for each descriptor. Those that were one file stay one. */
static void open_streams(int *theirs) {
    for (size_t i = 0; i < ndescribed; i++) {
        int ends[2], input = described[i].input != 0;
        size_t same = 0;
        while (same < i && (described[same].number != described[i].number || described[same].input != described[i].input))
            same++;
        if (same < i) {
            theirs[i] = theirs[same];
            continue;
        }
        if (pipe2(ends, O_CLOEXEC) < 0 || !add(described[i].number, input, ends[input]))
            give_up("no pipes for the run");
        theirs[i] = ends[!input];
    }
}

static void begin(const char *payload, size_t length) {
    struct dx_start start;
    int theirs[DX_MAX_FDS];
    if (agent >= 0 || length < sizeof start)
        _exit(1);
    memcpy(&start, payload, sizeof start);
    errno = EBADMSG;
    if (start.nstd != ndescribed || start.ngrants)
        give_up("the launcher's request");
    open_streams(theirs);
    terminal = start.terminal != 0;
    if ((agent = agent_reach(PORTABLE_RUNS)) < 0 || frame_send(agent, DX_START, payload, length, theirs, ndescribed) < 0)
        give_up("the agent cannot be reached");
    for (size_t i = 0; i < ndescribed; i++) {
        size_t same = 0;
        while (theirs[same] != theirs[i])
            same++;
        if (same == i)
            close(theirs[i]);
    }
}

/* The launcher's terminal is gone, and with its pty's master gone the run's is as well. */
static void hang_up(void) {
    for (size_t i = 0; i < nstreams; i++)
        if (streams[i].fd == master)
            streams[i].fd = -1;
    close(master);
    master = -1;
}

static void take_data(const char *payload, size_t length) {
    struct stream *s = find(*(const uint32_t *)payload, true);
    payload += sizeof(uint32_t);
    length -= sizeof(uint32_t);
    if (!s || s->fd < 0)
        return; /* it was told CLOSED, or will be */
    if (s->length - s->at + length > DX_WINDOW)
        _exit(1);
    memmove(s->bytes, s->bytes + s->at, s->length - s->at);
    s->length -= s->at;
    s->at = 0;
    memcpy(s->bytes + s->length, payload, length);
    s->length += length;
}

/* One frame of the launcher's. */
static void take(uint8_t type, const char *payload, size_t length) {
    uint32_t words[2] = {0};
    memcpy(words, payload, length < sizeof words ? length : sizeof words);
    struct stream *s;
    switch (type) {
    case DX_STREAMS:
        ndescribed = length / sizeof described[0];
        if (ndescribed > DX_MAX_FDS)
            _exit(1);
        memcpy(described, payload, ndescribed * sizeof described[0]);
        return;
    case DX_START:
        begin(payload, length);
        return;
    case DX_SIGNAL:
        if (over && (words[0] == SIGINT || words[0] == SIGTERM || words[0] == SIGHUP || words[0] == SIGQUIT))
            end(); /* as somebody wants, and nobody takes what the run wrote */
        /* fall through */
    case DX_FOREGROUND:
        if (!over)
            frame_send(agent, type, payload, length, NULL, 0);
        return;
    case DX_DATA:
        if (length >= sizeof(uint32_t))
            take_data(payload, length);
        return;
    case DX_EOF:
        if (terminal && words[0] == 0 && master >= 0)
            hang_up();
        else if ((s = find(words[0], true)))
            s->ending = true;
        return;
    case DX_CREDIT:
        if ((s = find(words[0], false)))
            s->credit += words[1];
        return;
    case DX_CLOSED:
        if ((s = find(words[0], false)))
            finish(s);
        return;
    case DX_RESIZE:
        if (master >= 0 && length == sizeof(struct winsize))
            ioctl(master, TIOCSWINSZ, payload);
        return;
    default:
        _exit(1);
    }
}

/* What has come from the launcher; its end is that of this process, and so of the run. */
static void read_launcher(void) {
    static char bytes[sizeof(struct dx_head) + DX_MAX_RUN_FRAME] __attribute__((aligned(8)));
    static size_t got;
    ssize_t n = read(0, bytes + got, sizeof bytes - got);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0)
        _exit(0);
    got += (size_t)n;
    size_t at = 0;
    for (;;) {
        static char payload[DX_MAX_RUN_FRAME] __attribute__((aligned(8)));
        struct dx_head head;
        if (got - at < sizeof head)
            break;
        memcpy(&head, bytes + at, sizeof head);
        if (head.length > DX_MAX_RUN_FRAME)
            _exit(1);
        if (got - at - sizeof head < head.length)
            break;
        memcpy(payload, bytes + at + sizeof head, head.length);
        at += sizeof head + head.length;
        if (agent < 0 && head.type != DX_STREAMS && head.type != DX_START && head.type != DX_SIGNAL)
            _exit(1);
        if (agent >= 0 || head.type != DX_SIGNAL) /* before it begins there is nothing to send it to */
            take(head.type, payload, head.length);
    }
    memmove(bytes, bytes + at, got - at);
    got -= at;
}

/* One frame of the agent's. */
static void read_agent(void) {
    static char payload[DX_MAX_RUN_FRAME];
    struct dx_head head;
    int fds[DX_MAX_FDS];
    size_t nfds = 0;
    if (frame_receive(agent, &head, payload, sizeof payload, fds, &nfds, 0) < 0)
        _exit(1);
    if (head.type == DX_STARTED && nfds == 1 && terminal) {
        master = fds[0];
        if (!add(0, true, master) || !add(1, false, master))
            give_up("no memory");
    } else if (nfds)
        close_all(fds, nfds);
    if (head.type == DX_EXIT && head.length == sizeof last) {
        memcpy(&last, payload, sizeof last);
        over = true; /* told when all that it wrote is */
        return;
    }
    if (head.type == DX_FAILED)
        say_last(head.type, payload, head.length);
    say(head.type, payload, head.length);
}

static void bring_out(struct stream *s) {
    static struct {
        uint32_t number;
        char bytes[PIECE];
    } data;
    data.number = s->number;
    ssize_t n = read(s->fd, data.bytes, s->credit < PIECE ? s->credit : PIECE);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* of a terminal it is EIO */
        finish(s);
        say(DX_EOF, &data.number, sizeof data.number);
        return;
    }
    s->credit -= (size_t)n;
    say(DX_DATA, &data, sizeof data.number + (size_t)n);
}

static void bring_in(struct stream *s, bool gone) {
    uint32_t words[2] = {s->number, 0};
    ssize_t n = s->at < s->length ? write(s->fd, s->bytes + s->at, s->length - s->at) : 0;
    if (n > 0) {
        s->at += (size_t)n;
        s->owed += (size_t)n;
        s->written += (size_t)n;
    }
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || (gone && n <= 0)) {
        finish(s);
        say(DX_CLOSED, words, sizeof words[0]);
        return;
    }
    if (s->owed >= DX_WINDOW / 4) {
        words[1] = (uint32_t)s->owed;
        s->owed = 0;
        say(DX_CREDIT, words, sizeof words);
    }
}

int attach_launcher(void) {
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        struct pollfd fds[2 + MAX_STREAMS] = {{.fd = 0, .events = POLLIN}, {.fd = over ? -1 : agent, .events = POLLIN}};
        bool writing = false;
        for (size_t i = 0; i < nstreams; i++) {
            struct stream *s = &streams[i];
            if (s->input && s->ending && s->at == s->length)
                finish(s);
            bool waits = !s->input && !s->credit;
            fds[2 + i].fd = waits ? -1 : s->fd;
            fds[2 + i].events = s->input ? (s->at < s->length ? POLLOUT : 0) : POLLIN;
            writing |= !s->input && s->fd >= 0;
        }
        if (over && !writing)
            end();
        size_t n = nstreams; /* the agent's frames may add some */
        if (poll(fds, 2 + n, -1) < 0 && errno != EINTR)
            return 1;
        for (size_t i = 0; i < n; i++) {
            struct stream *s = &streams[i];
            if (!fds[2 + i].revents || s->fd < 0)
                continue;
            if (!s->input)
                bring_out(s);
            else if (s->fd != master || s->at < s->length)
                bring_in(s, fds[2 + i].revents & POLLERR);
            else
                finish(s); /* of a terminal that hung up */
        }
        if (fds[1].revents)
            read_agent();
        if (fds[0].revents)
            read_launcher();
    }
}
