/* The parts of the agent, PID 1 of a warm container, and what they share.
 *
 *   agent.c    main, and the loop of PID 1: accepts, forks monitors, tells the daemon
 *   setup.c    once: takes what the daemon hands in, prepares the container
 *   users.c    once: who runs are, where it is not their caller
 *   leases.c   what the daemon allowed, until a launcher claims it
 *   monitor.c  one process per run, PID 1 of the run's namespace: reads the request, waits, reports
 *   root.c     the run's fresh root
 *   drivers.c  a GPU's driver in it, where the engine has mounted one
 *   pumps.c    files that the run may not be handed, by pipes
 *   terminal.c a pty of the run's own, where the launcher has a terminal
 *   layers.c   where what a run writes to its root goes
 *   filter.c   the system calls that a run may not make
 *   notes.c    why a run failed, where only its container knows
 *   link.c     in the daemon's place, where the agent's sockets are out of reach
 *   attach.c   in a launcher's place there
 *   volumes.c  in a container of its own: volumes copied, and put in the place of others
 *   tree.c     how
 *   command.c  from the monitor to the command: identity, descriptors, exec
 */
#ifndef DX_AGENT_H
#define DX_AGENT_H

#include "frames.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define RENDEZVOUS_DIR "/.dx/run"
#define PROGRAM_DIR "/.dx/bin"
#define VOLUMES_DIR "/.dx/v" /* each volume of the container below, by its number */
#define GRANTS_DIR "/.dx/g" /* what the container has been granted from its start, by number */
/* The agent's own sockets where it is handed none; no run sees them. */
#define PORTABLE_DIR "/.dx/p"
#define PORTABLE_CONTROL PORTABLE_DIR "/control"
#define PORTABLE_RUNS PORTABLE_DIR "/runs"
#define MAX_GRANTS 128
#define MAX_LINKS 512
#define MAX_CACHES 16
#define MAX_GROUPS 256
#define MAX_PUMPS 8
#define MESSAGE_BYTES 512

/* What went wrong, as the user reads it; `code` is 125, 126 or 127. */
struct failure {
    uint32_t code;
    char text[MESSAGE_BYTES];
};

