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
    home = own_dump.parent / f"{own_dump.name} home"
    run = Run(own_dump, library, code, ACLTRANSFORMER_HOME_PATH=f"{home}/")
    (pid, allow_list, place), *others = run.told
    assert not others and run.stderr == ""
    assert allow_list == own_dump / f"{pid}_cmp_dump_data/allow_list/paths.txt"
    assert metadata_of(side_of(own_dump, "acl", pid))["0"] == {str(token): f"{place}/{token}/{TENSOR_PATH}" for token in range(3)}
    assert place == home / f"tensors/thread_{pid}"
    assert stat.S_IMODE(allow_list.parent.stat().st_mode) == 0o700 and stat.S_IMODE(allow_list.stat().st_mode) == 0o600


def test_without_a_home_the_files_lie_below_the_dump_directory_and_nobody_is_warned(own_dump: Path, library: Path) -> None:
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", FASTCMP_DUMP_DIR="a/b")
    ((pid, allow_list, place),) = run.told
    base = own_dump / "a/b"
    assert place == base / f"tensors/thread_{pid}" and allow_list.is_relative_to(base)
    written = metadata_of(side_of(base, "acl", pid))["0"]["0"]
    assert written == f"./tensors/thread_{pid}/0/{TENSOR_PATH}" and base / written == place / "0" / TENSOR_PATH
    assert run.stderr == ""


def test_what_an_earlier_process_of_the_same_number_left_is_never_taken_for_a_tensor_of_this_one(own_dump: Path, library: Path) -> None:
    code = """
import pathlib
for name in ("thread_{}", "thread_{}_1"):
    stale = pathlib.Path("tensors", name.format(os.getpid()), "0", TENSOR_PATH)
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another run")
dump_data("acl", 0, tensor_path=TENSOR_PATH)
"""
    run = Run(own_dump, library, code)
    ((pid, _, place),) = run.told
    assert place == own_dump / f"tensors/thread_{pid}_2" and run.stderr == ""
    assert metadata_of(side_of(own_dump, "acl", pid))["0"]["0"] == f"./tensors/thread_{pid}_2/0/{TENSOR_PATH}"
    assert not place.exists()  # nothing was saved, and nothing of the claim is left


