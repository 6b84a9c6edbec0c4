"""`assert_close`: the kernels, metrics and verdicts of a comparison, on what a test has in its hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Final, cast

from fastcmp.engine.pieces import edges_of, merge_pieces, row_length
from fastcmp.errors import UsageError
from fastcmp.formats.layout import reconcile
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.kernels import fold
from fastcmp.metrics import finish
from fastcmp.options import CompareOptions, FoldOptions, check
from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.pairing import RULE_FILE, Pair
from fastcmp.results.table import record_batch
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.testing.elements import Elements, Tolerance, look_at
from fastcmp.testing.handed import Pieces, handed
from fastcmp.testing.message import NotClose, summary_of, text_of
from fastcmp.testing.nested import Item, Mismatch, items_of
from fastcmp.verdict import PASS, Rules

_MORE_SHOWN: Final = 10
_EQUAL: Final = Tolerance(0.0, 0.0, equal_nan=True)


class NotCloseError(AssertionError):
    """What `assert_close` raises. ``summary`` is one line: the worst element, or what does not match.

    The pytest plugin shows it in a section of its own.
    """

    def __init__(self, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.summary = summary or message.split("\n", 1)[0]


def assert_close(
    golden: Any,
    target: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    thresholds: Sequence[str] = (),
    equal_nan: bool = True,
    scale: float | None = None,
    check_dtype: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise unless ``target`` is as close to ``golden`` as `fastcmp.compare` would ask of two files with these tensors.

    Parameters
    ----------
    golden, target : array, tensor, number, path of a tensor file, or mappings and sequences of them
        torch tensors of any device and dtype, numpy arrays, whatever has ``__dlpack__`` or ``__array__``. Dtypes may differ.
        Large ones are taken piece by piece: what is contiguous and in main memory is never copied.
    rtol, atol : float, optional
        Every element must satisfy ``|target - golden| <= atol + rtol * |golden|``, in float64; one that is left out is 0.
        Without both the pair is judged as a whole, by relative_euclidean_distance for the narrower dtype; integers must be equal.
    thresholds : sequence of str
        Such as ``cosine_similarity >= 0.999``; each replaces the default of its metric. Beside ``rtol`` or ``atol`` both must hold.
    equal_nan : bool
        NaN equals NaN, unlike in torch.
    scale : float, optional
        Integer against float: the integer side is multiplied by it.
    check_dtype : bool
        Different dtypes are a mismatch.
    msg : str or callable, optional
        Instead of the message; a callable gets the message.

    Raises
    ------
    NotCloseError
        An `AssertionError`, worded as `torch.testing.assert_close` words it, with more below.
    TypeError
        If something that was handed in has no elements that are plain numbers.
    UsageError, TensorError
        If a threshold or tolerance cannot be meant; if a file cannot be used.
    """
    __tracebackhide__ = True
    rules = _Rulebook.of(rtol, atol, thresholds, equal_nan, scale, check_dtype)
    failed: list[NotClose] = []
    try:
        for item in items_of(golden, target):
            found = rules.judged(item)
            if found is not None:
                failed.append(found)
    except Mismatch as mismatch:
        raise _error(str(mismatch), msg) from None
    if failed:
        raise _error(_message(failed), msg, summary_of(failed[0]))


def _error(message: str, msg: str | Callable[[str], str] | None, summary: str = "") -> NotCloseError:
    summary = summary or message.split("\n", 1)[0]
    return NotCloseError(msg(message) if callable(msg) else message if msg is None else msg, summary)


def _message(failed: Sequence[NotClose]) -> str:
    text = text_of(failed[0])
    if failed[0].place:
        text += f"\n\nThe failure occurred for item {failed[0].place}"
    if len(failed) > 1:
        text += "\n".join([f"\n\n{len(failed) - 1} more:", *(f"{one.place}: {summary_of(one)}" for one in failed[1 : 1 + _MORE_SHOWN])])
        text += "\n..." if len(failed) > 1 + _MORE_SHOWN else ""
    return text


