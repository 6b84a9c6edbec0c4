from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from bin_files import F6, OK_2X3, header, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats import TensorInfo, gather, payload, scan
from fastcmp.formats.payload import open_payload
from fastcmp.options import ScanOptions

STRICT = ScanOptions()
BOTH = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "pread"])


def write(folder: Path, name: str, content: bytes) -> TensorInfo:
    (folder / name).write_bytes(content)
    return scan(str(folder / name), STRICT)


def save(folder: Path, array: np.ndarray[Any, Any]) -> TensorInfo:
    np.save(folder / "tensor.npy", array)
    return scan(str(folder / "tensor.npy"), STRICT)


@pytest.fixture(params=["one read", "map or pread"])
def _both_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one read":
        monkeypatch.setattr(payload, "SMALL_BYTES", -1)


@BOTH
@pytest.mark.usefixtures("_both_sizes")
def test_any_piece_of_a_plain_tensor_is_what_numpy_reads(tmp_path: Path, mapped: bool) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    info = write(tmp_path, "odd.bin", record(array.tobytes(), 0, "3,4,5"))
    assert info.data_offset % 4 != 0  # not aligned
    with open_payload(info, mapped=mapped) as opened:
        for start in range(61):
            for stop in range(start, 61):
                piece = opened.piece(start, stop)
                assert piece.dtype == np.dtype("f4")
                assert piece.flags.c_contiguous
                assert not piece.flags.writeable
                assert piece.tolist() == list(range(start, stop))
    assert piece.tolist() == []


def test_a_piece_of_a_large_direct_tensor_is_a_view_of_the_map(tmp_path: Path) -> None:
    array = np.arange(2**18, dtype=np.float32)
    info = write(tmp_path, "large.bin", record(array.tobytes(), 0, str(array.size)))
    assert info.nbytes > payload.SMALL_BYTES
    with open_payload(info) as opened:
        tracemalloc.start()
        piece = opened.piece(3, array.size)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8192  # no copy of the 1 MiB
        assert not piece.flags.owndata
        assert not piece.flags.aligned
        with open(info.path, "r+b") as file:  # a map sees what is written; a copy does not
            file.seek(info.data_offset + 12)
            file.write(b"\0\0\x80\x3f")
        assert piece[0] == 1.0
        os.utime(info.path, ns=(0, info.identity.mtime_ns))
    assert piece[1] == 4.0  # valid after closing


def test_a_small_piece_shares_the_bytes_that_were_read(tmp_path: Path) -> None:
    with open_payload(write(tmp_path, "small.bin", OK_2X3)) as opened:
        assert np.shares_memory(opened.piece(0, 6), opened.piece(2, 4))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 7), (4, 3), (7, 7)])
def test_a_range_outside_the_tensor_is_refused(tmp_path: Path, start: int, stop: int) -> None:
    with (
        open_payload(write(tmp_path, "t.bin", OK_2X3)) as opened,
        pytest.raises(IndexError, match=rf"elements \[{start}, {stop}\) do not lie in a tensor of 6"),
    ):
        opened.piece(start, stop)


def test_bytes_outside_the_payload_are_refused(tmp_path: Path) -> None:
    with open_payload(write(tmp_path, "t.bin", OK_2X3)) as opened:
        for offset, count in ((-1, 2), (20, 5), (0, -1)):
            with pytest.raises(IndexError, match="do not lie in a payload of 24"):
                opened.stored_bytes(offset, count)


@BOTH
@pytest.mark.usefixtures("_both_sizes")
def test_empty_and_scalar_tensors_have_pieces(tmp_path: Path, mapped: bool) -> None:
    with open_payload(write(tmp_path, "e.bin", header(0, 2, 0, "0,3", "")), mapped=mapped) as opened:
        assert opened.piece(0, 0).dtype == np.dtype("f4")
    with open_payload(write(tmp_path, "s.bin", record(F6[:4], 0, "")), mapped=mapped) as opened:
        assert opened.piece(0, 1).tolist() == [1.0]


@BOTH
@pytest.mark.usefixtures("_both_sizes")
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_fortran_order_and_big_endian_come_in_logical_order(tmp_path: Path, mapped: bool, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), max_size=5)))
    kind = data.draw(st.sampled_from(["<f4", ">f4", ">i8", ">f2", ">c8", "|u1", "<c16"]))
    window = data.draw(st.sampled_from([1, 16, 100, 2**24]))
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape), kind, order=data.draw(st.sampled_from("CF")))
    info = save(tmp_path, array)
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_WINDOW_BYTES", window)
        with open_payload(info, mapped=mapped) as opened:
            piece = opened.piece(start, stop)
    expected = array.astype(array.dtype.newbyteorder("=")).ravel()[start:stop]
    assert piece.dtype == np.dtype(DTYPES[info.dtype].view)
    assert piece.tobytes() == expected.tobytes()
    assert not piece.flags.writeable


