"""What a run may not ask of the kernel: what the engine's own filter refuses to a container without capabilities."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.house import DEADLINE_S, PEOPLE, House

PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void show(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

#if defined(__x86_64__)
static void show_32(const char *name, long number, long argument) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(argument), "c"(0), "d"(0) : "memory");
    printf("%s %ld\n", name, result < 0 ? -result : 0);
}
#endif

int main(void) {
    show("unshare", unshare(CLONE_NEWUSER));
    show("clone", syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0));
    show("clone3", syscall(SYS_clone3, 0, 0));
    show("setns", setns(0, 0));
    show("mount", syscall(SYS_mount, 0, 0, 0, 0, 0));
    show("open_tree", syscall(428, -1, "", 0));
    show("bpf", syscall(SYS_bpf, 0, 0, 0));
    show("keyctl", syscall(SYS_keyctl, 0, 0, 0));
    show("perf", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    show("getpid", syscall(SYS_getpid));
#if defined(__x86_64__)
    show_32("32 unshare", 310, CLONE_NEWUSER);
    show_32("32 mount", 21, 0);
    show_32("32 bpf", 357, 0);
    show_32("32 getpid", 20, 0);
    show("x32", syscall(0x40000000 + SYS_getpid));
#endif
    return 0;
}
"""
PERMITTED, EPERM, ENOSYS = 0, 1, 38


@pytest.mark.parametrize("house", PEOPLE, indirect=True, ids=lambda person: person.name)
def test_system_calls_of_a_run(house: House, image: str, tmp_path: Path) -> None:
    """No namespaces, mounts, keys, bpf or perf, in any calling convention; the rest as ever."""
    place = Path(os.fsdecode(house.place()))
    source = tmp_path / "probe.c"
    source.write_text(PROBE)
    subprocess.run(["cc", "-static", "-o", place / "probe", source], check=True, timeout=DEADLINE_S)
    done = house.run([image, "./probe"], cwd=place)
    assert done.returncode == 0, done.stderr
    found = {name: int(number) for name, number in (line.rsplit(" ", 1) for line in done.stdout.decode().splitlines())}
    expected = dict.fromkeys(found, EPERM) | {"clone3": ENOSYS, "getpid": PERMITTED}
    if "x32" in found:
        expected |= {"32 getpid": PERMITTED, "x32": ENOSYS}
    assert found == expected
