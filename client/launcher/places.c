/* Where the daemon's socket is. The same rules as client/dx/places.py, which documents them. */
#include "launcher.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *absolute(const char *name) {
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

static void join(char *into, size_t size, const char *dir, const char *rest) {
    int n = snprintf(into, size, "%s%s", dir, rest);
    if (n < 0 || (size_t)n >= size)
        die(EXIT_DX, "the path %s is too long", dir);
}

/* Ours may be relative, as the shell's own variables may. */
static bool overridden(const char *name, char *into, size_t size) {
    const char *value = getenv(name);
    char cwd[PATH_MAX];
    if (!value || !*value)
        return false;
    if (*value == '/') {
        join(into, size, value, "");
        return true;
    }
    if (!getcwd(cwd, sizeof cwd - 1))
        die(EXIT_DX, "%s is relative and the current directory is gone; set it to an absolute path", name);
    strcat(cwd, "/");
    join(into, size, cwd, value);
    return true;
}

void places_find(struct places *p) {
    const char *base;
    if (!overridden("DX_STATE_DIR", p->state, sizeof p->state)) {
        if ((base = absolute("XDG_STATE_HOME")))
            join(p->state, sizeof p->state, base, "/dx");
        else if ((base = absolute("HOME")))
            join(p->state, sizeof p->state, base, "/.local/state/dx");
        else
            die(EXIT_DX, "HOME is not set; set it, or DX_STATE_DIR");
    }
    if (!overridden("DX_RUNTIME_DIR", p->runtime, sizeof p->runtime)) {
        if ((base = absolute("XDG_RUNTIME_DIR")))
            join(p->runtime, sizeof p->runtime, base, "/dx");
        else
            join(p->runtime, sizeof p->runtime, p->state, "/run");
    }
    join(p->socket, sizeof p->socket, p->runtime, "/dxd.sock");
}

const char *program_dir(void) {
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        die(EXIT_DX, "cannot find out where dx is installed: /proc is not mounted");
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
    return path;
}
