/* Copies a tree of files as it is.
 *
 * Directories are made first, by one process. Then several walk through the tree at the same time, each of which copies the
 * files that are its own by their inode number; so names of one file are all in one process's hands, which links them.
 * Attributes of directories come last, for what is made in one changes its times. */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_WORKERS 8
#define DEEPEST 2000 /* directories in one another: each holds two descriptors */
#define PATH_BYTES 65536
#define XATTR_BYTES 65536 /* XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h */

struct known {
    ino_t inode;
    char *path;
};

struct copy {
    int to;               /* the root of the copy, for links */
    unsigned part, parts; /* which files are this process's */
    struct tally *tally;
    struct known *known; /* a hash table of files with several names, the first of each */
    size_t count, room;
    bool no_clone, no_range;
    int depth;
    size_t length;
    char path[PATH_BYTES]; /* of what is at work, below the root */
};

enum pass { DIRECTORIES, FILES, ATTRIBUTES };

bool tree_fail(const char *what, const char *path) {
    fprintf(stderr, "cannot %s %s: %s\n", what, *path ? path : "the volume", strerror(errno));
    return false;
}

/* Extended attributes, POSIX ACLs and file capabilities among them. Both are descriptors, or, for what cannot be opened, paths. */
static bool copy_xattrs(int from, int to, const char *from_path, const char *to_path) {
    static char names[XATTR_BYTES], value[XATTR_BYTES];
    ssize_t length = from_path ? llistxattr(from_path, names, sizeof names) : flistxattr(from, names, sizeof names);
    if (length < 0)
        return errno == ENOTSUP || errno == ENOENT;
    for (char *name = names; name < names + length; name += strlen(name) + 1) {
        if (strcmp(name, "security.selinux") == 0)
            continue; /* the target's own policy labels it */
        ssize_t size = from_path ? lgetxattr(from_path, name, value, sizeof value) : fgetxattr(from, name, value, sizeof value);
        if (size < 0)
            return false;
        if ((to_path ? lsetxattr(to_path, name, value, (size_t)size, 0) : fsetxattr(to, name, value, (size_t)size, 0)) < 0)
            return false;
    }
    return true;
}

/* Owner first: a change of it takes set-user-id and capabilities away. Times last. */
static bool copy_attributes(int from, int to, const struct stat *st) {
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    return fchown(to, st->st_uid, st->st_gid) == 0 && fchmod(to, st->st_mode & 07777) == 0 &&
           copy_xattrs(from, to, NULL, NULL) && futimens(to, times) == 0;
}

bool tree_attributes(int from, int to) {
    struct stat st;
    if (fstat(from, &st) == 0 && copy_attributes(from, to, &st))
        return true;
    return tree_fail("give its attributes to", "");
}

static bool plain(int from, int to, off_t at, off_t end) {
    static char bytes[1 << 17];
    while (at < end) {
        size_t want = end - at < (off_t)sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        ssize_t n = pread(from, bytes, want, at);
        if (n <= 0)
            return n == 0; /* it has become shorter */
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = pwrite(to, bytes + done, (size_t)(n - done), at + done)) < 0)
                return false;
        at += n;
    }
    return true;
}

static bool range(struct copy *c, int from, int to, off_t at, off_t end) {
    while (!c->no_range && at < end) {
        off_t in = at, out = at;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);
        if (n > 0) {
            at += n;
        } else if (n < 0 && errno != EXDEV && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP) {
            return false;
        } else {
            if (n == 0)
                return plain(from, to, at, end);
            c->no_range = true;
        }
    }
    return plain(from, to, at, end);
}

