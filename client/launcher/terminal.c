/* The caller's terminal, and the run's pty whose master the agent has sent: bytes both ways, size and modes.
 *
 * While this launcher is in the foreground its terminal is raw, and what is typed goes to the run's pty, which makes of
 * it what a terminal makes: echo, lines, signals. In the background nothing is read and no mode is touched, for then the
 * terminal is somebody else's. What the modes were is put back whenever the foreground is left, however that comes. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define PIECE 16384
#define STUCK_MS 1000 /* that a terminal takes nothing, before a killed run's output is given up */

struct buffer {
    char bytes[PIECE];
    size_t from, to;
};

static int terminal = -1, master = -1;
static bool raw;       /* the terminal is in our modes */
static bool gone;      /* the terminal has hung up */
static bool told;      /* what the agent knows of `is_foreground` */
static bool held_back; /* a carriage return of the run's, until what follows is seen */
static uint64_t typed; /* bit n-1 set: the key for signal n went to the run */
static struct termios saved, ours;
static struct termios given; /* to the run's terminal, by us */
static struct buffer in, out;

static bool is_empty(const struct buffer *b) {
    return b->from == b->to;
}

/* Are both the same terminal? /dev/tty is another file than the terminal that it stands for. */
static bool is_same(int a, int b) {
    unsigned int device_a, device_b;
    struct stat st_a, st_b;
    if (ioctl(a, TIOCGDEV, &device_a) < 0 || ioctl(b, TIOCGDEV, &device_b) < 0 || device_a != device_b)
        return false;
    if (fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0)
        return false;
    return st_a.st_rdev != st_b.st_rdev || st_a.st_dev == st_b.st_dev;
}

/* The terminal by a description of our own, so that O_NONBLOCK is nobody else's; at worst the caller's, which blocks. */
static int open_own(void) {
    static const char *const names[] = {"/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int fd = open(names[i], O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && is_same(fd, 0))
            return fd;
        if (fd >= 0)
            close(fd);
    }
    return fcntl(0, F_DUPFD_CLOEXEC, 3);
}

/* A terminal that is not our controlling one knows no foreground: there is nobody to share it with. */
static bool is_foreground(void) {
    pid_t group = tcgetpgrp(terminal);
    return group < 0 ? errno == ENOTTY : group == getpgrp();
}

uint32_t terminal_find(void) {
    uint32_t which = 0;
    if (!isatty(0) || !isatty(1) || !is_same(0, 1))
        return 0;
    if (terminal < 0 && ((terminal = open_own()) < 0 || tcgetattr(terminal, &saved) < 0))
        die(EXIT_DX, "cannot use the terminal: %s", strerror(errno));
    for (int fd = 0; fd < 3; fd++)
        which |= (uint32_t)is_same(0, fd) << fd;
    return which;
}

void terminal_describe(struct dx_terminal *t) {
    struct winsize size = {0};
    ioctl(terminal, TIOCGWINSZ, &size);
    *t = (struct dx_terminal){.rows = size.ws_row, .columns = size.ws_col, .width = size.ws_xpixel,
                              .height = size.ws_ypixel, .iflag = saved.c_iflag, .oflag = saved.c_oflag,
                              .cflag = saved.c_cflag, .lflag = saved.c_lflag};
    for (size_t i = 0; i < NCCS && i < DX_CONTROL_CHARS; i++)
        t->cc[i] = saved.c_cc[i];
    given = saved;
    told = is_foreground();
    t->foreground = told;
}

/* A command that began in the background was given the modes of the shell that edits a line there. As long as it has set
 * none itself, it has those that are the terminal's now. */
static void give_modes(void) {
    struct termios theirs;
    if (modes_are_same(&saved, &given)) /* always so at the start, when the command may just be setting its own */
        return;
    if (tcgetattr(master, &theirs) == 0 && modes_are_same(&theirs, &given) &&
        tcsetattr(master, TCSANOW, &saved) == 0)
        given = saved;
}

static void make_raw(void) {
    struct termios now;
    if (tcgetattr(terminal, &now) < 0)
        return;
    /* After a stop they may be ours already, for some shells keep a job's modes. */
    if (!guard_knows() || !modes_are_same(&now, &ours))
        saved = now;
    give_modes();
    ours = saved;
    cfmakeraw(&ours);
    ours.c_cc[VMIN] = 1;
    ours.c_cc[VTIME] = 0;
    guard_tell(terminal, &saved, &ours);
    raw = tcsetattr(terminal, TCSANOW, &ours) == 0;
}

void terminal_restore(void) {
    if (raw && is_foreground())
        tcsetattr(terminal, TCSANOW, &saved);
    raw = false;
}

void terminal_resize(void) {
    struct winsize size;
    if (master >= 0 && ioctl(terminal, TIOCGWINSZ, &size) == 0)
        ioctl(master, TIOCSWINSZ, &size);
}

/* The terminal is gone: to the run it is as if its own were. */
static void hang_up(void) {
    if (master >= 0)
        close(master);
    master = -1;
    raw = false;
    gone = true;
    in.from = in.to = out.from = out.to = 0;
}

