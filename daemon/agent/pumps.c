/* Files that the run may not be handed, by pipes.
 *
 * Where a run is somebody else than its caller, a regular file on a descriptor would be that one's way to an inode whose
 * ids are not mapped. So the monitor keeps the file, and the run gets a pipe. What the run has not read is given back by
 * the file's offset, what it wrote is written to the end, in the caller's name: with its quota, without root's share of a
 * full disk, and so that a setuid bit goes as it does when the caller writes. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 65536

struct pump {
    int file, target;
    int pipe;   /* our end, -1 when that way is over */
    int theirs; /* the run's end until the run has it; of an input a copy stays, to see what is left in it */
    bool input;
    int error; /* why not all could be moved */
    size_t at, length;
    char bytes[PIECE]; /* of an input: read, and not written yet */
};

static struct pump pumps[MAX_PUMPS];
static size_t npumps;
static uid_t caller;

/* Do both move one offset? Only then they are one open file; kcmp(2) is not to be had. */
static bool is_same(int a, int b) {
    struct stat st_a, st_b;
    off_t at = lseek(a, 0, SEEK_CUR);
    if (fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0 || st_a.st_dev != st_b.st_dev || st_a.st_ino != st_b.st_ino)
        return false;
    if (at < 0 || lseek(b, 0, SEEK_CUR) != at || lseek(a, at + 1, SEEK_SET) < 0)
        return false;
    bool same = lseek(b, 0, SEEK_CUR) == at + 1;
    lseek(a, at, SEEK_SET);
    return same;
}

static int refuse(int target, const char *what, struct failure *f) {
    return fail(f, 125, "descriptor %d is a file%s, which a tool that is not you may not be handed; pipe it: %s", target,
                what, target ? "| cat > FILE" : "cat FILE |");
}

int pump_add(const struct setup *setup, const struct lease *lease, int fd, int target, struct failure *f) {
    int access = fcntl(fd, F_GETFL) & O_ACCMODE, ends[2], own;
    bool input = access == O_RDWR ? target == 0 : access == O_RDONLY;
    caller = setup->owner;
    if (access == O_RDWR && target > 2)
        return refuse(target, " open for both reading and writing", f);
    for (size_t i = 0; i < npumps; i++)
        if (pumps[i].input == input && is_same(pumps[i].file, fd))
            return dup3(pumps[i].theirs, fd, O_CLOEXEC) < 0 ? fail(f, 125, "descriptor %d: %s", target, strerror(errno)) : 0;
    if (npumps == MAX_PUMPS)
        return refuse(target, " too many", f);
    if ((own = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return fail(f, 125, "no pipe for descriptor %d: %s", target, strerror(errno));
    struct pump *p = &pumps[npumps++];
    p->file = own;
    p->target = target;
    p->input = input;
    p->pipe = ends[input];
    p->theirs = ends[!input];
    /* The run may open it anew by its name. */
    if (fchown(p->theirs, lease->uid, lease->gid) < 0 || fcntl(p->pipe, F_SETFL, O_NONBLOCK) < 0 ||
        dup3(p->theirs, fd, O_CLOEXEC) < 0)
        return fail(f, 125, "no pipe for descriptor %d: %s", target, strerror(errno));
    return 0;
}

void pumps_begin(void) {
    for (size_t i = 0; i < npumps; i++)
        if (!pumps[i].input)
            close(pumps[i].theirs); /* that the run closes its own has to be seen */
}

size_t pumps_poll(struct pollfd *fds) {
    for (size_t i = 0; i < npumps; i++)
        fds[i] = (struct pollfd){.fd = pumps[i].pipe, .events = pumps[i].input ? POLLOUT : POLLIN};
    return npumps;
}

static void finish(struct pump *p, int error) {
    close(p->pipe);
    p->pipe = -1;
    p->error = error;
}

/* From the file as much as the pipe takes now. */
static void bring_in(struct pump *p) {
    if (p->at == p->length) {
        ssize_t n = read(p->file, p->bytes, sizeof p->bytes);
        if (n <= 0) {
            finish(p, n < 0 ? errno : 0);
            return;
        }
        p->at = 0;
        p->length = (size_t)n;
    }
    ssize_t n = write(p->pipe, p->bytes + p->at, p->length - p->at);
    if (n > 0)
        p->at += (size_t)n;
}

/* To the file what is in the pipe, a piece of it; false when there is no more for now. */
static bool bring_out(struct pump *p) {
    ssize_t n = read(p->pipe, p->bytes, sizeof p->bytes);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        finish(p, 0);
        return false;
    }
    for (ssize_t at = 0; at < n;) {
        ssize_t written = write(p->file, p->bytes + at, (size_t)(n - at));
        if (written < 0) {
            finish(p, errno); /* the run hears of it as of any reader that goes */
            return false;
        }
        at += written;
    }
    return true;
}

void pumps_move(const struct pollfd *fds) {
    for (size_t i = 0; i < npumps; i++) {
        if (!fds[i].revents)
            continue;
        setfsuid(caller);
        if (pumps[i].input)
            bring_in(&pumps[i]);
        else
            bring_out(&pumps[i]);
        setfsuid(0);
    }
}

bool pumps_end(int launcher) {
    bool all = true;
    char text[MESSAGE_BYTES];
    for (size_t i = 0; i < npumps; i++) {
        struct pump *p = &pumps[i];
        int left = 0;
        if (p->input) {
            ioctl(p->theirs, FIONREAD, &left);
            lseek(p->file, -(off_t)left - (off_t)(p->length - p->at), SEEK_CUR);
        } else {
            setfsuid(caller);
            while (p->pipe >= 0 && bring_out(p))
                ;
            setfsuid(0);
        }
        if (p->error) {
            all = false;
            snprintf(text, sizeof text, "cannot %s descriptor %d: %s", p->input ? "read" : "write to", p->target,
                     strerror(p->error));
            frame_send(launcher, DX_NOTE, text, strlen(text), NULL, 0);
        }
    }
    return all;
}