/* The data between the holes, of which the copy has as many. */
static bool copy_data(struct copy *c, int from, int to, off_t size) {
    if (size && !c->no_clone) {
        if (ioctl(to, FICLONE, from) == 0)
            return true;
        if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
            return false;
        c->no_clone = true; /* another file system, or one that cannot */
    }
    if (ftruncate(to, size) < 0)
        return false;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) {
            if (errno == ENXIO)
                return true; /* the rest is a hole */
            return errno == EINVAL && range(c, from, to, at, size);
        }
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        if (!range(c, from, to, data, hole))
            return false;
        at = hole;
    }
    return true;
}

static bool copy_file(struct copy *c, int from_dir, int to_dir, const char *name, const struct stat *st) {
    int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
    if (from < 0 && errno == EPERM) /* in a user namespace that does not have its owner */
        from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (from < 0)
        return false;
    int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool good = to >= 0 && copy_data(c, from, to, st->st_size) && copy_attributes(from, to, st);
    int saved = errno;
    close(from);
    if (to >= 0 && close(to) < 0 && good) {
        good = false;
        saved = errno;
    }
    errno = saved;
    if (good)
        __atomic_fetch_add(&c->tally->bytes, (uint64_t)st->st_blocks * 512, __ATOMIC_RELAXED);
    return good;
}

/* What is no file and cannot be opened: a symbolic link, a FIFO, a device. */
static bool copy_special(int from_dir, int to_dir, const char *name, const struct stat *st) {
    static char target[PATH_BYTES];
    char from_path[320], to_path[320]; /* NAME_MAX and a descriptor's directory */
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
        if (n < 0)
            return false;
        target[n] = '\0';
        if (symlinkat(target, to_dir, name) < 0)
            return false;
    } else if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0) {
        return false;
    }
    snprintf(from_path, sizeof from_path, "/proc/self/fd/%d/%s", from_dir, name);
    snprintf(to_path, sizeof to_path, "/proc/self/fd/%d/%s", to_dir, name);
    return fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
           (S_ISLNK(st->st_mode) || fchmodat(to_dir, name, st->st_mode & 07777, 0) == 0) &&
           copy_xattrs(-1, -1, from_path, to_path) && utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Where a file with that inode is in the table, or would be. */
static struct known *slot(struct known *known, size_t room, ino_t inode) {
    size_t at = (size_t)(inode * 0x9e3779b97f4a7c15ULL >> 20) & (room - 1);
    while (known[at].path && known[at].inode != inode)
        at = (at + 1) & (room - 1);
    return &known[at];
}

static const char *first_name(const struct copy *c, ino_t inode) {
    return c->room ? slot(c->known, c->room, inode)->path : NULL;
}

/* At most half of the table is in use. */
static bool remember(struct copy *c, ino_t inode) {
    if (c->count * 2 >= c->room) {
        size_t room = c->room ? c->room * 2 : 1024;
        struct known *more = calloc(room, sizeof *more);
        if (!more)
            return false;
        for (size_t i = 0; i < c->room; i++)
            if (c->known[i].path)
                *slot(more, room, c->known[i].inode) = c->known[i];
        free(c->known);
        c->known = more;
        c->room = room;
    }
    char *path = strdup(c->path);
    if (!path)
        return false;
    *slot(c->known, c->room, inode) = (struct known){inode, path};
    c->count++;
    return true;
}

static bool copy_one(struct copy *c, int from, int to, const char *name, const struct stat *st) {
    if (S_ISSOCK(st->st_mode) || st->st_ino % c->parts != c->part)
        return true;
    if (st->st_nlink > 1) {
        const char *first = first_name(c, st->st_ino);
        if (first)
            return linkat(c->to, first, to, name, 0) == 0 || tree_fail("link", c->path);
    }
    if (!(S_ISREG(st->st_mode) ? copy_file(c, from, to, name, st) : copy_special(from, to, name, st)))
        return tree_fail("copy", c->path);
    __atomic_fetch_add(&c->tally->files, 1, __ATOMIC_RELAXED);
    return st->st_nlink == 1 || remember(c, st->st_ino) || tree_fail("copy", c->path);
}

