"""What an ELF file says about a few symbols: defined, imported, called through the dynamic linker or not.

pyelftools reads the header of the file. The tables are unpacked here: a symbol takes pyelftools 16 us, and an unstripped library has a
million; and what it reads unasked beside a section or a tag, hash tables and names, has no bounds in a file made to keep us busy.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from fastcmp.doctor.files import NotRegularError, open_regular

# Far beyond any linker's output: bounds on what a broken header can make us do.
_MOST_SEGMENTS: Final = 1024
_MOST_SECTIONS: Final = 4096
_MOST_TAGS: Final = 4096
_LONGEST_NAME: Final = 4096
# Of all tables of one file together. Within these bounds a hostile file costs seconds.
_MOST_BYTES: Final = 512 * 1024 * 1024
_MOST_ENTRIES: Final = 8_000_000
_MOST_KEPT: Final = 128 * 1024 * 1024
_SYMBOL_OVERHEAD: Final = 256

_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_TAG = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_STRSZ, _DT_SYMBOLIC, _DT_JMPREL = 2, 5, 6, 7, 8, 10, 16, 23
_DT_FLAGS, _DT_FLAGS_1 = 30, 0x6FFF_FFFB
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
        If it cannot be opened, is no regular file, no ELF file, a broken one, or one with more in it than is looked into.
    """
    try:
        opened = open_regular(path)
    except NotRegularError as error:
        raise UnreadableElf("found no regular file, expected a library") from error
    except OSError as error:
        raise UnreadableElf(f"it cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableElf("the name holds a NUL byte") from error
    with opened as file:
        size = os.fstat(file.fileno()).st_size
        if not size:  # so are the files of /proc, which are better not read
            raise UnreadableElf("found no ELF file, expected a library")
        try:
            return _Reader(file, size, tuple(map(os.fsencode, prefixes))).facts(path)
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
        self._bytes_left, self._entries_left, self._kept_left = _MOST_BYTES, _MOST_ENTRIES, _MOST_KEPT

    def facts(self, path: str) -> ElfFacts:
        elf = self._elf
        machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
        if elf.elfclass != 64 or not elf.little_endian:
            return ElfFacts(path, f"{machine}, {elf.elfclass} bits, {'little' if elf.little_endian else 'big'} endian")
        if elf["e_type"] not in ("ET_DYN", "ET_EXEC"):
            raise UnreadableElf(f"found an ELF file of type {elf['e_type']}, expected a shared library")
        self._sections = self._read_sections()
        segments = self._read_segments()
        self._loads = [s for s in segments if s.kind == _PT_LOAD]
        if any(s.offset + s.size > self._size for s in self._loads):
            raise UnreadableElf("the file is cut short: its segments end behind it")
        tags = self._read_tags(segments)
        symbols = list(self._dynamic_symbols(tags))
        reachable = {s.name for _, s in symbols if s.is_exported or s.is_protected}
        inside = {s.name for _, s in symbols if s.is_defined} | {s.name for s in self._all_symbols() if s.is_defined}
        called = self._relocated(tags) if symbols else set()
        return ElfFacts(
            path,
            machine,
            is_executable=elf["e_type"] == "ET_EXEC"
            or any(s.kind == _PT_INTERP for s in segments)
            or bool(tags.get(_DT_FLAGS_1, 0) & _DF_1_PIE),
            is_static=not tags,
            is_symbolic=_DT_SYMBOLIC in tags or bool(tags.get(_DT_FLAGS, 0) & _DF_SYMBOLIC),
            exported=frozenset(s.name for _, s in symbols if s.is_exported),
            protected=frozenset(s.name for _, s in symbols if s.is_protected),
            imported=frozenset(s.name for _, s in symbols if not s.is_defined),
            hidden=frozenset(inside - reachable),
            referenced=frozenset(s.name for index, s in symbols if index in called),
        )

    def _read_sections(self) -> list[_Section]:
        start, count, entry_size = (self._elf[name] for name in ("e_shoff", "e_shnum", "e_shentsize"))
        if not start or not count:
            return []
        if count > _MOST_SECTIONS or entry_size != _SECTION.size:
            raise UnreadableElf("found a broken ELF file (more or larger section headers than there can be)")
        if start + count * entry_size > self._size:
            raise UnreadableElf("the file is cut short: its section headers lie behind its end")
        rows = _SECTION.iter_unpack(self._bytes(start, count * entry_size))
        return [_Section(kind, offset, size, link) for _, kind, _, _, offset, size, link, _, _, _ in rows]

    def _read_segments(self) -> list[_Segment]:
        start, count, entry_size = (self._elf[name] for name in ("e_phoff", "e_phnum", "e_phentsize"))
        if count > _MOST_SEGMENTS or (count and entry_size != _SEGMENT.size):
            raise UnreadableElf("found a broken ELF file (more or larger segment headers than there can be)")
        rows = _SEGMENT.iter_unpack(self._bytes(start, count * _SEGMENT.size) if count else b"")
        return [_Segment(kind, offset, address, size) for kind, _, offset, address, _, size, _, _ in rows]

    def _read_tags(self, segments: list[_Segment]) -> dict[int, int]:
        """What the dynamic segment says, by the number of the tag; nothing where there is none."""
        tags: dict[int, int] = {}
        for segment in [s for s in segments if s.kind == _PT_DYNAMIC][-1:]:
            size = min(segment.size, _MOST_TAGS * _TAG.size) // _TAG.size * _TAG.size
            for tag, value in _TAG.iter_unpack(self._bytes(segment.offset, size)):
                tags[tag] = value
                if not tag:  # DT_NULL, the last
                    break
        return tags

    def _dynamic_symbols(self, tags: dict[int, int]) -> Iterator[tuple[int, _Symbol]]:
        """The wanted symbols of .dynsym, each with its index."""
        if not {_DT_SYMTAB, _DT_STRTAB, _DT_STRSZ} <= set(tags):
            return
        start, names_at = self._offset(tags[_DT_SYMTAB]), self._offset(tags[_DT_STRTAB])
        section = self._first_section(_SHT_DYNSYM)
        # Without section headers nothing says how many there are; every linker puts the names right behind them.
        size = section.size if section is not None else max(0, names_at - start)
        yield from self._symbols(self._bytes(start, size), self._bytes(names_at, tags[_DT_STRSZ]))

    def _all_symbols(self) -> Iterator[_Symbol]:
        """The wanted symbols of .symtab, of which there is one at most; none in a stripped file."""
        section = self._first_section(_SHT_SYMTAB)
        if section is not None and section.link < len(self._sections):
            names = self._sections[section.link]
            table = self._bytes(section.offset, section.size)
            yield from (s for _, s in self._symbols(table, self._bytes(names.offset, names.size)))

    def _first_section(self, kind: int) -> _Section | None:
        return next((section for section in self._sections if section.kind == kind), None)

    def _symbols(self, table: bytes, names: bytes) -> Iterator[tuple[int, _Symbol]]:
        for index, (at, info, other, section, _, _) in enumerate(self._entries(_SYMBOL, table)):
            if names.startswith(self._prefixes, at):
                end = names.find(b"\0", at, at + _LONGEST_NAME)
                if end > 0:
                    self._kept_left -= end - at + _SYMBOL_OVERHEAD
                    if self._kept_left < 0:
                        raise UnreadableElf("its symbols in our namespaces are more than any library has: not looked into any further")
                    yield index, _Symbol(os.fsdecode(names[at:end]), section != 0, info >> 4, other & 3)

    def _relocated(self, tags: dict[int, int]) -> set[int]:
        """Indices of the symbols that a dynamic relocation refers to."""
        found: set[int] = set()
        for table, size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
            if table in tags and size in tags:
                data = self._bytes(self._offset(tags[table]), tags[size])
                found.update(info >> 32 for _, info, _ in self._entries(_RELOCATION, data))
        return found

    def _entries(self, entry: struct.Struct, table: bytes) -> Iterator[tuple[Any, ...]]:
        count = len(table) // entry.size
        self._entries_left -= count
        if self._entries_left < 0:
            raise UnreadableElf(f"it has more than {_MOST_ENTRIES} symbols and relocations: not looked into any further")
        return entry.iter_unpack(memoryview(table)[: count * entry.size])

    def _offset(self, address: int) -> int:
        """Where in the file an address of the loaded library lies."""
        for segment in self._loads:
            if 0 <= address - segment.address < segment.size:
                return segment.offset + address - segment.address
        raise UnreadableElf(f"found a broken ELF file (no segment holds the address {address:#x})")

    def _bytes(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise UnreadableElf(f"found a broken ELF file (a table of {size} bytes at byte {offset} of {self._size})")
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise UnreadableElf(f"its tables have more than {_MOST_BYTES} bytes: not looked into any further")
        self._file.seek(offset)
        return self._file.read(size)


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


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
