/* A tree of files: copied exactly, or removed. Used by volumes.c. */
#ifndef DX_TREE_H
#define DX_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct tally {
    uint64_t files, bytes;
};

/* Copy what is in the directory `from` into the empty directory `to`: data, holes, hard links, owners, modes, extended
 * attributes and times, those of the directory itself too; sockets are left out. False: a line on stderr says why. */
bool tree_copy(int from, int to, struct tally *tally);

/* Give the directory `to` what the directory `from` has of owner, mode, extended attributes and times. */
bool tree_attributes(int from, int to);

/* Remove `name` in the directory `at` with all that is below it; true where it is not there. */
bool tree_remove(int at, const char *name);

/* Tell why something failed, by errno; false. */
bool tree_fail(const char *what, const char *path);

#endif