def to_fractal(array: np.ndarray[Any, Any], c0: int) -> np.ndarray[Any, Any]:
    """[N, H, W] to [N, W1, H1, c0], padded with 101."""
    n, h, w = array.shape
    padded = np.full((n, -(-h // 16) * 16, -(-w // c0) * c0), 101, array.dtype)
    padded[:, :h, :w] = array
    return padded.reshape(n, padded.shape[1], -1, c0).transpose(0, 2, 1, 3)


@BOTH
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_fractal_blocks_come_back_as_the_matrix(tmp_path: Path, mapped: bool, data: st.DataObject) -> None:
    from fastcmp.formats.layout import reconcile

    code, dtype, kind, c0 = data.draw(
        st.sampled_from([(29, 1, "u2", 16), (29, 0, "f4", 16), (29, 2, "i1", 32), (51, 3, "i4", 32), (52, 6, "i2", 2)])
    )
    n, h, w = (data.draw(st.integers(1, limit)) for limit in (3, 35, 70))
    array = np.arange(n * h * w).reshape(n, h, w).astype(kind)
    blocks = to_fractal(array, c0)
    info = write(tmp_path, "nz.bin", record(blocks.tobytes(), dtype, ",".join(map(str, blocks.shape)), code))
    assert info.shape == (n, -(-h // 16) * 16, -(-w // c0) * c0)
    cropped, _, notes = reconcile(info, save(tmp_path, array), "strict")
    assert (cropped.shape, notes) == (array.shape, ())
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_BLOCK_ELEMENTS", data.draw(st.sampled_from([8, 200, 2**18])))
        patch.setattr(payload, "SMALL_BYTES", data.draw(st.sampled_from([-1, 2**18])))
        with open_payload(cropped, mapped=mapped) as opened:
            assert opened.piece(start, stop).tobytes() == array.ravel()[start:stop].tobytes()


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_packed_elements_come_one_to_a_byte(tmp_path: Path, data: st.DataObject) -> None:
    row = DTYPES[data.draw(st.sampled_from(["int4", "uint1", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn"]))]
    codes = data.draw(st.lists(st.integers(0, 2**row.bits - 1), min_size=9, max_size=70))
    packed = sum(code << (row.bits * index) for index, code in enumerate(codes)).to_bytes(
        row.payload_bytes(len(codes), packed=True), "little"
    )
    info = write(tmp_path, "packed.bin", record(packed, row.acl_code or 0, str(len(codes))))
    assert info.packed
    start = data.draw(st.integers(0, len(codes)))
    stop = data.draw(st.integers(start, len(codes)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_BLOCK_ELEMENTS", data.draw(st.sampled_from([8, 16, 2**18])))
        with open_payload(info) as opened:
            assert opened.piece(start, stop).tolist() == codes[start:stop]


def test_low_nibble_comes_first(tmp_path: Path) -> None:
    with open_payload(write(tmp_path, "t.bin", record(b"\x21\x43", 29, "3"))) as opened:
        assert opened.piece(0, 3).tolist() == [1, 2, 3]


def test_bfloat16_of_a_npy_is_its_bits(tmp_path: Path) -> None:
    array = np.array([1.0, -2.5, 3e38], ml_dtypes.bfloat16)
    with open_payload(save(tmp_path, array)) as opened:
        assert opened.piece(0, 3).tolist() == array.view(np.uint16).tolist()


def test_gathering_takes_memory_for_the_piece_not_for_the_tensor(tmp_path: Path) -> None:
    rows, columns = 4096, 16384  # 256 MiB in Fortran order, sparse on disk
    info = save(tmp_path, np.zeros((1, 1)))
    head = f"{{'descr': '>f4', 'fortran_order': True, 'shape': ({rows}, {columns}), }}".ljust(117).encode() + b"\n"
    (tmp_path / "big.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    os.truncate(tmp_path / "big.npy", 10 + len(head) + rows * columns * 4)
    info = scan(str(tmp_path / "big.npy"), STRICT)
    with open_payload(info, mapped=False) as opened:
        tracemalloc.start()
        piece = opened.piece(columns - 5, columns + 5)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert piece.tolist() == [0.0] * 10
    assert peak < 40 * 2**20


@BOTH
@pytest.mark.usefixtures("_both_sizes")
def test_a_file_that_changed_since_its_header_was_read_is_refused(tmp_path: Path, mapped: bool) -> None:
    info = write(tmp_path, "t.bin", OK_2X3)
    os.truncate(info.path, 110)
    with (
        pytest.raises(TensorError, match=r"the file had 122 bytes when its header was read, now it has 110.*E_SHRUNK"),
        open_payload(info, mapped=mapped),
    ):
        pass
    (tmp_path / "t.bin").write_bytes(OK_2X3 + b"more")
    with pytest.raises(TensorError, match="E_CHANGED"), open_payload(info, mapped=mapped):
        pass
    (tmp_path / "new.bin").write_bytes(OK_2X3)
    os.rename(tmp_path / "new.bin", info.path)
    with pytest.raises(TensorError, match=r"another file stands where the header was read.*E_CHANGED"), open_payload(info, mapped=mapped):
        pass
    os.unlink(info.path)
    with pytest.raises(TensorError, match="E_MISSING"), open_payload(info, mapped=mapped):
        pass


@BOTH
def test_a_file_that_shrinks_or_changes_while_it_is_read_is_refused(tmp_path: Path, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "SMALL_BYTES", -1)
    info = write(tmp_path, "t.bin", record(b"\0" * 40960, 4, "40960"))
    with pytest.raises(TensorError, match="E_SHRUNK"), open_payload(info, mapped=mapped) as opened:
        opened.piece(0, 10)
        os.truncate(info.path, 5000)
        opened.piece(0, 40960)
    info = write(tmp_path, "t.bin", record(b"\0" * 40960, 4, "40960"))
    with pytest.raises(TensorError, match="E_CHANGED"), open_payload(info, mapped=mapped) as opened:
        opened.piece(0, 10)
        with open(info.path, "r+b") as file:
            file.seek(200)
            file.write(b"x")
        os.utime(info.path, ns=(0, 1))


def test_a_truncating_neighbour_never_gives_mixed_content(tmp_path: Path) -> None:
    content, stop = record(b"\x01" * 300_000, 4, "300000"), threading.Event()
    path = tmp_path / "t.bin"
    path.write_bytes(content)

    def truncate() -> None:
        while not stop.is_set():
            path.write_bytes(content[:100_000])
            path.write_bytes(content)

    thread = threading.Thread(target=truncate)
    thread.start()
    codes = set()
    try:
        for _ in range(300):
            try:
                info = scan(str(path), STRICT)
                with open_payload(info, mapped=False) as opened:
                    piece = opened.piece(0, 300_000)
                assert int(piece.sum()) == 300_000
            except TensorError as error:
                codes.add(error.code)
    finally:
        stop.set()
        thread.join()
    assert codes <= {"E_SHRUNK", "E_CHANGED", "E_TRUNCATED", "E_EMPTY_FILE", "E_NO_END"}


def test_roots_hold_for_the_payload_too(tmp_path: Path) -> None:
    info = write(tmp_path, "t.bin", OK_2X3)
    with open_payload(info, roots=(str(tmp_path),)) as opened:
        assert opened.piece(0, 1).tolist() == [1.0]
    with pytest.raises(TensorError, match="E_PATH_OUTSIDE"), open_payload(info, roots=("/nowhere",)):
        pass


def test_an_error_inside_the_block_is_not_replaced_and_nothing_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "SMALL_BYTES", -1)
    info = write(tmp_path, "t.bin", OK_2X3)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="mine"), open_payload(info) as opened:
        os.truncate(info.path, 0)
        raise RuntimeError("mine")
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ValueError, match="the payload is not open"):
        opened.piece(0, 1)


@pytest.mark.parametrize(("rows", "columns", "most"), [(40_000, 64, 1.0), (1000, 640, 8.0)], ids=["long columns", "short columns"])
def test_fortran_order_by_reads_asks_for_little_in_vain(tmp_path: Path, rows: int, columns: int, most: float) -> None:
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    count = rows * columns // 8
    with open_payload(scan(str(tmp_path / "f.npy"), ScanOptions()), mapped=False) as opened:
        asked = []
        read = opened._read
        opened._read = lambda at, size: asked.append(size) or read(at, size)
        piece = opened.piece(count, 2 * count)
    assert np.array_equal(piece, values.reshape(-1)[count : 2 * count])
    assert sum(asked) <= most * piece.nbytes
