/* Opening what the daemon leased, with the caller's own rights: a detached mount each.
 *
 * Cloning a mount takes CAP_SYS_ADMIN over the mount namespace. Root has it; everyone else enters a user and mount
 * namespace of their own first, which needs no privilege and, for open_tree(2), no mapping of ids. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int clone_tree(const char *path) {
    return (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
}

void grants_open(const struct lease *lease, int *mounts) {
    bool entered = false;
    for (size_t i = 0; i < lease->ngrants; i++) {
        const char *path = lease->grants[i].path;
        mounts[i] = clone_tree(path);
        if (mounts[i] < 0 && errno == EPERM && !entered) {
            if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                die(EXIT_DX,
                    "this machine refuses user namespaces to you (%s), so %s cannot be granted; "
                    "see sysctl kernel.unprivileged_userns_clone and user.max_user_namespaces",
                    strerror(errno), path);
            entered = true;
            mounts[i] = clone_tree(path);
        }
        if (mounts[i] < 0)
            die(EXIT_DX, "%s cannot be granted: %s", path, strerror(errno));
    }
}
