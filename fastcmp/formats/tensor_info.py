"""What a reader says about one tensor: where its bytes lie and what they mean. Plain data that crosses processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from fastcmp.formats.composed import Node


class FileIdentity(NamedTuple):
    """The file as it was when its header was read; a later difference means it changed under us."""

    device: int
    inode: int
    size: int
    mtime_ns: int


NOT_OPENED: Final = FileIdentity(0, 0, 0, 0)
"""Of what is known without that any file was opened for it."""


class TensorInfo(NamedTuple):
    """One tensor of one file. A named tuple: a frozen dataclass takes six times as long to make, once a file.

    Attributes
    ----------
    path : str
        The file that was opened.
    data_offset, nbytes : int
        The payload is ``file[data_offset : data_offset + nbytes]``. Any byte offset is possible.
    dtype : str
        Storage dtype: a key of `fastcmp.dtypes.DTYPES`.
    shape : tuple of int
        Logical shape; ``()`` is a scalar. What the report shows and what metrics index.
    strides : tuple of int or None
        In elements, of the logical axes; None means C-contiguous.
    big_endian : bool
        Multi-byte elements are stored most significant byte first.
    packed : bool
        Sub-byte elements lie several to a byte, low bits first; else one to a byte.
    layout : str
        ``plain``, or ``fractal_nz`` when elements must be reordered while reading.
    format_code : int
        aclFormat of a `.bin` file, 2 (ND) elsewhere.
    c0 : int
        Inner block width of ``fractal_nz``; 0 for ``plain``.
    identity : FileIdentity
    warnings : tuple of str
        Each starts with a key of `fastcmp.errors.WARNINGS`.
    composed : Node or None
        How the tensor is made up of those of several ranks; ``path`` is the first of them then, and ``identity`` that of all.
    """

    path: str
    data_offset: int
    nbytes: int
    dtype: str
    shape: tuple[int, ...]
    identity: FileIdentity
    strides: tuple[int, ...] | None = None
    big_endian: bool = False
    packed: bool = False
    layout: Literal["plain", "fractal_nz"] = "plain"
    format_code: int = 2
    c0: int = 0
    warnings: tuple[str, ...] = ()
    composed: Node | None = None

    @property
    def element_count(self) -> int:
        """Number of elements of the logical shape."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    def check_run(self, start: int, stop: int) -> None:
        """Raise IndexError unless [start, stop) is a run of its elements."""
        if not 0 <= start <= stop <= self.element_count:
            raise IndexError(f"elements [{start}, {stop}) do not lie in a tensor of {self.element_count}")

    @property
    def is_direct(self) -> bool:
        """True if a kernel can run over the mapped bytes as they lie: no gather, no swap, no unpacking."""
        return self.composed is None and self.strides is None and not self.big_endian and not self.packed and self.layout == "plain"
