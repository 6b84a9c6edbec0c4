"""Both tensors of a pair, read again box by box; a tensor of any size in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from fastcmp.closeup.boxes import Box, boxes
from fastcmp.closeup.numbers import Values
from fastcmp.dtypes import DTYPES
from fastcmp.formats import scan
from fastcmp.formats.decode import decode
from fastcmp.formats.layout import reconcile
from fastcmp.formats.payload import open_payload
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions

# Elements of a side that are held while the whole tensor is gone through: 8 MiB as float64, and some arrays of that size beside it.
PIECE_ELEMENTS = 2**20


class Sides(NamedTuple):
    """The elements of one box, both of the shape ``box.extents``."""

    box: Box
    golden: Values
    target: Values


class PairReader:
    """Two tensors of one element count, as a context manager.

    Indices are golden's; target's elements are taken in the order in which they lie.

    Parameters
    ----------
    golden_path, target_path : str
    options : ScanOptions
        Of the run: which record, which memory formats, which roots.
    scale : float or None
        What integers are multiplied with where they meet floats.

    Raises
    ------
    TensorError
        When made or entered, or by a read: what `scan`, `reconcile` and `open_payload` raise.
    """

    def __init__(self, golden_path: str, target_path: str, options: ScanOptions, scale: float | None = None) -> None:
        golden, target = scan(golden_path, options), scan(target_path, options)
        self.golden, self.target, self.notes = reconcile(golden, target, options.format_policy)
        self._roots = options.roots
        kinds = {DTYPES[self.golden.dtype].kind, DTYPES[self.target.dtype].kind}
        self._scale = scale if "int" in kinds and not kinds <= {"int", "bool"} else None

    def __enter__(self) -> PairReader:
        # By pread: a file that is cut short meanwhile is an error then, not a SIGBUS.
        self._payloads = tuple(open_payload(info, mapped=False, roots=self._roots) for info in (self.golden, self.target))
        self._payloads[0].__enter__()
        try:
            self._payloads[1].__enter__()
        except BaseException:
            self._payloads[0].__exit__(ValueError, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._payloads[0].__exit__(kind, value, trace)
        finally:
            self._payloads[1].__exit__(kind, value, trace)

    @property
    def has_equal_counts(self) -> bool:
        """False where the elements cannot be compared one by one."""
        return self.golden.element_count == self.target.element_count

    def pieces(self) -> Iterator[Sides]:
        """All elements, in order."""
        for box in boxes(self.golden.shape, PIECE_ELEMENTS):
            yield self.read(box)

    def read(self, box: Box) -> Sides:
        """The elements of one box."""
        return Sides(box, self._side(0, self.golden, box), self._side(1, self.target, box))

    def _side(self, number: int, info: TensorInfo, box: Box) -> Values:
        values = decode(self._payloads[number].piece(box.start, box.stop), info.dtype)
        if self._scale is not None and DTYPES[info.dtype].kind == "int":
            values = values * self._scale
        return values.reshape(box.extents)
