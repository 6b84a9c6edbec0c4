"""The hand-over of the allow-list to a preloaded library: a fake of ten lines that notes what it is told, and then the real one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dump_reading import metadata_of, side_of

from fastcmp.formats import scan_batch
from fastcmp.options import CompareOptions
from fastcmp.preload_library import library_path
from fastcmp.sources import load

TENSOR_PATH = "0_Model/3_Layer/6_NormOpsRunner/after/outTensor0.bin"

FAKE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int fastcmp_preload_follow(const char *allow_list, const char *run_directory) {
    FILE *log = fopen(getenv("FAKE_LOG"), "a");
    fprintf(log, "%d|%s|%s\n", (int)getpid(), allow_list, run_directory);
    fclose(log);
    return atoi(getenv("FAKE_ERRNO"));
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))))
    place = tmp_path_factory.mktemp("fake")
    (place / "fake.c").write_text(FAKE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "libfake.so", "fake.c"], cwd=place, check=True, timeout=60)
    return place / "libfake.so"


class Run:
    """What a program said, and what the library was told: (pid, allow-list, run directory) for each call."""

    def __init__(self, base: Path, library: Path | None, code: str, *, refusal: int = 0, **environment: str) -> None:
        log = base / "log"
        log.touch()
        preset = {"LD_PRELOAD": str(library or ""), "FAKE_LOG": str(log), "FAKE_ERRNO": str(refusal), "PATH": os.environ["PATH"]}
        program = f"import os\nfrom fastcmp.dump import dump_data, dump_counters\nTENSOR_PATH = {TENSOR_PATH!r}\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=base,
            env={**preset, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        self.told = [(int(pid), Path(path), Path(place)) for pid, path, place in (line.split("|") for line in log.read_text().splitlines())]


def test_the_library_is_told_once_where_metadata_json_says_the_files_are(own_dump: Path, library: Path) -> None:
    code = "for token in range(3): dump_data('acl', 0, tensor_path=TENSOR_PATH, token_id=token)"
    run = Run(own_dump, library, code, ACLTRANSFORMER_HOME_PATH="/opt/acl/")
    (pid, allow_list, place), *others = run.told
    assert not others and run.stderr == ""
    assert allow_list == own_dump / f"{pid}_cmp_dump_data/allow_list/paths.txt"
    assert metadata_of(side_of(own_dump, "acl", pid))["0"] == {str(token): f"{place}/{token}/{TENSOR_PATH}" for token in range(3)}
    assert place == Path(f"/opt/acl/tensors/thread_{pid}")
    assert stat.S_IMODE(allow_list.parent.stat().st_mode) == 0o700 and stat.S_IMODE(allow_list.stat().st_mode) == 0o600


def test_without_a_home_the_files_lie_below_the_dump_directory_and_nobody_is_warned(own_dump: Path, library: Path) -> None:
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", FASTCMP_DUMP_DIR="a/b")
    ((pid, allow_list, place),) = run.told
    base = own_dump / "a/b"
    assert place == base / f"tensors/thread_{pid}" and allow_list.is_relative_to(base)
    written = metadata_of(side_of(base, "acl", pid))["0"]["0"]
    assert written == f"./tensors/thread_{pid}/0/{TENSOR_PATH}" and base / written == place / "0" / TENSOR_PATH
    assert run.stderr == ""


def test_a_home_that_changes_later_does_not_part_metadata_json_from_the_files(own_dump: Path, library: Path) -> None:
    code = """
os.environ["ACLTRANSFORMER_HOME_PATH"] = "/first"
dump_data("acl", 0, tensor_path=TENSOR_PATH)
os.environ["ACLTRANSFORMER_HOME_PATH"] = "/second"
dump_data("acl", 1, tensor_path=TENSOR_PATH)
"""
    run = Run(own_dump, library, code)
    ((pid, _, place),) = run.told
    assert [path for tokens in metadata_of(side_of(own_dump, "acl", pid)).values() for path in tokens.values()] == [
        f"{place}/0/{TENSOR_PATH}"
    ] * 2


def test_a_refusal_is_told_once_and_counted(own_dump: Path, library: Path) -> None:
    code = """
