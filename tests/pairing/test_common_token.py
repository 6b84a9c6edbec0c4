"""A side without tokens, as a plain directory or a file of tensors, beside one that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pairing_dumps import dump, names, on_disk

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair, pair_dumps

WITHOUT, WITH = names("a", "b", token=""), names("a", "b", token="7")
NOT_COMPARED = "golden has no token_id, target '7' only: names are compared, tokens are not"
IDLE = "--token-offset 3 is without effect: golden does not have a token_id that is a number"


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        (CompareOptions(), [NOT_COMPARED]),
        (CompareOptions(token_offset=3), [IDLE, NOT_COMPARED]),
        (CompareOptions(pair_by=("key", "position")), [NOT_COMPARED]),
    ],
)
def test_names_without_a_token_pair_with_those_of_the_one_token(options: CompareOptions, warnings: list[str]) -> None:
    paired = pair_dumps(WITHOUT, WITH, options)
    assert [(*one.key, bool(one.golden), bool(one.target), one.rule) for one in paired.pairs] == [
        ("", "a", "", True, True, "key"),
        ("", "b", "", True, True, "key"),
    ]
    assert paired.warnings == warnings
    back = pair_dumps(WITH, WITHOUT, options)
    assert [(*one.key, bool(one.golden), bool(one.target)) for one in back.pairs] == [
        ("", "a", "7", True, True),
        ("", "b", "7", True, True),
    ]
    assert "target has no token_id, golden '7' only: names are compared, tokens are not" in back.warnings


def test_what_stands_alone_has_goldens_token_too() -> None:
    pairs = pair(dump(("a", "7"), ("b", "7")), dump(("b", ""), ("c", "")), CompareOptions())
    assert [(*one.key[1:], bool(one.golden), bool(one.target)) for one in pairs] == [
        ("a", "7", True, False),
        ("b", "7", True, True),
        ("c", "7", False, True),
    ]


def test_operations_pair_whatever_the_offset(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((16, 64))
    golden = on_disk(tmp_path / "golden", {"layers.0.mlp.down_proj.output": values}, token="")
    target = on_disk(tmp_path / "target", {"0_DecoderLayer/1_Mlp/2_LinearOperation/after/outtensor0": values}, token="7")
    for offset in (0, 3):
        (one,) = pair(golden, target, CompareOptions(pair_by=("content",), token_offset=offset))
        assert one.golden and one.target and one.rule == "content"


@pytest.mark.parametrize("other", [dump(("a", "0"), ("a", "1")), dump(("a", "0"), ("a", "1"), ("a", "2"))])
def test_of_several_tokens_it_is_said_why_none_pairs(other: object) -> None:
    said = "golden has no token_id, target several: names without a token pair with those of one token only"
    with pytest.raises(UsageError, match=f"no pair at all: .*; {said}; "):
        pair(WITHOUT, other, CompareOptions())
    with pytest.raises(UsageError, match="target has no token_id, golden several"):
        pair(other, WITHOUT, CompareOptions())


def test_a_token_of_some_names_only_is_compared() -> None:
    mixed = dump(("a", "7"), ("weight", ""))
    paired = pair_dumps(mixed, WITH, CompareOptions())
    assert [(*one.key[1:], bool(one.golden), bool(one.target)) for one in paired.pairs] == [
        ("a", "7", True, True),
        ("weight", "", True, False),
        ("b", "7", False, True),
    ]
    assert paired.warnings == []
