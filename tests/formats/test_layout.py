from __future__ import annotations

import re

import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats.layout import Layout, place, reconcile
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo


def info(shape: tuple[int, ...], format_code: int = 2, layout: str = "plain", c0: int = 0) -> TensorInfo:
    return TensorInfo("/d/t.bin", 0, 0, "float32", shape, FileIdentity(0, 0, 0, 0), layout=layout, format_code=format_code, c0=c0)


@pytest.mark.parametrize(
    ("dtype", "dims", "code", "expected"),
    [
        ("float16", (1, 4, 32, 16), 29, Layout((1, 32, 64), "fractal_nz", 16)),
        ("int8", (2, 4, 32, 32), 29, Layout((2, 32, 128), "fractal_nz", 32)),
        ("float32", (1, 4, 16, 8), 54, Layout((1, 16, 32), "fractal_nz", 8)),
        ("float16", (7, 5, 3, 2, 16, 16), 29, Layout((7, 5, 32, 48), "fractal_nz", 16)),
        ("float16", (32, 48), 29, Layout((32, 48), "fractal_nz", 16)),
        ("float16", (2, 32, 48), 29, Layout((2, 32, 48), "fractal_nz", 16)),
        ("float16", (0, 3), 29, Layout((0, 3), "plain", 0)),
        ("float16", (2, 3), 1, Layout((2, 3), "plain", 0)),
        ("float16", (2, 3), 4, Layout((2, 3), "plain", 0)),
    ],
)
def test_dims_are_taken_for_physical_or_logical(dtype: str, dims: tuple[int, ...], code: int, expected: Layout) -> None:
    assert place("t.bin", DTYPES[dtype], dims, code, "strict") == expected


@pytest.mark.parametrize("dims", [(), (16,), (17, 16), (16, 17), (3, 16, 8), (1, 4, 30, 16), (1, 4, 32, 32), (2, 1, 4, 15, 16)])
def test_fractal_dims_that_cannot_be_reordered_are_never_a_number(dims: tuple[int, ...]) -> None:
    with pytest.raises(TensorError, match=re.escape(f"dims {dims} are no FRACTAL_NZ shape") + ".*E_NZ_LOGICAL"):
        place("t.bin", DTYPES["float16"], dims, 29, "strict")
    assert place("t.bin", DTYPES["float16"], dims, 29, "flat") == Layout(dims, "plain", 0)


def test_unknown_orders_are_refused() -> None:
    for code in (-1, 5, 99):
        with pytest.raises(TensorError, match=f"expected a known memory format, got code {code}.*E_FORMAT"):
            place("t.bin", DTYPES["float16"], (2, 3), code, "strict")
    with pytest.raises(TensorError, match=r"the order of int4 in FRACTAL_NZ .29. is not known.*E_FORMAT"):
        place("t.bin", DTYPES["int4"], (16, 64), 29, "strict")


def test_formats_of_a_pair_are_noted_or_refused() -> None:
    plain, nhwc, fractal_z, other = info((2, 3)), info((2, 3), 1), info((2, 3), 4), info((3, 2), 4)
    assert reconcile(plain, plain, "strict")[2] == ()
    assert reconcile(plain, nhwc, "strict")[2] == ("W_FORMAT_DIFFERS: golden is ND (2), target is NHWC (1)",)
    assert reconcile(fractal_z, fractal_z, "strict")[2] == ("W_FORMAT_FLAT: both sides are FRACTAL_Z (4)",)
    for pair in ((fractal_z, plain), (plain, fractal_z), (fractal_z, other)):
        with pytest.raises(TensorError, match=r"expected the same format and shape on both sides.*E_FORMAT"):
            reconcile(*pair, "strict")
        assert len(reconcile(*pair, "flat")[2]) == 1


def test_blocks_are_cropped_to_the_other_side_only_where_they_pad_it() -> None:
    blocks = info((6, 32, 48), 29, "fractal_nz", 16)
    assert reconcile(blocks, info((2, 3, 20, 33)), "strict")[0].shape == (2, 3, 20, 33)
    assert reconcile(info((6, 32, 48)), blocks, "strict")[1].shape == (6, 32, 48)
    for shape in ((6, 16, 48), (6, 20, 32), (5, 20, 33), (33,), (0, 20, 33)):
        assert reconcile(blocks, info(shape), "strict")[0].shape == blocks.shape
