"""Two trees of an acceleration library, compared as plain directories: the story goes by their indices and by inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastcmp import compare
from fastcmp.analysis.words import tell
from fastcmp.options import CompareOptions

LAYERS = 12
OPERATIONS = ("0_RmsNorm", "1_SelfAttention", "2_Mlp")


def write_tree(root: Path, *, wrong: tuple[int, str] | None) -> Path:
    """Each operation turns its input into a fixed multiple of it, and rounds; the wrong one makes something else of it."""
    random = np.random.default_rng(5)
    values = random.standard_normal((4, 64)).astype(np.float32)
    own = np.random.default_rng(11)
    for layer in range(LAYERS):
        for operation in OPERATIONS:
            directory = root / f"{layer}_DecoderLayer" / operation
            for side in ("before", "after"):
                (directory / side).mkdir(parents=True)
            np.save(directory / "before" / "intensor0.npy", values)
            np.save(directory / "before" / "outtensor0.npy", own.standard_normal(values.shape).astype(np.float32))  # whatever was there
            values = 0.9 * values
            if wrong is not None:
                values *= 1 + 2e-7 * own.standard_normal(values.shape).astype(np.float32)
            if wrong == (layer, operation):
                values = values[::-1].copy()
            np.save(directory / "after" / "outtensor0.npy", values)
    return root


def test_an_op_tree_tells_its_story(tmp_path: Path) -> None:
    trees = write_tree(tmp_path / "g", wrong=None), write_tree(tmp_path / "t", wrong=(10, "1_SelfAttention"))
    result = compare(*trees, options=CompareOptions(output=str(tmp_path / "report"), executor="threads", exclude=("*before/outtensor*",)))
    words = tell(result.story)
    assert words[0].startswith("error jumps at layer 10, 1_SelfAttention: ") and words[0].endswith("its inputs were fine")
    assert words[1] == "seen in layer 10 (in 1 more it cannot be told: what goes in is wrong already)"
    assert not any("by name" in line for line in words)  # such a tree says in which order it ran


def test_memory_that_was_not_written_yet_is_nobodys_error(tmp_path: Path) -> None:
    """``before/outtensor0`` is whatever lay there; it fails, and is no cause of anything."""
    trees = write_tree(tmp_path / "g", wrong=None), write_tree(tmp_path / "t", wrong=(10, "1_SelfAttention"))
    result = compare(*trees, options=CompareOptions(output=str(tmp_path / "report"), executor="threads"))
    assert result.first_divergence is not None and "before/outtensor0" in result.first_divergence.data_id
    assert tell(result.story)[0].startswith("error jumps at layer 10, 1_SelfAttention: ")