void terminal_look(int agent) {
    if (master < 0)
        return;
    errno = 0;
    uint32_t foreground = is_foreground();
    if (errno == EIO) {
        hang_up();
        return;
    }
    raw = false;
    if (foreground)
        make_raw();
    terminal_resize();
    if (foreground != told)
        frame_send(agent, DX_FOREGROUND, &foreground, sizeof foreground, NULL, 0);
    told = foreground;
}

void terminal_begin(int agent, int fd) {
    master = fd;
    fcntl(master, F_SETFL, O_NONBLOCK);
    terminal_look(agent);
}

bool terminal_is_on(void) {
    return master >= 0;
}

bool terminal_has_gone(void) {
    return gone;
}

bool terminal_was_typed(int number) {
    return typed >> (number - 1) & 1;
}

/* Which signals will the run's terminal make of what goes there now? */
static void note_keys(const char *bytes, size_t n) {
    struct termios theirs;
    if (tcgetattr(master, &theirs) < 0 || !(theirs.c_lflag & ISIG))
        return;
    static const struct {
        int key, number;
    } keys[] = {{VINTR, SIGINT}, {VQUIT, SIGQUIT}, {VSUSP, SIGTSTP}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (theirs.c_cc[keys[i].key] != _POSIX_VDISABLE && memchr(bytes, theirs.c_cc[keys[i].key], n))
            typed |= 1ULL << (keys[i].number - 1);
}

/* A terminal that is not raw puts a carriage return before each line feed, as the run's has done already. */
static size_t without_returns(char *bytes, size_t n) {
    size_t kept = 0;
    char piece[PIECE];
    if (raw || (saved.c_oflag & (OPOST | ONLCR)) != (OPOST | ONLCR)) {
        if (!held_back)
            return n;
    }
    for (size_t i = 0; i < n; i++) {
        if (held_back && bytes[i] != '\n')
            piece[kept++] = '\r';
        held_back = bytes[i] == '\r' && kept + 2 < sizeof piece;
        if (!held_back)
            piece[kept++] = bytes[i];
    }
    memcpy(bytes, piece, kept);
    return kept;
}

/* Fill an empty buffer: 1, 0 where nothing is there yet, -1 at the end. */
static int fill(int fd, struct buffer *b) {
    ssize_t n = read(fd, b->bytes, sizeof b->bytes - 1);
    b->from = b->to = 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    b->to = (size_t)n;
    return n > 0 ? 1 : -1;
}

static int empty(struct buffer *b, int fd) {
    while (!is_empty(b)) {
        ssize_t n = write(fd, b->bytes + b->from, b->to - b->from);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        b->from += (size_t)n;
    }
    return 0;
}

/* From the run to the terminal: 1 where some came, 0 where none did, -1 at the run's end or the terminal's. */
static int bring_out(void) {
    if (is_empty(&out)) {
        int rc = fill(master, &out);
        if (rc <= 0)
            return rc;
        out.to = without_returns(out.bytes, out.to);
    }
    if (empty(&out, terminal) < 0) {
        hang_up();
        return -1;
    }
    return 1;
}

void terminal_poll(struct pollfd fds[2]) {
    fds[0] = (struct pollfd){.fd = -1};
    fds[1] = (struct pollfd){.fd = -1};
    if (master < 0)
        return;
    fds[0].events = (short)((raw && is_empty(&in) ? POLLIN : 0) | (is_empty(&out) ? 0 : POLLOUT));
    fds[1].events = (short)((is_empty(&out) ? POLLIN : 0) | (is_empty(&in) ? 0 : POLLOUT));
    fds[0].fd = fds[0].events ? terminal : -1;
    fds[1].fd = fds[1].events ? master : -1;
}

void terminal_pump(const struct pollfd fds[2]) {
    if (master >= 0 && fds[0].revents & (POLLIN | POLLHUP | POLLERR) && raw && is_empty(&in)) {
        int rc = fill(terminal, &in);
        if (rc < 0) {
            hang_up();
            return;
        }
        if (rc > 0)
            note_keys(in.bytes, in.to);
    }
    if (master >= 0)
        empty(&in, master);
    if (master >= 0 && (fds[1].revents || fds[0].revents & POLLOUT))
        bring_out();
}

void terminal_drain(int signals, bool killed) {
    while (master >= 0) {
        int rc = bring_out();
        if (is_empty(&out) && rc <= 0)
            break;
        struct pollfd fds[] = {{.fd = terminal, .events = POLLOUT}, {.fd = signals, .events = POLLIN}};
        if (is_empty(&out))
            continue;
        int n = poll(fds, 2, killed ? STUCK_MS : -1);
        if (n == 0 || (n > 0 && fds[1].revents))
            break; /* nobody looks at the terminal, and somebody wanted this to end */
    }
    if (held_back && master >= 0)
        (void)!write(terminal, "\r", 1);
    held_back = false;
}