def test_a_home_that_changes_later_does_not_part_metadata_json_from_the_files(own_dump: Path, library: Path) -> None:
    code = """
os.environ["ACLTRANSFORMER_HOME_PATH"] = os.path.abspath("../first")
dump_data("acl", 0, tensor_path=TENSOR_PATH)
os.environ["ACLTRANSFORMER_HOME_PATH"] = os.path.abspath("../second")
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
    run = Run(own_dump, library, code, refusal=1, ACLTRANSFORMER_HOME_PATH=str(own_dump.parent / "home"))
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


def test_a_program_that_registers_nothing_hands_over_nothing(own_dump: Path, library: Path) -> None:
    assert Run(own_dump, library, "dump_data('golden', 0, __import__('numpy').ones(3))").told == []


@pytest.mark.parametrize(
    "arguments", ["'acl', 0, tensor_path='../x'", "'acll', 0, tensor_path=TENSOR_PATH", "'acl', 0, tensor_path=TENSOR_PATH, token_id=4"]
)
def test_a_registration_that_is_refused_or_skipped_hands_an_empty_list_over(own_dump: Path, library: Path, arguments: str) -> None:
    """Or the library would save what the environment selects: with ACLTRANSFORMER_SAVE_TENSOR=1 the whole model."""
    run = Run(own_dump, library, f"for _ in range(2): dump_data({arguments})", FASTCMP_DUMP_TOKENS="7")
    ((_, allow_list, _),) = run.told
    assert allow_list.read_text() == ""


def test_a_refusal_is_told_beside_a_path_that_is_refused(own_dump: Path, library: Path) -> None:
    code = "dump_data('acl', 0, tensor_path='../x'); print(dump_counters()['list_refused'], dump_counters()['bad_tensor_path'])"
    run = Run(own_dump, library, code, refusal=1)
    assert run.stdout == "1 1\n"
    assert run.stderr.count("Operation not permitted") == run.stderr.count("found '../x'") == 1


@pytest.mark.parametrize("home", ["", "/opt/acl"])
def test_without_the_library_one_line_says_so(own_dump: Path, home: str) -> None:
    code = "for token in range(3): dump_data('acl', 0, tensor_path=TENSOR_PATH, token_id=token)\nprint(os.getpid())"
    run = Run(own_dump, None, code, ACLTRANSFORMER_HOME_PATH=home)
    missing = "the preload library is not in this process: start it by `fastcmp run -- ...`; until then only what the acceleration library"
    place = f"{home or own_dump}/tensors/thread_{run.stdout.strip()}"
    unset = "" if home else ", as ACLTRANSFORMER_HOME_PATH is not set"
    assert run.told == []
    assert run.stderr == f"dump_data: data_id '0', token_id '0': {missing} dumps by its own variables will be there, in {place}{unset}\n"


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


HOMES_OF_THE_DUMP = ["", ".", "acl/", "link", "outside/../acl"]


@pytest.mark.parametrize("home", HOMES_OF_THE_DUMP)
def test_a_home_in_the_dump_directory_is_written_relative_to_it(own_dump: Path, library: Path, home: str) -> None:
    (own_dump / "link").symlink_to(".")
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", FASTCMP_DUMP_DIR=".", ACLTRANSFORMER_HOME_PATH=home)
    ((pid, _, place),) = run.told
    written = metadata_of(side_of(own_dump, "acl", pid))["0"]["0"]
    assert written.startswith("./") and place.is_absolute()
    assert (own_dump / written).resolve() == (place / "0" / TENSOR_PATH).resolve()


@pytest.mark.parametrize("home", ["..", "../beside", "/opt/acl"])
def test_a_home_elsewhere_is_written_as_it_is(own_dump: Path, library: Path, home: str) -> None:
    run = Run(own_dump, library, "dump_data('acl', 0, tensor_path=TENSOR_PATH)", FASTCMP_DUMP_DIR="dump", ACLTRANSFORMER_HOME_PATH=home)
    ((pid, _, place),) = run.told
    assert metadata_of(side_of(own_dump / "dump", "acl", pid))["0"]["0"] == f"{place}/0/{TENSOR_PATH}"
    assert place == Path(os.path.normpath(own_dump / home)) / f"tensors/thread_{pid}"


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
    assert {tensor.written_path.partition("tensors/")[0] for tensor in dump.tensors} == {f"./{home}/" if home else "./"}
    infos = scan_batch(sorted(files), CompareOptions().scan)
    assert {(info.dtype, info.shape) for info in infos} == {("float32", (3,))}


@pytest.mark.parametrize("home", ["", ".", "acl home"])
def test_a_dump_that_was_moved_or_copied_has_its_own_files_and_no_others(own_dump: Path, acceleration_library: Path, home: str) -> None:
    first = own_dump / "first"
    first.mkdir()
    code = f"""
import ctypes
dump_data("acl", "norm", tensor_path="0_Model/*_Layer/6_Norm/after/out0.bin", token_id=0)
dump_data("acl", "any", tensor_path="0_Model/*_Layer/7_Norm/after/out0.bin", token_id="*")
dump_data("acl", "one", tensor_path="./0_Model//3_Layer/6_Norm/after/out1.bin", token_id=0)
for layer in range(3, 5):
    for name in ("6_Norm/after/out0", "6_Norm/after/out1", "7_Norm/after/out0"):
        ctypes.CDLL({str(acceleration_library)!r}).offer(f"0/0_Model/{{layer}}_Layer/{{name}}.bin".encode())
print(os.getpid())
"""
    run = Run(first, Path(library_path()), code, **({"ACLTRANSFORMER_HOME_PATH": str(first / home)} if home else {}))
    assert run.status == 0 and run.stderr == ""

    def tensors(place: Path) -> dict[str, str]:
        side = os.path.relpath(side_of(place, "acl", int(run.stdout)))
        return {tensor.key.data_id: tensor.path for tensor in load(side, "target", CompareOptions()).tensors}

    os.rename(first, own_dump / "moved")
    shutil.copytree(own_dump / "moved", own_dump / "copy")
    expected = ["norm[3]", "norm[4]", "any[3]", "any[4]", "one"]
    for place in (own_dump / "moved", own_dump / "copy"):
        found = tensors(place)
        assert list(found) == expected
        assert all(Path(path).is_relative_to(place) and os.path.isfile(path) for path in found.values())
    for path in (own_dump / "copy").rglob("*.bin"):
        path.unlink()
    os.chdir(own_dump / "moved")  # the copy's names, and its files too, would be right here
    found = tensors(own_dump / "copy")
    assert list(found) == ["norm", "any", "one"]
    assert all(Path(path).is_relative_to(own_dump / "copy") and not os.path.exists(path) for path in found.values())
    shutil.rmtree(own_dump / "moved" / home / "tensors")
    assert list(tensors(own_dump / "moved")) == ["norm", "any", "one"]
