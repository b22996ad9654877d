/* A run's fresh root: an overlay over the container's own root (layers.c says where its upper layer is).
 *
 * The caller is alone in new mount, PID and IPC namespaces. The old /proc is of no use there, so its place serves to
 * build in; /dev and /sys move over from the old root, which is the caller's own copy. pivot_root(2) is refused
 * by the engine's default seccomp profile, so the new root is moved over the old one and entered with chroot(2). */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV 4
struct mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};
#endif

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif

int tree_clone(const char *path, unsigned int flags) {
    return (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static int set_attributes(int tree, uint64_t attributes, unsigned int flags, int namespace) {
    struct mount_attr attr = {.attr_set = attributes};
    if (namespace >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)namespace;
    }
    return (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &attr, sizeof attr);
}

static int restrict_tree(int tree, uint64_t attributes, unsigned int flags) {
    return set_attributes(tree, attributes, flags, -1);
}

int tree_attach(int tree, const char *path) {
    int rc = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
    int saved = errno;
    close(tree);
    errno = saved;
    return rc;
}

/* As the engine does: what uid 0 could write to, or read of the host, without any capability. */
static int mask_proc(void) {
    static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    static const char *const hidden[] = {"proc/kcore",        "proc/keys",       "proc/latency_stats",
                                         "proc/timer_list",   "proc/timer_stats", "proc/sched_debug",
                                         "proc/acpi",         "proc/asound",      "proc/scsi"};
    for (size_t i = 0; i < sizeof readonly / sizeof readonly[0]; i++) {
        int tree = tree_clone(readonly[i], 0);
        if (tree < 0) {
            if (errno == ENOENT)
                continue;
            return -1;
        }
        if (restrict_tree(tree, MOUNT_ATTR_RDONLY, 0) < 0 || tree_attach(tree, readonly[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        struct stat st;
        if (lstat(hidden[i], &st) < 0)
            continue;
        const char *cover = S_ISDIR(st.st_mode) ? "dev/mqueue" : "dev/null";
        int tree = tree_clone(cover, 0);
        if (tree < 0 || restrict_tree(tree, MOUNT_ATTR_RDONLY, 0) < 0 || tree_attach(tree, hidden[i]) < 0)
            return -1;
    }
    return 0;
}

static int mount_system(void) {
    const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("proc", "proc", "proc", quiet, NULL) < 0)
        return -1;
    if (access("dev/shm", F_OK) == 0 && mount("shm", "dev/shm", "tmpfs", quiet, "mode=1777,size=64m") < 0)
        return -1;
    if (access("dev/mqueue", F_OK) == 0 && mount("mqueue", "dev/mqueue", "mqueue", quiet, NULL) < 0)
        return -1;
    if (access("dev/pts", F_OK) == 0 &&
        mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0)
        return -1;
    return mask_proc();
}

/* The name of what a tree is on, as far as it is known for not mapping ids; a number for all else. */
static const char *file_system(int tree) {
    static const struct {
        uint32_t magic;
        const char *name;
    } known[] = {
        {0x6969, "NFS"},         {0x517b, "SMB"},       {0xff534d42, "CIFS"},   {0xfe534d42, "SMB"},
        {0x65735546, "FUSE"},    {0x01021997, "9p"},    {0x2fc12fc1, "ZFS"},    {0x794c7630, "overlay"},
        {0xef53, "ext"},         {0x01021994, "tmpfs"}, {0x58465342, "XFS"},    {0x9123683e, "Btrfs"},
        {0x62656572, "sysfs"},   {0x9fa0, "proc"},      {0x00c36400, "Ceph"},   {0x4d44, "FAT"},
        {0x2011bab0, "exFAT"},   {0x61756673, "AUFS"},  {0x27e0eb, "cgroup"},   {0x63677270, "cgroup2"},
    };
    static char number[32];
    struct statfs st;
    if (fstatfs(tree, &st) < 0)
        return "which is unknown";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if ((uint32_t)st.f_type == known[i].magic)
            return known[i].name;
    snprintf(number, sizeof number, "of type 0x%lx", (unsigned long)st.f_type);
    return number;
}

/* Make the directory that `path` is to be in, and write its name. */
static int make_parent(const struct lease *lease, const char *path, char *parent, size_t room) {
    size_t length = (size_t)(strrchr(path, '/') - path);
    if (length >= room) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, path, length);
    parent[length] = '\0';
    return length ? make_dirs(parent, 0755, lease->uid, lease->gid) : 0;
}

static bool leads_to(const char *path, const char *target) {
    char there[4096];
    ssize_t n = readlink(path, there, sizeof there);
    return n >= 0 && (size_t)n == strlen(target) && memcmp(there, target, (size_t)n) == 0;
}

/* What the caller's names lead through on the host. An empty directory of the image's gives way to a link. */
static int make_links(const struct lease *lease, struct failure *f) {
    char parent[4096];
    for (size_t i = 0; i < lease->nlinks; i++) {
        const char *path = lease->links[i].path, *target = lease->links[i].target;
        if (!target[0]) {
            if (make_dirs(path, 0755, lease->uid, lease->gid) < 0)
                return fail(f, 125, "%s has no place in the image: %s", path, strerror(errno));
            continue;
        }
        if (make_parent(lease, path, parent, sizeof parent) < 0)
            return fail(f, 125, "%s has no place in the image: %s", path, strerror(errno));
        if (symlink(target, path) < 0 && (errno != EEXIST || rmdir(path) < 0 || symlink(target, path) < 0)) {
            if (leads_to(path, target))
                continue;
            return fail(f, 125, "%s leads to %s here, and the image has something else there; name where it leads", path,
                        target);
        }
        if (lchown(path, lease->uid, lease->gid) < 0)
            return fail(f, 125, "the link %s cannot be yours: %s", path, strerror(errno));
    }
    return 0;
}

static bool is_empty(const char *path) {
    DIR *dir = opendir(path);
    bool empty = true;
    for (struct dirent *entry; dir && empty && (entry = readdir(dir));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    return empty;
}

/* A grant's type decides its mount point; the mount's own is checked against what the daemon leased. */
static int attach_grant(const struct lease *lease, const struct grant *grant, int tree, struct failure *f) {
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    const struct user *user = lease->user;
    struct stat st;
    const char *path = grant->path;
    char parent[4096];
    if (fstat(tree, &st) < 0 || !(grant->flags & DX_GRANT_DIR ? S_ISDIR(st.st_mode) : !S_ISDIR(st.st_mode)))
        return fail(f, 125, "%s changed while it was granted; try again", path);
    if (grant->flags & DX_GRANT_RO)
        attributes |= MOUNT_ATTR_RDONLY;
    if (user && user->mapped && user->namespace < 0)
        return fail(f, 125, "%s cannot be granted: this engine lets nobody map ids (%s); set the tool's user to me",
                    path, strerror(user->error));
    if (set_attributes(tree, attributes, AT_RECURSIVE, user ? user->namespace : -1) < 0)
        return user && user->mapped
                   ? fail(f, 125, "%s cannot be granted: its file system, %s, cannot map ids (%s); set the tool's user to me",
                          path, file_system(tree), strerror(errno))
                   : fail(f, 125, "%s cannot be granted: mount_setattr: %s", path, strerror(errno));
    if (grant->flags & DX_GRANT_NEW) {
        if (lstat(path, &st) == 0)
            return 0; /* it was the image's that was named */
        if (make_parent(lease, path, parent, sizeof parent) < 0)
            goto no_place;
        if (!is_empty(parent))
            return fail(f, 125, "%s would be new in %s, where the image has files of its own; choose another directory",
                        path, parent);
        path = parent;
    } else if (grant->flags & DX_GRANT_DIR) {
        if (make_dirs(path, 0755, lease->uid, lease->gid) < 0)
            goto no_place;
    } else if (make_parent(lease, path, parent, sizeof parent) < 0 ||
               (mknod(path, S_IFREG | 0644, 0) < 0 && errno != EEXIST)) {
        goto no_place;
    }
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return fail(f, 125, "%s cannot be granted: move_mount: %s", path, strerror(errno));
    return 0;
no_place:
    return fail(f, 125, "%s cannot be granted: no place for it in the image: %s", path, strerror(errno));
}

/* The volumes are mounted in the container's own root, which is out of reach once the new one is entered. */
static int open_caches(const struct lease *lease, int *trees, struct failure *f) {
    char path[64];
    for (size_t i = 0; i < lease->ncaches; i++) {
        struct stat st;
        snprintf(path, sizeof path, VOLUMES_DIR "/%u", lease->caches[i].volume);
        if ((trees[i] = tree_clone(path, 0)) < 0 || fstat(trees[i], &st) < 0 ||
            restrict_tree(trees[i], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0) < 0)
            return fail(f, 125, "no cache for %s: %s", lease->caches[i].path, strerror(errno));
        /* The engine makes a volume as root's. */
        if (st.st_uid != lease->uid && fchownat(trees[i], "", lease->uid, lease->gid, AT_EMPTY_PATH) < 0)
            return fail(f, 125, "the cache for %s cannot be yours: %s", lease->caches[i].path, strerror(errno));
    }
    return 0;
}

/* What came from the launcher, and what the container has; all are to be closed. */
static int open_grants(const struct lease *lease, const int *mounts, int *trees, struct failure *f) {
    char path[64];
    for (size_t i = 0, here = 0; i < lease->ngrants; i++) {
        const struct grant *grant = &lease->grants[i];
        struct stat st;
        if (!(grant->flags & DX_GRANT_HERE)) {
            trees[i] = *mounts++;
            continue;
        }
        snprintf(path, sizeof path, GRANTS_DIR "/%zu", here++);
        if ((trees[i] = tree_clone(path, AT_RECURSIVE)) < 0 || fstat(trees[i], &st) < 0)
            return fail(f, 125, "%s cannot be granted: the container does not have it: %s", grant->path, strerror(errno));
        /* The engine looked the path up after the daemon had, and with more rights. */
        if (grant->inode && (st.st_dev != grant->device || st.st_ino != grant->inode))
            return fail(f, 125, "%s became something else while it was granted; try again", grant->path);
    }
    return 0;
}

static int attach_caches(const struct lease *lease, const int *trees, struct failure *f) {
    for (size_t i = 0; i < lease->ncaches; i++) {
        const char *path = lease->caches[i].path;
        if (make_dirs(path, 0755, lease->uid, lease->gid) < 0 || tree_attach(trees[i], path) < 0)
            return fail(f, 125, "no place for the cache %s in the image: %s", path, strerror(errno));
    }
    return 0;
}

int root_build(const struct setup *setup, const struct lease *lease, const int *mounts, struct failure *f) {
    const char *place;
    int caches[MAX_CACHES], grants[MAX_GRANTS];
    if (open_caches(lease, caches, f) < 0 || open_grants(lease, mounts, grants, f) < 0 ||
        !(place = layer_mount(setup, lease, f)))
        return -1;
    if (chdir(place) < 0 || mount("/dev", "dev", NULL, MS_MOVE, NULL) < 0 ||
        mount("/sys", "sys", NULL, MS_MOVE, NULL) < 0 || mount_system() < 0)
        return fail(f, 125, "no fresh root: /dev, /proc or /sys: %s", strerror(errno));
    if (drivers_move(f) < 0)
        return -1;
    if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return fail(f, 125, "no fresh root: it could not be entered: %s", strerror(errno));
    if (lease->home && make_dirs(lease->home, 0700, lease->uid, lease->gid) < 0)
        return fail(f, 125, "no home directory %s: %s", lease->home, strerror(errno));
    if (make_links(lease, f) < 0)
        return -1;
    for (size_t i = 0; i < lease->ngrants; i++)
        if (attach_grant(lease, &lease->grants[i], grants[i], f) < 0)
            return -1;
    for (size_t i = 0; i < lease->ngrants; i++)
        if (lease->grants[i].flags & DX_GRANT_HERE)
            close(grants[i]);
    return attach_caches(lease, caches, f);
}
