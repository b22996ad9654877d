/* `agent volumes VERB COUNT`: what is done to volumes, in a container that is made for it and has them as
 * /v/0/from, /v/0/to, /v/1/from, ...
 *
 *   copy     from into to, which must be empty
 *   restore  from in the place of what is in to
 *   reset    nothing in the place of what is in to
 *   recover  to is as it was before a restore that was cut short, or as it was to become: one of the two
 *   empty    the status is 0 where nothing is in to, and 1 where something is
 *
 * A restore is prepared beside what is there, in the volume itself, and takes its place by renames alone. Which of them
 * are done is seen from the names, so that any of them can be the last before the power goes:
 *
 *   .dx-new     being prepared; worth nothing
 *   .dx-ready   prepared: from here on there is only the way forward. What else is there goes to .dx-old
 *   .dx-moving  nothing else is there any more; what is in it goes to the top
 *   .dx-old     what was there before, until the end */
#include "agent.h"
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW ".dx-new"
#define READY ".dx-ready"
#define MOVING ".dx-moving"
#define OLD ".dx-old"

static bool is_ours(const char *name) {
    return strcmp(name, NEW) == 0 || strcmp(name, READY) == 0 || strcmp(name, MOVING) == 0 || strcmp(name, OLD) == 0;
}

static bool is_there(int at, const char *name) {
    struct stat st;
    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_directory(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Everything that is written is on the disk, before a name says so. */
static bool settle(int volume) {
    return syncfs(volume) == 0 || tree_fail("write", "");
}

/* Names of the directory that are not ours: how many there are, or -1; each is moved where `into` is no -1. Listed anew
 * after each round, for a directory that changes may leave some out. */
static int move_all(int from, int into) {
    int count, moved;
    do {
        int own = open_directory(from, ".");
        DIR *listed = own < 0 ? NULL : fdopendir(own);
        struct dirent *entry;
        if (!listed) {
            tree_fail("read", "");
            return -1;
        }
        count = moved = 0;
        while ((entry = readdir(listed))) {
            const char *name = entry->d_name;
            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_ours(name))
                continue;
            count++;
            if (into < 0)
                continue;
            if (renameat(from, name, into, name) < 0) {
                tree_fail("move", name);
                closedir(listed);
                return -1;
            }
            moved++;
        }
        closedir(listed);
    } while (moved);
    return count;
}

/* Move all of `from`, or of a directory in it, to another. */
static bool move(int from, int into) {
    bool good = from >= 0 && into >= 0 && move_all(from, into) == 0;
    return good || (from >= 0 && into >= 0 ? false : tree_fail("open", ""));
}

static bool put_aside(int volume) {
    if (mkdirat(volume, OLD, 0700) < 0 && errno != EEXIST)
        return tree_fail("make", OLD);
    int old = open_directory(volume, OLD);
    bool good = move(volume, old) && settle(volume);
    if (good && renameat(volume, READY, volume, MOVING) < 0)
        good = tree_fail("move", READY);
    if (old >= 0)
        close(old);
    return good;
}

static bool put_in_place(int volume) {
    int moving = open_directory(volume, MOVING);
    bool good = move(moving, volume) && tree_attributes(moving, volume) && settle(volume);
    if (good && unlinkat(volume, MOVING, AT_REMOVEDIR) < 0)
        good = tree_fail("remove", MOVING);
    if (moving >= 0)
        close(moving);
    return good;
}

/* Of the directory itself, which changes with each name in it. */
static bool keep_times(int volume, const struct stat *st) {
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    return futimens(volume, times) == 0 || tree_fail("give its times to", "");
}

static bool recover(int volume) {
    struct stat st;
    if (fstatat(volume, READY, &st, AT_SYMLINK_NOFOLLOW) < 0 && fstatat(volume, MOVING, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        fstat(volume, &st) < 0)
        return tree_fail("look at", "");
    if (is_there(volume, READY) && !put_aside(volume))
        return false;
    if (is_there(volume, MOVING) && !put_in_place(volume))
        return false;
    return tree_remove(volume, NEW) && tree_remove(volume, OLD) && keep_times(volume, &st) && settle(volume);
}

/* `from` is -1 where nothing shall be there. */
static bool restore(int from, int volume, struct tally *tally) {
    if (!recover(volume))
        return false;
    struct stat st;
    if (fstat(volume, &st) < 0 || mkdirat(volume, NEW, 0700) < 0)
        return tree_fail("make", NEW);
    int fresh = open_directory(volume, NEW);
    bool good = fresh >= 0 || tree_fail("open", NEW);
    if (good)
        good = from < 0 ? tree_attributes(volume, fresh) && keep_times(fresh, &st) : tree_copy(from, fresh, tally);
    good = good && settle(volume);
    if (fresh >= 0)
        close(fresh);
    if (good && renameat(volume, NEW, volume, READY) < 0)
        good = tree_fail("move", NEW);
    good = good && settle(volume) && recover(volume);
    if (!good && !is_there(volume, READY) && tree_remove(volume, NEW)) /* there is as much room as before */
        keep_times(volume, &st);
    return good;
}

static bool copy(int from, int volume, struct tally *tally) {
    if (move_all(volume, -1) != 0) {
        errno = ENOTEMPTY;
        return tree_fail("copy to", "");
    }
    return tree_copy(from, volume, tally) && settle(volume);
}

static int end(long number, const char *name) {
    char path[48];
    snprintf(path, sizeof path, "/v/%ld/%s", number, name);
    return open_directory(AT_FDCWD, path);
}

int volumes_main(int argc, char **argv) {
    const char *verb = argc == 2 ? argv[0] : "";
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    struct tally tally = {0};
    umask(0);
    for (long number = 0; number < count; number++) {
        int from = end(number, "from"), to = end(number, "to");
        bool good = false;
        if (to < 0)
            tree_fail("open", "");
        else if (strcmp(verb, "copy") == 0 && from >= 0)
            good = copy(from, to, &tally);
        else if (strcmp(verb, "restore") == 0 && from >= 0)
            good = restore(from, to, &tally);
        else if (strcmp(verb, "reset") == 0)
            good = restore(-1, to, &tally);
        else if (strcmp(verb, "recover") == 0)
            good = recover(to);
        else if (strcmp(verb, "empty") == 0)
            good = move_all(to, -1) == 0;
        else
            fputs("usage: agent volumes copy|restore|reset|recover|empty COUNT\n", stderr);
        if (!good)
            return 1;
        if (from >= 0)
            close(from);
        close(to);
    }
    printf("%llu %llu\n", (unsigned long long)tally.files, (unsigned long long)tally.bytes);
    return 0;
}
