"""Eight kinds of defect, planted one at a time: the words name layer, operation and token of each, and call the last one rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
from defects import BY_NAME, make_dumps

from fastcmp import compare
from fastcmp.analysis.words import tell
from fastcmp.options import CompareOptions
from fastcmp.result import Result

# The planted defect, the beginning of the first line, and what the second says.
TABLE = [
    ("wrong epsilon", "error jumps at token 0, layer 3, input_layernorm: ", "seen at every token, in layer 3 only"),
    ("skipped residual", "error jumps at token 2, layer 2, mlp_add: ", "seen at token 2 only, in layer 2 only"),
    ("transposed weight", "error jumps at token 0, layer 4, self_attn.o_proj: ", "seen at every token, in layer 4 only"),
    ("wrong RoPE position", "error jumps at token 3, layer 0, self_attn.rotary_q: ", "begins at token 3 and stays, in every layer (8)"),
    ("zeroed head", "error jumps at token 0, layer 1, self_attn.attention: ", "seen at every token, in layer 1 "),
    ("int8 saturation", "error jumps at token 4, layer 5, mlp.up_proj: ", "seen at token 4 only, in layer 5 only"),
    ("NaN in a channel", "NaN on one side only first appears at token 2, layer 6, mlp.down_proj, in 1 element: its inputs had none", "begins at token 2 and stays, in layer 6 (in 1 more "),
    ("rounding only", "no more than rounding: bfloat16, 0.0017 growing to 0.011 over 8 layers", None),
]  # fmt: skip


def compared(directory: Path, *arguments: object, **keywords: object) -> Result:
    dumps = make_dumps(directory, *arguments, **keywords)
    return compare(*dumps, options=CompareOptions(output=str(directory / "report"), executor="threads"))


@pytest.mark.parametrize(("name", "first", "second"), TABLE, ids=[name.replace(" ", "-") for name, _, _ in TABLE])
def test_the_words_name_what_was_planted(name: str, first: str, second: str | None, tmp_path: Path) -> None:
    result = compared(tmp_path, name)
    words = tell(result.story)
    assert words[0].startswith(first)
    if second is None:
        assert len(words) == 1 and result.ok
        return
    assert words[1].startswith(second) and "its inputs " in words[0]
    jump = result.story.jump
    assert jump is not None and jump.place.data_id == BY_NAME[name].data_id and jump.knows_inputs
    assert int(jump.place.token_id) == BY_NAME[name].token


def test_the_table_has_every_kind() -> None:
    assert {name for name, _, _ in TABLE} == set(BY_NAME)


def test_outputs_alone_are_enough_for_the_first_line(tmp_path: Path) -> None:
    first, second, *_ = tell(compared(tmp_path, "transposed weight", what="outputs").story)
    assert first.startswith("error jumps at token 0, layer 4, self_attn.o_proj: ") and first.endswith("what ran before it was fine")
    assert second == "seen at every token, in layer 4 only"


def test_other_tokens_are_said_first(tmp_path: Path) -> None:
    """The target takes its own choices: from the first other one on, nothing can be compared, and the cause is before it."""
    words = tell(compared(tmp_path, "skipped residual", feed_golden=False).story)
    assert words[0].startswith("the runs read other tokens from token 3 on (they chose differently at token 2 (golden 133, target 5)): ")
    assert words[1].startswith("error jumps at token 2, layer 2, mlp_add: ")
    assert words[2].startswith("begins at token 2, the last one that can be compared")


def test_equal_dumps_are_said_to_be_equal(tmp_path: Path) -> None:
    golden, _ = make_dumps(tmp_path, "rounding only")
    result = compare(golden, golden, options=CompareOptions(output=str(tmp_path / "report"), executor="threads"))
    assert tell(result.story) == ["all 2196 compared pairs are equal bit for bit: two programs that round differently would not do that; was one dump taken twice?"]  # fmt: skip
