/* The system calls that a run may not make.
 *
 * The engine's own filter is loosened for the agent's capabilities, and a run inherits it. This one takes back what
 * it would not have allowed without them, user namespaces first: they would give a run capabilities of a kind, and with
 * them much more of the kernel to attack. What is refused fails with EPERM, clone3(2) with ENOSYS, since its flags lie
 * in memory where no filter can see them; every C library then uses clone(2). */
#include "agent.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NAMESPACES 0x7e020000U /* CLONE_NEW*, those of clone(2) */
#define NEW_TIME 0x80U         /* CLONE_NEWTIME, of unshare(2) only */
#define FEW 7                  /* numbers that are looked at one after the other */

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "no list of system calls for this machine"
#endif

/* The new mount calls have one number everywhere: the table was unified before they came. */
enum { OPEN_TREE = 428, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK, CLONE3 = 435, MOUNT_SETATTR = 442, QUOTACTL_FD };

static uint32_t refused[] = {
    SYS_mount,      SYS_umount2,        SYS_pivot_root,        SYS_setns,   SYS_bpf,           SYS_perf_event_open,
    SYS_keyctl,     SYS_add_key,        SYS_request_key,       SYS_syslog,  SYS_fanotify_init, SYS_name_to_handle_at,
    SYS_quotactl,   SYS_open_by_handle_at, SYS_sethostname,    SYS_setdomainname,
    SYS_lookup_dcookie, OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK, MOUNT_SETATTR, QUOTACTL_FD,
};

#if defined(__x86_64__)
/* The same for programs of 32 bits, from arch/x86/entry/syscalls/syscall_32.tbl; umount is a call of its own there. */
static uint32_t refused_32[] = {
    21,  22,  52,  217, 346, 357, 336, 288, 286, 287, 103, 338,
    341, 131, 342, 74,  121, 253, OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK, MOUNT_SETATTR, QUOTACTL_FD,
};
#endif

struct program {
    struct sock_filter code[256];
    unsigned short length;
};

static void emit(struct program *p, struct sock_filter instruction) {
    p->code[p->length++] = instruction;
}

static void load(struct program *p, size_t offset) {
    emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void answer(struct program *p, uint32_t action) {
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Where the number is `number`, refuse it if one of `flags` is set in its first argument. */
static void refuse_flags(struct program *p, uint32_t number, uint32_t flags) {
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4));
    load(p, offsetof(struct seccomp_data, args[0])); /* the low half, on a little-endian machine */
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1));
    answer(p, SECCOMP_RET_ERRNO | EPERM);
    answer(p, SECCOMP_RET_ALLOW);
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Refuse the number where it is one of these, which are in order; allow any other. By halves, since the kernel walks
 * the whole filter once for every system call there is when it is installed, and that is for each run. */
static void search(struct program *p, const uint32_t *numbers, size_t n) {
    if (n > FEW) {
        size_t half = n / 2;
        unsigned short jump = p->length;
        emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, numbers[half], 0, 0));
        search(p, numbers, half);
        p->code[jump].jt = (uint8_t)(p->length - jump - 1);
        search(p, numbers + half, n - half);
        return;
    }
    for (size_t i = 0; i < n; i++)
        emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], (uint8_t)(n - i), 0));
    answer(p, SECCOMP_RET_ALLOW);
    answer(p, SECCOMP_RET_ERRNO | EPERM);
}

/* The rules of one architecture; the number is loaded, and every path ends here. The numbers are put in order. */
static void rules(struct program *p, uint32_t *numbers, size_t n, uint32_t clone, uint32_t unshare) {
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLONE3, 0, 1));
    answer(p, SECCOMP_RET_ERRNO | ENOSYS);
    refuse_flags(p, clone, NAMESPACES);
    refuse_flags(p, unshare, NAMESPACES | NEW_TIME);
    qsort(numbers, n, sizeof numbers[0], compare);
    search(p, numbers, n);
}

/* Where the architecture is another one, go on behind the rules that `begin` counted. */
static unsigned short begin_architecture(struct program *p, uint32_t architecture) {
    load(p, offsetof(struct seccomp_data, arch));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0));
    emit(p, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
    load(p, offsetof(struct seccomp_data, nr));
    return (unsigned short)(p->length - 2);
}

static void end_architecture(struct program *p, unsigned short jump) {
    p->code[jump].k = (uint32_t)(p->length - jump - 1);
}

static struct program program;

void filter_prepare(void) {
    unsigned short jump = begin_architecture(&program, NATIVE);
#if defined(__x86_64__)
    emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1)); /* x32 */
    answer(&program, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    rules(&program, refused, sizeof refused / sizeof refused[0], SYS_clone, SYS_unshare);
    end_architecture(&program, jump);
#if defined(__x86_64__)
    jump = begin_architecture(&program, AUDIT_ARCH_I386);
    rules(&program, refused_32, sizeof refused_32 / sizeof refused_32[0], 120, 310);
    end_architecture(&program, jump);
#endif
    answer(&program, SECCOMP_RET_ERRNO | ENOSYS); /* an architecture without a list */
}

int filter_install(void) {
    struct sock_fprog filter = {.len = program.length, .filter = program.code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}
