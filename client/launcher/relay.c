/* From the lease to the end of the run.
 *
 * The run's bytes do not pass here, but for those of a terminal: the agent gets the caller's own descriptors. What is
 * left to do is to pass signals on, to stop as the run stops and to end as it ended. */
#include "launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_NS 2000000000ULL
#define MAX_LATE 30 /* times the daemon may vouch for a silent agent, each after PATIENCE_NS */

static sigset_t forwarded, before;
static uint64_t passed_on; /* bit n-1 set: signal n was sent to the run from here */

/* From here on signals wait in a descriptor; those that the caller ignores stay ignored. */
static int hold_signals(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGTSTP, SIGWINCH};
    struct sigaction action;
    sigemptyset(&forwarded);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (sigaction(all[i], NULL, &action) < 0 || action.sa_handler != SIG_IGN)
            sigaddset(&forwarded, all[i]);
    sigprocmask(SIG_BLOCK, &forwarded, &before);
    int fd = signalfd(-1, &forwarded, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        die(EXIT_DX, "cannot watch for signals: %s", strerror(errno));
    return fd;
}

static bool sent(int number) {
    return passed_on >> (number - 1) & 1;
}

/* A key of the terminal means all of the foreground, and natively a script that waits for the command hears of it. */
static void tell_group(int number) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, action;
    if (sigismember(&forwarded, number) == 1) {
        kill(0, number); /* blocked here */
        return;
    }
    sigaction(number, &ignore, &action);
    kill(0, number);
    sigaction(number, &action, NULL);
}

/* Stop as the run did, so that the shell says the same and takes its terminal back. */
static void stop_like(int agent, int number) {
    struct sigaction by_default = {.sa_handler = SIG_DFL}, action;
    sigset_t one, now, pending;
    bool whole_group = number == SIGTSTP && !sent(number) && terminal_is_on();
    terminal_restore();
    if (whole_group)
        tell_group(number);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &by_default, &action);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, &now); /* here it stops, and goes on after CONT */
    sigprocmask(SIG_SETMASK, &now, NULL);
    sigaction(number, &action, NULL);
    passed_on &= ~(1ULL << (number - 1));
    sigpending(&pending);
    if (sigismember(&forwarded, SIGCONT) == 1 && sigismember(&pending, SIGCONT) == 1)
        return; /* it will come as any other does */
    /* No shell could have continued this group, so the kernel did not stop it. */
    struct dx_signal go_on = {SIGCONT, true};
    terminal_look(agent);
    frame_send(agent, DX_SIGNAL, &go_on, sizeof go_on, NULL, 0);
}

static char notes[2048]; /* lines for the end, each ended by NUL */
static size_t notes_length;

/* End as the run did: by its signal too, and without a core of ours. */
static void end_like(int32_t status) __attribute__((noreturn));
static void end_like(int32_t status) {
    int number = status & 0x7f;
    bool typed = (number == SIGINT || number == SIGQUIT) && !sent(number) && terminal_was_typed(number);
    terminal_restore();
    guard_dismiss();
    for (const char *line = notes; *line; line += strlen(line) + 1)
        fprintf(stderr, "dx: %s\n", line);
    if (number == 0)
        _exit(status >> 8 & 0xff);
    struct rlimit none = {0, 0};
    sigset_t set;
    setrlimit(RLIMIT_CORE, &none);
    if (typed)
        tell_group(number);
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

/* Also before we are told that the run has begun: by then it may have, and a frame waits for it in the socket. */
static void forward(int agent, const struct signalfd_siginfo *info) {
    /* The kernel's own come from a terminal and mean the whole group; what a process sent means the command. */
    bool from_kernel = info->ssi_code == SI_KERNEL;
    if (info->ssi_signo == SIGCONT || info->ssi_signo == SIGHUP)
        terminal_look(agent);
    if (info->ssi_signo == SIGWINCH && from_kernel && terminal_is_on()) {
        terminal_resize(); /* the run's own terminal tells it, if the size is another */
        return;
    }
    passed_on |= 1ULL << (info->ssi_signo - 1);
    /* What continues this process continues a job: all of it. */
    struct dx_signal wanted = {info->ssi_signo, from_kernel || info->ssi_signo == SIGCONT};
    frame_send(agent, DX_SIGNAL, &wanted, sizeof wanted, NULL, 0);
}

static bool is_ending(uint32_t number) {
    return number != SIGCONT && number != SIGWINCH && number != SIGTSTP;
}

static int connect_agent(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        die(EXIT_DX, "the path of the agent's socket is too long: %s; set DX_RUNTIME_DIR to a shorter one", path);
    strcpy(address.sun_path, path);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock >= 0 && connect(sock, (struct sockaddr *)&address, sizeof address) == 0)
        return sock;
    if (sock >= 0)
        close(sock);
    return -1;
}