static bool walk(struct copy *c, enum pass pass, int from, int to);

static bool enter(struct copy *c, enum pass pass, int from, int to, const char *name) {
    if (pass == DIRECTORIES && mkdirat(to, name, 0700) < 0)
        return tree_fail("make", c->path);
    int below_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int below_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool good = below_from >= 0 && below_to >= 0 ? walk(c, pass, below_from, below_to) : tree_fail("open", c->path);
    if (below_from >= 0)
        close(below_from);
    if (below_to >= 0)
        close(below_to);
    return good;
}

/* One pass over a directory and all below it. */
static bool walk(struct copy *c, enum pass pass, int from, int to) {
    int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;
    size_t length = c->length;
    bool good = directory != NULL && ++c->depth < DEEPEST;
    if (!good) {
        if (directory)
            errno = ELOOP;
        tree_fail("read", c->path);
    }
    while (good && (errno = 0, entry = readdir(directory))) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int n = snprintf(c->path + length, PATH_BYTES - length, "%s%s", length ? "/" : "", entry->d_name);
        if ((size_t)n >= PATH_BYTES - length) {
            errno = ENAMETOOLONG;
            good = tree_fail("copy", c->path);
            break;
        }
        c->length = length + (size_t)n;
        if (fstatat(from, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            good = tree_fail("look at", c->path);
        else if (S_ISDIR(st.st_mode))
            good = enter(c, pass, from, to, entry->d_name);
        else if (pass == FILES)
            good = copy_one(c, from, to, entry->d_name, &st);
        c->path[c->length = length] = '\0';
    }
    if (good && errno)
        good = tree_fail("read", c->path);
    if (good && pass == ATTRIBUTES)
        good = tree_attributes(from, to);
    if (directory)
        closedir(directory);
    else if (own >= 0)
        close(own);
    c->depth--;
    return good;
}

bool tree_copy(int from, int to, struct tally *tally) {
    static struct copy c;
    c = (struct copy){.to = to};
    c.tally = mmap(NULL, sizeof *c.tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c.tally == MAP_FAILED)
        return tree_fail("copy", "");
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    c.parts = processors < 1 ? 1 : processors > MAX_WORKERS ? MAX_WORKERS : (unsigned)processors;
    bool good = walk(&c, DIRECTORIES, from, to);
    unsigned started = 0;
    for (; good && started < c.parts; started++) {
        pid_t pid = fork();
        if (pid < 0) {
            good = tree_fail("copy", "");
            break;
        }
        if (pid == 0) {
            c.part = started;
            _exit(walk(&c, FILES, from, to) ? 0 : 1);
        }
    }
    for (int status; started; started--)
        if (wait(&status) < 0 || status != 0)
            good = false;
    good = good && walk(&c, ATTRIBUTES, from, to);
    tally->files += c.tally->files;
    tally->bytes += c.tally->bytes;
    munmap(c.tally, sizeof *c.tally);
    return good;
}

static bool remove_below(int directory, int depth) {
    DIR *listed = fdopendir(directory);
    struct dirent *entry;
    bool good = listed != NULL && depth < DEEPEST;
    while (good && (errno = 0, entry = readdir(listed))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (unlinkat(dirfd(listed), name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            good = tree_fail("remove", name);
            break;
        }
        int below = openat(dirfd(listed), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        good = below >= 0 ? remove_below(below, depth + 1) : tree_fail("remove", name);
        if (good && unlinkat(dirfd(listed), name, AT_REMOVEDIR) < 0)
            good = tree_fail("remove", name);
    }
    if (listed)
        closedir(listed);
    else
        close(directory);
    return good;
}

bool tree_remove(int at, const char *name) {
    int directory = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0)
        return errno == ENOENT || tree_fail("remove", name);
    return remove_below(directory, 0) && (unlinkat(at, name, AT_REMOVEDIR) == 0 || tree_fail("remove", name));
}
