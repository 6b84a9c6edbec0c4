"""Names by where their tensors stand and by what they hold, on real files; content against cosines that numpy takes of whole tensors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing_dumps import found, on_disk
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.formats import scan
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing import content as content_module
from fastcmp.pairing import pair, pair_dumps
from fastcmp.pairing.content import FLOOR, SAMPLED_ELEMENTS, sample_edges
from fastcmp.sources import NamedTensor, TensorKey

POSITION = CompareOptions(pair_by=("position",))
CONTENT = CompareOptions(pair_by=("content",))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def near(array: np.ndarray, noise: float = 1e-3, seed: int = 99) -> np.ndarray:
    return array + noise * values(*array.shape, seed=seed)


def test_the_nth_of_a_shape_in_a_layer_is_the_nth(tmp_path: Path) -> None:
    golden = on_disk(
        tmp_path / "g", {"layers.0.a": values(1, 7, 8), "layers.0.b": values(7, 16), "layers.0.c": values(7, 8), "layers.1.a": values(7, 8)}
    )
    target = on_disk(
        tmp_path / "t", {"layer1.z": values(7, 8), "layer0.x": values(7, 8), "layer0.y": values(1, 7, 8), "layer0.w": values(7, 16)}
    )
    assert found(pair(golden, target, POSITION)) == {
        "layers.0.a": ("layer0.x", "position"),
        "layers.0.c": ("layer0.y", "position"),
        "layers.0.b": ("layer0.w", "position"),
        "layers.1.a": ("layer1.z", "position"),
    }


def test_inputs_pair_with_inputs_and_outputs_with_outputs(tmp_path: Path) -> None:
    golden = on_disk(tmp_path / "g", {"layers.0.mlp.input": values(4, 8), "layers.0.mlp": values(4, 8)})
    target = on_disk(tmp_path / "t", {"0_Layer/0_Mlp/after/outtensor0": values(4, 8), "0_Layer/0_Mlp/before/intensor0": values(4, 8)})
    assert found(pair(golden, target, POSITION)) == {
        "layers.0.mlp.input": ("0_Layer/0_Mlp/before/intensor0", "position"),
        "layers.0.mlp": ("0_Layer/0_Mlp/after/outtensor0", "position"),
    }


def test_other_counts_other_elements_and_other_rows_pair_nothing(tmp_path: Path) -> None:
    golden = on_disk(
        tmp_path / "g", {"layers.0.a": values(4, 8), "layers.0.b": values(4, 8), "layers.1.c": values(4, 8), "layers.2.d": values(4, 8)}
    )
    target = on_disk(tmp_path / "t", {"layers.0.x": values(4, 8), "layers.1.y": values(8, 4), "layers.2.z": values(4, 8)})
    assert found(pair(golden, target, POSITION)) == {"layers.2.d": ("layers.2.z", "position")}


def test_without_an_order_only_what_stands_alone_pairs(tmp_path: Path) -> None:
    golden = on_disk(tmp_path / "g", {"layers.0.a": values(4, 8), "layers.0.b": values(4, 8), "layers.1.a": values(4, 8)}, ordered=False)
    target = on_disk(tmp_path / "t", {"layers.0.x": values(4, 8), "layers.0.y": values(4, 8), "layers.1.x": values(4, 8)})
    assert found(pair(golden, target, POSITION)) == {"layers.1.a": ("layers.1.x", "position")}


def test_an_op_tree_has_its_order_in_its_numbers(tmp_path: Path) -> None:
    golden = on_disk(tmp_path / "g", {"layers.0.a": values(4, 8), "layers.0.b": values(4, 8)})
    target = on_disk(
        tmp_path / "t", {"0_Layer/10_B/after/outtensor0": values(4, 8), "0_Layer/9_A/after/outtensor0": values(4, 8)}, ordered=False
    )
    assert found(pair(golden, target, POSITION)) == {
        "layers.0.a": ("0_Layer/9_A/after/outtensor0", "position"),
        "layers.0.b": ("0_Layer/10_B/after/outtensor0", "position"),
    }


def test_where_a_file_cannot_be_read_nobody_knows_the_nth(tmp_path: Path) -> None:
    golden = on_disk(tmp_path / "g", {"layers.0.a": values(4, 8), "layers.0.b": values(4, 8), "layers.1.a": values(4, 8)})
    target = on_disk(tmp_path / "t", {"layers.0.x": values(4, 8), "layers.0.y": values(4, 8), "layers.1.x": values(4, 8)})
    (tmp_path / "t" / "0.npy").write_bytes(b"\x93NUMPY nonsense")
    (tmp_path / "g" / "1.npy").unlink()
    paired = pair_dumps(golden, target, POSITION)
    assert found(paired.pairs) == {"layers.1.a": ("layers.1.x", "position")}
    assert paired.warnings == [
        (
            "--pair-by position: outputs of layer 0 are left alone, because layers.0.x of target cannot be read at the token that decides, "
            "or is not there"
        )
    ]


def test_a_name_without_the_token_that_decides_leaves_its_place_undecided(tmp_path: Path) -> None:
    golden = on_disk(tmp_path / "g", {"layers.0.a": values(4, 8), "layers.0.c": values(4, 8), "layers.1.a": values(4, 8)})
    golden.tensors.insert(1, NamedTensor(TensorKey("", "layers.0.b", "1"), "0.npy", str(tmp_path / "g" / "0.npy")))
    target = on_disk(tmp_path / "t", {"layers.0.y": values(4, 8), "layers.0.z": values(4, 8), "layers.1.x": values(4, 8)})
    paired = pair_dumps(golden, target, POSITION)
    assert found(paired.pairs) == {"layers.1.a": ("layers.1.x", "position")}
    assert "because layers.0.b of golden cannot be read" in paired.warnings[0]


def test_content_pairs_what_is_alike_and_says_how_much(tmp_path: Path) -> None:
    tensors = {f"g{number}": values(16, 32, seed=number) for number in range(6)}
    golden = on_disk(tmp_path / "g", tensors)
    target = on_disk(tmp_path / "t", {f"t{number}": near(tensors[f"g{number}"]) for number in (3, 1, 5, 0)})
    pairs = pair(golden, target, CONTENT)
    assert found(pairs) == {f"g{number}": (f"t{number}", "content") for number in (0, 1, 3, 5)}
    for one in pairs:
        if one.golden is not None and one.target is not None:
            g, t = np.load(one.golden.path).ravel(), np.load(one.target.path).ravel()
            cosine = float(g @ t / np.linalg.norm(g) / np.linalg.norm(t))
            (note,) = one.target.notes
            assert note.startswith(f"paired by content: cosine {cosine:.4g}"[:-1])
            assert "over 512 elements; next best " in note and (" of target, " in note or " of golden, " in note)


def test_a_note_has_the_runner_up_of_either_side(tmp_path: Path) -> None:
    one = values(16, 32)
    golden = on_disk(tmp_path / "g", {"a": one, "near": near(one, 0.5)})
    target = on_disk(tmp_path / "t", {"x": one, "far": values(16, 32, seed=8)})
    (note,) = next(each.target.notes for each in pair(golden, target, CONTENT) if each.target is not None and each.golden is not None)
    g, t = np.load(golden.tensors[1].path).ravel().astype(float), one.ravel().astype(float)
    cosine = g @ t / np.linalg.norm(g) / np.linalg.norm(t)
    assert note == f"paired by content: cosine 1 over 512 elements; next best near of golden, {cosine:.6g}"


def test_a_tie_pairs_nothing(tmp_path: Path) -> None:
    same = values(16, 32)
    golden = on_disk(tmp_path / "g", {"a": same, "b": values(16, 32, seed=1)})
    target = on_disk(tmp_path / "t", {"x": same, "y": same.copy(), "z": values(16, 32, seed=1)})
    assert found(pair(golden, target, CONTENT)) == {"b": ("z", "content")}
    assert found(pair(target, golden, CONTENT)) == {"z": ("b", "content")}


def test_a_neighbour_that_is_nearly_as_near_pairs_nothing(tmp_path: Path) -> None:
    stream = values(64, 64)
    golden = on_disk(tmp_path / "g", {"a": stream, "other": values(64, 64, seed=5)})
    close = on_disk(tmp_path / "t", {"x": near(stream, 0.02, 1), "y": near(stream, 0.03, 2), "z": near(values(64, 64, seed=5))})
    assert found(pair(golden, close, CONTENT)) == {"other": ("z", "content")}
    clear = on_disk(tmp_path / "u", {"x": near(stream, 0.02, 1), "y": near(stream, 0.06, 2)})
    assert found(pair(golden, clear, CONTENT)) == {"a": ("x", "content")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (values(16, 32), values(16, 32, seed=1)),  # below the floor
        (values(16, 32), -values(16, 32)),
        (np.ones((16, 32), np.float32), np.ones((16, 32), np.float32)),  # constants are all alike
        (np.zeros((16, 32), np.float32), values(16, 32)),
        (np.full((16, 32), np.nan, np.float32), np.full((16, 32), np.nan, np.float32)),
        (values(63), values(63)),  # too few
        (values(16, 32), values(32, 16)),
        (values(16, 32), values(16, 32).astype(np.complex64) * 1j + 5),
    ],
)
def test_what_says_nothing_pairs_nothing(one: np.ndarray, other: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pair at all"):
        pair(on_disk(tmp_path / "g", {"a": one}), on_disk(tmp_path / "t", {"x": other}), CONTENT)


@pytest.mark.parametrize("scale", [1.7e308, 5e-324, 1e-300])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_the_largest_and_the_smallest_numbers_are_no_trouble(scale: float, dtype: type, tmp_path: Path) -> None:
    one, other = (np.clip(values(16, 32, seed=seed), -1, 1).astype(dtype) * scale for seed in (1, 2))
    golden, target = on_disk(tmp_path / "g", {"a": one}), on_disk(tmp_path / "t", {"x": one, "y": other})
    assert found(pair(golden, target, CONTENT)) == {"a": ("x", "content")}


def test_values_that_are_not_finite_or_huge_do_no_harm(tmp_path: Path) -> None:
    one = values(16, 32).astype(np.float64) * 1e300
    one[3, 4], one[5, 6] = np.inf, np.nan
    golden = on_disk(tmp_path / "g", {"a": one})
    target = on_disk(tmp_path / "t", {"x": one, "y": values(16, 32, seed=3).astype(np.float64)})
    assert found(pair(golden, target, CONTENT)) == {"a": ("x", "content")}


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 5000, 70_001, 10**9])
def test_a_sample_has_a_bound_and_reaches_both_ends(count: int) -> None:
    edges = sample_edges(count)
    assert sum(stop - start for start, stop in edges) == min(count, SAMPLED_ELEMENTS)
    assert edges[0][0] == 0
    assert edges[-1][1] == count
    assert all(before[1] <= after[0] for before, after in pairwise(edges))


def test_bytes_read_do_not_grow_with_the_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    plain = content_module.open_payload

    def counting(info: object, **options: object) -> object:
        payload = plain(info, **options)
        kept = payload.piece
        payload.piece = lambda start, stop: read.append(stop - start) or kept(start, stop)
        return payload

    monkeypatch.setattr(content_module, "open_payload", counting)
    big = values(1000, 1000)
    golden, target = on_disk(tmp_path / "g", {"a": big}), on_disk(tmp_path / "t", {"x": near(big)})
    assert found(pair(golden, target, CONTENT)) == {"a": ("x", "content")}
    assert sum(read) == 2 * SAMPLED_ELEMENTS


def test_too_many_of_one_shape_are_left_alone_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "MOST_OF_A_SHAPE", 2)
    golden = on_disk(tmp_path / "g", {**{f"a{n}": values(8, 16, seed=n) for n in range(3)}, "b": values(8, 32)})
    target = on_disk(tmp_path / "t", {"x": values(8, 16), "y": values(8, 32)})
    paired = pair_dumps(golden, target, CONTENT)
    assert found(paired.pairs) == {"b": ("y", "content")}
    assert paired.warnings == ["--pair-by content: 3 and 1 names left of shape (8, 16), more than 2; none of them is looked at"]


def test_roots_hold_for_content_too(tmp_path: Path) -> None:
    big = values(16, 32)
    golden, target = on_disk(tmp_path / "g", {"a": big}), on_disk(tmp_path / "t", {"x": near(big)})
    with pytest.raises(UsageError, match="no pair at all"):
        pair(golden, target, CompareOptions(pair_by=("content",), scan=ScanOptions(roots=(str(tmp_path / "g"),))))


def test_content_is_the_same_for_dtypes_that_kernels_widen(tmp_path: Path) -> None:
    big = values(16, 32)
    golden = on_disk(tmp_path / "g", {"a": big, "b": (100 * values(16, 32, seed=4)).astype(np.int32)})
    target = on_disk(tmp_path / "t", {"x": big.astype(np.float16), "y": np.asfortranarray(100 * values(16, 32, seed=4))})
    assert found(pair(golden, target, CONTENT)) == {"a": ("x", "content"), "b": ("y", "content")}
    assert not scan(str(tmp_path / "t" / "1.npy"), ScanOptions()).is_direct
    assert FLOOR == 0.99


SHAPES = [(4, 8), (1, 4, 8), (8, 4), (4, 1, 8), (32,)]
SIDE = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["", ".input"]), st.integers(0, len(SHAPES) - 1)), min_size=1, max_size=6)


@settings(max_examples=examples(60), deadline=None)
@given(SIDE, SIDE)
def test_position_is_what_a_slow_look_at_every_group_finds(left: list, right: list) -> None:
    with TemporaryDirectory() as directory:
        sides = [
            on_disk(
                Path(directory) / role,
                {f"layers.{layer}.{role}{n}{slot}": values(*SHAPES[shape]) for n, (layer, slot, shape) in enumerate(said)},
            )
            for role, said in (("g", left), ("t", right))
        ]
        slow: dict[str, str] = {}
        for layer, slot in {(layer, slot) for layer, slot, _ in left}:
            for last in (8, 4, 32):
                groups = [
                    [
                        f"layers.{layer}.{role}{n}{slot}"
                        for n, one in enumerate(said)
                        if one[:2] == (layer, slot) and SHAPES[one[2]][-1] == last
                    ]
                    for role, said in (("g", left), ("t", right))
                ]
                if len(groups[0]) == len(groups[1]):
                    slow.update(zip(*groups, strict=True))
        layers = [{one[0] for one in said} for said in (left, right)]
        if len(layers[0]) == len(layers[1]) == 1 and layers[0] != layers[1]:
            return  # one layer each of different numbers are taken for each other
        try:
            quick = {one: other for one, (other, _) in found(pair(*sides, POSITION)).items()}
        except UsageError as error:
            assert "no pair at all" in str(error)
            quick = {}
        assert quick == slow