for token in range(3): dump_data("acl", 0, tensor_path=TENSOR_PATH, token_id=token)
print(dump_counters()["list_refused"], dump_counters()["registered"])
"""
    run = Run(own_dump, library, code, refusal=1, ACLTRANSFORMER_HOME_PATH="/opt/acl")
    assert run.stdout == "1 3\n" and len(run.told) == 1
    text = "the preload library does not follow it: Operation not permitted; low-level tensors are not saved"
    assert run.stderr.count(text) == 1
    assert "dump_data: 0 tensors saved, 3 registered; not saved: 1 list refused" in run.stderr


def test_a_refusal_without_a_home_warns_of_the_home_as_well(own_dump: Path, library: Path) -> None:
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", refusal=22)
    assert "Invalid argument" in run.stderr and "ACLTRANSFORMER_HOME_PATH is not set" in run.stderr


def test_FASTCMP_STRICT_raises_a_refusal(own_dump: Path, library: Path) -> None:
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", refusal=1, FASTCMP_STRICT="1")
    assert run.status == 1 and "DumpError: dump_data: " in run.stderr


def test_a_fork_hands_over_a_list_of_its_own(own_dump: Path, library: Path) -> None:
    code = """
dump_data("acl", "parent", tensor_path=TENSOR_PATH)
child = os.fork()
if not child:
    dump_data("acl", "child", tensor_path=TENSOR_PATH)
    os._exit(0)
os.waitpid(child, 0)
dump_data("acl", "parent again", tensor_path=TENSOR_PATH)
"""
    run = Run(own_dump, library, code)
    (parent, parents, _), (child, childs, place) = run.told
    assert parent != child and place == own_dump / f"tensors/thread_{child}"
    assert len(parents.read_text().splitlines()) == 2 and childs.read_text() == f"0/{TENSOR_PATH}\n"


@pytest.mark.parametrize("code", ["dump_data('golden', 0, __import__('numpy').ones(3))", "dump_data('acl', 0, tensor_path='../x')"])
def test_a_program_that_registers_nothing_hands_over_nothing(own_dump: Path, library: Path, code: str) -> None:
    assert Run(own_dump, library, code).told == []


def test_without_the_library_nothing_is_handed_over_or_told(own_dump: Path) -> None:
    run = Run(own_dump, None, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", ACLTRANSFORMER_HOME_PATH="/opt/acl")
    assert run.told == [] and run.stderr == ""


# --- the real library -------------------------------------------------------------------------------------------------------------------

# All that an acceleration library does here: it offers a tensor. Both names of the call are the preload library's.
ACCELERATION_LIBRARY = r"""
#include <unistd.h>
#include <cstdint>
#include <string>
namespace atb {
struct Probe {
    static void SaveTensor(const std::string&, const std::string&, const std::string&, const void*, std::uint64_t, const std::string&);
};
}
extern "C" void offer(const char* path) {
    const float values[] = {1, 2, 3};
    atb::Probe::SaveTensor("2", "0", "3", values, sizeof values, "0_" + std::to_string(getpid()) + "/" + path);
}
"""


@pytest.fixture(scope="module")
def acceleration_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("acceleration")
    (place / "offer.cpp").write_text(ACCELERATION_LIBRARY)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "liboffer.so", "offer.cpp"], cwd=place, check=True, timeout=120)
    return place / "liboffer.so"


@pytest.mark.parametrize("home", ["", "acl home"])
def test_the_real_library_writes_what_is_registered_where_metadata_json_says(own_dump: Path, acceleration_library: Path, home: str) -> None:
    code = f"""
import ctypes
offer = ctypes.CDLL({str(acceleration_library)!r}).offer
def run(token):
    for layer in range(12):
        for name in ("out0", "out1"):
            offer(f"{{token}}/0_Model/{{layer}}_Layer/6_Norm/after/{{name}}.bin".encode())
run(0)
dump_data("acl", "norm", tensor_path="0_Model/*_Layer/6_Norm/after/out0.bin", token_id=1)
run(1)
dump_data("acl", "norm", tensor_path="0_Model/*_Layer/6_Norm/after/out0.bin", token_id=2)
dump_data("acl", "one", tensor_path="0_Model/3_Layer/6_Norm/after/out1.bin", token_id=2)
run(2)
run(3)
print(os.getpid())
"""
    environment = {"ACLTRANSFORMER_HOME_PATH": str(own_dump / home)} if home else {}
    run = Run(own_dump, Path(library_path()), code, **environment)
    assert run.status == 0 and run.stderr == ""
    dump = load(side_of(own_dump, "acl", int(run.stdout)), "target", CompareOptions())
    assert [tensor.key[1:] for tensor in dump.tensors] == [
        *((f"norm[{layer}]", token) for token in "12" for layer in range(12)), ("one", "2"),
    ]  # fmt: skip
    files = {str(path) for path in own_dump.rglob("*.bin")}
    assert files == {tensor.path for tensor in dump.tensors}, "every registered tensor, and no other"
    infos = scan_batch(sorted(files), CompareOptions().scan)
    assert {(info.dtype, info.shape) for info in infos} == {("float32", (3,))}
