/* The parts of `dx`, the launcher.
 *
 *   main.c     verbs: `run` and shims here, every other verb is the Python command line's
 *   places.c   where the daemon's socket is (client/dx/places.py says the same)
 *   daemon.c   connect to the daemon, start it where none answers
 *   lease.c    ask for a run: one HTTP request, records both ways
 *   caller.c   what a run inherits besides argv and environment
 *   grants.c   open the paths of the lease as detached mounts
 *   relay.c    hand all that to the agent; then signals there, the end back
 */
#ifndef DX_LAUNCHER_H
#define DX_LAUNCHER_H

#include "frames.h"

#include <stdbool.h>
#include <sys/types.h>

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
};

/* lease.c: ask, show notes and progress, dies with the daemon's message where there is no lease. */
void lease_ask(const struct request *request, struct lease *lease);

/* caller.c: umask, nice value, ignored signals and limits; the descriptors to hand on, with their numbers in the run. */
void caller_describe(struct dx_start *start);
size_t caller_descriptors(int *fds, int32_t *targets, size_t room);
/* Call first: takes note of closed 0-2 and fills them, so that nothing else lands there. */
void caller_secure_stdio(void);

/* grants.c: one detached mount for each grant. Dies with a clear line. */
void grants_open(const struct lease *lease, int *mounts);

/* relay.c: start the leased run and see it through; does not return. */
void relay(struct request *request, struct lease *lease) __attribute__((noreturn));

#endif
