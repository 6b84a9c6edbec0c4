"""The planted defects are where they are said to be, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from defects import BY_NAME, DEFECTS, Defect, make_dumps
from tiny_llama import PROMPT, make_model

from fastcmp import compare
from fastcmp.options import CompareOptions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_the_first_divergence_is_what_was_planted(defect: Defect, dtype: torch.dtype, tmp_path: Path) -> None:
    result = compare(*make_dumps(tmp_path, defect.name, dtype), options=CompareOptions(output=str(tmp_path / "report"), executor="threads"))
    assert not result.totals.errors and not result.totals.unpaired and result.totals.pairs == 2196
    first = result.first_divergence
    found = ("", 0) if first is None else (first.data_id, int(first.token_id))
    assert found == (defect.data_id, defect.token)


def test_the_same_weights_come_each_time_and_nobody_elses_random_numbers_change() -> None:
    before = torch.get_rng_state()
    one, other = make_model(), make_model()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode():
        for both in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(*both)


def test_a_cached_step_is_the_last_row_of_the_whole_text() -> None:
    """Rotation, mask and cache are right: one position at a time gives what all at once give."""
    ids = torch.tensor((*PROMPT, 5, 9))
    whole, stepwise = make_model(), make_model()
    with torch.inference_mode():
        expected = whole.model(ids, torch.arange(len(ids)))
        found = torch.cat([stepwise.model(ids[at : at + 1], torch.tensor([at])) for at in range(len(ids))])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_there_are_eight_kinds_and_one_of_them_is_no_defect() -> None:
    assert len(BY_NAME) == len(DEFECTS) == 8 and [defect.name for defect in DEFECTS if not defect.data_id] == ["rounding only"]
