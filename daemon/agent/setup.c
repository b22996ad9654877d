/* What the agent does once, before its first run.
 *
 * It takes its sockets from the daemon, then turns the container into a good lower layer for the roots of runs: no
 * mount of the host is left, the files which the engine mounts over /etc become plain files, the owner has a
 * passwd entry, groups and a home. What is done here costs a run nothing. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SETUP_SECONDS 20
#define BACKLOG 4096
#define MAX_SETUP 65536
#define MAX_ETC_FILE (1 << 20)
#define MAX_USER 256

static int control = -1;

static void break_off(const char *text) {
    if (control >= 0)
        frame_send(control, DX_BROKEN, text, strlen(text), NULL, 0);
    fprintf(stderr, "dx agent: %s\n", text);
    _exit(1);
}

static void give_up(const char *what) {
    char text[MESSAGE_BYTES];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    break_off(text);
}

int write_file(const char *path, const char *bytes, size_t length, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -1;
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0) {
            close(fd);
            return -1;
        }
        bytes += n;
        length -= (size_t)n;
    }
    return close(fd);
}

/* The whole of a small file, NUL-terminated and malloc'ed; an absent one is empty. */
static char *read_file(const char *path, size_t *length) {
    char *bytes = malloc(MAX_ETC_FILE + 1);
    *length = 0;
    if (!bytes)
        give_up("reading the container's files");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && (n = read(fd, bytes + *length, MAX_ETC_FILE - *length)) > 0;)
        *length += (size_t)n;
    if (fd >= 0)
        close(fd);
    bytes[*length] = '\0';
    return bytes;
}

int make_dirs(const char *path, mode_t mode, uid_t uid, gid_t gid) {
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdir(path, mode) == 0)
        return chown(path, uid, gid);
    if (errno == EEXIST)
        return 0;
    memcpy(part, path, length + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) == 0) {
            if (chown(part, uid, gid) < 0)
                return -1;
        } else if (errno != EEXIST)
            return -1;
        *slash = '/';
    }
    if (mkdir(path, mode) == 0)
        return chown(path, uid, gid);
    return errno == EEXIST ? 0 : -1;
}

/* Does a line of this passwd(5) or group(5) file have `id` in its third field? */
static bool has_id(const char *file, const char *id, size_t id_length) {
    for (const char *line = file; line; line = strchr(line, '\n')) {
        line += line != file || *line == '\n';
        const char *second = strchr(line, ':');
        const char *third = second ? strchr(second + 1, ':') : NULL;
        const char *end = strchr(line, '\n');
        if (third && (!end || third < end) && strncmp(third + 1, id, id_length) == 0 && third[1 + id_length] == ':')
            return true;
    }
    return false;
}

/* Add a line to /etc/passwd or /etc/group unless the image knows its id already. */
static void add_entry(const char *path, const char *entry, size_t entry_length) {
    const char *second = memchr(entry, ':', entry_length);
    const char *third = second ? memchr(second + 1, ':', (size_t)(entry + entry_length - second - 1)) : NULL;
    const char *end = third ? memchr(third + 1, ':', (size_t)(entry + entry_length - third - 1)) : NULL;
    size_t length;
    if (!end || memchr(entry, '\n', entry_length))
        return;
    char *file = read_file(path, &length);
    if (!has_id(file, third + 1, (size_t)(end - third - 1)) && length + entry_length + 2 < MAX_ETC_FILE) {
        if (length && file[length - 1] != '\n')
            file[length++] = '\n';
        memcpy(file + length, entry, entry_length);
        length += entry_length;
        file[length++] = '\n';
        write_file(path, file, length, 0644); /* a link there is left alone: names are a comfort, not a need */
    }
    free(file);
}

/* The engine mounts these over the image's; as plain files they are in every run's root for nothing. */
static void keep_network_files(void) {
    static const char *const names[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/hostname"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length;
        char *bytes = read_file(names[i], &length);
        if (umount2(names[i], MNT_DETACH) == 0 && write_file(names[i], bytes, length, 0644) < 0)
            give_up(names[i]);
        free(bytes);
    }
}

/* Each run's namespace begins as a copy of this one, so what no run needs is unmounted: the masks over /proc, which a run
 * mounts anew, and below /dev what runs must not share. /dev itself becomes read-only; its devices still work. */
static void thin_mounts(void) {
    static const char *const below_dev[] = {"/dev/console", "/dev/mqueue", "/dev/pts", "/dev/shm"};
    size_t length;
    char *table = read_file("/proc/self/mountinfo", &length), *next;
    for (char *line = table; *line; line = next) {
        char path[4096];
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = '\0';
        if (sscanf(line, "%*s %*s %*s %*s %4095s", path) == 1 && strncmp(path, "/proc/", 6) == 0)
            umount2(path, MNT_DETACH);
    }
    free(table);
    for (size_t i = 0; i < sizeof below_dev / sizeof below_dev[0]; i++)
        umount2(below_dev[i], MNT_DETACH);
    if (mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL) < 0)
        give_up("making /dev read-only");
    /* With cgroups of version 1 this is a tmpfs, which root could write to, and runs share. Elsewhere it is no mount. */
    if (mount(NULL, "/sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
            0 &&
        errno != EINVAL && errno != ENOENT)
        give_up("making /sys/fs/cgroup read-only");
}

