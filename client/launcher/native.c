/* A shim where its command is no tool: outside of the project that has it. What would have run without the shim runs. */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of whichever installation: daemon/dxd/tools/shims.py has the same rule. */
static bool is_shim(const char *path) {
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return strcmp(slash ? slash + 1 : target, "dx") == 0;
}

void native_exec(const struct request *request) {
    const char *at = getenv("PATH");
    size_t nargs = 0;
    while (request->args[nargs])
        nargs++;
    char **argv = calloc(nargs + 2, sizeof *argv);
    if (!argv)
        die(EXIT_DX, "no memory");
    argv[0] = (char *)(uintptr_t)request->command;
    memcpy(argv + 1, request->args, nargs * sizeof *argv);
    depth_leave();
    while (at && *at) {
        char path[PATH_MAX];
        size_t length = strcspn(at, ":");
        /* An empty entry is the current directory, which nobody means. */
        if (length && (size_t)snprintf(path, sizeof path, "%.*s/%s", (int)length, at, request->command) < sizeof path &&
            !is_shim(path)) {
            execv(path, argv);
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
                die(126, "%s: %s", path, strerror(errno));
        }
        at += length + (at[length] == ':');
    }
}
