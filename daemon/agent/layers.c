/* Where it goes what a run writes to its root: the upper layer of the overlay over the container's own.
 *
 *   in memory   a tmpfs that ends with the run's mount namespace; what a run has unless the tool says otherwise
 *   on disk     a directory for each run on a volume that goes with the container; the monitor removes it in the end
 *   once        none: where the kernel refuses an overlay the container's own root is that of one run, and goes with it
 *   kept        one layer on a volume of the tool's, mounted once. Each run has that very mount, so all of them see what
 *               one writes at once, as on any machine. The layer is locked, for two mounts with one upper layer are none
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE "/proc" /* the old one is of no use to a run */
#define DISK "/.dx/s"
#define KEPT "/.dx/root"
#define DEEPEST 32 /* descriptors that removing a tree may hold */

static int scratch = -1;   /* its path leads nowhere once the root is entered */
static char on_disk[32];   /* the directory below it, where there is one */

int layer_state(struct statfs *st) {
    return scratch < 0 ? -1 : fstatfs(scratch, st);
}

/* A directory with an upper layer, which hides the agent's own directory from the run by a whiteout, and a work
 * directory, as the options of an overlay in `options`. */
static int make_layer(const char *directory, char *options, size_t room) {
    char upper[64], work[64], hidden[80];
    snprintf(upper, sizeof upper, "%s/u", directory);
    snprintf(work, sizeof work, "%s/w", directory);
    snprintf(hidden, sizeof hidden, "%s/.dx", upper);
    snprintf(options, room, "lowerdir=/,upperdir=%s,workdir=%s", upper, work);
    if ((mkdir(upper, 0755) < 0 && errno != EEXIST) || (mkdir(work, 0755) < 0 && errno != EEXIST))
        return -1;
    return access("/.dx", F_OK) == 0 && mknod(hidden, S_IFCHR, 0) < 0 && errno != EEXIST ? -1 : 0;
}

const char *layer_keep(uint32_t volume) {
    char directory[64], options[256];
    snprintf(directory, sizeof directory, VOLUMES_DIR "/%u", volume);
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* held as long as the agent lives */
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? "the tool's kept root is in use by another container; run: dx stop --all"
                                    : "the tool's kept root cannot be opened";
    if (mkdir(KEPT, 0755) < 0 || make_layer(directory, options, sizeof options) < 0)
        return "the tool's kept root cannot be prepared; is its disk full?";
    if (mount("root", KEPT, "overlay", MS_NODEV, options) < 0)
        return "the kernel refuses the overlay that a kept root needs; set the tool's root to fresh";
    return NULL;
}

static const char *use_kept(struct failure *f) {
    int tree = tree_clone(KEPT, 0);
    if (tree < 0 || tree_attach(tree, PLACE) < 0) {
        fail(f, 125, "no kept root: %s", strerror(errno));
        return NULL;
    }
    return PLACE;
}

static const char *use_disk(uint64_t run, struct failure *f) {
    char directory[64], options[256];
    snprintf(on_disk, sizeof on_disk, "%llu", (unsigned long long)run);
    snprintf(directory, sizeof directory, DISK "/%s", on_disk);
    scratch = open(DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scratch < 0 || mkdir(directory, 0700) < 0 || make_layer(directory, options, sizeof options) < 0) {
        fail(f, 125, "no scratch layer on disk: %s", strerror(errno));
        return NULL;
    }
    if (mount("root", PLACE, "overlay", MS_NODEV, options) < 0) {
        fail(f, 125, "no fresh root: the overlay was refused: %s", strerror(errno));
        return NULL;
    }
    return PLACE;
}

static const char *use_memory(uint64_t bytes, struct failure *f) {
    char size[64] = "mode=0755", options[256];
    if (bytes)
        snprintf(size, sizeof size, "mode=0755,size=%llu", (unsigned long long)bytes);
    if (mount("scratch", PLACE, "tmpfs", MS_NODEV, size) < 0 || make_layer(PLACE, options, sizeof options) < 0 ||
        mkdir(PLACE "/r", 0755) < 0) {
        fail(f, 125, "no scratch layer: %s", strerror(errno));
        return NULL;
    }
    scratch = open(PLACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (mount("root", PLACE "/r", "overlay", MS_NODEV, options) < 0) {
        fail(f, 125, "no fresh root: the overlay was refused: %s", strerror(errno));
        return NULL;
    }
    return PLACE "/r";
}

/* Nothing else shall write to it, which the agent sees to: it takes no second lease. */
static const char *use_own(struct failure *f) {
    int tree = tree_clone("/", 0);
    scratch = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (tree < 0 || scratch < 0 || tree_attach(tree, PLACE) < 0 ||
        mount(NULL, PLACE, NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL) < 0 ||
        (access(PLACE "/.dx", F_OK) == 0 && mount("hidden", PLACE "/.dx", "tmpfs", MS_RDONLY, "mode=0,size=4k") < 0)) {
        fail(f, 125, "the container's root cannot be the run's: %s", strerror(errno));
        return NULL;
    }
    return PLACE;
}

int layer_try(const struct setup *setup) {
    static const struct lease none;
    struct failure f;
    int status;
    long pid = syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        int error = layer_mount(setup, &none, &f) ? 0 : errno;
        layer_discard();
        _exit(error);
    }
    if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

const char *layer_mount(const struct setup *setup, const struct lease *lease, struct failure *f) {
    switch (setup->layer) {
    case DX_ROOT_ONCE:
        return use_own(f);
    case DX_ROOT_KEPT:
        return use_kept(f);
    case DX_ROOT_DISK:
        return use_disk(lease->run, f);
    default:
        return use_memory(lease->scratch_bytes, f);
    }
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st;
    (void)kind;
    (void)where;
    remove(path); /* what stays goes with the container */
    return 0;
}

void layer_discard(void) {
    if (on_disk[0] && fchdir(scratch) == 0)
        nftw(on_disk, remove_one, DEEPEST, FTW_DEPTH | FTW_PHYS);
}
