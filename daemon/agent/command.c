/* From the monitor to the command.
 *
 * The child shares the monitor's memory until it executes (vfork), so it only makes system calls and writes what
 * failed into `attempt`. Order matters: descriptors first, identity next, limits after that, exec last. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES 65536

/* What a tool's root may do that others may not, all of it to files of its own root and to its own processes: what
 * package managers need. Nothing that reaches past the run: see docs/decisions/0011. */
#define ROOTS                                                                                               \
    (1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER | 1U << CAP_FSETID | 1U << CAP_KILL |       \
     1U << CAP_SETGID | 1U << CAP_SETUID)

#if defined(__SANITIZE_ADDRESS__)
#define CHILD_FLAGS (CLONE_VFORK | SIGCHLD) /* the sanitizer keeps one shadow for each process */
#define CHILD_MEMORY MAP_SHARED
#else
#define CHILD_FLAGS (CLONE_VFORK | CLONE_VM | SIGCHLD)
#define CHILD_MEMORY MAP_PRIVATE /* all of it is the child's too, and this needs no file behind it */
#endif

/* Shared with the child, read when it has gone. */
struct attempt {
    const struct lease *lease;
    const struct dx_start *start;
    const int *targets, *fds;
    int terminal;
    char **argv, **env;
    const char *path;
    const char *stage;
    int error;
};

static int place_descriptors(const struct attempt *a) {
    int spare[DX_MAX_FDS + 3], top = 3;
    for (size_t i = 0; i < a->start->nstd; i++)
        if (a->targets[i] >= top)
            top = a->targets[i] + 1;
    /* First out of the way of every target, then into place. */
    for (size_t i = 0; i < a->start->nstd; i++)
        if ((spare[i] = fcntl(a->fds[i], F_DUPFD_CLOEXEC, top)) < 0)
            return -1;
    for (int fd = 0; fd < top; fd++) {
        size_t i = 0;
        while (i < a->start->nstd && a->targets[i] != fd)
            i++;
        if (i == a->start->nstd)
            close(fd);
        else if (dup2(spare[i], fd) < 0)
            return -1;
    }
    return (int)syscall(SYS_close_range, top, ~0U, 0);
}

/* The bounding set of the container, which never grows. */
static uint64_t bounding;

void command_prepare(void) {
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1) /* -1: past the last capability of this kernel */
            bounding |= 1ULL << cap;
}

static int drop_privileges(const struct attempt *a) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct keep[2] = {{0}};
    const struct lease *l = a->lease;
    uint32_t kept = l->user && l->uid == 0 ? ROOTS : 0;
    keep[0].permitted = keep[0].effective = kept;
    for (int cap = 0; cap < 64; cap++)
        if ((bounding & ~(uint64_t)kept) >> cap & 1 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -1;
    if (syscall(SYS_setgroups, l->ngroups, l->groups) < 0 || syscall(SYS_setresgid, l->gid, l->gid, l->gid) < 0 ||
        syscall(SYS_setresuid, l->uid, l->uid, l->uid) < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &head, keep) < 0)
        return -1;
    return 0;
}

/* The caller's limits, or those of the tool, as far as the container's own allow. */
static void take_limits(const struct lease *lease, const struct dx_start *start) {
    for (int i = 0; i < DX_RLIMITS; i++) {
        struct rlimit now, wanted = {start->rlimits[i].soft, start->rlimits[i].hard};
        if (getrlimit(i, &now) < 0)
            continue;
        if (i == RLIMIT_CORE) /* the machine's own core_pattern would be asked, about a program it does not have */
            wanted = (struct rlimit){0, 0};
        if (lease->rlimits[i].given)
            wanted = (struct rlimit){lease->rlimits[i].soft, lease->rlimits[i].hard};
        if (wanted.rlim_max > now.rlim_max)
            wanted.rlim_max = now.rlim_max;
        if (wanted.rlim_cur > wanted.rlim_max)
            wanted.rlim_cur = wanted.rlim_max;
        if (wanted.rlim_cur != now.rlim_cur || wanted.rlim_max != now.rlim_max)
            setrlimit(i, &wanted);
    }
    setpriority(PRIO_PROCESS, 0, start->nice);
}

/* Where memory runs out, a run goes before its monitor and the agent, which all other runs need. */
static void come_first(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "200", 3);
        close(fd);
    }
}

