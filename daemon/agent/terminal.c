/* The terminal of a run: a pty in the run's own devpts, so that its name is one that the run can open.
 *
 * It begins with the modes and the size of the launcher's terminal. The launcher gets the master, and with it all that
 * there is to do while the run goes on; the agent keeps a slave open, so that the master never reports an end before
 * the run's. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static int set_like(int slave, const struct dx_terminal *like) {
    struct winsize size = {.ws_row = like->rows, .ws_col = like->columns, .ws_xpixel = like->width,
                           .ws_ypixel = like->height};
    struct termios modes;
    if (tcgetattr(slave, &modes) < 0)
        return -1;
    modes.c_iflag = like->iflag;
    modes.c_oflag = like->oflag;
    modes.c_cflag = like->cflag;
    modes.c_lflag = like->lflag;
    for (size_t i = 0; i < NCCS && i < DX_CONTROL_CHARS; i++)
        modes.c_cc[i] = like->cc[i];
    if (tcsetattr(slave, TCSANOW, &modes) < 0)
        return -1;
    return ioctl(slave, TIOCSWINSZ, &size);
}

int terminal_make(const struct dx_terminal *like, uid_t uid, int *master, struct failure *f) {
    char path[32];
    unsigned int number;
    int unlocked = 0, slave = -1;
    *master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*master < 0)
        return fail(f, 125, "no terminal for the run: /dev/pts/ptmx: %s", strerror(errno));
    if (ioctl(*master, TIOCSPTLCK, &unlocked) < 0 || ioctl(*master, TIOCGPTN, &number) < 0)
        goto failed;
    snprintf(path, sizeof path, "/dev/pts/%u", number);
    slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || fchown(slave, uid, (gid_t)-1) < 0 || set_like(slave, like) < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        goto failed;
    return slave;
failed:
    fail(f, 125, "no terminal for the run: %s", strerror(errno));
    close(*master);
    if (slave >= 0)
        close(slave);
    return -1;
}

void terminal_release(int slave) {
    ioctl(slave, TIOCNOTTY);
    close(slave);
}