int fail(struct failure *f, uint32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A list of strings, each ended by NUL, and how many they are. */
struct strings {
    const char *bytes;
    size_t length, count;
};

struct grant {
    uint32_t flags;
    uint64_t device, inode; /* with HERE; 0 where they are not known */
    const char *path;
};

/* A symbolic link of the run's root; where `target` is empty, a directory. */
struct link {
    const char *path, *target;
};

struct cache {
    uint32_t volume;
    const char *path;
};

/* Who runs are, where the tool says so. */
struct user {
    bool given, mapped;
    uid_t uid;
    gid_t gid;
    size_t ngroups;
    gid_t groups[MAX_GROUPS];
    int namespace; /* a user namespace whose map is that of the grants, or -1 */
    int error;     /* why there is none, where they are to be mapped */
};

/* A lease's records, taken apart; everything points into the body. */
struct lease {
    uint64_t run, deadline_ns, scratch_bytes;
    uint8_t token[DX_TOKEN_BYTES];
    bool has_token, has_uid, has_gid;
    uid_t uid;
    gid_t gid;
    size_t ngroups, ngrants, nlinks, ncaches;
    gid_t groups[MAX_GROUPS];
    struct grant grants[MAX_GRANTS];
    struct link links[MAX_LINKS];
    struct cache caches[MAX_CACHES];
    struct strings argv, env;
    const char *cwd, *file, *home;
    const struct user *user; /* NULL: the caller */
    struct {
        bool given;
        uint64_t soft, hard;
    } rlimits[DX_RLIMITS];
    bool limited;            /* memory may run out here before it does on the machine */
};

/* leases.c: the pending leases. The daemon's word is taken as it comes; -1: not a lease. */
int leases_open(void);
int lease_parse(const char *body, size_t length, struct lease *lease);
/* Keep a body (malloc'ed, owned from here on) for a launcher to claim. */
void leases_add(char *body, size_t length);
/* Free what run has claimed, and what nobody claimed in time. */
void leases_drop(uint64_t run);
void leases_expire(void);
/* In a monitor: find the lease of START and make it nobody else's. -1 and `f` where there is none. */
int leases_claim(const struct dx_start *start, struct lease *lease, struct failure *f);

/* setup.c */
struct setup {
    bool portable; /* its sockets are its own, and those who connect are beside it in the container */
    uid_t owner;
    gid_t gid;
    int control, run_listener, control_listener;
    struct user user;
    uint64_t memory_bytes; /* what the container may use, or 0 */
    uint32_t layer;        /* DX_ROOT_*, or 0: in memory */
    uint32_t root[2];      /* DX_R_ROOT as it came */
    int refused;           /* why there is no other layer than DX_ROOT_ONCE, as in errno(3), or 0 */
};
/* Connect to the daemon, prepare the container; does not return unless all of it worked. */
void set_up(struct setup *setup);

/* link.c, attach.c and volumes.c: whole programs of their own; the exit status. */
int link_daemon(void);
int attach_launcher(void);
int volumes_main(int argc, char **argv);
/* Connect to one of the agent's own sockets; -1 and errno. */
int agent_reach(const char *path);

/* Whether the peer is a process of root's in the container, and in no run of it. */
bool is_beside(int fd);

/* users.c: who `text` is, by the files' content; `groups` is what the caller has. -1: there is no such user. */
int user_find(const char *text, const char *passwd, const char *group, uid_t owner, gid_t gid, struct user *user);

/* root.c: make the calling process's mount namespace a fresh root with the lease's grants in it.
 * The mounts are consumed. */
int root_build(const struct setup *setup, const struct lease *lease, const int *mounts, struct failure *f);
/* Make the directory `path` and its parents; those made are given to uid and gid. */
int make_dirs(const char *path, mode_t mode, uid_t uid, gid_t gid);
int write_file(const char *path, const char *bytes, size_t length, mode_t mode);

/* drivers.c: remember the mounts of a driver, once; then move the caller's copies of them below its current directory. */
int drivers_find(const char *mountinfo);
int drivers_move(struct failure *f);

/* filter.c: write the filter, once; then put it on the calling thread, which must have no_new_privs. */
void filter_prepare(void);
int filter_install(void);

/* pumps.c: put a pipe in the place of the regular file that `fd` is, to be `target` in the run; -1 and `f`. */
int pump_add(const struct setup *setup, const struct lease *lease, int fd, int target, struct failure *f);
/* The command has been started. */
void pumps_begin(void);
/* What to wait for; how many they are, MAX_PUMPS at most. Then move what can be moved. */
struct pollfd;
size_t pumps_poll(struct pollfd *fds);
void pumps_move(const struct pollfd *fds);
/* Nothing of the run is left: move the rest, and tell what could not be; whether all was. */
bool pumps_end(int launcher);

/* terminal.c: make a pty like the launcher's terminal, the controlling terminal of the calling session leader. The slave's
 * descriptor, and the master's; or -1 and `f`. */
int terminal_make(const struct dx_terminal *like, uid_t uid, int *master, struct failure *f);
/* Let go of it without losing what was written: a session leader that ends with its terminal flushes it. */
void terminal_release(int slave);

/* command.c: see what the container may do, once. */
void command_prepare(void);
/* Start the command as a child in a process group of its own; its pid, or -1 and `f`. `terminal` is the
 * descriptor of the terminal in whose foreground the group shall be, or -1. */
pid_t command_start(const struct lease *lease, const struct dx_start *start, const int *targets, const int *fds,
                    int terminal, struct failure *f);

/* open_tree(2) and move_mount(2); attaching closes the tree. */
int tree_clone(const char *path, unsigned int flags);
int tree_attach(int tree, const char *path);

/* layers.c: mount the root with its upper layer, where the returned path says; NULL and `f` where that fails. */
const char *layer_mount(const struct setup *setup, const struct lease *lease, struct failure *f);
/* Once in a container: have the layer on this volume kept for all runs; why not, or NULL. */
const char *layer_keep(uint32_t volume);
/* Once in a container: whether the kernel lets a run have its layer; 0, or why not as in errno(3). */
int layer_try(const struct setup *setup);
/* The state of the file system of a layer that goes with the run; -1 where there is none. */
struct statfs;
int layer_state(struct statfs *st);
/* Remove what the run has left of its layer; the calling process is of no use after that. */
void layer_discard(void);

/* notes.c: tell the launcher why the run failed, where only the container knows. Begin before the command does. */
void notes_begin(const struct setup *setup);
void notes_end(const struct setup *setup, const struct lease *lease, int status, int launcher);

/* What a monitor tells PID 1, one datagram each. */
struct report {
    uint32_t slot; /* of PID 1's table of runs */
    uint32_t exited;
    struct dx_run_exited run; /* before it exits, `run` and `started` are set */
};

/* monitor.c: be the monitor of one connection. `report` takes struct report. Does not return. */
void monitor(const struct setup *setup, int launcher, int report, uint32_t slot) __attribute__((noreturn));

#endif
