"""What `assert_close` says: first as torch.testing.assert_close words it, then what only this tool knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastcmp.dtypes import DTYPES, narrower
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.testing.elements import Element, Elements, Tolerance
from fastcmp.thresholds import default_threshold, needs_scale
from fastcmp.verdict import same_but_for_ones


@dataclass(slots=True)
class NotClose:
    """A pair of tensors that is not close, as far as is known: ``row`` and ``elements`` only where they could be compared.

    Attributes
    ----------
    place : str
        Where in the nest, "" where there is none.
    golden, target : TensorInfo
    tolerance : Tolerance or None
    row : dict or None
        The row of a report.
    reasons : list of str
        The broken rules, as a report words them.
    elements : Elements or None
    numbers : tuple or None
        Golden and target where both were plain numbers.
    has_wrong_dtype : bool
        The dtypes were to be the same.
    """

    place: str
    golden: TensorInfo
    target: TensorInfo
    tolerance: Tolerance | None
    row: dict[str, Any] | None = None
    reasons: list[str] = field(default_factory=list)
    elements: Elements | None = None
    numbers: tuple[Any, Any] | None = None
    has_wrong_dtype: bool = False

    @property
    def has_other_shape(self) -> bool:
        """Shapes differ by more than axes of length 1."""
        return not same_but_for_ones(self.golden.shape, self.target.shape)


def summary_of(found: NotClose) -> str:
    """One line: the worst element with both values, or what does not match."""
    if found.row is None or found.has_other_shape:
        return _attribute(found)
    seen = found.elements or Elements()
    worst = seen.first_nonfinite or seen.greatest_absolute
    if worst is None:
        return "; ".join(_as_python(reason) for reason in found.reasons) or f"{seen.both_nan} NaNs on both sides"
    kind = "first non-finite mismatch" if seen.first_nonfinite else "worst element"
    distance = found.row["relative_euclidean_distance"]
    tail = "" if distance is None else f"; relative_euclidean_distance {distance:.3g}"
    return f"{kind} {_at(found, worst)}{tail}"


def text_of(found: NotClose) -> str:
    """The whole message about one pair."""
    if found.row is None:
        return _attribute(found)
    lines = [_header(found), ""]
    if found.has_other_shape:
        lines = [_attribute(found), "Compared in the order the elements lie:", ""]
    seen = found.elements or Elements()
    if found.numbers is not None:
        lines.append(f"Expected {found.numbers[0]} but got {found.numbers[1]}.")
    else:
        lines.append(_mismatched(found, seen))
    lines += _differences(found, seen)
    if seen.first_nonfinite is not None:
        lines.append(_nonfinite(found, seen.first_nonfinite))
    if seen.both_nan and found.row["nonfinite_mismatch_count"] == 0:
        lines.append(f"NaN on both sides: {seen.both_nan}")
    lines += _metrics(found)
    if found.golden.dtype != found.target.dtype:
        lines.append(f"dtypes: golden {found.golden.dtype}, target {found.target.dtype}, compared after widening")
    if found.reasons:
        lines.append(f"Broken: {'; '.join(_as_python(reason) for reason in found.reasons)}")
    return "\n".join(lines)


def _attribute(found: NotClose) -> str:
    if found.has_wrong_dtype:
        return f"The values for attribute 'dtype' do not match: golden {found.golden.dtype} != target {found.target.dtype}."
    return f"The values for attribute 'shape' do not match: golden {found.golden.shape} != target {found.target.shape}."


def _header(found: NotClose) -> str:
    is_equality = found.tolerance is not None and found.tolerance.rtol == found.tolerance.atol == 0
    if found.tolerance is None:
        is_equality = {DTYPES[side.dtype].kind for side in (found.golden, found.target)} <= {"int", "bool"}
    return f"{'Scalars' if found.numbers else 'Tensor-likes'} are not {'equal' if is_equality else 'close'}!"


def _mismatched(found: NotClose, seen: Elements) -> str:
    count = found.golden.element_count
    share = seen.mismatched / count if count else 0.0
    counted = "" if found.tolerance is not None else ", all that are not equal"
    return f"Mismatched elements: {seen.mismatched} / {count} ({share:.1%}){counted}"


def _differences(found: NotClose, seen: Elements) -> list[str]:
    lines = []
    for kind, worst, limit in (("absolute", seen.greatest_absolute, "atol"), ("relative", seen.greatest_relative, "rtol")):
        if worst is None:
            continue
        is_number = found.numbers is not None
        text = f"{kind.title()} difference: {worst.amount}" if is_number else f"Greatest {kind} difference: {worst.amount} at index "
        text += "" if is_number else str(_index(found, worst))
        if found.tolerance is not None and (found.tolerance.rtol or found.tolerance.atol):
            text += f" (up to {getattr(found.tolerance, limit)} allowed)"
        lines.append(text)
    if seen.greatest_absolute is not None and found.numbers is None:
        lines.append(f"Worst element {_at(found, seen.greatest_absolute)}")
    return lines


def _nonfinite(found: NotClose, first: Element) -> str:
    row = found.row or {}
    counts = ", ".join(
        f"{side} has {row[f'{side}_nan_count']} NaN and {row[f'{side}_inf_count']} infinite" for side in ("golden", "target")
    )
    return f"Non-finite mismatches: {row['nonfinite_mismatch_count']}, first {_at(found, first)} ({counts})"


def _metrics(found: NotClose) -> list[str]:
    row = found.row or {}
    lines = []
    distance, cosine, floor = (row[name] for name in ("relative_euclidean_distance", "cosine_similarity", "rounding_floor"))
    if distance is not None:
        text = f"relative_euclidean_distance: {distance:.6g}"
        default = default_threshold(found.golden.dtype, found.target.dtype)
        if default.metric == "relative_euclidean_distance" and not needs_scale(found.golden.dtype, found.target.dtype):
            text += f" (default limit for {narrower(found.golden.dtype, found.target.dtype)}: {default.limit:g})"
        lines.append(text + (f"; rounding to {found.target.dtype} by itself: {floor:.2g}" if floor else ""))
    if cosine is not None:
        lines.append(f"cosine_similarity: {cosine:.9g}")
    return lines


def _at(found: NotClose, element: Element) -> str:
    return f"at index {_index(found, element)}: golden {element.golden}, target {element.target}"


def _index(found: NotClose, element: Element) -> tuple[int, ...]:
    """Of golden's shape, as in a report."""
    position, parts = element.position, []
    for extent in reversed(found.golden.shape):
        position, part = divmod(position, max(extent, 1))
        parts.append(part)
    return tuple(reversed(parts))


def _as_python(reason: str) -> str:
    """Options as the caller would write them."""
    return reason.replace("(rule: --threshold)", "(rule: thresholds)").replace("a --threshold", "thresholds=").replace("--scale", "scale=")
