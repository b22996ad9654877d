/* `dx`: the launcher.
 *
 * Called by the name of a command (a shim is a link to this program) or as `dx run`, it asks the daemon for a lease and
 * sees the run through. Every other verb is the Python command line's, `dx-cli` beside this program. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_OPTIONS 256
#define DEPTH "DX_DEPTH"
#define MAX_DEPTH 20

static const char usage[] =
    "Usage: dx run [OPTION...] TOOL [ARG...]\n"
    "       dx run [OPTION...] IMAGE [ARG...]\n"
    "\n"
    "Run a tool, a command of a tool, or any image, as if it were a native command.\n"
    "Everything after its name belongs to it.\n"
    "\n"
    "Options:\n"
    "  --env K=V | --env PATTERN    set a variable, or pass the caller's own that match\n"
    "  --mount SRC[:DST][:ro]       show a path of the host to this run\n"
    "  --network none|bridge|host|project[:NAME]  another network than the tool's\n"
    "  --up SERVICE[,SERVICE]       have these of the project ready first, and be on their network\n"
    "  --port [ADDR:]PORT[:PORT]    a port of this machine that leads to the run\n"
    "  --device /dev/NAME[:MODE]    a device that it may open\n"
    "  --share ssh-agent|x11|wayland  use that of your session\n"
    "  --user me|root|image         another user than the tool's\n"
    "  --paths auto|project|none    what it sees of your files: what arguments name too, or less\n"
    "  --git read|write             whether it may change .git/hooks and .git/config\n"
    "  --image IMAGE                another image than the tool's\n"
    "  --explain                    say first what it sees of your files, and why\n"
    "  --help                       this text\n"
    "\n"
    "Examples:\n"
    "  dx run jq .name package.json\n"
    "  cat data.csv | dx run python clean.py > clean.csv\n"
    "  dx run --network none debian:12 sh -c 'id; ls'\n"
    "\n"
    "Exit status: the tool's own; 125 dx or the engine failed, 126 not executable, 127 not found.\n";

void die(int code, const char *format, ...) {
    va_list args;
    terminal_restore();
    guard_dismiss();
    fputs("dx: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(code);
}

/* A shim that finds itself again, through a PATH that leads back here, would multiply without end. */
static void guard_recursion(void) {
    const char *value = getenv(DEPTH);
    int depth = value ? atoi(value) : 0;
    char next[16];
    if (depth >= MAX_DEPTH)
        die(EXIT_DX, "%d runs of dx inside each other: a shim seems to call itself; check PATH, or unset " DEPTH, depth);
    snprintf(next, sizeof next, "%d", depth + 1);
    setenv(DEPTH, next, 1);
}

void depth_leave(void) {
    const char *value = getenv(DEPTH);
    char before[16];
    int depth = value ? atoi(value) : 0;
    snprintf(before, sizeof before, "%d", depth - 1);
    if (depth > 1)
        setenv(DEPTH, before, 1);
    else
        unsetenv(DEPTH);
}

static void run_cli(char **argv) __attribute__((noreturn));
static void run_cli(char **argv) {
    static char program[4200];
    snprintf(program, sizeof program, "%s/dx-cli", program_dir());
    argv[0] = program;
    execv(program, argv);
    die(EXIT_DX, "cannot run %s: %s; install dx again", program, strerror(errno));
}

/* As the agent does where it gets them: Python would not even start with a directory. */
static void check_stdio(void) {
    for (int fd = 0; fd < 3; fd++) {
        struct stat st;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fstat(fd, &st) < 0)
            continue;
        const char *what = S_ISDIR(st.st_mode)   ? "a directory"
                           : S_ISBLK(st.st_mode) ? "a block device"
                           : flags & O_PATH      ? "a path without access (O_PATH)"
                                                 : NULL;
        if (what)
            die(EXIT_DX, "descriptor %d is %s, which a tool may not be handed; name it as an argument instead", fd, what);
    }
}

