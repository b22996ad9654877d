/* Reaching the daemon, and starting it where none answers.
 *
 * Under systemd the socket is always there and connecting to it starts the service. Elsewhere one launcher of the many
 * that may come at once takes the start lock and starts a detached dxd; the others wait for its socket. The
 * daemon's own lock, held for life, is what makes it one; the start lock only spares the machine. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_SECONDS 15

static struct places places;

/* A connected socket, or -1 with errno. */
static int try_connect(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(places.socket) >= sizeof address.sun_path)
        die(EXIT_DX, "the path of the daemon's socket is too long (%zu bytes, 107 at most): %s; set DX_RUNTIME_DIR to a shorter one",
            strlen(places.socket), places.socket);
    strcpy(address.sun_path, places.socket);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        die(EXIT_DX, "no socket: %s", strerror(errno));
    while (connect(sock, (struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == EINTR)
            continue;
        int saved = errno;
        close(sock);
        errno = saved;
        return -1;
    }
    return sock;
}

static void make_private_dir(const char *path) {
    char part[4096];
    struct stat st;
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0700);
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        die(EXIT_DX, "cannot make %s: %s", path, strerror(errno));
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
        die(EXIT_DX, "%s is not a private directory of yours; run: chmod 700 %s (or remove it)", path, path);
}

/* The last line of the daemon's log, where it says why it did not start. */
static const char *last_words(const char *log) {
    static char text[1024];
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (fd < 0)
        return "it left no log";
    ssize_t n = pread(fd, text, sizeof text - 1, size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0);
    close(fd);
    if (n <= 0)
        return "its log is empty";
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

/* Start a dxd that belongs to nobody's terminal; returns its pid, for whoever waits to know that it lives. */
static pid_t spawn(const char *log) {
    char program[4200];
    snprintf(program, sizeof program, "%s/dxd", program_dir());
    if (access(program, X_OK) < 0)
        die(EXIT_DX, "the daemon is not running and %s is not there; install dx again", program);
    pid_t pid = fork();
    if (pid < 0)
        die(EXIT_DX, "cannot start the daemon: %s", strerror(errno));
    if (pid > 0)
        return pid;
    int null = open("/dev/null", O_RDWR), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    setsid();
    if (out < 0)
        out = null;
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    if (chdir("/") < 0)
        _exit(126);
    execl(program, "dxd", (char *)NULL);
    _exit(127);
}

/* Until a daemon answers. The directory's changes wake us; a second's tick is for file systems that tell nothing. */
static int wait_for_socket(int watch, pid_t child, const char *log) {
    uint64_t deadline = now_ns() + START_SECONDS * 1000000000ULL;
    int status, sock;
    while ((sock = try_connect()) < 0) {
        if (errno != ENOENT && errno != ECONNREFUSED)
            die(EXIT_DX, "cannot connect to %s: %s", places.socket, strerror(errno));
        if (child > 0 && waitpid(child, &status, WNOHANG) == child) {
            child = 0;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                die(EXIT_DX, "the daemon did not start: %s", last_words(log));
        }
        if (now_ns() > deadline)
            die(EXIT_DX, "the daemon did not answer within %d s: %s (see %s)", START_SECONDS, last_words(log), log);
        char events[4096];
        struct pollfd p = {.fd = watch, .events = POLLIN};
        if (poll(&p, 1, child > 0 ? 20 : 100) > 0 && read(watch, events, sizeof events) < 0 && errno != EAGAIN)
            die(EXIT_DX, "waiting for the daemon: %s", strerror(errno));
    }
    return sock;
}

static int start(void) {
    char lock_path[4200], log[4200];
    pid_t child = 0;
    make_private_dir(places.runtime);
    make_private_dir(places.state);
    snprintf(lock_path, sizeof lock_path, "%s/start.lock", places.runtime);
    snprintf(log, sizeof log, "%s/dxd.log", places.state);
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch >= 0)
        inotify_add_watch(watch, places.runtime, IN_CREATE | IN_MOVED_TO);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        die(EXIT_DX, "cannot write to %s: %s", places.runtime, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        int sock = try_connect(); /* it may have come up before the lock was ours */
        if (sock >= 0) {
            close(lock);
            close(watch);
            return sock;
        }
        child = spawn(log);
    }
    int sock = wait_for_socket(watch, child, log);
    close(lock);
    close(watch);
    return sock;
}

bool daemon_ensure(int *sock) {
    places_find(&places);
    *sock = try_connect();
    if (*sock >= 0)
        return true;
    if (errno != ENOENT && errno != ECONNREFUSED)
        die(EXIT_DX, "cannot connect to %s: %s", places.socket, strerror(errno));
    if (getenv("DX_NO_START"))
        die(EXIT_DX, "the daemon is not running and DX_NO_START is set; run: dx daemon start");
    *sock = start();
    return false;
}

int daemon_connect(void) {
    int sock;
    daemon_ensure(&sock);
    return sock;
}
