/* Who runs are, where the tool says that they are not their caller: root, or the image's USER.
 *
 * Found out once, when the container starts. What they write into the caller's files shall be the caller's outside, so
 * grants are mounted with their ids mapped: the caller's on the disk is the run's inside, and the other way round. What
 * the map says a mount takes from a user namespace; a child makes one, and only its descriptor outlives it. Ids that it
 * does not name belong to nobody inside: no capability reaches files of other users. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES 8192 /* a line has at most 24 bytes, and there are MAX_GROUPS at most */

static bool read_id(const char *text, size_t length, uint32_t *id) {
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || (value = value * 10 + (uint64_t)(text[i] - '0')) > 0xfffffffe)
            return false;
    }
    *id = (uint32_t)value;
    return length > 0;
}

/* Field `n` of a line of passwd(5) or group(5), counted from 0. */
static const char *field(const char *line, int n, size_t *length) {
    for (; n; n--) {
        size_t part = strcspn(line, ":\n");
        if (line[part] != ':')
            return NULL;
        line += part + 1;
    }
    *length = strcspn(line, ":\n");
    return line;
}

/* The line whose name is that, or, where `id` is not NULL, whose third field is. */
static const char *find_entry(const char *file, const char *name, size_t length, const uint32_t *id) {
    while (file && *file) {
        size_t n;
        uint32_t has;
        const char *at = field(file, id ? 2 : 0, &n);
        if (at && (id ? read_id(at, n, &has) && has == *id : n == length && memcmp(at, name, n) == 0))
            return file;
        file = strchr(file, '\n');
        file += file != NULL;
    }
    return NULL;
}

/* As the engine reads USER: NAME|UID[:GROUP|GID]; a user without a group has that of its passwd entry, or root's. */
static int resolve(const char *text, const char *passwd, const char *group, struct user *user) {
    size_t n, length = strcspn(text, ":");
    const char *entry, *at;
    if (read_id(text, length, &user->uid))
        entry = find_entry(passwd, NULL, 0, &user->uid);
    else if (!(entry = find_entry(passwd, text, length, NULL)) || !(at = field(entry, 2, &n)) ||
             !read_id(at, n, &user->uid))
        return -1;
    user->gid = 0;
    if (entry && (at = field(entry, 3, &n)))
        read_id(at, n, &user->gid);
    if (!text[length] || !text[length + 1])
        return 0;
    text += length + 1;
    length = strlen(text);
    if (read_id(text, length, &user->gid))
        return 0;
    return (entry = find_entry(group, text, length, NULL)) && (at = field(entry, 2, &n)) && read_id(at, n, &user->gid)
               ? 0
               : -1;
}

static int write_map(pid_t pid, const char *name, const char *map, size_t length) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, map, length); /* in one piece, or not at all */
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return n == (ssize_t)length ? 0 : -1;
}

/* The id on the disk, the one inside, and how many. */
static size_t map_ids(char *map, uint32_t outside, uint32_t inside, const gid_t *same, size_t nsame) {
    size_t length = (size_t)snprintf(map, MAP_BYTES, "%u %u 1\n", outside, inside);
    for (size_t i = 0; i < nsame && length < MAP_BYTES; i++)
        if (same[i] != outside && same[i] != inside)
            length += (size_t)snprintf(map + length, MAP_BYTES - length, "%u %u 1\n", same[i], same[i]);
    return length < MAP_BYTES ? length : MAP_BYTES - 1;
}

/* The child opens its own namespace, into the table of descriptors that it shares, and stays until the map is written. */
static int make_namespace(uid_t owner, gid_t gid, const struct user *user) {
    char map[MAP_BYTES];
    int ready[2], done[2], namespace = -1, rc = -1;
    if (pipe2(ready, O_CLOEXEC) < 0)
        return -1;
    if (pipe2(done, O_CLOEXEC) < 0) {
        close_all(ready, 2);
        return -1;
    }
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        int fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
        char byte;
        _exit(write(ready[1], &fd, sizeof fd) < 0 || read(done[0], &byte, 1) < 0);
    }
    if (pid > 0 && read(ready[0], &namespace, sizeof namespace) == (ssize_t)sizeof namespace && namespace >= 0 &&
        write_map(pid, "uid_map", map, map_ids(map, owner, user->uid, NULL, 0)) == 0 &&
        write_map(pid, "gid_map", map, map_ids(map, gid, user->gid, user->groups, user->ngroups)) == 0)
        rc = 0;
    int saved = errno;
    if (pid > 0 && write(done[1], "", 1) == 1)
        waitpid(pid, NULL, 0);
    close_all(ready, 2);
    close_all(done, 2);
    if (rc < 0 && namespace >= 0)
        close(namespace);
    errno = saved;
    return rc < 0 ? -1 : namespace;
}

int user_find(const char *text, const char *passwd, const char *group, uid_t owner, gid_t gid, struct user *user) {
    if (resolve(text, passwd, group, user) < 0)
        return -1;
    size_t kept = 0; /* the caller's own group is the run's group inside */
    for (size_t i = 0; i < user->ngroups; i++)
        if (user->groups[i] != gid)
            user->groups[kept++] = user->groups[i];
    user->ngroups = kept;
    user->given = true;
    user->mapped = user->uid != owner || user->gid != gid;
    user->namespace = -1;
    if (user->mapped && (user->namespace = make_namespace(owner, gid, user)) < 0)
        user->error = errno; /* matters to a run that has grants */
    return 0;
}
