/* The wire between the daemon, the launcher and the agent, version 1.
 *
 * Three conversations use it:
 *   launcher <-> daemon   the body of POST /v1/runs and of its answer: records
 *   daemon   <-> agent    the control link: frames whose payload is records
 *   launcher <-> agent    the run link: frames; START carries descriptors
 *
 * All three stay on one machine, so integers are in its own byte order.
 * client/dx/protocol.py says the same in Python; a test holds the two together.
 */
#ifndef DX_WIRE_H
#define DX_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define DX_WIRE_VERSION 1

/* A frame: this head, then `length` bytes. Descriptors ride on the head's first byte. */
struct dx_head {
    uint32_t length; /* bytes of payload */
    uint8_t type;
    uint8_t flags;
    uint16_t nfds; /* descriptors that come with this frame */
};

/* A record: this head, then `length` bytes, no padding. */
struct dx_record {
    uint32_t type;
    uint32_t length;
};

#define DX_TOKEN_BYTES 16
#define DX_MAX_FDS 253                       /* SCM_MAX_FD, net/scm.h of Linux */
#define DX_MAX_RUN_FRAME 65536               /* any frame on the run link */
#define DX_MAX_CONTROL_FRAME (8U << 20)      /* a lease: argv and environment of one run */
#define DX_MAX_LEASE_BODY (8U << 20)         /* the body of POST /v1/runs */
#define DX_RLIMITS 16                        /* RLIM_NLIMITS of Linux */
#define DX_SIGNALS 64
#define DX_CONTROL_CHARS 32                  /* NCCS of the C libraries; the kernel has fewer */
#define DX_WINDOW 262144                     /* bytes of a stream in frames that may be under way */

/* Frames on the run link. */
enum {
    DX_START = 1,    /* launcher: struct dx_start, targets; stdio and grants as descriptors */
    DX_SIGNAL = 2,   /* launcher: struct dx_signal */
    DX_FOREGROUND = 3, /* launcher: uint32_t, whether it is in its terminal's foreground */
    DX_STARTED = 16, /* agent: the command was executed; with a terminal, the pty's master as descriptor */
    DX_STOPPED = 17, /* agent: uint32_t, the signal that stopped the command */
    DX_EXIT = 18,    /* agent: struct dx_exit; the last frame */
    DX_FAILED = 19,  /* agent: struct dx_failed, then a message; the last frame */
    DX_NOTE = 20,    /* agent: text, a line for stderr at the end of the run; before EXIT */
};

/* More of them where the run link is frames alone, without descriptors. `agent attach` is then the agent's end. */
enum {
    DX_STREAMS = 21, /* launcher, before START: struct dx_stream for each of its targets */
    DX_DATA = 22,    /* both: uint32_t, the stream; then bytes */
    DX_EOF = 23,     /* both: uint32_t: no more will come */
    DX_CREDIT = 24,  /* both: uint32_t, the stream; uint32_t, room for so many more bytes, beyond DX_WINDOW at first */
    DX_CLOSED = 25,  /* both: uint32_t: nobody reads it any more */
    DX_RESIZE = 26,  /* launcher: struct winsize of ioctl_tty(2), its terminal's */
    DX_TAKEN = 27,   /* agent, before EXIT: struct dx_taken for each stream that the run could read */
};

/* Frames on the control link. */
enum {
    DX_SETUP = 32,       /* daemon, once: SETUP records; the run and the control listener */
    DX_LEASE = 33,       /* daemon: LEASE records */
    DX_RUN_SIGNAL = 34,  /* daemon: struct dx_run_signal */
    DX_PING = 35,        /* daemon: 8 bytes that PONG gives back */
    DX_READY = 48,       /* agent: struct dx_ready; then RUN_STARTED for each live run, then SYNCED */
    DX_PONG = 49,        /* agent */
    DX_RUN_STARTED = 50, /* agent: struct dx_run_started */
    DX_RUN_EXITED = 51,  /* agent: struct dx_run_exited */
    DX_SYNCED = 52,      /* agent: what follows is news */
    DX_BROKEN = 53,      /* agent: a message; setting up failed, the agent ends */
};

/* Records of SETUP and LEASE. */
enum {
    DX_R_OWNER = 1,      /* uint32_t: the only uid that may start runs */
    DX_R_HOME = 2,       /* path: made in the container, 0700, owned by OWNER and GID */
    DX_R_PASSWD = 3,     /* text: a passwd(5) line, added if its uid is missing */
    DX_R_GROUP = 4,      /* text: a group(5) line, added if its gid is missing; repeatable */
    DX_R_DRIVERS = 5,    /* empty: the read-only mounts that the engine made are in each run's root, too */
    DX_R_RUN = 16,       /* uint64_t: number of the run */
    DX_R_TOKEN = 17,     /* DX_TOKEN_BYTES: what START must show, once */
    DX_R_DEADLINE = 18,  /* uint64_t: CLOCK_MONOTONIC ns after which START is refused */
    DX_R_UID = 19,       /* uint32_t */
    DX_R_GID = 20,       /* uint32_t; in SETUP too */
    DX_R_GROUPS = 21,    /* uint32_t each: supplementary gids; in SETUP too */
    DX_R_ARGV = 23,      /* strings, each ended by NUL */
    DX_R_ENV = 24,       /* strings, each ended by NUL */
    DX_R_CWD = 25,       /* path */
    DX_R_FILE = 26,      /* what to execute: a path, or a name to look up in the run's PATH */
    DX_R_GRANT = 27,     /* uint32_t flags, then a path; in the order of START's grants */
    DX_R_SCRATCH = 28,   /* uint64_t: bytes of the scratch layer, 0 for the kernel's default */
    DX_R_LINK = 29,      /* path, then what is written in the link made there; nothing: a directory; repeatable */
    DX_R_CACHE = 30,     /* uint32_t, the number of a volume of the container; then the path it gets; repeatable */
    DX_R_ROOT = 31,      /* uint32_t where a root's upper layer is, uint32_t the number of its volume; in SETUP only */
    DX_R_MEMORY = 33,    /* uint64_t: bytes that the container may use; in SETUP only */
    DX_R_USER = 34,      /* text, as an image's USER: who runs are, if not their caller; in SETUP only */
    DX_R_RLIMIT = 35,    /* uint64_t each: number of a resource, soft and hard limit, in place of START's; repeatable */
};

