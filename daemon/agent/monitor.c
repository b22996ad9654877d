/* The monitor of one run: PID 1 of the run's PID namespace, so that its end is the end of everything in it.
 *
 * It trusts nothing that the launcher sends. When the launcher goes away the run gets HUP, TERM after two seconds and
 * KILL after five. A signal that the daemon passes on comes from the agent as SIGUSR1; its value is the number, and 256
 * more for the whole group. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_SECONDS 5
#define TERM_NS 2000000000ULL
#define KILL_NS 5000000000ULL

struct watch {
    int launcher, signals, terminal; /* the last -1 where the run has none */
    pid_t command;
    int status;
    uint64_t gone_ns; /* when the launcher went away, or 0 */
    bool termed;
};

static int report_socket;
static struct report report;

static void tell_agent(void) {
    send(report_socket, &report, sizeof report, MSG_NOSIGNAL);
}

static void end_failed(int launcher, const struct failure *f) __attribute__((noreturn));
static void end_failed(int launcher, const struct failure *f) {
    char payload[sizeof(struct dx_failed) + MESSAGE_BYTES];
    struct dx_failed failed = {f->code};
    size_t length = strnlen(f->text, MESSAGE_BYTES);
    report.exited = 1;
    report.run.code = f->code;
    tell_agent();
    memcpy(payload, &failed, sizeof failed);
    memcpy(payload + sizeof failed, f->text, length);
    frame_send(launcher, DX_FAILED, payload, sizeof failed + length, NULL, 0);
    _exit(0);
}

/* The devices that are the same everywhere, by their minor numbers: the run gets the container's. */
static const char *memory_device(const struct stat *st) {
    static const char *const names[] = {[3] = "/dev/null", [5] = "/dev/zero", [7] = "/dev/full", [8] = "/dev/random", [9] = "/dev/urandom"};
    return major(st->st_rdev) == 1 && minor(st->st_rdev) < sizeof names / sizeof names[0] ? names[minor(st->st_rdev)]
                                                                                           : NULL;
}

/* Root could change the owner and the mode of the machine's own device, with no capability too. -1: it is another device. */
static int own_device(int fd, const struct stat *st) {
    const char *device = memory_device(st);
    int own = device ? open(device, (fcntl(fd, F_GETFL) & O_ACCMODE) | O_CLOEXEC) : -1;
    if (own < 0)
        return -1;
    int rc = dup3(own, fd, O_CLOEXEC);
    close(own);
    return rc < 0 ? -1 : 0;
}

/* Where the run is somebody else than its caller, a descriptor is that one's way to files whose ids are not mapped, as
 * those of grants are: it can be opened anew through /proc, and, by root, given away and made setuid. It gets a pipe. */
static int check_foreign(const struct setup *setup, const struct lease *lease, int fd, const struct stat *st, int target,
                         struct failure *f) {
    if (S_ISCHR(st->st_mode) && lease->uid == 0 && own_device(fd, st) < 0 && setup->user.mapped && !isatty(fd))
        return fail(f, 125, "descriptor %d is a device, which a tool that is not you may not be handed", target);
    if (S_ISREG(st->st_mode) && setup->user.mapped && (lease->uid == 0 || st->st_uid != setup->owner))
        return pump_add(setup, lease, fd, target, f);
    return 0;
}

/* The run's descriptors: only what cannot be a door out of its root. */
static int check_descriptors(const struct setup *setup, const struct lease *lease, const int *fds, const int *targets,
                             const struct dx_start *start, struct failure *f) {
    for (size_t i = 0; i < start->nstd; i++) {
        struct stat st;
        int flags = fcntl(fds[i], F_GETFL);
        if (targets[i] < 0 || targets[i] >= 1 << 20)
            return fail(f, 125, "the launcher named a descriptor that cannot be");
        if (targets[i] < 3 && start->terminal >> targets[i] & 1)
            return fail(f, 125, "the launcher named one descriptor twice");
        for (size_t j = 0; j < i; j++)
            if (targets[j] == targets[i])
                return fail(f, 125, "the launcher named one descriptor twice");
        if (flags < 0 || fstat(fds[i], &st) < 0)
            return fail(f, 125, "descriptor %d: %s", targets[i], strerror(errno));
        if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) || flags & O_PATH)
            return fail(f, 125, "descriptor %d is %s, which a tool may not be handed; name it as an argument instead",
                        targets[i],
                        S_ISDIR(st.st_mode)   ? "a directory"
                        : S_ISBLK(st.st_mode) ? "a block device"
                                              : "a path without access (O_PATH)");
        if (check_foreign(setup, lease, fds[i], &st, targets[i], f) < 0)
            return -1;
    }
    return 0;
}

