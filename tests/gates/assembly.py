"""The loops of a compiled function, from its x86-64 assembly as LLVM prints it."""

from __future__ import annotations

import re
from dataclasses import dataclass

LABEL = re.compile(r"^(\.LBB\w+|\.L\w+):")
JUMP = re.compile(r"^\s+j\w+\s+(\.L\w+)")
# The name ends with packed or scalar, and half, single or double: vaddpd, vfmadd231sd, vcvtss2sd, vcvtph2psx.
FLOAT_WORK = re.compile(r"^v?(?:u?comi|add|sub|mul|div|max|min|sqrt|fn?madd\w*?|fn?msub\w*?|cvt\w*?2|cmp\w*?|rndscale|round)([ps])[hsd]x?$")
# One element goes from or to the memory, whatever register it lies in.
ONE_MOVED = re.compile(r"^v?mov(?:s[hsd]|[wdq])$")
# Vectors put together an element at a time, and calls: each undoes what packing gained.
PIECEMEAL = re.compile(r"^call|^v?pinsr|^v?insertps|^v?p?gather")
BYTES_BY_REGISTER = {"zmm": 64, "ymm": 32, "xmm": 16}


@dataclass(frozen=True)
class Loop:
    """The instructions of an innermost loop, as (name, operands)."""

    instructions: tuple[tuple[str, str], ...]

    @property
    def scalar(self) -> list[str]:
        """Names of floating-point instructions that work on one element, and of those that build vectors element by element."""
        found = []
        for name, _ in self.instructions:
            kind = FLOAT_WORK.match(name)
            if (kind and kind.group(1) == "s") or PIECEMEAL.match(name):
                found.append(name)
        return found

    @property
    def packed(self) -> list[str]:
        """Names of floating-point instructions that work on whole registers."""
        return [name for name, _ in self.instructions if (kind := FLOAT_WORK.match(name)) and kind.group(1) == "p"]

    @property
    def width(self) -> int:
        """Bytes of the widest register that packed floating-point instructions use."""
        return max((widest(operands) for name, operands in self.instructions if name in self.packed), default=0)

    @property
    def reach(self) -> int:
        """Bytes of the widest vector register in it, whatever for."""
        return max((widest(operands) for _, operands in self.instructions), default=0)

    @property
    def work(self) -> int:
        """Bytes of results that one turn makes by floating-point or other vector instructions: what tells the main loop from its remainder."""
        return sum(8 if name in self.scalar or ONE_MOVED.match(name) else widest(operands) for name, operands in self.instructions)


def widest(operands: str) -> int:
    """Bytes of the widest vector register named."""
    return max((size for register, size in BYTES_BY_REGISTER.items() if register in operands), default=0)


def innermost_loops(assembly: str) -> list[Loop]:
    """Every run of lines that ends by jumping back to its first and holds no other such run."""
    lines = assembly.splitlines()
    labels = {found.group(1): number for number, line in enumerate(lines) if (found := LABEL.match(line))}
    spans = []
    for number, line in enumerate(lines):
        jump = JUMP.match(line)
        begin = labels.get(jump.group(1), number) if jump else number
        if begin < number:
            spans.append((begin, number))
    inner = [span for span in spans if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in spans)]
    return [Loop(tuple(instructions(lines[begin : end + 1]))) for begin, end in inner]


def instructions(lines: list[str]) -> list[tuple[str, str]]:
    """Name and operands of each line that is an instruction."""
    words = [line.strip().split(None, 1) for line in lines if line[:1].isspace() and not line.strip().startswith((".", "#"))]
    return [(word[0], word[1] if len(word) > 1 else "") for word in words if word]


def hot_loop(assembly: str) -> Loop:
    """The loop in which nearly all elements are spent."""
    return max(innermost_loops(assembly), key=lambda loop: loop.work)
