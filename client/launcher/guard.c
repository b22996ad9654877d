/* A small process that puts the terminal's modes back where the launcher was killed before it could.
 *
 * It is in a process group of its own, so that nothing that is meant for the launcher's group reaches it, and holds
 * nothing but the terminal and a socket from the launcher. What comes by it is what the modes were and what they are
 * now; a byte alone says that all is well; the end without it says that the launcher was killed. */
#include "launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELLS_TURN_MS 50

struct modes {
    struct termios before, during;
};

static int to_guard = -1;
static pid_t guard;

/* Not by memcmp(3): the kernel has fewer control characters than the structure, and leaves the rest as it was. */
bool modes_are_same(const struct termios *a, const struct termios *b) {
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag &&
           memcmp(a->c_cc, b->c_cc, VEOL2 + 1) == 0;
}

/* A shell that has taken the terminal back sets it as it likes, and soon: that must not be undone. But not all do. */
static void put_back(int terminal, const struct modes *modes, pid_t group) {
    struct termios now;
    if (tcgetpgrp(terminal) != group)
        poll(NULL, 0, SHELLS_TURN_MS);
    if (tcgetattr(terminal, &now) == 0 && modes_are_same(&now, &modes->during))
        tcsetattr(terminal, TCSANOW, &modes->before);
}

static void watch(int terminal, int from_launcher, pid_t group) __attribute__((noreturn));
static void watch(int terminal, int from_launcher, pid_t group) {
    struct modes modes, next;
    bool known = false;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* SIGTTOU too: blocked, it stops nobody */
    setpgid(0, 0);
    if (dup2(terminal, 0) < 0 || dup2(from_launcher, 1) < 0 || syscall(SYS_close_range, 2, ~0U, 0) < 0 || chdir("/") < 0)
        _exit(1);
    for (;;) {
        ssize_t n = read(1, &next, sizeof next);
        if (n == (ssize_t)sizeof next) {
            modes = next;
            known = true;
        } else if (n == 0) {
            if (known)
                put_back(0, &modes, group);
            _exit(0);
        } else if (n > 0 || errno != EINTR) {
            _exit(0);
        }
    }
}

static void start(int terminal) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return; /* without a guard only SIGKILL leaves a trace */
    pid_t group = getpgrp();
    guard = fork();
    if (guard == 0) {
        close(ends[1]);
        watch(terminal, ends[0], group);
    }
    close(ends[0]);
    to_guard = ends[1];
}

bool guard_knows(void) {
    return guard > 0;
}

void guard_tell(int terminal, const struct termios *before, const struct termios *during) {
    struct modes modes;
    memset(&modes, 0, sizeof modes);
    modes.before = *before;
    modes.during = *during;
    if (guard == 0)
        start(terminal);
    if (to_guard >= 0)
        send(to_guard, &modes, sizeof modes, MSG_NOSIGNAL);
}

void guard_dismiss(void) {
    if (guard <= 0)
        return;
    send(to_guard, "", 1, MSG_NOSIGNAL);
    close(to_guard);
    waitpid(guard, NULL, 0);
    guard = -1;
}
