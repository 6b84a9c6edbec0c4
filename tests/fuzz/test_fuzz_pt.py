"""Pickles made by a grammar that knows where they may go wrong, against torch."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pt_files
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tries import examples, tries

from fastcmp.errors import TensorError
from fastcmp.formats import list_members, scan
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
# Pickles that are tried: `TRY_HEADERS` of the environment.
MANY = settings(max_examples=examples(tries("HEADERS", 300)), deadline=None, database=None, suppress_health_check=list(HealthCheck))
STORAGES = {"Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Byte": 1, "Bool": 1, "ComplexFloat": 8}
DTYPES = {"torch.float8_e4m3fn": 1, "torch.uint16": 2, "torch.complex32": 4, "torch.uint64": 8, "torch.float32": 4}
NUMEL = 24
EXTENTS = st.integers(0, 4)


def mostly(plain: st.SearchStrategy[int], odd: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.integers(0, 20).flatmap(lambda number: odd if number == 20 else plain)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """One tensor over storage "0", whose bytes fit it, or nearly: 24 elements of up to eight bytes."""
    shape = tuple(draw(st.lists(mostly(EXTENTS, st.sampled_from([-1, 2**31, 2**40, 2**62])), max_size=4)))
    contiguous = tuple(int(np.prod([max(1, extent) for extent in shape[axis + 1 :]], dtype=object)) for axis in range(len(shape)))
    strides = draw(st.sampled_from([contiguous] * 3 + [tuple(draw(st.integers(0, 7)) for _ in shape), contiguous[::-1]]))
    strides = draw(st.sampled_from([strides] * 12 + [tuple(-stride for stride in strides)]))
    first = draw(mostly(st.integers(0, 8), st.sampled_from([-1, 2**31, 2**62, 2**63])))
    return pt_files.tensor(shape, strides, first=first, of=pt_files.storage(kind="torch.FloatStorage", numel=NUMEL))


CONTAINERS = st.recursive(
    tensors(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: pt_files.list_of(*parts)),
        st.lists(inner, max_size=3).map(lambda parts: pt_files.tuple_of(*parts)),
        st.lists(st.tuples(st.sampled_from(["a", "b", "a.b", ""]).map(pt_files.text) | st.integers(0, 2).map(pt_files.integer), inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: pt_files.dict_of(*pairs)
        ),
        inner.map(lambda part: pt_files.call("torch._utils._rebuild_parameter", part, pt_files.TRUE, pt_files.call("collections.OrderedDict"))),
    ),
    max_leaves=4,
)  # fmt: skip


def leaves(value: object, path: tuple[object, ...] = ()) -> list[tuple[tuple[object, ...], torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(path, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [found for key, item in items for found in leaves(item, (*path, key))]


def loaded(content: bytes) -> object | None:
    """None where torch refuses the file."""
    try:
        return torch.load(io.BytesIO(content), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, TypeError, ValueError, OverflowError, AttributeError):
        return None


def test_what_is_read_is_what_torch_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pt")
    counts = {"both": 0, "neither": 0, "torch": 0}

    @MANY
    @given(CONTAINERS)
    def check(value: bytes) -> None:
        content = pt_files.archive(pt_files.pickled(value), {"0": np.arange(NUMEL, dtype="<f4").tobytes()})
        pt_files.written(Path(path), content)
        theirs = loaded(content)
        (names,) = list_members([path], OPTIONS)
        if isinstance(names, TensorError):
            assert theirs is None or "two tensors have the name" in names.detail
            counts["neither" if theirs is None else "torch"] += 1
            return
        infos = [scan(member_place(path, name), OPTIONS) if is_read(path, name) else None for name in names]
        if theirs is None:
            assert None in infos, "torch finds something wrong with the file, and we with none of its tensors"
            counts["neither"] += 1
            return
        expected = leaves(theirs)
        assert len(expected) == len(names)
        for info, (_, tensor) in zip(infos, expected, strict=True):
            if info is None:  # of none or one element torch takes any strides; and an element as often as it is asked to
                assert tensor.numel() <= 1 or tensor.numel() > 2**28
                continue
            assert info.shape == tuple(tensor.shape)
            with open_payload(info) as payload:
                assert payload.piece(0, info.element_count).tolist() == tensor.detach().reshape(-1).tolist()
        counts["both"] += 1

    check()
    assert min(counts["both"], counts["neither"]) > sum(counts.values()) // 10 and counts["torch"] < counts["both"], counts


def is_read(path: str, name: str) -> bool:
    try:
        scan(member_place(path, name), OPTIONS)
    except TensorError as error:
        assert error.code in ("E_BAD_DIMS", "E_OBJ_RANGE"), error
        return False
    return True


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@MANY
@given(st.sampled_from(sorted(DTYPES)), st.sampled_from(sorted(STORAGES)), st.integers(0, 40), st.integers(0, 5), st.integers(1, 3))
def test_dtypes_and_storages_of_any_size_are_as_torch_has_them(
    tmp_path_factory: object, dtype: str, kind: str, numel: int, first: int, stride: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    untyped = pt_files.storage(kind="torch.storage.UntypedStorage", numel=numel)
    typed = pt_files.storage(kind=f"torch.{kind}Storage", numel=numel)
    for value, size in (
        (pt_files.tensor((3,), (stride,), first=first, of=untyped, function="torch._utils._rebuild_tensor_v3", more=(pt_files.named(dtype),)), 1),
        (pt_files.tensor((3,), (stride,), first=first, of=typed), STORAGES[kind]),
    ):  # fmt: skip
        content = pt_files.archive(pt_files.pickled(value), {"0": bytes(number % 2 for number in range(numel * size))})
        path = pt_files.written(folder / "a.pt", content)
        theirs = loaded(content)
        assert isinstance(theirs, torch.Tensor) == is_read(path, "")
        if isinstance(theirs, torch.Tensor):
            info = scan(path, OPTIONS)
            with open_payload(info) as payload:
                assert payload.piece(0, 3).tobytes() == bytes(theirs.contiguous().view(torch.uint8).numpy().tobytes())
                assert f"torch.{info.dtype}" == str(theirs.dtype)
