"""What lies on disk: the bytes of the format, whole, under the names that the library gave; and what our readers make of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from preload_expected import bin_bytes, offers
from preload_host import EVERYTHING, EVERYTHING_OF_2023, Hosts, temporaries, write_list

import fastcmp
from fastcmp.cli.main import main
from fastcmp.dtypes import BY_ACL_CODE
from fastcmp.errors import TensorError

PROBE_FLOWS = {"present-day": (), "older": ("--older",), "mki": ("--mki",)}
STORE_FLOWS = {"store-asdops": ("--store", "asdops"), "store-atb": ("--store", "atb")}
LEGACY_FLOWS = {"legacy": ("--legacy",), "legacy-pid": ("--legacy-pid",), "legacy-store-util": ("--legacy-store-util",)}


@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_files_of_a_probe_are_the_bytes_of_the_format(abi: int, flow: str, hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, "--threads", 2, "--tokens", 2, *PROBE_FLOWS[flow], program=f"standin_host_abi{abi}", **EVERYTHING)
    assert (run.status, run.stderr) == (0, "")
    expected = {offer.tail(): offer.contents for offer in offers(threads=2, tokens=2, layers=2, nbytes=4096)}
    assert {tail: path.read_bytes() for tail, path in run.files().items()} == expected
    assert {path.relative_to(tmp_path).parts[:2] for path in run.files().values()} == {("msit_dump", "tensors")}
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("flow", STORE_FLOWS)
def test_files_of_november_2023_are_the_bytes_of_the_format(abi: int, flow: str, hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, "--tokens", 2, *STORE_FLOWS[flow], program=f"standin_host_abi{abi}", ATB_SAVE_TENSOR="1")
    assert (run.status, run.stderr) == (0, "")
    kept = {("before", "in"), ("after", "out")}
    expected = {one.tail(): one.contents for one in offers(tokens=2, layers=2, nbytes=4096) if (one.when, one.part) in kept}
    assert {tail: path.read_bytes() for tail, path in run.files().items()} == expected
    assert {path.relative_to(tmp_path).parts[:2] for path in run.files().values()} == {("atb_temp", "tensors")}


@pytest.mark.parametrize("home", ["", "acl home"])
@pytest.mark.parametrize("flow", LEGACY_FLOWS)
def test_files_of_the_seeds_library_are_the_bytes_of_the_format(abi: int, flow: str, home: str, hosts: Hosts, tmp_path: Path) -> None:
    where = {"ACLTRANSFORMER_HOME_PATH": str(tmp_path / home)} if home else {}
    program = f"standin_host_abi{abi}"
    run = hosts.run(tmp_path, "--tokens", 2, *LEGACY_FLOWS[flow], program=program, **EVERYTHING_OF_2023, **where)
    assert (run.status, run.stderr) == (0, "")
    expected = {one.tail(legacy=True): one.contents for one in offers(tokens=2, layers=2, nbytes=4096) if one.when == "after"}
    assert {tail: path.read_bytes() for tail, path in run.files().items()} == expected
    assert all(path.is_relative_to(tmp_path / home / "tensors") for path in run.files().values())
    calls = run.heartbeat()["calls"]
    assert calls[f"legacy_abi{abi}"] == len(expected) and sum(calls.values()) == len(expected), "the library's own body wrote none of them"


# Executes one operation for each dtype code and each shape.
EVERY_DTYPE = """
import json, sys
from standin_model import Model
cases = json.loads(sys.argv[1])
model = Model(flow=int(sys.argv[2]))
for layer, (dtype, dims, size) in enumerate(cases):
    model.add(layer, 0, inputs=0)
    model.execute(layer, 0, 0, bytes(i * 37 % 251 for i in range(size)), dtype=dtype, dims=dims)
"""
SHAPES = ["", "1", "7", "2,3", "3,1,5", "2,1,2,1,2,1,2,1"]


def cases_of_every_dtype() -> list[tuple[int, str, int]]:
    rows = []
    for code, dtype in BY_ACL_CODE.items():
        for dims in SHAPES:
            rows.append((code, dims, dtype.payload_bytes(int(np.prod([*map(int, filter(None, dims.split(",")))])))))
    return rows


@pytest.mark.parametrize(("standin", "flow"), [("atb", 1), ("atb", 8), ("acltransformer", 5)], ids=["present-day", "mki", "legacy"])
def test_every_dtype_and_shape_comes_back_through_our_readers(abi: int, standin: str, flow: int, hosts: Hosts, tmp_path: Path) -> None:
    cases = cases_of_every_dtype()
    environment = {**EVERYTHING_OF_2023, **EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1"}
    run = hosts.run_python(tmp_path, EVERY_DTYPE, json.dumps(cases), flow, standin=f"lib{standin}_standin_abi{abi}.so", **environment)
    files = run.files()
    assert len(files) == len(cases)
    for layer, (code, dims, size) in enumerate(cases):
        (path,) = (path for tail, path in files.items() if f"/{layer}_Layer/" in tail)
        payload = bytes(i * 37 % 251 for i in range(size))
        assert path.read_bytes() == bin_bytes(2, code, dims, payload)
        values = fastcmp.read_tensor(path)
        assert values.shape == tuple(map(int, filter(None, dims.split(","))))
        if BY_ACL_CODE[code].kind != "bool" and values.nbytes == size and not BY_ACL_CODE[code].is_sub_byte:
            assert values.tobytes() == payload


# Empty tensors, a claim without data, and no dims at all.
ODD = """
from standin_model import Model
model = Model()
for layer, (data, size, dims) in enumerate([(b"", 0, "0,3"), (b"", 0, ""), (None, 24, "2,3"), (b"abcd", 4, ""), (None, 0, "0")]):
    model.add(layer, 0, inputs=0)
    model.execute(layer, 0, 0, data, nbytes=size, dims=dims)