static void take_failed(const char *payload, size_t length) __attribute__((noreturn));
static void take_failed(const char *payload, size_t length) {
    struct dx_failed failed = {EXIT_DX};
    if (length < sizeof failed)
        die(EXIT_DX, "the agent failed and does not say why");
    memcpy(&failed, payload, sizeof failed);
    die((int)failed.code, "%.*s", (int)(length - sizeof failed), payload + sizeof failed);
}

/* What an agent said that closed the connection without reading; leaves errno alone. */
static void hear_refusal(int agent) {
    static char payload[DX_MAX_RUN_FRAME];
    struct dx_head head;
    int saved = errno;
    if ((saved == EPIPE || saved == ECONNRESET) &&
        frame_receive(agent, &head, payload, sizeof payload, NULL, NULL, 0) == 0 && head.type == DX_FAILED)
        take_failed(payload, head.length);
    errno = saved;
}

/* Everything the run needs, in one frame. */
enum outcome { SENT, LOST, NO_GRANTS };
static enum outcome send_start(int agent, const struct lease *lease) {
    struct {
        struct dx_start start;
        char rest[DX_MAX_FDS * sizeof(int32_t) + sizeof(struct dx_terminal)];
    } payload = {.start = {.version = DX_WIRE_VERSION, .run = lease->run, .ngrants = (uint16_t)lease->ngrants}};
    int fds[DX_MAX_FDS];
    int32_t targets[DX_MAX_FDS];
    payload.start.terminal = terminal_find();
    size_t n = caller_descriptors(payload.start.terminal, fds, targets, DX_MAX_FDS - lease->ngrants);
    size_t length = n * sizeof(int32_t);
    memcpy(payload.rest, targets, length);
    if (payload.start.terminal) {
        struct dx_terminal terminal;
        terminal_describe(&terminal);
        memcpy(payload.rest + length, &terminal, sizeof terminal);
        length += sizeof terminal;
    }
    memcpy(payload.start.token, lease->token, sizeof lease->token);
    payload.start.nstd = (uint16_t)n;
    caller_describe(&payload.start);
    if (!grants_open(lease, fds + n))
        return NO_GRANTS;
    int rc = frame_send(agent, DX_START, &payload, sizeof payload.start + length, fds, n + lease->ngrants);
    if (rc < 0)
        hear_refusal(agent);
    close_all(fds + n, lease->ngrants);
    return rc == 0 ? SENT : LOST;
}

/* One frame from the agent; false when the run has begun no less than before. */
static void take_frame(int agent, int signals, bool *started) {
    static char payload[DX_MAX_RUN_FRAME];
    struct dx_head head;
    struct dx_exit exited;
    int fds[DX_MAX_FDS];
    size_t nfds = 0;
    uint32_t number = 0;
    if (frame_receive(agent, &head, payload, sizeof payload, fds, &nfds, 0) < 0) {
        terminal_drain(signals, true);
        die(EXIT_DX, "%s; see: dx ps",
            *started ? "the container of this run was stopped, and the run with it"
                     : "the container went away before the run began; try again");
    }
    switch (head.type) {
    case DX_STARTED:
        *started = true;
        if (nfds == 1)
            terminal_begin(agent, fds[0]);
        break;
    case DX_STOPPED:
        if (head.length == sizeof number)
            memcpy(&number, payload, sizeof number);
        stop_like(agent, number > 0 && number < DX_SIGNALS ? (int)number : SIGSTOP);
        break;
    case DX_NOTE: /* shown when the terminal is the caller's again */
        if (head.length && notes_length + head.length + 2 <= sizeof notes) {
            memcpy(notes + notes_length, payload, head.length);
            notes_length += head.length + 1;
        }
        break;
    case DX_FAILED:
        take_failed(payload, head.length);
    case DX_EXIT:
        if (head.length != sizeof exited)
            die(EXIT_DX, "the agent's report is malformed; run: dx stop --all");
        memcpy(&exited, payload, sizeof exited);
        terminal_drain(signals, exited.status & 0x7f);
        end_like(exited.status);
    default:
        die(EXIT_DX, "the agent speaks another version; run: dx stop --all");
    }
}