@dataclass(frozen=True)
class _Rulebook:
    """What one call of `assert_close` asks of each pair of tensors."""

    options: CompareOptions
    rules: Rules
    tolerance: Tolerance | None
    equal_nan: bool
    check_dtype: bool

    @classmethod
    def of(
        cls,
        rtol: float | None,
        atol: float | None,
        thresholds: Sequence[str],
        equal_nan: bool,
        scale: float | None,
        check_dtype: bool,
    ) -> _Rulebook:
        for name, value in (("rtol", rtol), ("atol", atol)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise UsageError(f"{name}={value!r}: expected a number, 0 or more")
        # One text is no list of texts: `check` says so.
        texts = thresholds if isinstance(thresholds, str) else tuple(thresholds)
        options = CompareOptions(thresholds=cast("tuple[str, ...]", texts), scale=scale)
        check(options)
        tolerance = None if rtol is None and atol is None else Tolerance(rtol or 0.0, atol or 0.0, equal_nan)
        return cls(options, Rules.from_options(options), tolerance, equal_nan, check_dtype)

    def judged(self, item: Item) -> NotClose | None:
        """None if the pair is close, else why not."""
        golden, target = handed(item.golden, "golden"), handed(item.target, "target")
        if golden.is_number and target.is_number and golden.info.dtype != target.info.dtype:  # 1 and 1.0 are the same number
            wide = complex if isinstance(item.golden, complex) or isinstance(item.target, complex) else float
            golden, target = handed(wide(item.golden), "golden"), handed(wide(item.target), "target")
        golden_info, target_info, notes = reconcile(golden.info, target.info, self.options.scan.format_policy)
        found = NotClose(item.place, golden_info, target_info, self.tolerance)
        if golden_info.element_count != target_info.element_count:
            return found
        if self.check_dtype and golden_info.dtype != target_info.dtype:
            found.has_wrong_dtype = True
            return found
        with golden.pieces as golden_pieces, target.pieces as target_pieces:
            found.row = self._row(golden_info, golden_pieces, target_info, target_pieces, notes)
            found.reasons = self._reasons(found.row)
            needs_elements = bool(found.reasons) or self.tolerance is not None or not self.equal_nan
            if needs_elements:
                found.elements = self._elements(golden_info, golden_pieces, target_info, target_pieces)
        if golden.is_number and target.is_number:
            found.numbers = (item.golden, item.target)
        return found if self._fails(found) else None

    def _row(
        self, golden: TensorInfo, golden_pieces: Pieces, target: TensorInfo, target_pieces: Pieces, notes: tuple[str, ...]
    ) -> dict[str, Any]:
        """The row that a comparison of two files with these tensors would have in its report."""
        wants_kl = any("kl_" in threshold.metric for threshold in self.rules.thresholds)
        options = FoldOptions(kl=wants_kl, relative_floor=self.options.relative_floor, scale=self.options.scale)
        records = [
            fold.fold_piece(
                golden_pieces.piece(start, stop),
                golden.dtype,
                target_pieces.piece(start, stop),
                target.dtype,
                start=start,
                element_count=golden.element_count,
                row_length=row_length(golden),
                options=options,
                rounding_dtype=fold.rounding_dtype(golden.dtype, target.dtype),
            ).reshape(1)
            for start, stop in pairwise(edges_of(golden, target))
        ]
        sums = merge_pieces(records)
        result = TaskResult(0, [0], [_facts(golden)], [_facts(target)], [""], [""], [""], [notes], sums, [1])
        metrics = finish(sums, [golden.dtype], [target.dtype], [golden.shape], [target.shape], self.options)
        key = TensorKey("", "", "")
        pair = Pair(0, key, NamedTensor(key, golden.path, golden.path), NamedTensor(key, target.path, target.path), RULE_FILE, 0)
        return record_batch(result, [pair], metrics, self.rules).to_pylist()[0]

    def _reasons(self, row: dict[str, Any]) -> list[str]:
        """The rules that the row broke; beside a tolerance only those that were given."""
        if row["verdict"] == PASS:
            return []
        if self.tolerance is None:
            return [row["verdict_reason"]]
        given = {threshold.metric for threshold in self.rules.thresholds}
        return [reason for reason in row["verdict_reason"].split("; ") if reason.split(" ", 1)[0] in given]

    def _elements(self, golden: TensorInfo, golden_pieces: Pieces, target: TensorInfo, target_pieces: Pieces) -> Elements:
        tolerance = self.tolerance or _EQUAL._replace(equal_nan=self.equal_nan)
        return look_at(golden_pieces, golden.dtype, target_pieces, target.dtype, edges_of(golden, target), tolerance, self.options.scale)

    def _fails(self, found: NotClose) -> bool:
        if found.reasons or found.has_other_shape:
            return True
        if self.tolerance is not None:
            return found.elements is not None and found.elements.mismatched > 0
        return not self.equal_nan and found.elements is not None and found.elements.both_nan > 0


def _facts(info: TensorInfo) -> TensorFacts:
    return TensorFacts(info.dtype, info.shape, info.nbytes, info.format_code)


__all__ = ["NotCloseError", "assert_close"]
