"""Tensors of several ranks as one: against numpy, piece by piece, and with notations that contradict the shapes."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import bin_files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tries import examples

from fastcmp.errors import TensorError
from fastcmp.formats import identity_now, place_sizes, scan, scan_batch
from fastcmp.formats.composed_payload import boxes_of_run
from fastcmp.formats.composition import Composition, Part, composed_place, composition_of
from fastcmp.formats.decode import decode
from fastcmp.formats.dims import parse_dims
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
Ways = tuple[tuple[str, int], ...]


def placed(directory: Path, dims: str | None, ways: Ways, parts: dict[tuple[int, ...], np.ndarray], order: tuple[str, ...] = ()) -> str:
    listed = []
    for rank, (numbers, values) in enumerate(parts.items()):
        np.save(directory / f"{rank}.npy", values)
        listed.append(Part(str(rank), numbers, str(directory / f"{rank}.npy")))
    return composed_place(Composition(dims, ways, order, tuple(listed)))


def whole(place: str, *, mapped: bool = True) -> np.ndarray:
    info = scan(place, OPTIONS)
    with open_payload(info, mapped=mapped) as payload:
        return payload.piece(0, info.element_count).reshape(info.shape)


def parts_of(values: np.ndarray, dims: str, ways: Ways) -> dict[tuple[int, ...], np.ndarray]:
    """Cut a tensor as a notation says, by slicing alone: the truth that the reader is held to."""
    read = parse_dims(dims)
    parts = {}
    for numbers in itertools.product(*(range(count) for _, count in ways)):
        number, count = dict(zip((name for name, _ in ways), numbers, strict=True)), dict(ways)
        part = values
        for axis, dim in enumerate(read.dims):
            for way in dim.ways:
                n, i = count[way.name], number[way.name]
                if way.division == "zigzag":
                    chunks = np.split(part, 2 * n, axis)
                    part = np.concatenate([chunks[i], chunks[2 * n - 1 - i]], axis)
                elif way.division == "part":
                    part = np.array_split(part, n, axis)[i]
                else:
                    part = part * 2.0 ** -min(i + 1, n - 1)  # the last two are equal: together the whole
        parts[numbers] = part
    return parts


@pytest.mark.parametrize(
    ("dims", "ways", "shape"),
    [
        ("b s h[tp] d", (("tp", 4),), (2, 3, 8, 5)),
        ("b s h[tp] d", (("tp", 3),), (2, 3, 8, 5)),  # parts of unequal length
        ("h[tp] d", (("tp", 4),), (8, 5)),
        ("b s d[tp]", (("tp", 2),), (2, 3, 7)),
        ("s[cp:zigzag] d", (("cp", 3),), (12, 5)),
        ("b s[cp:zigzag] h[tp]", (("cp", 2), ("tp", 2)), (2, 8, 6)),
        ("s[cp,sp] h[tp]", (("tp", 2), ("sp", 3), ("cp", 2)), (12, 4)),
        ("t d # tp:replicated", (("tp", 3),), (4, 5)),
        ("t h[tp] # dp:first", (("dp", 2), ("tp", 2)), (4, 6)),
        ("b=1:3 v[tp]=11", (("tp", 4),), (4, 12)),
        ("t d[tp:partial]", (("tp", 2),), (4, 6)),
        ("1 e[ep] d", (("ep", 8),), (1, 8, 3)),
    ],
)
def test_parts_make_up_the_whole(tmp_path: Path, dims: str, ways: Ways, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    place = placed(tmp_path, dims, ways, parts_of(values, dims, ways))
    index = tuple(slice(dim.start, dim.stop) for dim in parse_dims(dims).dims)
    for mapped in (True, False):
        np.testing.assert_array_equal(whole(place, mapped=mapped), values[index])


def test_axes_are_moved_to_the_order_of_the_other_side(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 2, 8, 3)).astype(np.float32)
    place = placed(tmp_path, "s b h[tp] d", (("tp", 4),), parts_of(values, "s b h[tp] d", (("tp", 4),)), ("b", "s", "h", "d"))
    np.testing.assert_array_equal(whole(place), values.transpose(1, 0, 2, 3))


def test_slices_and_moved_axes_together(tmp_path: Path) -> None:
    values = np.arange(4 * 6 * 5).reshape(4, 6, 5)
    place = placed(tmp_path, "s=1:4 b[dp]=4 d=2", (("dp", 3),), parts_of(values, "s b[dp] d", (("dp", 3),)), ("d", "s", "b"))
    np.testing.assert_array_equal(whole(place), values[1:4, :4, :2].transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "complex64"])
def test_summands_are_added_wide_and_rounded_once(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    wide = {"float16": np.float64, "float32": np.float64, "float64": np.float64, "int32": np.int64, "complex64": np.complex128}[dtype]
    parts: dict[tuple[int, ...], np.ndarray] = {(i,): (rng.standard_normal((7, 9)) * 100).astype(dtype) for i in range(4)}
    expected = sum((part.astype(wide) for part in parts.values()), start=np.zeros((7, 9), wide)).astype(dtype)
    got = whole(placed(tmp_path, "t d[tp:partial]", (("tp", 4),), parts))
    np.testing.assert_array_equal(got.view(dtype), expected)


def test_infinities_and_nan_are_summed_like_other_values(tmp_path: Path) -> None:
    parts = {(0,): np.float32([np.inf, np.inf, np.nan, 1e38]), (1,): np.float32([1, -np.inf, 1, 3e38])}
    got = whole(placed(tmp_path, "d # tp:partial", (("tp", 2),), parts))
    np.testing.assert_array_equal(got, np.float32([np.inf, np.nan, np.nan, np.inf]))


def test_replicas_that_differ_are_told_with_rank_and_place(tmp_path: Path) -> None:
    values = np.zeros((3, 4), np.float32)
    other = values.copy()
    other[2, 1] = -0.0  # not the same bits
    place = placed(tmp_path, "t d # tp:replicated", (("tp", 3),), {(0,): values, (1,): values, (2,): other})
    with pytest.raises(TensorError, match=r"ranks 0 and 2 were expected to hold the same tensor, they differ first at \(2, 1\)") as error:
        whole(place)
    assert error.value.code == "E_REPLICAS"


def test_equal_nan_are_equal_replicas(tmp_path: Path) -> None:
    values = np.float32([np.nan, 1])
    assert np.isnan(whole(placed(tmp_path, "d # tp:replicated", (("tp", 2),), {(0,): values, (1,): values}))[0])


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_piece_is_the_same_as_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    axes = [f"d{axis}" for axis in range(len(shape))]
    words, ways = list(axes), []
    for way in ("tp", "cp"):
        axis = data.draw(st.integers(0, len(shape) - 1))
        if shape[axis] >= 3 and words[axis] == axes[axis]:
            ways.append((way, data.draw(st.integers(1, 3))))
            words[axis] += f"[{way}]"
    order = tuple(data.draw(st.permutations(axes)))
    values = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    dims = " ".join(words)
    place = placed(tmp_path_factory.mktemp("parts"), dims, tuple(ways), parts_of(values, dims, tuple(ways)), order)
    info = scan(place, OPTIONS)
    flat = values.transpose([axes.index(name) for name in order]).reshape(-1)
    start = data.draw(st.integers(0, flat.size))
    stop = data.draw(st.integers(start, flat.size))
    with open_payload(info) as payload:
        assert payload.piece(start, stop).tolist() == flat[start:stop].tolist()


@given(st.lists(st.integers(1, 7), max_size=4), st.data())
def test_boxes_cover_a_run_in_order(shape: list[int], data: st.DataObject) -> None:
    count = prod(shape)
    start = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(start, count))
    most = data.draw(st.integers(1, 20))
    numbers = np.arange(count).reshape(shape)
    found: list[int] = []
    for starts, extents in boxes_of_run(tuple(shape), start, stop, most):
        assert prod(extents) <= most
        found += numbers[tuple(slice(at, at + length) for at, length in zip(starts, extents, strict=True))].reshape(-1).tolist()
    assert found == list(range(start, stop))


A, B = np.zeros((4, 6), np.float32), np.zeros((4, 5), np.float32)
CONTRADICTIONS: dict[str, tuple[str | None, Ways, dict[tuple[int, ...], Any], str]] = {
    "another number of axes": ("b s h[tp]", (("tp", 2),), {(0,): A, (1,): A}, "dims 'b s h[tp]' names 3 axes; ranks 0, 1 hold (4, 6)"),
    "other extents": ("s[tp] d", (("tp", 2),), {(0,): A, (1,): B}, "dims 's[tp] d': tp: expected shapes that differ in axis 0 only; rank 0 holds (4, 6), rank 1 holds (4, 5)"),
    "summands of two shapes": ("s d # tp:partial", (("tp", 2),), {(0,): A, (1,): B}, "dims 's d # tp:partial': tp: expected one shape on all of them; rank 0 holds (4, 6), rank 1 holds (4, 5)"),
    "replicas of two shapes": ("s d # tp:first", (("tp", 2),), {(0,): A, (1,): B}, "dims 's d # tp:first': tp: expected one shape on all of them; rank 0 holds (4, 6), rank 1 holds (4, 5)"),
    "odd zigzag": ("s d[cp:zigzag]", (("cp", 2),), {(0,): B, (1,): B}, "dims 's d[cp:zigzag]': cp: expected an even length of axis 1, two chunks a rank; ranks 0, 1 hold (4, 5)"),
    "an unknown way": ("s d[ep]", (("tp", 2),), {(0,): A, (1,): A}, "dims 's d[ep]' speaks of ep, but the ranks are divided by tp=2"),
    "a way that is not spoken of": ("s d[tp]", (("dp", 2), ("tp", 1)), {(0, 0): A, (1, 0): A}, "dims 's d[tp]' does not say how dp divide it; ranks 0, 1 hold (4, 6)"),
    "a rank is missing": ("s d[tp]", (("tp", 3),), {(0,): A, (2,): A}, "dims 's d[tp]': tp has 3 ranks, but only 2 hold it: 0, 1"),
    "too much is cut off": ("s=9 d[tp]", (("tp", 2),), {(0,): A, (1,): A}, "dims 's=9 d[tp]': expected at least 9 positions in s, the parts make 4"),
    "several dtypes": ("s d[tp]", (("tp", 2),), {(0,): A, (1,): A.astype(np.float64)}, "its ranks hold it in several dtypes: float32, float64"),
    "an axis of 1 that is none": ("1 d[tp]", (("tp", 2),), {(0,): A, (1,): A}, "dims '1 d[tp]' says that axis 0 has length 1; ranks 0, 1 hold (4, 6)"),
    "sums of bool": ("s d # tp:partial", (("tp", 2),), {(0,): A > 0, (1,): A > 0}, "dims 's d # tp:partial': bool has no sums"),
    "nothing said": (None, (("tp", 2),), {(0,): A, (1,): B}, "nothing says how its parts make up the whole; rank 0 holds (4, 6), rank 1 holds (4, 5)"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_notation_that_the_shapes_contradict_is_refused_with_them(tmp_path: Path, case: str) -> None:
    dims, ways, parts, message = CONTRADICTIONS[case]
    with pytest.raises(TensorError) as error:
        scan(placed(tmp_path, dims, ways, parts), OPTIONS)
    assert (error.value.code, error.value.detail) == ("E_SHARDS", message)


def test_other_axes_than_the_other_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="names other axes than the other side, b s d") as error:
        scan(placed(tmp_path, "b s h[tp]", (("tp", 2),), {(0,): np.zeros((1, 2, 3)), (1,): np.zeros((1, 2, 3))}, ("b", "s", "d")), OPTIONS)
    assert error.value.code == "E_SHARDS"


def test_a_part_that_cannot_be_read_is_told_with_its_rank(tmp_path: Path) -> None:
    place = placed(tmp_path, "s d[tp]", (("tp", 2),), {(0,): A, (1,): A})
    (tmp_path / "1.npy").unlink()
    with pytest.raises(TensorError, match="rank 1: no such file") as error:
        scan(place, OPTIONS)
    assert error.value.code == "E_MISSING" and error.value.path.endswith("1.npy")


def test_a_place_comes_back_and_has_the_size_and_identity_of_its_parts(tmp_path: Path) -> None:
    place = placed(tmp_path, "s d[tp]", (("tp", 2),), {(0,): A, (1,): B})
    assert composed_place(composition_of(place)) == place
    assert place_sizes([place], OPTIONS) == [A.nbytes + B.nbytes]
    info = scan(place, OPTIONS)
    assert info.identity[1:] == identity_now(place)[1:]
    assert info.warnings == ("W_MERGED: tp along d (axis 1); dims 's d[tp]'",)
    np.save(tmp_path / "1.npy", B + 1)
    assert identity_now(place) != info.identity


def traced(act: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_few_columns_of_many_rows_take_little_memory(tmp_path: Path) -> None:
    values = np.arange(3000 * 4000, dtype=np.float32).reshape(3000, 4000)
    place = placed(tmp_path, "t[tp] v=2", (("tp", 2),), parts_of(values, "t[tp] v", (("tp", 2),)))
    np.testing.assert_array_equal(whole(place, mapped=False), values[:, :2])
    assert traced(lambda: whole(place, mapped=False)) < 24 * 2**20


def test_replicas_that_all_differ_take_little_memory(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2, 8, 256, 64))
    place = placed(tmp_path, "a b c d # tp:replicated", (("tp", 2),), {(0,): values, (1,): -values})

    def refused() -> None:
        with pytest.raises(TensorError, match="differ first at"):
            whole(place)

    assert traced(refused) < 12 * values.nbytes


def test_more_parts_than_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastcmp.formats.composed_payload._MOST_OPEN", 3)
    values = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
    place = placed(tmp_path, "t[tp] d", (("tp", 20),), parts_of(values, "t[tp] d", (("tp", 20),)))
    before = len(os.listdir("/proc/self/fd"))
    np.testing.assert_array_equal(whole(place), values)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_part_that_changes_meanwhile_is_noticed_when_it_is_closed_and_at_the_end(tmp_path: Path) -> None:
    place = placed(tmp_path, "s d[tp]", (("tp", 2),), {(0,): A, (1,): A})
    info = scan(place, OPTIONS)
    with pytest.raises(TensorError, match=r"0\.npy.*E_CHANGED"), open_payload(info, roots=(str(tmp_path),)) as payload:
        payload.piece(0, 2)
        os.utime(tmp_path / "0.npy", (1, 1))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_sums_of_every_shape(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    code, one = {
        "bfloat16": (27, np.uint16(0x3F80)),
        "float16": (1, np.float16(1)),
        "float32": (0, np.float32(1)),
        "int8": (2, np.int8(1)),
    }[dtype]
    record = bin_files.record(np.full(shape, one).tobytes(), code, ",".join(map(str, shape)))
    if 0 in shape:
        record = bin_files.header(0, 2, code, "0,3", "")
    for rank in range(3):
        (tmp_path / f"{rank}.bin").write_bytes(record)
    parts = tuple(Part(str(rank), (rank,), str(tmp_path / f"{rank}.bin")) for rank in range(3))
    place = composed_place(Composition(f"{'a b' if shape else ''} # tp:partial".strip(), (("tp", 3),), (), parts))
    assert decode(whole(place), dtype).tolist() == np.full(shape, 3.0).tolist()


def test_a_scalar_of_one_rank(tmp_path: Path) -> None:
    assert whole(placed(tmp_path, "", (("pp", 2),), {(1,): np.float32(2.5)})).tolist() == 2.5
    assert whole(placed(tmp_path, "# pp:first", (("pp", 2),), {(1,): np.float32(2.5)})).tolist() == 2.5


def test_parts_of_any_reader_and_order(tmp_path: Path) -> None:
    """.bin, Fortran order, big endian, a tensor inside a file."""
    values = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    parts = np.split(values, 4, 1)
    np.save(tmp_path / "0.npy", np.asfortranarray(parts[0]))
    np.save(tmp_path / "1.npy", parts[1].astype(">f4"))
    (tmp_path / "2.bin").write_bytes(bin_files.record(parts[2].tobytes(), 0, "4,2"))
    save_file({"other": parts[0].copy(), "x": parts[3].copy()}, tmp_path / "3.safetensors")
    places = [str(tmp_path / name) for name in ("0.npy", "1.npy", "2.bin")] + [member_place(str(tmp_path / "3.safetensors"), "x")]
    listed = tuple(Part(str(rank), (rank,), place) for rank, place in enumerate(places))
    place = composed_place(Composition("s d[tp]", (("tp", 4),), (), listed))
    np.testing.assert_array_equal(whole(place), values)
    assert identity_now(place)[1:] == scan(place, OPTIONS).identity[1:]


def test_parts_in_an_order_that_is_not_known_are_refused(tmp_path: Path) -> None:
    for rank in (0, 1):
        (tmp_path / f"{rank}.bin").write_bytes(bin_files.record(A.tobytes(), 0, "4,6", format_code=4))
    parts = tuple(Part(str(rank), (rank,), str(tmp_path / f"{rank}.bin")) for rank in (0, 1))
    place = composed_place(Composition("s d[tp]", (("tp", 2),), (), parts))
    with pytest.raises(TensorError, match=r"FRACTAL_Z \(4\): parts of a tensor in this order cannot be put together.*E_FORMAT"):
        scan(place, OPTIONS)
    assert scan(place, ScanOptions(format_policy="flat")).shape == (4, 12)


def test_more_parts_than_files_can_be_open_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", A)
    parts = tuple(Part(str(rank), (rank,), str(tmp_path / "0.npy")) for rank in range(4097))
    (found,) = scan_batch([composed_place(Composition("s d[tp]", (("tp", 4097),), (), parts))], OPTIONS)
    assert isinstance(found, TensorError) and found.detail == "4097 ranks hold it, expected at most 4096"
    assert isinstance(scan(composed_place(Composition("s d # tp:first", (("tp", 4097),), (), parts)), OPTIONS), TensorInfo)
