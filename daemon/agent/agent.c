/* PID 1 of a warm container.
 *
 * It accepts launchers, forks a monitor for each, reaps, and tells the daemon what began and what ended. It reads
 * nothing from launchers: a monitor does, and can fail alone. With no daemon and no run it ends after a while. */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_RUNS 4096
#define KEPT_EXITS 1024
#define TICK_MS 10000
#define ORPHAN_NS (1800ULL * 1000000000U)

struct run {
    pid_t monitor;
    bool announced, reported;
    uint64_t number, started_ns;
};

static struct run runs[MAX_RUNS];
static size_t runs_end; /* no slot at or above it is in use */
static struct dx_run_exited exits[KEPT_EXITS];
static size_t exits_first, exits_count;
static bool news;
static int reports; /* from monitors: struct report */

/* The control link and the frame that is coming in on it. */
static int control = -1;
static struct dx_head in_head;
static char *in_body;
static size_t in_got;
static bool synced;
static struct dx_ready ready = {.version = DX_WIRE_VERSION};
static uint64_t alone_since_ns;

int fail(struct failure *f, uint32_t code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int saved = errno;
    f->code = code;
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    errno = saved;
    return -1;
}

static void drop_control(void) {
    if (control >= 0)
        close(control);
    control = -1;
    free(in_body);
    in_body = NULL;
    in_got = 0;
    alone_since_ns = now_ns();
}

static void read_control(void);

/* A frame to the daemon, whole or not at all; a link that takes only a part of one is given up. What a daemon that
 * has died had sent before counts: it may have told a launcher of it. */
static bool tell(uint8_t type, const void *payload, size_t length) {
    char frame[sizeof(struct dx_head) + sizeof(struct dx_run_exited)];
    struct dx_head head = {.length = (uint32_t)length, .type = type};
    if (control < 0)
        return false;
    memcpy(frame, &head, sizeof head);
    if (length)
        memcpy(frame + sizeof head, payload, length);
    ssize_t n = send(control, frame, sizeof head + length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == (ssize_t)(sizeof head + length))
        return true;
    if (n >= 0 || errno != EAGAIN) {
        read_control();
        drop_control();
    }
    return false;
}

static void tell_news(void) {
    if (control < 0)
        return;
    if (!synced) {
        if (!tell(DX_READY, &ready, sizeof ready))
            return;
        for (size_t i = 0; i < runs_end; i++)
            runs[i].announced = false;
    }
    for (size_t i = 0; news && i < runs_end; i++) {
        if (!runs[i].number || runs[i].announced)
            continue;
        struct dx_run_started started = {runs[i].number, runs[i].started_ns};
        if (!tell(DX_RUN_STARTED, &started, sizeof started))
            return;
        runs[i].announced = true;
    }
    while (exits_count) {
        if (!tell(DX_RUN_EXITED, &exits[exits_first], sizeof exits[0]))
            return;
        exits_first = (exits_first + 1) % KEPT_EXITS;
        exits_count--;
    }
    if (!synced && !tell(DX_SYNCED, NULL, 0))
        return;
    synced = true;
    news = false;
}

static void take_control(int fd) {
    read_control();
    drop_control();
    control = fd;
    synced = false;
    news = true;
}

static void keep_exit(const struct dx_run_exited *exited) {
    if (exits_count == KEPT_EXITS) {
        exits_first = (exits_first + 1) % KEPT_EXITS;
        exits_count--;
    }
    exits[(exits_first + exits_count++) % KEPT_EXITS] = *exited;
    news = true;
}

static void take_report(const struct report *report) {
    if (report->slot >= runs_end)
        return;
    struct run *run = &runs[report->slot];
    leases_drop(report->run.run);
    if (report->exited) {
        run->reported = true;
        if (report->run.run)
            keep_exit(&report->run);
    } else {
        run->number = report->run.run;
        run->started_ns = now_ns();
    }
    news = true;
}

