"""Everything that the table of a report tells about where it went wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastcmp.analysis.choices import Choices, find_choices, is_choice
from fastcmp.analysis.divergence import Jump, Spread, find_jump, find_spread
from fastcmp.analysis.growth import find_growth, texts_equal
from fastcmp.analysis.identical import Identical, find_identical
from fastcmp.analysis.jumps import Jumps, failed_rows, find_jumps
from fastcmp.analysis.narrowed import Narrowed, find_narrowed
from fastcmp.analysis.order import Order, find_order, parts_before_wholes
from fastcmp.analysis.place import Place, place_of
from fastcmp.analysis.rounding import Rounding, find_rounding
from fastcmp.results.totals import unpaired_mask
from fastcmp.sources.dump import RunOrder
from fastcmp.verdict import ERROR


@dataclass(frozen=True)
class Story:
    """What went wrong, as facts; `fastcmp.analysis.words.tell` says them.

    Attributes
    ----------
    choices : Choices
        Whether both runs read and chose the same tokens.
    first_failure : Place or None
        The failed pair that ran first.
    fails_before_jump : bool
        It ran before the jump.
    jump : Jump or None
        The first operation that adds error of its own.
    spread : Spread or None
        How far that reaches.
    earlier_jump : Place or None
        A jump before it that passes.
    identical : Identical
    rounding : Rounding or None
        None where no float pair was compared.
    narrowed : Narrowed or None
        The dtype that the runs computed in, where the dump is stored in a wider one and most of what fails is judged by that.
    unknown_before : int
        Tensors that ran before the jump (or the first failure) and that nothing is known about; all of them where there is neither.
    run_order : {"computed", "file", "files", "name"}
        What "first" means.
    """

    choices: Choices
    first_failure: Place | None
    fails_before_jump: bool
    jump: Jump | None
    spread: Spread | None
    earlier_jump: Place | None
    identical: Identical
    rounding: Rounding | None
    narrowed: Narrowed | None
    unknown_before: int
    run_order: RunOrder


def find_story(table: pa.Table, *, run_order: RunOrder = "computed") -> Story:
    """The story of a finished report.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns of `fastcmp.results.schema`, in the row order of the report.
    run_order : {"computed", "file", "files", "name"}
        That of golden.
    """
    order = find_order(table)
    if run_order == "name":
        order = parts_before_wholes(order)
    growth = find_growth(table, order)
    choices = find_choices(table, order, growth)
    excluded = (order.token >= choices.cut) | is_choice(order, growth)
    jumps = find_jumps(order, growth, excluded)
    unpaired = unpaired_mask(table).to_numpy(zero_copy_only=False).astype(bool)
    failed = failed_rows(table)
    failures = np.flatnonzero(failed & ~unpaired)
    first_failure = int(failures[np.argmin(order.position[failures])]) if len(failures) else None
    jump = find_jump(table, order, growth, jumps, failed)
    spread = None if jump is None else find_spread(order, growth, jumps, jump, int((~unpaired).sum()))
    limit = first_failure if jump is None else jump.place.row
    unknown = texts_equal(table, "verdict", ERROR) | (unpaired & failed)
    before = unknown if limit is None else unknown & (order.position < order.position[limit])
    is_clean = jump is None and not (failed & ~unpaired & ~excluded).any()
    return Story(
        choices=choices,
        first_failure=None if first_failure is None else place_of(order, first_failure),
        fails_before_jump=(
            jump is not None and first_failure is not None and bool(order.position[first_failure] < order.position[jump.place.row])
        ),
        jump=jump,
        spread=spread,
        earlier_jump=_earlier(order, jumps, jump),
        identical=find_identical(table, order, growth),
        rounding=find_rounding(table, order, growth, is_clean=is_clean, cut=choices.cut),
        narrowed=find_narrowed(table, growth, failed & ~unpaired),
        unknown_before=int(before.sum()),
        run_order=run_order,
    )


def _earlier(order: Order, jumps: Jumps, jump: Jump | None) -> Place | None:
    """The first jump, where it is not ``jump`` itself."""
    if jump is None:
        return None
    rows = np.flatnonzero(jumps.is_jump & (order.position < order.position[jump.place.row]))
    return place_of(order, int(rows[np.argmin(order.position[rows])])) if len(rows) else None
