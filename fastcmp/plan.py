"""Pairs to tasks: pure; edges depend on the tensors, never on how many workers there are."""

from __future__ import annotations

from dataclasses import dataclass

from fastcmp.options import FoldOptions, ScanOptions


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One pair, or a range of the pieces of one large pair.

    ``golden_dtype`` and ``target_dtype`` are the true storage dtypes where the dump side stored a wider one, else "".
    ``first_piece``/``stop_piece`` are None for a whole pair; else the half-open range of piece numbers.
    """

    row: int
    golden_path: str
    target_path: str
    fold: FoldOptions
    golden_dtype: str = ""
    target_dtype: str = ""
    first_piece: int | None = None
    stop_piece: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker is sent: picklable, self-contained."""

    index: int
    items: tuple[WorkItem, ...]
    scan: ScanOptions