static void read_start(int launcher, char *payload, struct dx_start *start, struct dx_terminal *terminal, int *targets,
                       int *fds, size_t *nfds) {
    struct failure f;
    struct dx_head head;
    if (frame_receive(launcher, &head, payload, DX_MAX_RUN_FRAME, fds, nfds, now_ns() + START_SECONDS * 1000000000ULL) <
        0) {
        if (errno == ECONNRESET)
            _exit(0);
        fail(&f, 125, "the launcher's request is malformed: %s", strerror(errno));
        end_failed(launcher, &f);
    }
    uint16_t version = 0;
    if (head.length >= sizeof version)
        memcpy(&version, payload, sizeof version);
    if (head.type == DX_START && version != DX_WIRE_VERSION) {
        fail(&f, 125, "the container's agent speaks version %d and this dx version %d; run: dx stop --all",
             DX_WIRE_VERSION, version);
        end_failed(launcher, &f);
    }
    if (head.length >= sizeof *start)
        memcpy(start, payload, sizeof *start);
    size_t extra = head.length >= sizeof *start && start->terminal ? sizeof *terminal : 0;
    if (head.type != DX_START || head.length < sizeof *start || start->terminal > 7 ||
        head.length != sizeof *start + start->nstd * sizeof(int32_t) + extra || start->nstd > DX_MAX_FDS ||
        (size_t)start->nstd + start->ngrants != *nfds) {
        fail(&f, 125, "the launcher's request is malformed");
        end_failed(launcher, &f);
    }
    memcpy(targets, payload + sizeof *start, start->nstd * sizeof(int32_t));
    memcpy(terminal, payload + sizeof *start + start->nstd * sizeof(int32_t), extra);
}

/* A launcher that waited too long has given the run up, and may have started it elsewhere. */
static bool has_gone(int launcher) {
    struct pollfd p = {.fd = launcher, .events = POLLRDHUP};
    return poll(&p, 1, 0) != 0;
}

static void send_signal(const struct watch *w, int number, bool group) {
    if (number > 0 && number < DX_SIGNALS)
        kill(group ? -w->command : w->command, number);
}

/* What a shell does with a job's group, at the word of the launcher, whose own group was put there by one. In the
 * background a command that reads from its terminal stops, as it would natively. */
static int set_foreground(const struct watch *w, bool foreground) {
    if (w->terminal < 0)
        return -1;
    tcsetpgrp(w->terminal, foreground ? w->command : getpgrp());
    return 0;
}

/* -1: the launcher has gone, or broke the rules. */
static int take_frame(const struct watch *w) {
    struct dx_head head;
    union {
        struct dx_signal signal;
        uint32_t foreground;
    } body;
    if (frame_receive(w->launcher, &head, &body, sizeof body, NULL, NULL, now_ns() + 1000000000ULL) < 0)
        return -1;
    if (head.type == DX_FOREGROUND && head.length == sizeof body.foreground)
        return set_foreground(w, body.foreground);
    if (head.type != DX_SIGNAL || head.length != sizeof body.signal)
        return -1;
    send_signal(w, (int)body.signal.number, body.signal.group);
    return 0;
}

/* Reap all that can be; true when the command itself has ended. */
static bool reap(struct watch *w) {
    int status;
    bool ended = false;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL)) > 0) {
        if (pid != w->command)
            continue;
        if (WIFSTOPPED(status)) {
            uint32_t number = (uint32_t)WSTOPSIG(status);
            frame_send(w->launcher, DX_STOPPED, &number, sizeof number, NULL, 0);
        } else {
            w->status = status;
            ended = true;
        }
    }
    return ended;
}

