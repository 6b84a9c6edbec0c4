"""assert_close: the numbers and verdicts of a comparison, the words of torch."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tries import examples
from written_dumps import save_tensor

import fastcmp
from fastcmp.errors import TensorError, UsageError
from fastcmp.results.schema import METRIC_NAMES
from fastcmp.testing import NotCloseError, assert_close
from fastcmp.testing.closeness import _Rulebook
from fastcmp.testing.handed import flat_runs, handed
from fastcmp.testing.nested import Item

RANDOM = np.random.default_rng(7)


def message_of(golden: Any, target: Any, **options: Any) -> str:
    with pytest.raises(NotCloseError, match=r"\S") as caught:
        assert_close(golden, target, **options)
    return str(caught.value)


def torch_message_of(golden: torch.Tensor, target: torch.Tensor, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        torch.testing.assert_close(target, golden, **options)
    return str(caught.value)


# --- the same answer as a comparison of files


def noisy(dtype: Any, shape: tuple[int, ...], noise: float) -> tuple[np.ndarray, np.ndarray]:
    values = RANDOM.standard_normal(shape)
    if np.dtype(dtype).kind in "iu":
        return (values * 50).astype(dtype), (values * 50 + noise).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return values > 0, values > noise
    return values.astype(dtype), (values * (1 + noise)).astype(dtype)


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-3, 0.7])
@pytest.mark.parametrize(
    ("golden_dtype", "target_dtype"),
    [
        ("f4", "f4"), ("f8", "f4"), ("f4", "f2"), ("f4", ml_dtypes.bfloat16), ("i4", "i4"), ("i8", "i8"), ("?", "?"), ("c8", "c8"), ("i1", "f4"),
    ],
)  # fmt: skip
def test_the_row_is_that_of_a_comparison_of_files(tmp_path: Path, golden_dtype: Any, target_dtype: Any, noise: float) -> None:
    golden, target = (
        noisy(np.float64, (5, 7, 130), noise) if np.dtype(golden_dtype).kind not in "iub" else noisy(golden_dtype, (5, 7, 130), noise)
    )
    golden, target = golden.astype(golden_dtype), target.astype(target_dtype)
    if golden.dtype.kind == "f":
        golden[0, 0, 0], target[0, 0, 0] = np.nan, np.nan
    save_tensor(tmp_path / "g.npy", golden)
    save_tensor(tmp_path / "t.npy", target)
    result = fastcmp.compare(tmp_path / "g.npy", tmp_path / "t.npy", output=tmp_path / "r", executor="serial")
    row = result.to_arrow().to_pylist()[0]
    rules = _Rulebook.of(None, None, (), True, None, False)
    found = rules.judged(Item("", golden, target))
    assert (found is None) == result.ok == (row["verdict"] == "pass")
    if found is not None:
        assert found.row is not None
        names = [
            name
            for name in (*METRIC_NAMES, "verdict", "verdict_reason", "notes", "golden_dtype", "acl_dtype", "golden_shape")
            if "kl_" not in name
        ]
        assert {name: repr(found.row[name]) for name in names} == {name: repr(row[name]) for name in names}
        assert found.elements is not None
        if row["max_absolute_error"] and golden.dtype.kind != "c":
            assert float(found.elements.greatest_absolute.amount) == row["max_absolute_error"]
            assert f"at index {row['max_absolute_error_index']}" in message_of(golden, target)
        if golden.dtype.kind == target.dtype.kind:
            assert found.elements.mismatched == row["mismatch_count"]
    by_path = rules.judged(Item("", str(tmp_path / "g.npy"), tmp_path / "t.npy"))
    assert (by_path is None) == (found is None)
    if by_path is not None and found is not None:
        assert repr({**by_path.row, "golden_data_path": "", "acl_data_path": ""}) == repr(
            {**found.row, "golden_data_path": "", "acl_data_path": ""}
        )


def test_a_large_pair_is_cut_where_a_comparison_cuts_it(tmp_path: Path, cut_into_pieces: Callable[[int], None]) -> None:
    cut_into_pieces(1 << 16)
    golden = RANDOM.standard_normal((40, 3000)).astype(np.float32)
    target = golden + np.float32(0.01)
    np.save(tmp_path / "g.npy", golden)
    np.save(tmp_path / "t.npy", target)
    row = fastcmp.compare(tmp_path / "g.npy", tmp_path / "t.npy", output=tmp_path / "r", executor="serial").to_arrow().to_pylist()[0]
    for one, other in ((golden, target), (np.asfortranarray(golden), torch.from_numpy(target).t().contiguous().t())):
        found = _Rulebook.of(None, None, (), True, None, False).judged(Item("", one, other))
        assert found is not None and found.row is not None
        assert all(repr(found.row[name]) == repr(row[name]) for name in METRIC_NAMES if "kl_" not in name)


# --- the same words as torch

FLOATS = st.floats(-1e3, 1e3, allow_subnormal=False)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), SHAPES, st.sampled_from([(1e-7, 1e-5), (0.1, 0.0), (0.0, 0.5), (0.0, 0.0)]))
def test_the_words_of_torch_for_floats(data: st.DataObject, shape: tuple[int, ...], tolerance: tuple[float, float]) -> None:
    golden, target = (data.draw(hnp.arrays(np.float64, shape, elements=FLOATS)) for _ in range(2))
    check_against_torch(golden, target, *tolerance)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), SHAPES, st.sampled_from([(0.0, 0.0), (0.0, 1.0), (0.5, 0.0)]))
def test_the_words_of_torch_for_integers(data: st.DataObject, shape: tuple[int, ...], tolerance: tuple[float, float]) -> None:
    golden, target = (data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-20, 20))) for _ in range(2))
    check_against_torch(golden, target, *tolerance)


def check_against_torch(golden: np.ndarray, target: np.ndarray, rtol: float, atol: float) -> None:
    one, other = torch.from_numpy(golden), torch.from_numpy(target)
    try:
        torch.testing.assert_close(other, one, rtol=rtol, atol=atol)
    except AssertionError as error:
        expected = str(error).splitlines()
    else:
        assert_close(golden, target, rtol=rtol, atol=atol)
        return
    found = message_of(golden, target, rtol=rtol, atol=atol).splitlines()
    assert found[:3] == expected[:3]
    for ours, theirs in zip(found[3:5], expected[3:5], strict=True):
        # Where several positions are as bad, or golden is 0, torch may name another of them; quotients of integers are float32 there.
        number = re.compile(r"difference: (\S+) at index (\(.*?\))")
        (amount, index), (their_amount, their_index) = number.search(ours).groups(), number.search(theirs).groups()
        assert number.sub("", ours) == number.sub("", theirs)
        assert float(amount) == pytest.approx(float(their_amount), rel=1e-6)
        if index != their_index:
            at = eval(their_index)  # noqa: S307 - an index tuple of torch's own
            difference = abs(float(target[at]) - float(golden[at]))
            relative = difference / abs(float(golden[at])) if golden[at] else np.inf
            assert pytest.approx(float(amount), rel=1e-6) == (difference if "absolute" in ours else relative)


NONFINITE = [0.0, 1.0, np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("equal_nan", [True, False])
@pytest.mark.parametrize("golden", NONFINITE)
@pytest.mark.parametrize("target", NONFINITE)
def test_nan_and_infinity_are_close_where_torch_says_so(golden: float, target: float, equal_nan: bool) -> None:
    one, other = torch.tensor([golden, 2.0]), torch.tensor([target, 2.0])
    is_close = bool(torch.isclose(other, one, rtol=0.1, atol=0.1, equal_nan=equal_nan).all())
    if is_close:
        assert_close(one, other, rtol=0.1, atol=0.1, equal_nan=equal_nan)
    else:
        text = message_of(one, other, rtol=0.1, atol=0.1, equal_nan=equal_nan)
        assert "Mismatched elements: 1 / 2 (50.0%)" in text


def test_scalars_have_torchs_words() -> None:
    assert_close(1.0, 1)
    assert_close(True, True)
    assert_close(2 + 1j, 2 + 1j)
    for golden, target in ((1.0, 1.5), (2, 5)):
        with pytest.raises(AssertionError) as caught:
            torch.testing.assert_close(target, golden, rtol=0.01, atol=0.02)
        assert message_of(golden, target, rtol=0.01, atol=0.02).startswith(str(caught.value))


@pytest.mark.parametrize(
    ("golden", "target", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "The keys of the mappings do not match:\nMissing keys in the target mapping: ['b']\nAdditional keys in the target mapping: ['c']"),
        ([1, 2], [1], "The length of the sequences mismatch: golden 2 != target 1"),
        ({"x": [1]}, {"x": 1.0}, "The structures do not match: golden is a list, target is a float\n\nThe failure occurred for item ['x']"),
        ([None], [1.0], "None mismatch: golden is None, target is a float\n\nThe failure occurred for item [0]"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "The values for attribute 'shape' do not match: golden (2, 3) != target (2, 4)."),
    ],
    ids=["keys", "length", "structure", "none", "shape"],
)  # fmt: skip
def test_what_cannot_be_compared_is_named(golden: Any, target: Any, expected: str) -> None:
    assert message_of(golden, target) == expected


def test_the_whole_message() -> None:
    golden = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    target = golden.copy()
    target[1, 2] += 3
    target[0, 1] = np.nan
    with pytest.raises(NotCloseError, match="Tensor-likes are not close!") as caught:
        assert_close(golden, target)
    assert (
        str(caught.value)
        == """\
