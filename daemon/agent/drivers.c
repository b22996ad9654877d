/* What the engine's hooks have mounted into the container: the libraries and programs of a GPU's driver, which no image has.
 *
 * An overlay shows what lies below a mount, not the mount, so each run moves its copies of them into its root. Only
 * mounts that are read-only are taken: nothing that runs could share by writing to it. */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define MAX_DRIVER_FILES 512

static char *files[MAX_DRIVER_FILES];
static size_t nfiles;

/* mountinfo writes a space, a tab, a newline and a backslash as three octal digits. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; to++)
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else
            *to = *from++;
    *to = '\0';
}

static bool is_ours(const char *path) {
    static const char *const roots[] = {"/dev", "/proc", "/sys", "/.dx"};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        size_t length = strlen(roots[i]);
        if (strncmp(path, roots[i], length) == 0 && (path[length] == '/' || !path[length]))
            return true;
    }
    return strcmp(path, "/") == 0;
}

int drivers_find(const char *mountinfo) {
    for (const char *line = mountinfo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char path[4096], options[4];
        if (sscanf(line, "%*s %*s %*s %*s %4095s %3[^, \n]", path, options) != 2 || strcmp(options, "ro") != 0)
            continue;
        unescape(path);
        if (is_ours(path))
            continue;
        errno = E2BIG;
        if (nfiles == MAX_DRIVER_FILES || !(files[nfiles] = strdup(path)))
            return -1;
        nfiles++;
    }
    return 0;
}

int drivers_move(struct failure *f) {
    for (size_t i = 0; i < nfiles; i++)
        if (mount(files[i], files[i] + 1, NULL, MS_MOVE, NULL) < 0)
            return fail(f, 125, "the driver's file %s cannot be in this root: %s", files[i], strerror(errno));
    return 0;
}