static void take_signals(const struct dx_start *start) {
    sigset_t none;
    for (int n = 1; n < DX_SIGNALS; n++)
        if (n != SIGKILL && n != SIGSTOP && start->ignored >> (n - 1) & 1)
            signal(n, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* execvp(3), but a file that is no program is an error and not a shell script. */
static void execute(struct attempt *a) {
    static char file[4096];
    const char *name = a->lease->file;
    int error = ENOENT;
    if (strchr(name, '/')) {
        execve(name, a->argv, a->env);
        a->error = errno;
        return;
    }
    for (const char *dir = a->path; dir; dir = *dir ? dir + 1 : NULL) {
        size_t length = strcspn(dir, ":"), name_length = strlen(name);
        if (length + name_length + 2 <= sizeof file) {
            memcpy(file, dir, length);
            if (length)
                file[length++] = '/';
            memcpy(file + length, name, name_length + 1);
            bool is_there = access(file, F_OK) == 0; /* an execve(2) that finds nothing costs more */
            if (is_there)
                execve(file, a->argv, a->env);
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
                a->error = errno;
                return;
            }
            if (errno == EACCES || is_there)
                error = errno == EACCES ? EACCES : ELIBACC; /* its interpreter is not there */
        }
        dir += strcspn(dir, ":");
    }
    a->error = error;
}

#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize("address")))
#endif
static int child(void *arg) {
    struct attempt *a = arg;
    a->stage = "the run's process group";
    if (setpgid(0, 0) < 0 || (a->terminal >= 0 && tcsetpgrp(a->terminal, getpid()) < 0))
        goto failed;
    a->stage = "the run's descriptors";
    if (place_descriptors(a) < 0)
        goto failed;
    if (a->lease->limited)
        come_first();
    a->stage = "the run's identity";
    if (drop_privileges(a) < 0)
        goto failed;
    a->stage = "cwd";
    if (chdir(a->lease->cwd) < 0)
        goto failed;
    umask(a->start->umask & 0777);
    take_limits(a->lease, a->start);
    take_signals(a->start);
    a->stage = "the run's filter of system calls";
    if (filter_install() < 0)
        goto failed;
    a->stage = "exec";
    execute(a);
    _exit(127);
failed:
    a->error = errno;
    _exit(127);
}

static char **pointers(const struct strings *list) {
    char **array = malloc((list->count + 1) * sizeof *array);
    const char *at = list->bytes;
    if (!array)
        return NULL;
    for (size_t i = 0; i < list->count; i++, at += strlen(at) + 1)
        array[i] = (char *)(uintptr_t)at;
    array[list->count] = NULL;
    return array;
}

static const char *find_path(char **env) {
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int explain(const struct attempt *a, struct failure *f) {
    const struct lease *l = a->lease;
    struct stat st;
    if (strcmp(a->stage, "cwd") == 0)
        return fail(f, 125, "cannot enter %s in the tool's root: %s; run it from another directory", l->cwd,
                    strerror(a->error));
    if (strcmp(a->stage, "exec") != 0)
        return fail(f, 125, "cannot start the run: %s: %s", a->stage, strerror(a->error));
    switch (a->error) {
    case ENOENT:
        if (strchr(l->file, '/') && chdir(l->cwd) == 0 && stat(l->file, &st) == 0)
            break;
        return fail(f, 127, "%s: not found in the image", l->file);
    case ENOTDIR:
        return fail(f, 127, "%s: not found in the image", l->file);
    case ELIBACC:
        break;
    case EACCES:
        return fail(f, 126, "%s: in the image, but not executable by you; check its mode", l->file);
    case ENOEXEC:
        return fail(f, 126, "%s: not a program of this machine; is the image built for another architecture?", l->file);
    case E2BIG:
        return fail(f, 126, "%s: the arguments and the environment are too long for the kernel", l->file);
    default:
        return fail(f, 126, "%s: %s", l->file, strerror(a->error));
    }
    return fail(f, 127, "%s: in the image, but its interpreter (first line, or dynamic loader) is not", l->file);
}

pid_t command_start(const struct lease *lease, const struct dx_start *start, const int *targets, const int *fds,
                    int terminal, struct failure *f) {
    static char stack[STACK_BYTES] __attribute__((aligned(16)));
    struct attempt *a = mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, CHILD_MEMORY | MAP_ANONYMOUS, -1, 0);
    if (a == MAP_FAILED)
        return fail(f, 125, "cannot start the run: %s", strerror(errno));
    *a = (struct attempt){.lease = lease, .start = start, .targets = targets, .fds = fds, .terminal = terminal};
    a->argv = pointers(&lease->argv);
    a->env = pointers(&lease->env);
    if (!a->argv || !a->env)
        return fail(f, 125, "cannot start the run: no memory for its arguments");
    a->path = find_path(a->env);
    pid_t pid = clone(child, stack + sizeof stack, CHILD_FLAGS, a);
    if (pid < 0)
        return fail(f, 125, errno == EAGAIN ? "the container's process limit is reached; raise the tool's pids"
                                            : "cannot start the run: no process");
    if (a->error)
        return explain(a, f);
    return pid;
}