Tensor-likes are not close!

Mismatched elements: 2 / 6 (33.3%), all that are not equal
Greatest absolute difference: 3.0 at index (1, 2)
Greatest relative difference: 0.5 at index (1, 2)
Worst element at index (1, 2): golden 6.0, target 9.0
Non-finite mismatches: 1, first at index (0, 1): golden 2.0, target nan (golden has 0 NaN and 0 infinite, target has 1 NaN and 0 infinite)
relative_euclidean_distance: 0.321634 (default limit for float32: 0.0001)
cosine_similarity: 0.979811894
Broken: nonfinite_mismatch_count 1 > 0 (rule: non-finite); relative_euclidean_distance 0.322 > 0.0001 (rule: default float32)"""
    )
    assert caught.value.summary == "first non-finite mismatch at index (0, 1): golden 2.0, target nan; relative_euclidean_distance 0.322"


def test_another_shape_of_as_many_elements_is_compared_and_fails() -> None:
    text = message_of(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2))
    assert text.startswith(
        "The values for attribute 'shape' do not match: golden (2, 3) != target (3, 2).\nCompared in the order the elements lie:"
    )
    assert "Mismatched elements: 0 / 6" in text
    message_of(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2), atol=1)
    assert_close(np.arange(6.0).reshape(2, 1, 3), np.arange(6.0).reshape(2, 3))


def test_every_item_that_is_not_close_is_named() -> None:
    good, bad = np.ones(3), np.array([1.0, 2.0, 1.0])
    golden = {"fine": good, "attn": [good, good], "mlp": (good,)}
    text = message_of(golden, {"fine": good, "attn": [good, bad], "mlp": (bad,)})
    assert (
        "\n\nThe failure occurred for item ['attn'][1]\n\n1 more:\n['mlp'][0]: worst element at index (1,): golden 1.0, target 2.0" in text
    )
    many = [good] * 13
    assert message_of(many, [bad] * 13).count("worst element") == 10 and message_of(many, [bad] * 13).endswith("\n...")


def test_thresholds_replace_the_default() -> None:
    golden, target = np.array([1.0, 2.0]), np.array([1.0, 2.1])
    assert "(rule: default float64)" in message_of(golden, target)
    assert_close(golden, target, thresholds=["relative_euclidean_distance <= 0.1"])
    text = message_of(golden, target, atol=1.0, thresholds=("cosine_similarity >= 0.9999",))
    assert "Mismatched elements: 0 / 2" in text and "Broken: cosine_similarity 0.999815 < 0.9999 (rule: thresholds)" in text
    assert_close(golden, target, atol=1.0)
    assert "kl_divergence" in message_of(golden, target, thresholds=["kl_divergence <= 1e-9"])


def test_integers_need_a_scale_against_floats() -> None:
    golden, target = np.array([1.0, 2.0]), np.array([10, 20], np.int8)
    assert "no scale is known; give scale= or thresholds=" in message_of(golden, target)
    assert_close(golden, target, scale=0.1)
    assert_close(golden, target, scale=0.1, atol=1e-9)
    assert "Tensor-likes are not equal!" in message_of(np.array([1, 2]), np.array([1, 3]))


def test_64_bit_integers_are_exact() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    text = message_of(np.array([low, 2**60]), np.array([high, 2**60 + 1]))
    assert f"Greatest absolute difference: {2**64 - 1} at index (0,)" in text and "Mismatched elements: 2 / 2" in text
    assert f"Greatest absolute difference: {2**63 + 1} at index (0,)" in message_of(np.array([-1]), np.array([2**63], np.uint64))


def test_dtypes_may_be_asked_to_agree() -> None:
    golden, target = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
    assert_close(golden, target)
    assert (
        message_of(golden, target, check_dtype=True) == "The values for attribute 'dtype' do not match: golden float32 != target bfloat16."
    )


def test_nan_on_both_sides_may_be_refused() -> None:
    golden = np.array([1.0, np.nan])
    assert_close(golden, golden)
    assert "NaN on both sides: 1" in message_of(golden, golden, equal_nan=False)


def test_a_message_of_ones_own() -> None:
    assert message_of(1.0, 2.0, msg="mine") == "mine"
    assert message_of(1.0, 2.0, msg=lambda text: f"layer 3: {text}").startswith("layer 3: Scalars are not close!")


# --- what may be handed over


@pytest.mark.parametrize(
    "dtype",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "complex64",
        "int8",
        "uint8",
        "int16",
        "int64",
        "bool",
    ],
)
@pytest.mark.parametrize("strided", [False, True])
def test_a_torch_tensor_has_the_values_of_torch(dtype: str, strided: bool) -> None:
    tensor = (torch.arange(-12, 12, dtype=torch.float32) / 4).to(getattr(torch, dtype)).reshape(4, 6)
    tensor = tensor.t() if strided else tensor
    assert_close(
        tensor.to(torch.complex128 if dtype == "complex64" else torch.float64), tensor, scale=1.0, thresholds=["max_absolute_error <= 0"]
    )
    expected = np.asarray(tensor.to(torch.complex128 if dtype == "complex64" else torch.float64))
    assert_close(expected, tensor, scale=1.0, rtol=0, atol=0)


def test_tensors_with_a_gradient_a_conjugate_or_zeros_left_out() -> None:
    tensor = torch.tensor([[1 + 2j, 3 - 1j]])
    assert_close(tensor.conj().resolve_conj(), tensor.conj())
    assert_close(tensor.imag.resolve_neg(), tensor.conj().imag.neg())
    assert_close(torch.eye(3), torch.eye(3).to_sparse())
    assert_close(torch.ones(2), torch.ones(2, requires_grad=True))


def test_arrays_of_any_byte_order_stride_and_library() -> None:
    array = RANDOM.standard_normal((3, 4, 5))
    assert_close(array, array.astype(">f8"))
    assert_close(array[::-1, :, ::2], torch.from_numpy(array.copy())[[2, 1, 0]][:, :, ::2])
    assert_close(np.broadcast_to(np.float32(2), (3, 4)), np.full((3, 4), 2.0, np.float32))
    assert_close(array.astype(ml_dtypes.bfloat16), array.astype(ml_dtypes.bfloat16).view("V2"))

    class Arrayish:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return array

    class Dlpackish:
        def __dlpack__(self, **options: Any) -> Any:
            return array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return array.__dlpack_device__()

    assert_close(Arrayish(), Dlpackish())
    assert_close(np.zeros((0, 3)), torch.zeros(0, 3, dtype=torch.float64))
    assert_close(np.float32(3), torch.tensor(3.0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "golden: found a object, expected a torch tensor, a numpy array"),
        (np.array(["a"]), "golden: found an array of <U1, expected plain numbers"),
        (np.array([object()]), "golden: found an array of object, expected plain numbers"),
        (torch.ones(2, device="meta"), r"golden: found a tensor of torch.float32 on meta, expected plain numbers with data"),
        (2**70, "golden: found an array of object, expected plain numbers"),
        (b"x", "golden: found a bytes, expected"),
    ],
    ids=["object", "text", "objects", "meta", "huge", "bytes"],
)
def test_what_has_no_numbers_is_refused(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        assert_close(value, np.ones(2))


def test_what_gives_no_array_says_why() -> None:
    class OnDevice:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise RuntimeError("it is on the device")

    with pytest.raises(TypeError, match=r"^target: a OnDevice that gives no array: __array__: it is on the device; hand over a copy"):
        assert_close(np.ones(2), OnDevice())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": -1.0}, r"rtol=-1\.0: expected a number, 0 or more"),
        ({"atol": float("nan")}, "atol=nan: expected a number, 0 or more"),
        ({"thresholds": "cosine_similarity >= 0.9"}, "thresholds: expected a list or tuple of texts"),
        ({"thresholds": ["cosine >= 0.9"]}, "--threshold 'cosine >= 0.9': no metric is called 'cosine'"),
        ({"scale": 0.0}, "--scale 0: expected what one integer step is worth"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        assert_close(np.ones(2), np.ones(2), **options)


def test_a_file_that_is_missing_is_no_mismatch(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="E_MISSING"):
        assert_close(tmp_path / "no.npy", np.ones(2))


@settings(max_examples=examples(80), deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=4), st.sampled_from(["C", "F", "negative", "stepped"]))
def test_pieces_are_runs_of_the_logical_order(data: st.DataObject, shape: tuple[int, ...], order: str) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.int64).reshape(shape)
    array = np.asfortranarray(array) if order == "F" else array[..., ::-1] if order == "negative" and array.ndim else array
    array = array[::2] if order == "stepped" and array.ndim else array
    stop = data.draw(st.integers(0, array.size))
    start = data.draw(st.integers(0, stop))
    expected = array.reshape(-1)[start:stop]
    runs = list(flat_runs(array, start, stop, lambda part: part.flags.c_contiguous))
    assert np.array_equal(np.concatenate([np.empty(0, np.int64), *runs]), expected)
    for value in (array, torch.from_numpy(array.copy("K")) if order == "F" else array):
        assert np.array_equal(handed(value, "golden").pieces.piece(start, stop), expected)


def test_a_large_array_is_never_copied(cut_into_pieces: Callable[[int], None]) -> None:
    cut_into_pieces(1 << 20)
    golden = np.ones((16, 1 << 18), np.float32)
    assert_close(golden, golden)
    assert np.shares_memory(handed(golden, "golden").pieces.piece(1000, 2_000_000), golden)
    strided = np.ones((1 << 18, 16), np.float32).T
    for target, most in ((golden, 1 << 20), (strided, 6 << 20)):
        tracemalloc.start()
        try:
            assert_close(target, target)
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()
