/* The parts of `dx`, the launcher.
 *
 *   main.c     verbs: `run` and shims here, every other verb is the Python command line's
 *   places.c   where the daemon's socket is (client/dx/places.py says the same)
 *   daemon.c   connect to the daemon, start it where none answers
 *   lease.c    ask for a run: one HTTP request, records both ways
 *   caller.c   what a run inherits besides argv and environment
 *   native.c   a shim outside of the project whose command it is
 *   grants.c   open the paths of the lease as detached mounts
 *   terminal.c the caller's terminal, its modes, and bytes between it and the run's
 *   guard.c    a process that restores the terminal where this one was killed
 *   relay.c    hand all that to the agent; then signals there, the end back
 */
#ifndef DX_LAUNCHER_H
#define DX_LAUNCHER_H

#include "frames.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#define EXIT_DX 125
#define MAX_LEASE_GRANTS 128

/* Print "dx: ..." and exit with `code`. */
void die(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* places.c: paths of at most PATH_MAX bytes; dies where the environment does not say. */
struct places {
    char runtime[4096], state[4096], socket[4200];
};
void places_find(struct places *places);
/* The directory of this program, without a trailing slash. */
const char *program_dir(void);

/* daemon.c: a connected socket. Starts the daemon if none answers; dies if that fails. */
int daemon_connect(void);
/* Start it if need be; true if it was already there. */
bool daemon_ensure(int *sock);

/* What the caller asked to be run. */
struct request {
    const char *command;
    char **args;     /* NULL-terminated, the command itself not among them */
    char **options;  /* "key=value", NULL-terminated */
    bool shim;
    uint64_t late;   /* the run whose agent stays silent, or 0 */
    uint64_t bind;   /* the run whose grants could not be opened, or 0 */
};

struct lease_grant {
    uint32_t flags;
    const char *path;
};

struct lease {
    uint64_t run;
    uint8_t token[DX_TOKEN_BYTES];
    const char *agent;
    size_t ngrants;
    struct lease_grant grants[MAX_LEASE_GRANTS];
    bool still_alive; /* the answer to `late`: wait on */
    bool again;       /* no lease, but asking again may give one */
    bool native;
    const char *project;
};

/* main.c: have the Python client take the place of this program. */
void give_way(const struct request *request) __attribute__((noreturn));
/* Ask on the terminal, once, whether the project may do what it asks for; false where there is none to ask on, too. */
bool trust_ask(const char *project);
/* What is run now is not inside this run. */
void depth_leave(void);

/* native.c: become the next program of that name on PATH; returns where there is none. */
void native_exec(const struct request *request);

/* lease.c: ask, show notes and progress, dies with the daemon's message where there is no lease. */
void lease_ask(const struct request *request, struct lease *lease);

/* caller.c: umask, nice value, ignored signals and limits; the descriptors to hand on, with their numbers in the run,
 * without those that `terminal` says become the run's own terminal. */
void caller_describe(struct dx_start *start);
size_t caller_descriptors(uint32_t terminal, int *fds, int32_t *targets, size_t room);
/* Call first: takes note of closed 0-2 and fills them, so that nothing else lands there. */
void caller_secure_stdio(void);

/* grants.c: one detached mount for each grant. Dies with a clear line; false where the machine lets nobody do so. */
bool grants_open(const struct lease *lease, int *mounts);

/* terminal.c: which of 0-2 are the terminal that the run gets one like, as bits; none unless 0 and 1 are. */
uint32_t terminal_find(void);
void terminal_describe(struct dx_terminal *t);
/* The run has begun, and this is its pty's master. Relay from now on, where this is the foreground. */
void terminal_begin(int agent, int master);
/* Is there a master? */
bool terminal_is_on(void);
/* Has the caller's terminal hung up since? */
bool terminal_has_gone(void);
/* After a stop: is this the foreground? Raw or not accordingly; the agent is told of a change. */
void terminal_look(int agent);
void terminal_resize(void);
/* What to poll for, and what to do then. */
void terminal_poll(struct pollfd fds[2]);
void terminal_pump(const struct pollfd fds[2]);
/* The run has ended: show what it still wrote, unless a signal comes meanwhile; where it was killed, as long
 * as the terminal takes it. */
void terminal_drain(int signals, bool killed);
/* Put the modes back, if this is the foreground. Harmless at any time. */
void terminal_restore(void);
/* Whether the key for that signal was typed to the run, in the foreground. */
bool terminal_was_typed(int number);

/* guard.c: what to put back, and over what. The first word starts the guard. */
void guard_tell(int terminal, const struct termios *before, const struct termios *during);
bool guard_knows(void);
bool modes_are_same(const struct termios *a, const struct termios *b);
/* All is well; call it after terminal_restore(). */
void guard_dismiss(void);

/* relay.c: start the leased run and see it through; does not return. */
void relay(struct request *request, struct lease *lease) __attribute__((noreturn));

#endif
