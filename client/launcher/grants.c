/* Opening what the daemon leased, with the caller's own rights: a detached mount each.
 *
 * Cloning a mount takes CAP_SYS_ADMIN over the mount namespace. Root has it; everyone else enters a user and mount
 * namespace of their own first, which needs no privilege and, for open_tree(2), no mapping of ids. Where that is refused
 * the daemon is told, and has a container begun with them. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef RESOLVE_NO_SYMLINKS
#define RESOLVE_NO_SYMLINKS 4
struct open_how {
    uint64_t flags, mode, resolve;
};
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/* What the daemon leased has no link on its way: one that is there now was not when it decided. */
static int clone_tree(const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd < 0)
        return -1;
    int tree = (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | O_CLOEXEC);
    int saved = errno;
    close(fd);
    errno = saved;
    return tree;
}

bool grants_open(const struct lease *lease, int *mounts) {
    bool entered = false;
    for (size_t i = 0; i < lease->ngrants; i++) {
        const char *path = lease->grants[i].path;
        mounts[i] = clone_tree(path);
        if (mounts[i] < 0 && errno == EPERM) {
            /* Some machines refuse a namespace, and some its rights. */
            if (entered || unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                goto refused;
            entered = true;
            mounts[i] = clone_tree(path);
        }
        if (mounts[i] < 0 && errno == ELOOP)
            die(EXIT_DX, "%s changed while it was granted: there is a link on the way to it now; try again", path);
        if (mounts[i] < 0 && errno != EPERM)
            die(EXIT_DX, "%s cannot be granted: %s", path, strerror(errno));
        if (mounts[i] >= 0)
            continue;
    refused:
        while (i--)
            close(mounts[i]);
        return false;
    }
    return true;
}