"""


def test_what_holds_no_data_is_a_description(abi: int, hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = hosts.run_python(tmp_path, ODD, standin=f"libatb_standin_abi{abi}.so", **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1"})
    files = [path for _, path in sorted(run.files().items())]
    assert [path.read_bytes() for path in files] == [
        bin_bytes(2, 0, "0,3", b""), bin_bytes(2, 0, "", b""), bin_bytes(2, 0, "2,3", b""), bin_bytes(2, 0, "", b"abcd"),
        bin_bytes(2, 0, "0", b""),
    ]  # fmt: skip
    assert fastcmp.read_tensor(files[0]).shape == (0, 3) and fastcmp.read_tensor(files[3]).shape == ()
    with pytest.raises(TensorError, match="E_NO_DATA"):
        fastcmp.read_tensor(files[2])
    line, summary = run.lines()
    assert "2_Layer/0_Norm/after/outtensor0.bin: the library handed no data over; only its description is saved" in line
    assert summary == "1 tensors saved; 1 no data (`fastcmp doctor` says why)"
    counters = run.counters()
    assert (counters["saved"], counters["description_only"], counters["no_data"]) == (1, 4, 1)
    assert main(["inspect", str(tmp_path)]) == 2, "one of them cannot be read"
    assert capsys.readouterr().out.count("\n") >= len(files)


def test_a_file_and_its_directories_are_closed_to_others(hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, wrapper=("sh", "-c", 'umask 000; exec "$@"', "sh"), **EVERYTHING)
    for path in run.files().values():
        assert path.stat().st_mode & 0o777 == 0o640
        assert {parent.stat().st_mode & 0o777 for parent in path.parents if parent.is_relative_to(tmp_path / "msit_dump")} == {0o750}


def test_16_threads_lose_nothing_and_mix_nothing(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    size = {"threads": 16, "tokens": 3, "layers": 2, "nbytes": 1000}
    arguments = ("--threads", 16, "--tokens", 3, "--layers", 2, "--bytes", 1000)
    run = hosts.run(tmp_path, *arguments, program=f"standin_host_abi{abi}", **EVERYTHING)
    assert {tail: path.read_bytes() for tail, path in run.files().items()} == {one.tail(): one.contents for one in offers(**size)}
    assert run.counters()["saved"] == len(list(offers(**size))) and not temporaries(tmp_path)


# A tensor larger than the 2 147 479 552 bytes that Linux writes at once; its pages are one page of zeros but for what is put in.
LARGE = """
import ctypes, mmap, sys
from standin_model import Model
size, marks = int(sys.argv[1]), map(int, sys.argv[2].split(","))
memory = mmap.mmap(-1, size)
for mark in marks:
    memory[mark:mark + 8] = mark.to_bytes(8, "little")
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
model = Model()
model.add(0, 0, inputs=0)
model.execute(0, 0, 0, address, nbytes=size, dtype=4, dims=str(size))
"""


@pytest.mark.slow
def test_a_tensor_of_3_gib_is_whole(hosts: Hosts, tmp_path: Path) -> None:
    size, marks = 3 << 30, [8, 2_147_479_552 - 4, (1 << 31) - 4, (1 << 31) + 4, (3 << 30) - 8]
    if shutil.disk_usage(tmp_path).free < 3 * size:
        pytest.skip("the disk has no room for it")
    run = hosts.run_python(tmp_path, LARGE, size, ",".join(map(str, marks)), **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1"})
    (path,) = run.files().values()
    assert run.counters()["tensor_bytes"] == size and run.stderr == ""
    values = np.memmap(path, np.uint8, "r", offset=path.stat().st_size - size)
    assert values.size == size
    expected = {mark: mark.to_bytes(8, "little") for mark in marks}
    assert {mark: values[mark : mark + 8].tobytes() for mark in marks} == expected
    step = 64 << 20
    assert sum(int(np.count_nonzero(values[at : at + step])) for at in range(0, size, step)) == sum(
        byte != 0 for mark in expected.values() for byte in mark
    )
    path.unlink()


def test_the_file_of_an_earlier_run_is_replaced_whole(hosts: Hosts, tmp_path: Path) -> None:
    """As where a pid or a thread's address comes again; the readers of the old file keep it."""
    name = "0/0_Model/0_Layer/0_Norm/after/outtensor0.bin"
    target = tmp_path / "run" / name
    target.parent.mkdir(parents=True)
    target.write_bytes(b"old" * 1000)
    reader = os.open(target, os.O_RDONLY)
    listed = write_list(tmp_path / "list" / "paths.txt", name)
    code = "import sys\nfrom standin_model import *\nassert follow(*sys.argv[1:3]) == 0\nModel().execute(0, 0, 0, b'abcd', dims='1')"
    hosts.run_python(tmp_path, code, listed, tmp_path / "run")
    assert target.read_bytes() == bin_bytes(2, 0, "1", b"abcd")
    assert os.read(reader, 10_000) == b"old" * 1000
    os.close(reader)


def test_the_first_tensors_of_threads_that_start_together_are_saved(hosts: Hosts, tmp_path: Path) -> None:
    """What the library finds out at its first tensor, such as how the device is read, they find out side by side."""
    expected = {one.tail() for one in offers(threads=8, nbytes=16)}
    for number in range(25):
        place = tmp_path / str(number)
        place.mkdir()
        run = hosts.run(place, "--threads", 8, "--tokens", 1, "--layers", 1, "--bytes", 16, **EVERYTHING)
        assert run.files().keys() == expected and run.stderr == ""