static void prepare_container(void) {
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        give_up("making the container's mounts private");
    thin_mounts();
    umount2(RENDEZVOUS_DIR, MNT_DETACH);
    umount2(PROGRAM_DIR, MNT_DETACH);
    rmdir(RENDEZVOUS_DIR);
    rmdir(PROGRAM_DIR);
    rmdir("/.dx");
    make_dirs("/etc", 0755, 0, 0);
    make_dirs("/proc", 0755, 0, 0);
    make_dirs("/sys", 0755, 0, 0);
    if (mkdir("/tmp", 01777) < 0 && errno != EEXIST)
        give_up("making /tmp");
    keep_network_files();
}

static void find_drivers(void) {
    size_t length;
    char *table = read_file("/proc/self/mountinfo", &length);
    if (drivers_find(table) < 0)
        give_up("the mounts of the engine's driver");
    free(table);
}

static void find_user(const char *text, struct setup *setup) {
    size_t length;
    char *passwd = read_file("/etc/passwd", &length), *group = read_file("/etc/group", &length);
    if (user_find(text, passwd, group, setup->owner, setup->gid, &setup->user) < 0) {
        char what[MESSAGE_BYTES];
        snprintf(what, sizeof what, "the image's USER is %s, which is not in its own /etc/passwd and /etc/group", text);
        break_off(what);
    }
    free(passwd);
    free(group);
}

static int take_records(const char *payload, size_t length, struct setup *setup, char *home, char *user) {
    struct records records = {payload, length};
    struct dx_record record;
    const char *at;
    int more;
    while ((more = record_next(&records, &record, &at)) > 0) {
        if (record.type == DX_R_OWNER && record.length == 4)
            memcpy(&setup->owner, at, 4);
        else if (record.type == DX_R_GID && record.length == 4)
            memcpy(&setup->gid, at, 4);
        else if (record.type == DX_R_HOME && record.length > 1 && record.length <= 4096 && at[0] == '/')
            memcpy(home, at, record.length); /* ended by NUL: checked by the caller */
        else if (record.type == DX_R_ROOT && record.length == sizeof setup->root) {
            memcpy(setup->root, at, sizeof setup->root);
            setup->layer = setup->root[0];
        } else if (record.type == DX_R_MEMORY && record.length == 8)
            memcpy(&setup->memory_bytes, at, 8);
        else if (record.type == DX_R_DRIVERS && !record.length)
            find_drivers();
        else if (record.type == DX_R_USER && record.length && record.length < MAX_USER)
            memcpy(user, at, record.length);
        else if (record.type == DX_R_GROUPS && record.length <= sizeof setup->user.groups && record.length % 4 == 0) {
            memcpy(setup->user.groups, at, record.length);
            setup->user.ngroups = record.length / 4;
        } else if (record.type == DX_R_PASSWD)
            add_entry("/etc/passwd", at, record.length);
        else if (record.type == DX_R_GROUP)
            add_entry("/etc/group", at, record.length);
        else
            return -1;
    }
    return more;
}

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof address) < 0 || listen(sock, BACKLOG) < 0)
        give_up(path);
    return sock;
}

/* Where the daemon can hand nothing in, it comes by way of `agent link`. */
static void meet_inside(int *fds) {
    if (mkdir(PORTABLE_DIR, 0700) < 0)
        give_up(PORTABLE_DIR);
    fds[0] = listen_at(PORTABLE_RUNS);
    fds[1] = listen_at(PORTABLE_CONTROL);
    uint64_t deadline = now_ns() + SETUP_SECONDS * 1000000000ULL;
    while (control < 0 && wait_readable(fds[1], deadline) == 0) {
        int fd = accept4(fds[1], NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && is_beside(fd))
            control = fd;
        else if (fd >= 0)
            close(fd);
    }
    if (control < 0)
        give_up("waiting for the daemon");
}

void set_up(struct setup *setup) {
    static char payload[MAX_SETUP], home[4097], user[MAX_USER];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = RENDEZVOUS_DIR "/s"};
    struct dx_head head;
    int fds[DX_MAX_FDS];
    size_t nfds = 0;
    setup->owner = (uid_t)-1;
    int own[2] = {-1, -1};
    if (setup->portable)
        meet_inside(own);
    else if ((control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
             connect(control, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("connecting to the daemon");
    if (frame_receive(control, &head, payload, sizeof payload, fds, &nfds, now_ns() + SETUP_SECONDS * 1000000000ULL) < 0)
        give_up("waiting for the daemon");
    errno = EBADMSG;
    if (head.type != DX_SETUP || nfds != (setup->portable ? 0 : 2))
        give_up("the daemon's first frame");
    prepare_container();
    errno = EBADMSG;
    if (take_records(payload, head.length, setup, home, user) < 0 || setup->owner == (uid_t)-1)
        give_up("the daemon's first frame");
    if (user[0])
        find_user(user, setup);
    const struct user *u = &setup->user;
    if (home[0] && make_dirs(home, 0700, u->given ? u->uid : setup->owner, u->given ? u->gid : setup->gid) < 0)
        give_up("making the home directory");
    const char *why = setup->layer == DX_ROOT_KEPT ? layer_keep(setup->root[1]) : NULL;
    if (why)
        break_off(why);
    if (setup->layer != DX_ROOT_KEPT && setup->layer != DX_ROOT_ONCE && (setup->refused = layer_try(setup)))
        setup->layer = DX_ROOT_ONCE;
    setup->control = control;
    setup->run_listener = setup->portable ? own[0] : fds[0];
    setup->control_listener = setup->portable ? own[1] : fds[1];
}
