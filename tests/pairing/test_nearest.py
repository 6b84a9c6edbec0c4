"""A name that stands alone is told which names of the other side look like it, at a cost that does not grow with them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from pairing_dumps import dump, names

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import Alone, pair
from fastcmp.pairing.nearest import MOST_PATTERNS, Nearest


def test_the_nearest_name_has_the_same_numbers() -> None:
    index = Nearest(
        [f"model.layers.{layer}.{part}" for layer in range(40) for part in ("mlp.down_proj", "mlp.up_proj", "self_attn.q_proj")]
    )
    assert index.of("transformer.layers.17.mlp.down_proj") == ["model.layers.17.mlp.down_proj", "model.layers.17.mlp.up_proj"]
    assert index.of("model.layers.99.mlp.downproj")[0] == "model.layers.0.mlp.down_proj"


def test_names_with_nothing_in_common_are_not_near() -> None:
    assert Nearest(["abc.def"]).of("xyz") == []
    assert Nearest([]).of("x") == []
    assert Nearest([""]).of("") == []


def test_a_hundred_thousand_names_are_looked_up_in_seconds() -> None:
    index = Nearest(f"model.layers.{layer}.op_{number}.{kind}" for layer in range(100) for number in range(500) for kind in ("mlp", "attn"))
    started = time.perf_counter()
    for layer in range(100):
        for number in range(1000):
            index.of(f"root.layers.{layer}.ops_{number}.mlp_x")
    assert time.perf_counter() - started < 10


def test_patterns_beyond_the_bound_have_no_neighbours() -> None:
    words = [
        f"{chr(97 + one)}{chr(97 + two)}{chr(97 + three)}.shared.name" for one in range(15) for two in range(15) for three in range(15)
    ]
    index = Nearest(words)
    started = time.perf_counter()
    results = [bool(index.of(f"{word}x")) for word in words]
    assert time.perf_counter() - started < 20
    assert results[0]
    assert sum(results) <= MOST_PATTERNS


def rows(golden: object, target: object) -> dict[str, str]:
    pairs = pair(golden, target, CompareOptions())
    alone = Alone(pairs)
    return {f"{one.key.data_id}/{one.key.token_id}": alone.text(one) for one in pairs if one.golden is None or one.target is None}


def test_only_names_that_stand_alone_are_near() -> None:
    golden, target = names("both.mlp_out", "layer.mlp_out"), names("both.mlp_out", "layers.mlp_out", "zzz")
    assert rows(golden, target) == {
        "layer.mlp_out/0": "; nearest on the other side: layers.mlp_out",
        "layers.mlp_out/0": "; nearest on the other side: layer.mlp_out",
        "zzz/0": "",
    }


def test_a_name_at_another_token_says_at_which_the_other_side_has_it() -> None:
    golden, target = dump(*(("a", str(token)) for token in range(9))), dump(*(("a", str(token)) for token in (0, 1, 2, 3, 4, 5, 20)))
    said = rows(golden, target)
    assert said["a/8"] == "; target has this name at token_id 0, 1, 2, 3, 4 and 2 more"
    assert said["a/20"] == "; golden has this name at token_id 0, 1, 2, 3, 4 and 4 more"


def test_no_pair_at_all_names_the_nearest() -> None:
    message = (
        r"no pair at all: .*; golden 'model.layers.0.mlp', nearest on the other side: root.layers.0.mlp; "
        r"the keys of both must agree, or --map or --pair-by say which name is which$"
    )
    with pytest.raises(UsageError, match=message):
        pair(names("model.layers.0.mlp"), names("root.layers.0.mlp", "x"), CompareOptions())


def test_hints_are_in_the_names_and_tokens_of_the_other_side() -> None:
    golden = dump(("a", "0"), ("b", "0"), ("b", "1"))
    options = CompareOptions(pair_by=("ops",), token_offset=5)
    with pytest.raises(UsageError, match="the keys of both must agree, or other rules or ways say which name is which"):
        pair(names("model.layers.0.mlp"), names("root.layers.0.mlp"), options)
    pairs = pair(golden, dump(("a", "5"), ("b", "5"), ("b", "7")), CompareOptions(token_offset=5))
    alone = Alone(pairs)
    said = {one.key: alone.text(one) for one in pairs if one.golden is None or one.target is None}
    assert said == {("", "b", "1"): "; target has this name at token_id 5, 7", ("", "b", "2"): "; golden has this name at token_id 0, 1"}


def test_a_name_that_both_have_and_that_does_not_pair_says_so(tmp_path: Path) -> None:
    (tmp_path / "names.map").write_text("x -> y\n")
    options = CompareOptions(maps=(str(tmp_path / "names.map"),), pair_by=("ops",))
    pairs = pair(names("x", "alike.a"), names("y", "alike.a"), options)
    alone = Alone(pairs)
    said = {one.key.data_id: alone.text(one) for one in pairs if one.golden is None or one.target is None}
    assert said == {
        "alike.a": "; nearest on the other side: alike.a",
        "alike.a#": "; golden has this very name: --pair-by that begins with key pairs equal names",
    }
    kept = pair(names("x", "alike.a"), names("y", "alike.a"), replace(options, exclude=("alike.a",)))
    assert [one.key.data_id for one in kept] == ["x"]