static bool take_signals(struct watch *w) {
    struct signalfd_siginfo info;
    bool ended = false;
    while (read(w->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            ended |= reap(w);
        else if (info.ssi_signo == SIGUSR1 && info.ssi_pid == 0) /* from outside this namespace: the agent */
            send_signal(w, info.ssi_int & 0xff, info.ssi_int >> 8);
    }
    return ended;
}

static int until_next_step(const struct watch *w) {
    uint64_t due = w->gone_ns + (w->termed ? KILL_NS : TERM_NS), now = now_ns();
    if (!w->gone_ns)
        return -1;
    return due <= now ? 0 : (int)((due - now) / 1000000U) + 1;
}

static void hang_up(struct watch *w) {
    w->gone_ns = now_ns();
    kill(-1, SIGHUP);
    kill(-1, SIGCONT);
}

static void wait_for_end(struct watch *w) {
    struct pollfd fds[2 + MAX_PUMPS] = {{.fd = w->signals, .events = POLLIN}, {.fd = w->launcher, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, 2 + pumps_poll(fds + 2), until_next_step(w));
        if (fds[0].revents && take_signals(w))
            return;
        if (n > 0 && fds[1].fd >= 0 && fds[1].revents && take_frame(w) < 0) {
            fds[1].fd = -1;
            hang_up(w);
        }
        if (n > 0)
            pumps_move(fds + 2);
        if (w->gone_ns && until_next_step(w) == 0) {
            if (w->termed) {
                w->status = SIGKILL;
                return;
            }
            w->termed = true;
            kill(-1, SIGTERM);
            kill(-1, SIGCONT);
        }
    }
}

/* Nothing of the run may act after its end is told. All of it descends from this process, so where there is no child
 * there is nothing, and no need for a kill(2) that goes through every process of the machine. */
static void kill_rest(struct dx_exit *exited) {
    struct rusage usage;
    bool alone = waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD;
    if (!alone && (kill(-1, SIGKILL) == 0 || errno != ESRCH))
        while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
            ;
    getrusage(RUSAGE_CHILDREN, &usage);
    exited->user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000U + (uint64_t)usage.ru_utime.tv_usec;
    exited->system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000U + (uint64_t)usage.ru_stime.tv_usec;
    exited->max_rss_kib = (uint64_t)usage.ru_maxrss;
}

/* The daemon's word of who asks holds for the agent's edge; inside the run is somebody else. */
static void become(struct lease *lease, const struct user *user) {
    lease->user = user;
    lease->uid = user->uid;
    lease->gid = user->gid;
    lease->ngroups = user->ngroups;
    memcpy(lease->groups, user->groups, user->ngroups * sizeof user->groups[0]);
}

void monitor(const struct setup *setup, int launcher, int report_to, uint32_t slot) {
    static char payload[DX_MAX_RUN_FRAME];
    static struct lease lease;
    static int fds[DX_MAX_FDS + 3], targets[DX_MAX_FDS + 3];
    struct dx_start start;
    struct dx_terminal like = {0};
    struct failure f;
    struct watch w = {.launcher = launcher, .terminal = -1};
    size_t nfds = 0;
    int master = -1;
    sigset_t all;

    report_socket = report_to;
    report.slot = slot;
    read_start(launcher, payload, &start, &like, targets, fds, &nfds);
    if (leases_claim(&start, &lease, &f) < 0)
        end_failed(launcher, &f);
    report.run.run = lease.run;
    lease.limited = setup->memory_bytes != 0;
    if (setup->user.given)
        become(&lease, &setup->user);
    size_t wanted = 0;
    for (size_t i = 0; i < lease.ngrants; i++)
        wanted += !(lease.grants[i].flags & DX_GRANT_HERE);
    if (start.ngrants != wanted) {
        fail(&f, 125, "the launcher granted %d paths and the lease has %zu", start.ngrants, wanted);
        end_failed(launcher, &f);
    }
    uint64_t begun = now_ns();
    if (check_descriptors(setup, &lease, fds, targets, &start, &f) < 0 || root_build(setup, &lease, fds + start.nstd, &f) < 0)
        end_failed(launcher, &f);
    close_all(fds + start.nstd, nfds - start.nstd);
    for (size_t i = 0; setup->portable && i < start.nstd; i++)
        fchown(fds[i], lease.uid, lease.gid); /* pipes made for it, which it may open anew by their names */
    /* Leader of the command's session, so that the command's group is none that the kernel takes for an orphan. */
    setsid();
    if (start.terminal && (w.terminal = terminal_make(&like, lease.uid, &master, &f)) < 0)
        end_failed(launcher, &f);
    for (int fd = 0; fd < 3; fd++)
        if (start.terminal >> fd & 1) {
            targets[start.nstd] = fd;
            fds[start.nstd++] = fcntl(w.terminal, F_DUPFD_CLOEXEC, 3);
        }
    sigfillset(&all);
    w.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (has_gone(launcher)) {
        fail(&f, 125, "the launcher went away before the run began");
        end_failed(launcher, &f);
    }
    notes_begin(setup);
    w.command = command_start(&lease, &start, targets, fds, like.foreground ? w.terminal : -1, &f);
    if (w.command < 0)
        end_failed(launcher, &f);
    close_all(fds, start.nstd); /* a pipe's reader must see its end when the run closes it */
    pumps_begin();
    report.run.started = 1;
    tell_agent();
    frame_send(launcher, DX_STARTED, NULL, 0, &master, master >= 0);
    if (master >= 0)
        close(master);
    wait_for_end(&w);
    kill_rest(&report.run.exit);
    if (!pumps_end(launcher) && w.status == 0)
        w.status = 125 << 8; /* the command has ended well, and cannot know */
    if (w.terminal >= 0)
        terminal_release(w.terminal);
    notes_end(setup, &lease, w.status, launcher);
    report.run.exit.status = w.status;
    report.run.duration_ns = now_ns() - begun;
    report.exited = 1;
    tell_agent();
    frame_send(launcher, DX_EXIT, &report.run.exit, sizeof report.run.exit, NULL, 0);
    close(launcher);
    layer_discard();
    _exit(0);
}