enum { DX_ROOT_KEPT = 1, DX_ROOT_DISK = 2, DX_ROOT_ONCE = 3 };

enum { DX_ONCE_NOT = 0, DX_ONCE_FRESH = 1, DX_ONCE_USED = 2 };

/* NEW: the path is of something to be made, the mount the directory for it; what the image has there is kept.
 * HERE: the container has it from its start, and no descriptor comes for it; its device and its inode, uint64_t each,
 * stand before the path. */
enum { DX_GRANT_RO = 1, DX_GRANT_DIR = 2, DX_GRANT_NEW = 4, DX_GRANT_HERE = 16 };

/* Records of the lease request and of its answer. */
enum {
    DX_Q_VERSION = 64,  /* uint32_t: DX_WIRE_VERSION */
    DX_Q_COMMAND = 65,  /* bytes: a tool, a command of a tool, or an image */
    DX_Q_ARGV = 66,     /* strings, each ended by NUL, the command itself not among them */
    DX_Q_ENV = 67,      /* strings, each ended by NUL */
    DX_Q_CWD = 68,      /* path, as getcwd(3) gives it */
    DX_Q_OPTION = 69,   /* text "key=value": an option of `dx run`; repeatable */
    DX_Q_SHIM = 70,     /* empty: called through a shim, so COMMAND is only ever a command */
    DX_Q_LATE = 71,     /* uint64_t: this run was leased and its agent stays silent */
    DX_Q_BIND = 72,     /* uint64_t: this run was leased, and its grants cannot be opened here */
    DX_Q_FRAMED = 75,   /* empty: a run link of frames alone will do too */
    DX_A_RUN = 96,      /* uint64_t: number of the run */
    DX_A_TOKEN = 97,    /* DX_TOKEN_BYTES */
    DX_A_AGENT = 98,    /* path of the agent's socket */
    DX_A_GRANT = 99,    /* uint32_t flags, then the path to open on the host; repeatable */
    DX_A_NOTE = 100,    /* text: a line for stderr, shown at once */
    DX_A_PROGRESS = 101,/* text: replaces the line before it, on a terminal only */
    DX_A_ERROR = 102,   /* uint32_t exit code, then a line: why there is no lease; the last record */
    DX_A_WAIT = 103,    /* empty: answer to LATE, the agent is alive; the last record */
    DX_A_GO = 104,      /* empty: the lease is complete; the last record */
    DX_A_PORTABLE = 105,/* empty: the run link is GET /v1/runs/RUN/link; or text, the last record: why the launcher must take frames */
    DX_A_PROJECT = 106, /* path: before ERROR, of the project that asks for what the user has not allowed */
    DX_A_NATIVE = 107,  /* empty: before ERROR, to a shim whose command is no tool here: run the next one on PATH */
};

struct dx_start {
    uint16_t version;
    uint16_t umask;
    int32_t nice;
    uint64_t ignored; /* bit n-1 set: signal n is ignored */
    uint64_t run;
    uint8_t token[DX_TOKEN_BYTES];
    uint16_t nstd;    /* targets that follow: the descriptor numbers in the run */
    uint16_t ngrants; /* descriptors after those */
    uint32_t terminal; /* bit n set: descriptor n of 0-2 is the run's terminal, and not among the targets */
    struct {
        uint64_t soft, hard;
    } rlimits[DX_RLIMITS];
    /* int32_t targets[nstd]; then, where `terminal` is not 0, struct dx_terminal */
};

/* The caller's terminal, for the run's to begin like it. Flags and characters are those of termios(3). */
struct dx_terminal {
    uint16_t rows, columns, width, height; /* the last two in pixels */
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t cc[DX_CONTROL_CHARS];
    uint32_t foreground; /* as in FOREGROUND */
};

struct dx_stream {
    uint32_t number; /* descriptors of one file are one stream, and have the number of the first */
    uint32_t input;  /* 1: the run reads it */
};

struct dx_taken {
    uint32_t number;
    uint32_t reserved;
    uint64_t bytes; /* that the run has read */
};

struct dx_signal {
    uint32_t number;
    uint32_t group; /* 1: to the run's process group, as a terminal does */
};

struct dx_run_signal {
    uint64_t run;
    uint32_t number;
    uint32_t group; /* as in struct dx_signal */
};

struct dx_exit {
    int32_t status; /* as wait(2) gives it */
    uint32_t reserved;
    uint64_t user_us, system_us, max_rss_kib;
};

struct dx_failed {
    uint32_t code; /* 125, 126 or 127 */
};

struct dx_ready {
    uint32_t version;
    uint16_t once;  /* whether the container takes one lease only, whose run has the container's own root */
    uint16_t error; /* of errno(3): why the kernel refuses the layer of a fresh root; 0 where it was not asked */
};

struct dx_run_started {
    uint64_t run;
    uint64_t started_ns; /* CLOCK_MONOTONIC */
};

struct dx_run_exited {
    uint64_t run;
    uint64_t duration_ns;
    uint32_t started; /* 0: it failed before its command was executed */
    uint32_t code;    /* then, the code of FAILED */
    struct dx_exit exit;
};

#endif
