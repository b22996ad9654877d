"""The little of the ELF format (elf(5)) that says for which machine a program is, and whether it is static."""

import struct
from dataclasses import dataclass
from typing import Self

MACHINES = {62: "x86_64", 183: "aarch64"}
PT_INTERP = 3
HEADER = struct.Struct("<16sHHIQQQIHHH")


@dataclass(frozen=True, slots=True)
class Program:
    """A 64-bit ELF executable."""

    machine: str
    static: bool
    """It names no loader, and so needs nothing but a kernel."""

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Read a program's headers; raises `ValueError` if it is none."""
        magic, _, machine, _, _, table, _, _, _, size, count = HEADER.unpack_from(content)
        if magic[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file")
        kinds = [struct.unpack_from("<I", content, table + size * at)[0] for at in range(count)]
        return cls(MACHINES[machine], static=PT_INTERP not in kinds)
