"""What an ELF file says about a few symbols: defined, imported, called through the dynamic linker or not.

pyelftools reads the headers. The tables are unpacked here: a symbol takes pyelftools 16 us, and an unstripped library has a million.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

# Far beyond any linker's output: bounds on what a broken header can make us do.
_MOST_SEGMENTS: Final = 1024
_MOST_SECTIONS: Final = 4096
_MOST_TAGS: Final = 4096
_LARGEST_TABLE: Final = 512 * 1024 * 1024
_LONGEST_NAME: Final = 4096

_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_DF_SYMBOLIC: Final = 0x2
_DF_1_PIE: Final = 0x0800_0000
_LOCAL, _DEFAULT, _PROTECTED = 0, 0, 3

_MACHINES: Final = {"EM_X86_64": "x86-64", "EM_AARCH64": "aarch64", "EM_386": "x86", "EM_ARM": "arm"}


class UnreadableElf(ValueError):
    """The file is none that can be looked into; the message says why, without the path."""


@dataclass(frozen=True)
class ElfFacts:
    """One file, seen through the symbols that were asked for.

    Attributes
    ----------
    path : str
    machine : str
        Such as ``x86-64``, with the class where it is not 64 bits.
    is_executable : bool
        A program, position-independent or not: it precedes LD_PRELOAD when symbols are looked up.
    is_static : bool
        The dynamic linker never sees it.
    is_symbolic : bool
        DT_SYMBOLIC or DF_SYMBOLIC: linked with -Bsymbolic.
    exported : frozenset of str
        Defined with default visibility: what another library can take the place of.
    protected : frozenset of str
        Exported, but calls from inside stay inside.
    imported : frozenset of str
        Used and not defined.
    hidden : frozenset of str
        Defined, not exported. Empty in a stripped file, whatever it has.
    referenced : frozenset of str
        Of the above, those that a dynamic relocation refers to: the linker left it to run time who is called.
    """

    path: str
    machine: str
    is_executable: bool = False
    is_static: bool = False
    is_symbolic: bool = False
    exported: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    referenced: frozenset[str] = frozenset()


def read_elf(path: str, prefixes: tuple[str, ...]) -> ElfFacts:
    """The facts about all symbols whose names begin with one of ``prefixes``.

    Raises
    ------
    UnreadableElf
        If it cannot be opened, is no regular file, no ELF file, or a broken one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise UnreadableElf(f"it cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableElf("the name holds a NUL byte") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnreadableElf("found no regular file, expected a library")
    with os.fdopen(descriptor, "rb") as file:
        try:
            return _Reader(file, status.st_size, tuple(map(os.fsencode, prefixes))).facts(path)
        except UnreadableElf:
            raise
        except Exception as error:  # pyelftools meets a broken file with whatever its parts raise
            if isinstance(error, ELFError) and "agic" in str(error):
                raise UnreadableElf("found no ELF file, expected a library") from error
            raise UnreadableElf(f"found a broken ELF file ({type(error).__name__}: {error})") from error


class _Reader:
    def __init__(self, file: BufferedReader, size: int, prefixes: tuple[bytes, ...]) -> None:
        self._file = file
        self._size = size
        self._prefixes = prefixes
        self._elf: Any = ELFFile(file)

    def facts(self, path: str) -> ElfFacts:
        elf = self._elf
        machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
        if elf.elfclass != 64 or not elf.little_endian:
            return ElfFacts(path, f"{machine}, {elf.elfclass} bits, {'little' if elf.little_endian else 'big'} endian")
        if elf["e_type"] not in ("ET_DYN", "ET_EXEC"):
            raise UnreadableElf(f"found an ELF file of type {elf['e_type']}, expected a shared library")
        if elf.num_segments() > _MOST_SEGMENTS or elf.num_sections() > _MOST_SECTIONS:
            raise UnreadableElf("found a broken ELF file (more segments or sections than there can be)")
        if elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"] > self._size:
            raise UnreadableElf("the file is cut short: its section headers lie behind its end")
        segments = list(elf.iter_segments())
        self._loads = [s for s in segments if s["p_type"] == "PT_LOAD"]
        if any(s["p_offset"] + s["p_filesz"] > self._size for s in self._loads):
            raise UnreadableElf("the file is cut short: its segments end behind it")
        tags: dict[str, int] = {}
        for segment in segments:
            if isinstance(segment, DynamicSegment):
                tags = {str(tag.entry.d_tag): int(tag.entry.d_val) for tag in islice(segment.iter_tags(), _MOST_TAGS)}
        symbols = list(self._dynamic_symbols(tags))
        reachable = {s.name for _, s in symbols if s.is_exported or s.is_protected}
        inside = {s.name for _, s in symbols if s.is_defined} | {s.name for s in self._all_symbols() if s.is_defined}
        called = self._relocated(tags) if symbols else set()
        return ElfFacts(
            path,
            machine,
            is_executable=elf["e_type"] == "ET_EXEC"
            or any(s["p_type"] == "PT_INTERP" for s in segments)
            or bool(tags.get("DT_FLAGS_1", 0) & _DF_1_PIE),
            is_static=not tags,
            is_symbolic="DT_SYMBOLIC" in tags or bool(tags.get("DT_FLAGS", 0) & _DF_SYMBOLIC),
            exported=frozenset(s.name for _, s in symbols if s.is_exported),
            protected=frozenset(s.name for _, s in symbols if s.is_protected),
            imported=frozenset(s.name for _, s in symbols if not s.is_defined),
            hidden=frozenset(inside - reachable),
            referenced=frozenset(s.name for index, s in symbols if index in called),
        )

    def _dynamic_symbols(self, tags: dict[str, int]) -> Iterator[tuple[int, _Symbol]]:
        """The wanted symbols of .dynsym, each with its index."""
        if not {"DT_SYMTAB", "DT_STRTAB", "DT_STRSZ"} <= set(tags):
            return
        start, names_at = self._offset(tags["DT_SYMTAB"]), self._offset(tags["DT_STRTAB"])
        sections = [s for s in self._sections() if s["sh_type"] == "SHT_DYNSYM"]
        # Without section headers nothing says how many there are; every linker puts the names right behind them.
        size = sections[0]["sh_size"] if sections else max(0, names_at - start)
        yield from self._symbols(self._bytes(start, size), self._bytes(names_at, tags["DT_STRSZ"]))

    def _all_symbols(self) -> Iterator[_Symbol]:
        """The wanted symbols of .symtab; none in a stripped file."""
        sections = self._sections()
        for section in sections:
            if section["sh_type"] == "SHT_SYMTAB" and section["sh_link"] < len(sections):
                names = sections[section["sh_link"]]
                table = self._bytes(section["sh_offset"], section["sh_size"])
                yield from (s for _, s in self._symbols(table, self._bytes(names["sh_offset"], names["sh_size"])))

    def _sections(self) -> list[Any]:
        return [section.header for section in self._elf.iter_sections()]

    def _symbols(self, table: bytes, names: bytes) -> Iterator[tuple[int, _Symbol]]:
        whole = memoryview(table)[: len(table) // _SYMBOL.size * _SYMBOL.size]
        for index, (at, info, other, section, _, _) in enumerate(_SYMBOL.iter_unpack(whole)):
            if names.startswith(self._prefixes, at):
                end = names.find(b"\0", at, at + _LONGEST_NAME)
                if end > 0:
                    yield index, _Symbol(os.fsdecode(names[at:end]), section != 0, info >> 4, other & 3)

    def _relocated(self, tags: dict[str, int]) -> set[int]:
        """Indices of the symbols that a dynamic relocation refers to."""
        found: set[int] = set()
        for table, size in (("DT_RELA", "DT_RELASZ"), ("DT_JMPREL", "DT_PLTRELSZ")):
            if table in tags and size in tags:
                data = self._bytes(self._offset(tags[table]), tags[size])
                whole = memoryview(data)[: len(data) // _RELOCATION.size * _RELOCATION.size]
                found.update(info >> 32 for _, info, _ in _RELOCATION.iter_unpack(whole))
        return found

    def _offset(self, address: int) -> int:
        """Where in the file an address of the loaded library lies."""
        for segment in self._loads:
            if 0 <= address - segment["p_vaddr"] < segment["p_filesz"]:
                return int(segment["p_offset"] + address - segment["p_vaddr"])
        raise UnreadableElf(f"found a broken ELF file (no segment holds the address {address:#x})")

    def _bytes(self, offset: int, size: int) -> bytes:
        if offset + size > self._size or size > _LARGEST_TABLE:
            raise UnreadableElf(f"found a broken ELF file (a table of {size} bytes at byte {offset} of {self._size})")
        self._file.seek(offset)
        return self._file.read(size)


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    is_defined: bool
    binding: int
    visibility: int

    @property
    def is_exported(self) -> bool:
        return self.is_defined and self.binding != _LOCAL and self.visibility == _DEFAULT

    @property
    def is_protected(self) -> bool:
        return self.is_defined and self.binding != _LOCAL and self.visibility == _PROTECTED
