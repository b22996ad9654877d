/* Why a run failed, where only its container knows: memory that ran out, a scratch layer that is full.
 *
 * The command sees a signal or an error, and its caller would look for the fault there. The kernel counts kills for the
 * container as a whole, so where two runs are in it, and one is killed, the other may fail for another reason and be
 * told of it too; that is why the words differ. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t kills_before;

/* How often the kernel has killed something in this container for want of memory; 0 where it does not say. */
static uint64_t count_kills(void) {
    static const char *const files[] = {"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"};
    char text[512];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (n < 0)
            continue;
        text[n] = '\0';
        char *at = strstr(text, "oom_kill ");
        return at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
    }
    return 0;
}

/* A size as dx.toml has it. */
static const char *size_text(uint64_t bytes, char *text, size_t room) {
    static const char units[] = "bkmgtp";
    size_t unit = 0;
    while (bytes && bytes % 1024 == 0 && unit + 2 < sizeof units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, room, "%llu%c", (unsigned long long)bytes, units[unit]);
    return text;
}

static void tell(int launcher, const char *text) {
    frame_send(launcher, DX_NOTE, text, strlen(text), NULL, 0);
}

void notes_begin(const struct setup *setup) {
    if (setup->memory_bytes)
        kills_before = count_kills();
}

void notes_end(const struct setup *setup, const struct lease *lease, int status, int launcher) {
    char text[MESSAGE_BYTES], size[32];
    bool killed = (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                  (WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL);
    struct statfs scratch;
    if (status == 0)
        return;
    if (setup->memory_bytes && count_kills() != kills_before) {
        snprintf(text, sizeof text, "%s: out of memory (limit %s); raise the tool's memory",
                 killed ? "killed" : "something in the tool's container was killed",
                 size_text(setup->memory_bytes, size, sizeof size));
        tell(launcher, text);
    }
    if (layer_state(&scratch) == 0 && (scratch.f_bavail == 0 || (scratch.f_files && scratch.f_ffree == 0))) {
        uint64_t bytes = lease->scratch_bytes ? lease->scratch_bytes : scratch.f_blocks * (uint64_t)scratch.f_bsize;
        if (setup->layer == DX_ROOT_DISK || setup->layer == DX_ROOT_ONCE)
            snprintf(text, sizeof text, "the run's scratch layer is full: no room is left on the engine's disk");
        else
            snprintf(text, sizeof text, "the run's scratch layer is full (%s%s); raise the tool's scratch_size",
                     size_text(bytes, size, sizeof size), scratch.f_bavail ? ", its number of files" : "");
        tell(launcher, text);
    }
}
