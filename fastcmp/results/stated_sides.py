"""Pairs without data as a journal keeps them: all that they were judged by, so that a run that goes on can judge them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from fastcmp.errors import STATED_CODES
from fastcmp.formats.stated import Stated, parsed_stated, stated_text
from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.results.foreign import RefusedError
from fastcmp.results.stated_rows import StatedVerdict, is_stated, judge_stated
from fastcmp.verdict import Rules

Sides = tuple[TensorFacts, TensorFacts]

_REASONS: Final = tuple(f"[{code}]" for code in STATED_CODES)


def stated_sides(result: TaskResult) -> dict[int, Sides]:
    """By position in a task's result: golden and target of each pair that statistics and checksums say something about."""
    positions = [position for position, code in enumerate(result.error_codes) if code in STATED_CODES]
    sides = {position: (result.golden[position], result.target[position]) for position in positions}
    return {position: both for position, both in sides.items() if is_stated(*both)}


def stated_verdicts(sides: Mapping[int, Sides], data_ids: Sequence[str], rules: Rules) -> dict[int, StatedVerdict]:
    """By position what is said about each; ``data_ids`` are those of ``sides``, in that order."""
    if not sides:
        return {}
    class_of, matched = rules.by_name.classes(data_ids)
    return {
        position: judge_stated(*both, rules, matched[number])
        for (position, both), number in zip(sides.items(), class_of.tolist(), strict=True)
    }


def kept_texts(sides: Mapping[int, Sides], count: int) -> list[str]:
    """What a journal has for each of ``count`` rows: both sides as one text, "" for a row that was not judged by them."""
    texts = [""] * count
    for position, both in sides.items():
        stated = [Stated(side.dtype, side.shape or (), side.statistics or {}, side.decimals, side.checksum) for side in both]
        texts[position] = "\n".join(map(stated_text, stated))
    return texts


def kept_sides(rows: pa.RecordBatch, texts: Sequence[str]) -> list[Sides | None]:
    """What `kept_texts` was given for each of these rows.

    Raises
    ------
    RefusedError
        For a text that it never wrote, or a row that was judged by something else.
    """
    found: list[Sides | None] = [None] * len(texts)
    reasons = rows.column("cmp_fail_reason")
    for position in [position for position, text in enumerate(texts) if text]:
        found[position] = both = _parsed(texts[position])
        if both is None or not reasons[position].as_py().endswith(_REASONS) or rows.column("cmp_flag")[position].as_py():
            raise RefusedError("stated is none of this row")
    return found


def _parsed(text: str) -> Sides | None:
    stated = [parsed_stated(line) for line in text.split("\n")]
    sides = [TensorFacts(one.dtype, one.shape, 0, 2, dict(one.statistics), one.decimals, one.checksum) for one in stated if one is not None]
    return (sides[0], sides[1]) if len(stated) == len(sides) == 2 and is_stated(*sides) else None