static void drain_reports(void) {
    struct report report;
    while (recv(reports, &report, sizeof report, MSG_DONTWAIT) == (ssize_t)sizeof report)
        take_report(&report);
}

static void reap(void) {
    int status;
    pid_t pid;
    drain_reports();
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < runs_end; i++) {
            if (runs[i].monitor != pid)
                continue;
            drain_reports();
            if (runs[i].number && !runs[i].reported) { /* its monitor was killed, and the run with it */
                struct dx_run_exited lost = {.run = runs[i].number, .started = 1, .exit = {.status = SIGKILL}};
                lost.duration_ns = now_ns() - runs[i].started_ns;
                keep_exit(&lost);
            }
            memset(&runs[i], 0, sizeof runs[i]);
            while (runs_end && !runs[runs_end - 1].monitor)
                runs_end--;
            break;
        }
    }
}

static struct run *find_run(uint64_t number) {
    for (size_t i = 0; i < runs_end; i++)
        if (runs[i].number == number)
            return &runs[i];
    return NULL;
}

static void take_frame(void) {
    char *body = in_body;
    in_body = NULL;
    in_got = 0;
    if (in_head.type == DX_LEASE && body) {
        if (ready.once != DX_ONCE_USED) { /* else nobody may claim it */
            leases_add(body, in_head.length);
            body = NULL;
        }
        if (ready.once == DX_ONCE_FRESH)
            ready.once = DX_ONCE_USED;
    } else if (in_head.type == DX_PING) {
        drain_reports(); /* a run whose launcher has heard of its end is told of before */
        tell_news();
        tell(DX_PONG, body, body && in_head.length <= 8 ? in_head.length : 0);
    } else if (in_head.type == DX_RUN_SIGNAL && in_head.length == sizeof(struct dx_run_signal)) {
        struct dx_run_signal wanted;
        memcpy(&wanted, body, sizeof wanted);
        struct run *run = find_run(wanted.run);
        if (run && run->number && wanted.number < DX_SIGNALS && wanted.group < 2)
            sigqueue(run->monitor, SIGUSR1, (union sigval){.sival_int = (int)(wanted.number | wanted.group << 8)});
    }
    free(body);
}

/* Take what the daemon has sent so far; frames may come in pieces. */
static void read_control(void) {
    while (control >= 0) {
        char *into = (char *)&in_head;
        size_t want = sizeof in_head, got = in_got;
        if (in_got >= sizeof in_head) {
            into = in_body;
            want = in_head.length;
            got = in_got - sizeof in_head;
        }
        if (got < want) {
            ssize_t n = recv(control, into + got, want - got, MSG_DONTWAIT);
            if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
            if (n <= 0) {
                drop_control();
                return;
            }
            in_got += (size_t)n;
            if (got + (size_t)n < want)
                continue;
        }
        if (in_got == sizeof in_head && in_head.length) {
            if (in_head.length > DX_MAX_CONTROL_FRAME || in_head.nfds || !(in_body = malloc(in_head.length))) {
                drop_control();
                return;
            }
            continue;
        }
        take_frame();
    }
}

/* A peer in the container's own PID namespace has a pid here; one from outside has none. */
static bool is_owner(int fd, uid_t owner) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == 0 && peer.uid == owner;
}

/* A run's processes are in a PID namespace of their own, so their status has two numbers here. */
bool is_beside(int fd) {
    char path[64], line[256];
    bool beside = false;
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid <= 1 || peer.uid != 0)
        return false;
    snprintf(path, sizeof path, "/proc/%d/status", peer.pid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof line, status)) {
        int first, second;
        if (strncmp(line, "NSpid:", 6) == 0)
            beside = sscanf(line + 6, "%d %d", &first, &second) == 1;
    }
    if (status)
        fclose(status);
    return beside;
}

static bool may_connect(int fd, const struct setup *setup) {
    return setup->portable ? is_beside(fd) : is_owner(fd, setup->owner);
}

