"""What the doctor sees in an acceleration library's file: real ones, made wrong in each way that is silent, and broken ones."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastcmp.doctor.elf import UnreadableElf, read_elf
from fastcmp.doctor.hooks import Hooks, deciding, hooks_of, qualified_name, read_hooks
from fastcmp.doctor.target import Target, examine_target
from fastcmp.preload_library import library_path

OURS, HOOKS = read_hooks(library_path())


def examined(path: str, offered: frozenset[str] = HOOKS.all) -> Target:
    return examine_target(path, OURS, HOOKS, offered)


def causes(path: str) -> list[str]:
    return [finding.name for finding in examined(path).findings]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-O2",),
        ("-O2", "-flto"),
        ("-O2", "-s"),
        ("-Wl,-z,now",),
        ("-DONLY_USES",),
        ("-DLEGACY",),
        ("-DLEGACY", "-DONLY_USES"),
        ("-fno-plt", "-O2"),
        ("-Wl,--hash-style=sysv",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("abi", [0, 1])
def test_a_library_that_can_be_hooked_is_found_well_in_both_abis(flags: tuple[str, ...], abi: int, build: Any) -> None:
    target = examined(build("libatb.so", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", *flags))
    assert (target.findings, target.abis) == ([], [abi])
    uses, defines = (target.imported, target.defined) if "-DONLY_USES" in flags else (target.defined, target.imported)
    assert uses and not defines


@pytest.mark.parametrize(
    ("name", "flags", "evidence"),
    [
        ("symbolic", ("-Wl,-Bsymbolic",), r"is linked with -Bsymbolic \(DF_SYMBOLIC\): its calls of atb::Probe::IsExecuteCountInRange"),
        ("symbolic", ("-Wl,-Bsymbolic", "-s"), "is linked with -Bsymbolic"),
        ("symbolic", ("-DLEGACY", "-Wl,-Bsymbolic"), "its calls of AclTransformer::TensorUtil::SaveTensor stay inside"),
        ("bound-inside", ("-Wl,-Bsymbolic-functions",), "defines atb::Probe::IsExecuteCountInRange, .*, but nothing in it calls them"),
        (
            "bound-inside",
            ("-O2", "-fno-semantic-interposition"),
            "defines atb::Probe::IsExecuteCountInRange, .*, but nothing in it calls them",
        ),
        ("bound-inside", ("-DLEGACY", "-Wl,-Bsymbolic-functions"), "defines AclTransformer::TensorUtil::SaveTensor, but nothing in it"),
        ("hidden", ('-DVISIBILITY="hidden"',), "defines atb::Probe::IsExecuteCountInRange, .*, but hides them from other libraries"),
        ("hidden", ('-DVISIBILITY="hidden"', "-s"), "has functions of namespace atb, but none of our [0-9]+ hooks is visible in it"),
        ("hidden", ('-DVISIBILITY="protected"',), "atb::Probe::IsExecuteCountInRange, .*: found protected visibility"),
        (
            "abi",
            ("-DOTHER_SIGNATURE",),
            r"IsTensorNeedSave, atb::Probe::SaveTensor in a form .* \(_ZN3atb5Probe10SaveTensorE.*, a signature that",
        ),
        ("abi", ("-DLEGACY", "-DOTHER_SIGNATURE"), "needs AclTransformer::TensorUtil::SaveTensor in a form that no preloaded library has"),
        ("in-executable", ("-DPROGRAM",), "this program itself defines atb::Probe::IsExecuteCountInRange, atb::Probe::IsTensorNeedSave"),
        ("in-executable", ("-DPROGRAM", "-rdynamic"), "this program itself defines atb::Probe::IsExecuteCountInRange"),
        ("in-executable", ("-DPROGRAM", "-no-pie", "-rdynamic", "-s"), "this program itself defines atb::Probe::IsExecuteCountInRange"),
        ("in-executable", ("-DPROGRAM", "-static"), "this program itself defines atb::Probe::IsExecuteCountInRange"),
        ("no-hooks", ("-DPROGRAM", "-static", "-s"), "found a statically linked program, and none of our [0-9]+ hooks is visible in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_each_way_to_be_out_of_reach_has_its_name(name: str, flags: tuple[str, ...], evidence: str, build: Any) -> None:
    path = build("libatb.so", *flags)
    (finding,) = examined(path).findings
    assert finding.name == name
    assert finding.evidence.startswith(f"{path}: ") and re.search(evidence, finding.evidence)


def test_a_library_of_an_abi_that_nobody_preloads_is_named(build: Any) -> None:
    path = build("libatb.so", "-D_GLIBCXX_USE_CXX11_ABI=1")
    (finding,) = examined(path, HOOKS.abi0 | HOOKS.plain).findings
    assert finding.name == "abi" and ", ABI 1); functions of other forms are replaced, so it runs, and saves nothing" in finding.evidence
    assert not examined(path, HOOKS.abi1 | HOOKS.plain).findings


def test_a_program_that_only_uses_a_library_is_no_cause(build: Any, tmp_path: Path) -> None:
    library = build("libatb.so")
    host = build("host", "-DPROGRAM", "-DONLY_USES", library)
    assert causes(host) == [] and examined(host).imported


def test_a_library_without_our_functions_is_said_to_be_another() -> None:
    (finding,) = examined(sys.executable).findings
    assert finding.name == "no-hooks"
    assert re.search(": found a program, and none of our [0-9]+ hooks is visible in it", finding.evidence)


def test_a_link_to_a_library_is_followed(build: Any, tmp_path: Path) -> None:
    (tmp_path / "libatb.so").symlink_to(build("libatb.so", "-Wl,-Bsymbolic"))
    assert causes(str(tmp_path / "libatb.so")) == ["symbolic"]


def patched(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        (lambda data: b"", "found no ELF file, expected a library"),
        (lambda data: b"#!/bin/sh\n", "found no ELF file, expected a library"),
        (lambda data: data[:40], "found a broken ELF file"),
        (lambda data: data[:2000], "the file is cut short: its section headers lie behind its end"),
        (lambda data: patched(40, bytes(8))(patched(60, bytes(2))(data))[:2000], "the file is cut short: its segments end behind it"),
        (patched(16, b"\1\0"), "found an ELF file of type ET_REL, expected a shared library"),
        (patched(56, b"\xff\x7f"), "found a broken ELF file"),
        (patched(32, b"\xff" * 8), "found a broken ELF file"),
        (patched(40, b"\xff" * 8), "the file is cut short"),
    ],
    ids=["empty", "script", "header cut", "cut", "stripped and cut", "object", "segments", "segment table", "section table"],
)
def test_a_broken_library_is_a_finding(change: Callable[[bytes], bytes], evidence: str, build: Any, tmp_path: Path) -> None:
    path = tmp_path / "libatb.so"
    path.write_bytes(change(Path(build("libatb.so")).read_bytes()))
    (finding,) = examined(str(path)).findings
    assert finding.name == "unreadable-library" and re.search(evidence, finding.evidence)


@pytest.mark.parametrize(
    ("at", "value", "machine"), [(18, b"\xb7\0", "aarch64"), (18, b"\xf3\0", "EM_RISCV"), (4, b"\1", "x86-64, 32 bits, little endian")]
)
def test_a_library_of_another_machine_is_named(at: int, value: bytes, machine: str, build: Any, tmp_path: Path) -> None:
    path = tmp_path / "libatb.so"
    path.write_bytes(patched(at, value)(Path(build("libatb.so")).read_bytes()))
    (finding,) = examined(str(path)).findings
    assert finding.name == "other-machine" and f"found a library for {machine}, but this installation is for" in finding.evidence


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_kernel_file(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "evidence"),
    [
        (make_directory, "found no regular file, expected a library"),
        (make_fifo, "found no regular file, expected a library"),
        (make_device, "found no regular file, expected a library"),
        (make_kernel_file, "found no ELF file, expected a library"),
        (make_sparse, "found no ELF file, expected a library"),
        (make_loop, "it cannot be opened: Too many levels of symbolic links"),
        (lambda path: None, "it cannot be opened: No such file or directory"),
    ],
    ids=["directory", "FIFO", "device", "file of the kernel", "a terabyte of zeros", "loop", "nothing"],
)
def test_what_is_no_library_is_a_finding(make: Callable[[Path], None], evidence: str, tmp_path: Path) -> None:
    make(tmp_path / "libatb.so")
    (finding,) = examined(str(tmp_path / "libatb.so")).findings
    assert finding.name == "unreadable-library" and finding.evidence == f"{tmp_path}/libatb.so: {evidence}"


@pytest.mark.parametrize("make", [make_directory, make_fifo, make_device])
def test_what_is_no_regular_file_is_not_even_opened(make: Callable[[Path], None], tmp_path: Path, opened: list[str]) -> None:
    make(tmp_path / "libatb.so")
    assert causes(str(tmp_path / "libatb.so")) == ["unreadable-library"]
    assert opened == []


@pytest.mark.parametrize("make", [make_fifo, make_device, make_directory])
def test_a_library_that_is_replaced_while_it_is_opened_is_not_read(
    make: Callable[[Path], None], build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, open_file = tmp_path / "libatb.so", os.open
    shutil.copy(build("libatb.so"), path)
    descriptors: list[int] = []

    def replaced(name: str, flags: int) -> int:
        assert flags & (os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC) == os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        path.unlink()
        make(path)
        descriptors.append(open_file(name, flags))
        return descriptors[-1]

    monkeypatch.setattr(os, "open", replaced)
    (finding,) = examined(str(path)).findings
    assert finding.evidence == f"{path}: found no regular file, expected a library"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])


def with_sections(library: str, path: Path, blob: bytes | int, *sections: tuple[int, int, int, int]) -> None:
    """Copy a library, put a blob (or a hole of so many bytes) behind it, and replace its section headers.

    Each section is (type, offset in the blob, size, link); that with index 0 is the empty one.
    """
    data = bytearray(Path(library).read_bytes())
    data += bytes(-len(data) % 8)
    blob_at, size = len(data), blob if isinstance(blob, int) else len(blob)
    headers = bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, blob_at + at, n, link, 0, 8, 24) for kind, at, n, link in sections
    )
    struct.pack_into("<Q", data, 40, blob_at + size)
    struct.pack_into("<HHH", data, 58, 64, 1 + len(sections), 0)
    with path.open("wb") as file:
        file.write(data)
        if not isinstance(blob, int):
            file.write(blob)
        file.seek(blob_at + size)
        file.write(headers)


STRTAB, SYMTAB, GNU_HASH = 3, 2, 0x6FFF_FFF6


def timed_evidence(path: Path) -> tuple[float, str]:
    began = time.perf_counter()
    findings = examined(str(path)).findings
    return time.perf_counter() - began, "; ".join(finding.evidence for finding in findings if finding.name == "unreadable-library")


def test_of_thousands_of_symbol_tables_the_first_is_read(build: Any, tmp_path: Path) -> None:
    path, size = tmp_path / "libatb.so", 24_000_000
    with_sections(build("libatb.so"), path, size, (STRTAB, 0, 100, 0), *[(SYMTAB, 0, size, 1)] * 4000)
    elapsed_s, evidence = timed_evidence(path)
    assert elapsed_s < 5 and not evidence


def test_of_two_symbol_tables_the_first_counts(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "libatb.so"
    names = b"\0_ZN3atb5first1fEv\0_ZN3atb6second1fEv\0"
    symbols = b"".join(struct.pack("<IBBHQQ", names.index(name), 0x12, 0, 1, 0, 0) for name in (b"_ZN3atb5f", b"_ZN3atb6s"))
    at = len(names)
    with_sections(build("libatb.so"), path, names + symbols, (STRTAB, 0, at, 0), (SYMTAB, at, 24, 1), (SYMTAB, at + 24, 24, 1))
    hidden = read_elf(str(path), HOOKS.namespaces).hidden
    assert "_ZN3atb5first1fEv" in hidden and "_ZN3atb6second1fEv" not in hidden


def test_tables_that_nobody_asked_for_are_not_read(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "libatb.so"
    blob = struct.pack("<IIII", 1_000_000, 1, 1, 0) + bytes(4_000_100)
    with_sections(build("libatb.so"), path, blob, *[(GNU_HASH, 0, len(blob), 0)] * 50)
    elapsed_s, evidence = timed_evidence(path)
    assert elapsed_s < 5 and not evidence


def test_more_symbols_than_are_looked_into_are_a_finding(build: Any, tmp_path: Path) -> None:
    path, size = tmp_path / "libatb.so", 24 * 8_000_000
    with_sections(build("libatb.so"), path, size, (STRTAB, 0, 100, 0), (SYMTAB, 0, size, 1))
    elapsed_s, evidence = timed_evidence(path)
    assert elapsed_s < 10 and evidence == f"{path}: it has more than 8000000 symbols and relocations: not looked into any further"


def test_larger_tables_than_are_looked_into_are_a_finding(build: Any, tmp_path: Path) -> None:
    path, size = tmp_path / "libatb.so", 1 << 40
    with_sections(build("libatb.so"), path, size, (STRTAB, 0, size, 0), (SYMTAB, 0, 24, 1))
    elapsed_s, evidence = timed_evidence(path)
    assert elapsed_s < 5 and evidence == f"{path}: its tables have more than 536870912 bytes: not looked into any further"


def test_names_that_would_fill_the_memory_are_a_finding(build: Any, tmp_path: Path) -> None:
    path, count = tmp_path / "libatb.so", 100_000
    names = b"_ZN3atb" + b"x" * 4000 + b"\0"
    symbols = struct.pack("<IBBHQQ", 0, 0x12, 0, 1, 0, 0) * count
    with_sections(build("libatb.so"), path, names + symbols, (STRTAB, 0, len(names), 0), (SYMTAB, len(names), len(symbols), 1))
    elapsed_s, evidence = timed_evidence(path)
    assert elapsed_s < 5 and evidence.endswith("its symbols in our namespaces are more than any library has: not looked into any further")


def test_a_library_that_reaches_into_a_terabyte_of_nothing_takes_no_time(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "libatb.so"
    shutil.copy(build("libatb.so"), path)
    os.truncate(path, 1 << 40)
    # The section table begins in the hole: 65535 headers of nothing.
    with path.open("r+b") as file:
        data = patched(60, b"\xff\xfe")(patched(40, (1 << 39).to_bytes(8, "little"))(file.read(64)))
        file.seek(0)
        file.write(data)
    began = time.perf_counter()
    examined(str(path))
    assert time.perf_counter() - began < 10


def test_no_damage_to_a_library_is_a_traceback(build: Any, tmp_path: Path) -> None:
    whole = Path(build("libatb.so")).read_bytes()
    chance = random.Random(1)
    path = tmp_path / "libatb.so"
    for _ in range(300):
        data = bytearray(whole)
        # Where the numbers are: the header and the segments, the dynamic section and the section headers.
        for _ in range(chance.choice((1, 2, 8))):
            first, last = chance.choice(((0, 64), (64, 800), (0, len(data)), (len(data) - 2000, len(data))))
            data[chance.randrange(first, last)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        began = time.perf_counter()
        examined(str(path))
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN3atb5Probe16IsSaveTensorDataEv", "atb::Probe::IsSaveTensorData"),
        ("_ZN14AclTransformer10TensorUtil10SaveTensorERKN6AsdOps6TensorERKSs", "AclTransformer::TensorUtil::SaveTensor"),
        ("_ZN3atb5Probe6TensorD2Ev", ""),
        ("_ZNK3atb5Probe4sizeEv", ""),
        ("_ZN99999999999999999999atb5ProbeEv", ""),
        ("_ZN9999atb5ProbeEv", ""),
        ("_ZN3atbEv", ""),
        ("_ZN", ""),
        ("main", ""),
    ],
)
def test_a_mangled_name_is_read_as_far_as_it_names_a_function_of_a_class(symbol: str, name: str) -> None:
    assert qualified_name(symbol) == name


def test_the_hooks_are_those_of_the_library_and_the_same_for_both_abis() -> None:
    assert {qualified_name(symbol) for symbol in HOOKS.abi0} == {qualified_name(symbol) for symbol in HOOKS.abi1}
    assert all("__cxx11" in symbol for symbol in HOOKS.abi1)
    assert not any("__cxx11" in symbol or "Ss" in symbol for symbol in HOOKS.plain)
    assert {"atb::Probe::SaveTensor", "atb::StoreUtil::SaveTensor", "AclTransformer::TensorUtil::SaveTensor"} <= HOOKS.names
    assert set(deciding(HOOKS.abi1 | HOOKS.plain)) == {
        f"atb::Probe::{n}" for n in ("IsTensorNeedSave", "IsExecuteCountInRange", "SaveTensor")
    }


@pytest.mark.parametrize("abi", [0, 1])
def test_the_hooks_of_a_library_of_one_abi_are_told_apart(abi: int, build: Any) -> None:
    facts = read_elf(build("libatb.so", f"-D_GLIBCXX_USE_CXX11_ABI={abi}"), HOOKS.namespaces)
    hooks = hooks_of(facts.exported, HOOKS.names)
    one, other = (hooks.abi1, hooks.abi0) if abi else (hooks.abi0, hooks.abi1)
    assert {"atb::Probe::SaveTensor", "atb::Probe::IsTensorNeedSave"} <= set(map(qualified_name, one))
    assert not other
    assert set(map(qualified_name, hooks.plain)) == {"atb::Probe::IsSaveTensorData", "atb::Probe::IsExecuteCountInRange"}


def test_a_library_that_offers_nothing_has_no_hooks() -> None:
    with pytest.raises(UnreadableElf, match="No such file or directory"):
        read_hooks("/nonexistent/libfastcmp_preload.so")
    assert hooks_of([]) == Hooks()