static bool is_ignored(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* An agent that is out of reach takes no descriptors; the Python client has frames for it, and asks anew. */
void give_way(const struct request *request) {
    size_t n = 1, nargs = 0, noptions = 0;
    check_stdio();
    while (request->args[nargs])
        nargs++;
    while (request->options[noptions])
        noptions++;
    char **argv = calloc(noptions + nargs + 8, sizeof *argv);
    if (!argv)
        die(EXIT_DX, "no memory");
    argv[n++] = "--relay";
    if (is_ignored(SIGPIPE)) /* Python ignores both, and would not know */
        argv[n++] = "--ignored=13";
    if (is_ignored(SIGXFSZ))
        argv[n++] = "--ignored=25";
    if (request->shim)
        argv[n++] = "--shim";
    for (size_t i = 0; i < noptions; i++, n++) {
        argv[n] = malloc(strlen(request->options[i]) + 3);
        if (!argv[n])
            die(EXIT_DX, "no memory");
        sprintf(argv[n], "--%s", request->options[i]);
        if (strcmp(argv[n], "--explain=") == 0)
            argv[n] = "--explain"; /* the one without a value */
    }
    argv[n++] = "--";
    argv[n++] = (char *)(uintptr_t)request->command;
    memcpy(argv + n, request->args, nargs * sizeof *argv);
    depth_leave(); /* it counts itself */
    run_cli(argv);
}

bool trust_ask(const char *project) {
    static bool asked;
    char *argv[] = {NULL, "trust", (char *)(uintptr_t)project, NULL};
    int status;
    if (asked || !isatty(0) || !isatty(2))
        return false;
    asked = true;
    pid_t child = fork();
    if (child == 0) {
        depth_leave();
        dup2(2, 1); /* what is on 1 is the tool's alone */
        run_cli(argv);
    }
    if (child < 0)
        return false;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (WIFSIGNALED(status))
        exit(128 + WTERMSIG(status));
    return WEXITSTATUS(status) == 0;
}

static void run(struct request *request) __attribute__((noreturn));
static void run(struct request *request) {
    struct lease lease;
    guard_recursion();
    lease_ask(request, &lease);
    relay(request, &lease);
}

/* The option at argv[0] as "key=value"; how many arguments it took. */
static int take_option(char **argv, char **option) {
    static const char *const names[] = {"env", "mount", "network", "port", "device", "share", "user", "paths", "git", "image", "up"};
    if (strcmp(argv[0], "--explain") == 0) {
        *option = "explain=";
        return 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i]);
        const char *at = argv[0] + 2, *value;
        if (strncmp(at, names[i], length) != 0 || (at[length] && at[length] != '='))
            continue;
        value = at[length] ? at + length + 1 : argv[1];
        if (!value)
            die(EXIT_DX, "--%s needs a value; see: dx run --help", names[i]);
        *option = malloc(length + strlen(value) + 2);
        if (!*option)
            die(EXIT_DX, "no memory");
        sprintf(*option, "%s=%s", names[i], value);
        return at[length] ? 1 : 2;
    }
    die(EXIT_DX, "dx run has no option %s; the tool's own options stand after its name", argv[0]);
}

static void run_verb(char **argv) __attribute__((noreturn));
static void run_verb(char **argv) {
    char *options[MAX_OPTIONS + 1] = {0};
    size_t n = 0;
    while (argv[0] && argv[0][0] == '-') {
        if (strcmp(argv[0], "--") == 0) {
            argv++;
            break;
        }
        if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
            fputs(usage, stdout);
            exit(fflush(stdout) ? EXIT_DX : 0);
        }
        if (strncmp(argv[0], "--", 2) != 0)
            die(EXIT_DX, "dx run has no option %s; see: dx run --help", argv[0]);
        if (n == MAX_OPTIONS)
            die(EXIT_DX, "too many options before the tool's name");
        argv += take_option(argv, &options[n++]);
    }
    if (!argv[0])
        die(EXIT_DX, "run what? see: dx run --help");
    run(&(struct request){.command = argv[0], .args = argv + 1, .options = options});
}

/* `dx daemon start` is here because whoever needs the daemon can then have it by running this program. */
static void start_daemon(void) __attribute__((noreturn));
static void start_daemon(void) {
    int sock;
    unsetenv("DX_NO_START"); /* here starting it is what was asked for */
    puts(daemon_ensure(&sock) ? "dx: the daemon is running" : "dx: the daemon is started");
    exit(fflush(stdout) ? EXIT_DX : 0);
}

int main(int argc, char **argv) {
    static char *no_options[] = {NULL};
    caller_secure_stdio();
    if (argc < 1)
        return EXIT_DX;
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    if (strcmp(name, "dx") != 0)
        run(&(struct request){.command = name, .args = argv + 1, .options = no_options, .shim = true});
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        run_verb(argv + 2);
    if (argc == 3 && strcmp(argv[1], "daemon") == 0 && strcmp(argv[2], "start") == 0)
        start_daemon();
    run_cli(argv);
}