static void refuse(int fd, const char *text) {
    char payload[sizeof(struct dx_failed) + MESSAGE_BYTES];
    struct dx_failed failed = {125};
    size_t length = strlen(text);
    memcpy(payload, &failed, sizeof failed);
    memcpy(payload + sizeof failed, text, length);
    frame_send(fd, DX_FAILED, payload, sizeof failed + length, NULL, 0); /* fits any socket's buffer */
}

static void start_monitor(int launcher, const struct setup *setup, int signals, int report) {
    size_t slot = 0;
    while (slot < runs_end && runs[slot].monitor)
        slot++;
    if (slot == MAX_RUNS) {
        refuse(launcher, "the container has 4096 runs, which is its limit; try again when some have ended");
        return;
    }
    long pid = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        int mine[] = {setup->run_listener, setup->control_listener, signals, reports};
        close_all(mine, sizeof mine / sizeof mine[0]);
        if (control >= 0)
            close(control);
        monitor(setup, launcher, report, (uint32_t)slot);
    }
    if (pid < 0) {
        refuse(launcher, errno == EAGAIN ? "the container's process limit is reached; raise the tool's pids, or "
                                           "try again when some runs have ended"
                                         : "the container can start no more processes");
        return;
    }
    runs[slot] = (struct run){.monitor = (pid_t)pid};
    if (slot >= runs_end)
        runs_end = slot + 1;
}

static void serve(const struct setup *setup, int signals, int report) {
    struct pollfd fds[] = {
        {.fd = setup->run_listener, .events = POLLIN},
        {.fd = setup->control_listener, .events = POLLIN},
        {.fd = signals, .events = POLLIN},
        {.fd = reports, .events = POLLIN},
        {.fd = -1, .events = POLLIN},
    };
    for (;;) {
        int fd;
        fds[4].fd = control;
        fds[4].events = (short)(POLLIN | (news ? POLLOUT : 0));
        if (poll(fds, 5, TICK_MS) < 0 && errno != EINTR)
            _exit(1);
        if (fds[2].revents) {
            struct signalfd_siginfo info;
            while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
                if (info.ssi_signo == SIGTERM)
                    return;
            reap();
        }
        if (fds[3].revents)
            drain_reports();
        if (fds[1].revents && (fd = accept4(setup->control_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            if (may_connect(fd, setup))
                take_control(fd);
            else
                close(fd);
        }
        if (fds[4].revents)
            read_control();
        /* The daemon sends a lease before it tells the launcher, so after accept() its bytes are here. */
        if (fds[0].revents && (fd = accept4(setup->run_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            read_control();
            if (may_connect(fd, setup))
                start_monitor(fd, setup, signals, report);
            close(fd);
        }
        if (news)
            tell_news();
        leases_expire();
        if (control < 0 && !runs_end && now_ns() - alone_since_ns > ORPHAN_NS)
            return;
    }
}

int main(int argc, char **argv) {
    static struct setup setup;
    int pair[2];
    sigset_t all;
    const char *use = argc == 2 ? argv[1] : "";
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (strcmp(use, "link") == 0)
        return link_daemon();
    if (strcmp(use, "attach") == 0)
        return attach_launcher();
    if (argc > 1 && strcmp(argv[1], "volumes") == 0)
        return volumes_main(argc - 2, argv + 2);
    if (getpid() != 1) {
        fputs("dx agent: this program is PID 1 of dx's containers and of no use elsewhere\n", stderr);
        return 125;
    }
    setup.portable = strcmp(use, "portable") == 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    umask(0);
    set_up(&setup);
    ready.once = setup.layer == DX_ROOT_ONCE ? DX_ONCE_FRESH : DX_ONCE_NOT;
    ready.error = (uint16_t)setup.refused;
    filter_prepare();
    command_prepare();
    int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || leases_open() < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 1;
    reports = pair[0];
    take_control(setup.control);
    serve(&setup, signals, pair[1]);
    return 0;
}
