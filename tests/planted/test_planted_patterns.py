"""A look at the first pair that diverges names the pattern that the planted defect must show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from defects import BY_NAME, DEFECTS, make_dumps

from fastcmp import compare
from fastcmp.closeup.look import Closeup, look
from fastcmp.options import CompareOptions
from fastcmp.results.rows import find_row
from fastcmp.results.saved import load_saved

# Of each defect: the names that the first pattern may have, and words of its evidence.
SHOWN: dict[str, tuple[tuple[str, ...], str]] = {
    # In bfloat16 the factors of the rows, 0.87 to 0.88, are one factor to within its rounding.
    "wrong epsilon": (("scale factor per row", "scale factor"), "0.88"),
    "skipped residual": (("skipped addition",), "lacks the golden tensor of model.layers.2.attention_add, token 2"),
    "transposed weight": (("unrelated values",), "other weights (transposed"),
    "wrong RoPE position": (("rotated pairs (RoPE)",), "channels i and i + 8 of each 16"),
    "zeroed head": (("block of zeros",), "indices 32..47 of axis 1 (16 of 64, as head 2 of 4), and nowhere else"),
    "int8 saturation": (("saturation",), "stand at that limit"),
    "NaN in a channel": (("block of NaN",), "at index 5 of axis 1 (1 of 64), and nowhere else"),
    "rounding only": (("rounding of bfloat16", "equal"), ""),
}


def look_at(directory: Path, name: str, dtype: torch.dtype) -> Closeup:
    output = str(directory / "report")
    result = compare(*make_dumps(directory, name, dtype, what="outputs"), options=CompareOptions(output=output, executor="threads"))
    report, first = load_saved(output), result.first_divergence
    # Where nothing diverges, a tensor that many roundings have gone into.
    row = find_row(report.table, "model.layers.2.self_attn.q_proj", "1") if first is None else first.row
    return look(report, row)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", [defect.name for defect in DEFECTS])
def test_the_pattern_of_a_planted_defect_is_named(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    closeup = look_at(tmp_path, name, dtype)
    names, words = SHOWN[name]
    assert closeup.remarks == () and closeup.patterns, "nothing fits"
    assert closeup.patterns[0].name in names and words in closeup.patterns[0].evidence
    if name == "wrong RoPE position":
        assert "as by +1 position of RoPE" in closeup.patterns[0].evidence


def test_every_planted_defect_has_a_pattern() -> None:
    assert set(SHOWN) == set(BY_NAME)
