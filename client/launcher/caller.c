/* What a run inherits from whoever called the launcher, besides argv and environment. */
#include "launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static bool was_closed[3];

void caller_secure_stdio(void) {
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        was_closed[fd] = true;
        if (open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
            die(EXIT_DX, "cannot open /dev/null: %s", strerror(errno));
    }
}

void caller_describe(struct dx_start *start) {
    mode_t mask = umask(0);
    umask(mask);
    start->umask = (uint16_t)mask;
    errno = 0;
    int nice_value = getpriority(PRIO_PROCESS, 0);
    start->nice = errno ? 0 : nice_value;
    for (int n = 1; n < DX_SIGNALS; n++) {
        struct sigaction action;
        if (sigaction(n, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            start->ignored |= 1ULL << (n - 1);
    }
    for (int i = 0; i < DX_RLIMITS; i++) {
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        getrlimit(i, &limit);
        start->rlimits[i].soft = limit.rlim_cur;
        start->rlimits[i].hard = limit.rlim_max;
    }
}

/* 0-2 as they are; above them what was left open on purpose for a child: pipes, sockets and files, no doors. */
static bool passes(int fd) {
    struct stat st;
    int flags = fcntl(fd, F_GETFD);
    if (fd < 3)
        return !was_closed[fd];
    if (flags < 0 || flags & FD_CLOEXEC || fcntl(fd, F_GETFL) & O_PATH || fstat(fd, &st) < 0)
        return false;
    return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISREG(st.st_mode);
}

size_t caller_descriptors(uint32_t terminal, int *fds, int32_t *targets, size_t room) {
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        die(EXIT_DX, "cannot list the open descriptors: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(dir) || !passes(fd) || (fd < 3 && terminal >> fd & 1))
            continue;
        if (n == room)
            die(EXIT_DX, "more than %zu descriptors are open; close some before the run", room);
        fds[n] = fd;
        targets[n++] = fd;
    }
    closedir(dir);
    return n;
}
