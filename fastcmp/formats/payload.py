"""The bytes of one tensor, piece by piece: mapped and never copied where they can be used as they lie, gathered where not."""

from __future__ import annotations

import errno
import mmap
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats.gather import gather
from fastcmp.formats.kept_files import SMALL_BYTES
from fastcmp.formats.open_file import check_unchanged, open_unchanged, read_unchanged
from fastcmp.formats.read_ahead import read_ahead
from fastcmp.formats.tensor_info import TensorInfo

if TYPE_CHECKING:
    from fastcmp.formats.composed_payload import ComposedPayload

# As `cpp/src/file.cpp` has it for the calls on an open file.
_CODE_BY_ERRNO: Final = {errno.EACCES: "E_PERMISSION", errno.EPERM: "E_PERMISSION", errno.ENOMEM: "E_MEMORY"}


def open_payload(info: TensorInfo, *, mapped: bool = True, roots: tuple[str, ...] = ()) -> Payload | ComposedPayload:
    """The payload of a scanned tensor, as a context manager.

    Parameters
    ----------
    info : TensorInfo
    mapped : bool
        False reads by pread: slower, but a file that shrinks meanwhile is E_SHRUNK instead of a SIGBUS.
    roots : tuple of str
        Directories that the file must lie in; empty means anywhere. It must be the scanned file in any case.
    """
    if info.composed is not None:
        from fastcmp.formats.composed_payload import ComposedPayload  # which is made of those of this module

        return ComposedPayload(info, mapped, roots)
    return Payload(info, mapped, roots)


class Payload:
    """See `open_payload`. Entering it opens the file, leaving it checks that the file is still the same.

    Raises
    ------
    TensorError
        On entering, reading or leaving: E_CHANGED, E_SHRUNK, E_IO, E_MEMORY, E_PERMISSION, or what `open_file.open_unchanged` raises.
    """

    def __init__(self, info: TensorInfo, mapped: bool, roots: tuple[str, ...]) -> None:
        self.info = info
        self._mapped = mapped
        self._roots = roots
        self._descriptor = -1
        self._whole: bytes | None = None

    def __enter__(self) -> Payload:
        info = self.info
        if info.nbytes <= SMALL_BYTES and not self._roots:
            self._whole = read_unchanged(info.path, info.identity, info.data_offset, info.nbytes)
        else:
            self._descriptor = open_unchanged(info.path, info.identity, self._roots)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._whole = None
        if self._descriptor == -1:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if kind is None:
                check_unchanged(descriptor, self.info.path, self.info.identity)
        finally:
            os.close(descriptor)

    def piece(self, start: int, stop: int) -> NDArray[Any]:
        """Elements [start, stop) in logical C order, as stored.

        Returns
        -------
        ndarray of shape (stop - start,), read-only, contiguous
            In the ``view`` dtype of `fastcmp.dtypes`, native byte order, at any alignment; sub-byte dtypes one to a byte.
            It stays valid after the payload is closed. For direct tensors it is a view of the map or of the bytes read.

        Raises
        ------
        IndexError
            If the range does not lie in the tensor.
        """
        self.info.check_run(start, stop)
        view = np.dtype(DTYPES[self.info.dtype].view)
        if start == stop:
            out: NDArray[Any] = np.empty(0, view)
        elif self.info.is_direct:
            return self.stored_bytes(start * view.itemsize, (stop - start) * view.itemsize).view(view)
        else:
            out = gather(self.info, self.stored_bytes, start, stop, is_mapped=self._mapped or self._whole is not None)
        out.flags.writeable = False
        return out

    def stored_bytes(self, offset: int, count: int) -> NDArray[np.uint8]:
        """``count`` bytes from byte ``offset`` of the payload, read-only."""
        if offset < 0 or count < 0 or offset + count > self.info.nbytes:
            raise IndexError(f"bytes [{offset}, {offset + count}) do not lie in a payload of {self.info.nbytes}")
        if self._whole is not None:
            return np.frombuffer(self._whole, np.uint8, count, offset)
        if self._descriptor == -1:
            raise ValueError("the payload is not open")
        at = self.info.data_offset + offset
        return self._map(at, count) if self._mapped else self._read(at, count)

    def _map(self, at: int, count: int) -> NDArray[np.uint8]:
        read_ahead(self._descriptor, at, count)
        inside = at % mmap.ALLOCATIONGRANULARITY
        try:
            pages = mmap.mmap(self._descriptor, inside + count, access=mmap.ACCESS_READ, offset=at - inside)
        except ValueError:  # the only cause left: the file now ends before the range
            raise self._shrunk(at, count) from None
        except OSError as error:
            raise self._failed(at, error) from None
        return np.frombuffer(pages, np.uint8, count, inside)

    def _read(self, at: int, count: int) -> NDArray[np.uint8]:
        buffer = np.empty(count, np.uint8)
        into = memoryview(buffer)  # type: ignore[arg-type]  # numpy < 2.3 has no __buffer__ in its types
        done = 0
        while done < count:
            try:
                got = os.preadv(self._descriptor, [into[done:]], at + done)
            except OSError as error:
                raise self._failed(at + done, error) from None
            if got == 0:
                raise self._shrunk(at + done, count - done)
            done += got
        buffer.flags.writeable = False
        return buffer

    def _shrunk(self, at: int, count: int) -> TensorError:
        return TensorError("E_SHRUNK", self.info.path, f"byte {at}: expected {count} more bytes, the file ends before them now")

    def _failed(self, at: int, error: OSError) -> TensorError:
        code = _CODE_BY_ERRNO.get(error.errno or 0, "E_IO")
        return TensorError(code, self.info.path, f"byte {at}: cannot be read: {error.strerror} (errno {error.errno})")