/* The agent has been silent: does the daemon still vouch for it? If not, there is a new lease. */
static bool ask_again(struct request *request, struct lease *lease) {
    struct lease other;
    request->late = lease->run;
    sigprocmask(SIG_SETMASK, &before, NULL); /* nothing has begun: a signal may end the waiting */
    lease_ask(request, &other);
    sigprocmask(SIG_BLOCK, &forwarded, NULL);
    if (other.still_alive)
        return false;
    *lease = other;
    return true;
}

/* See the run through; returns when the agent has to be given up before it began. */
static void attend(int agent, int signals, struct request *request, struct lease *lease) {
    struct pollfd fds[4] = {{.fd = agent, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    uint64_t patience = now_ns() + PATIENCE_NS;
    bool started = false;
    int32_t asked_to_end = 0; /* by the first such signal; ours to obey if the run does not begin */
    for (int late = 0;;) {
        int timeout = -1;
        if (terminal_has_gone() && sigismember(&forwarded, SIGHUP) == 1)
            end_like(SIGHUP); /* the agent hangs up on the run, and sees that it ends; under nohup it goes on */
        if (!started) {
            uint64_t now = now_ns();
            timeout = now >= patience ? 0 : (int)((patience - now) / 1000000U) + 1;
        }
        terminal_poll(fds + 2);
        int n = poll(fds, 4, timeout);
        if (n == 0 && !started) {
            if (asked_to_end)
                end_like(asked_to_end);
            if (++late > MAX_LATE)
                die(EXIT_DX, "the container does not start the run; run: dx stop --all");
            if (ask_again(request, lease))
                return;
            patience = now_ns() + PATIENCE_NS;
        }
        if (n > 0 && fds[1].revents) {
            struct signalfd_siginfo info;
            while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
                if (info.ssi_signo == SIGHUP && info.ssi_code == SI_KERNEL)
                    end_like(SIGHUP); /* the terminal's, or that of its session's leader: as above */
                forward(agent, &info);
                if (!started && !asked_to_end && is_ending(info.ssi_signo))
                    asked_to_end = (int32_t)info.ssi_signo;
            }
        }
        if (n > 0)
            terminal_pump(fds + 2);
        if (n > 0 && fds[0].revents)
            take_frame(agent, signals, &started);
    }
}

/* This machine does not let us open grants: have a lease of a container that was begun with them. */
static void ask_bound(struct request *request, struct lease *lease) {
    if (request->bind)
        die(EXIT_DX, "this machine refuses user namespaces to you, so %s cannot be granted; see: dx doctor",
            lease->grants[0].path);
    request->bind = lease->run;
    request->late = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    lease_ask(request, lease);
    sigprocmask(SIG_BLOCK, &forwarded, NULL);
}

void relay(struct request *request, struct lease *lease) {
    int signals = hold_signals();
    for (int lost = 0;;) {
        int agent = connect_agent(lease->agent);
        enum outcome outcome = agent >= 0 ? send_start(agent, lease) : LOST;
        if (outcome == SENT) {
            attend(agent, signals, request, lease);
        } else if (outcome == NO_GRANTS) {
            ask_bound(request, lease);
        } else if (++lost > 3) {
            die(EXIT_DX, "cannot reach the container: %s; run: dx stop --all", strerror(errno));
        } else if (!ask_again(request, lease)) {
            continue;
        }
        if (agent >= 0)
            close(agent);
    }
}
