"""Files that torch before 1.6 wrote, and `torch.save(..., _use_new_zipfile_serialization=False)` still does: pickles, then storages.

a pickle of a number, one of the version, one of the machine's sizes
the pickle that says what the tensors are
the pickle of a list: which storages follow, in this order
of each storage: 8 bytes, little endian, its number of elements; its bytes, little endian whatever the machine was
"""

from __future__ import annotations

from typing import Final

from fastcmp.dtypes import DTYPES
from fastcmp.formats.file_parts import FileParts
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_machine import load
from fastcmp.formats.pt_values import Storage, kind_of

_NUMBER: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_NUMBER_PICKLED: Final = b"\x8a\x0a" + _NUMBER.to_bytes(10, "little") + b"."
# The first of the pickles, in protocols 2 (which torch takes unless it is told otherwise), 3, 4 and 5; in the latter two in a frame.
STREAM_MAGICS: Final = (
    b"\x80\x02" + _NUMBER_PICKLED,
    b"\x80\x03" + _NUMBER_PICKLED,
    *(b"\x80" + bytes((protocol, 0x95)) + len(_NUMBER_PICKLED).to_bytes(8, "little") + _NUMBER_PICKLED for protocol in (4, 5)),
)
_FIRST_READ: Final = 64 * 2**10
_COUNT_BYTES: Final = 8


class Stream:
    """What a file says.

    Attributes
    ----------
    root : object
        The value of the pickle.
    """

    def __init__(self, root: object, offsets: dict[str, int], storages: dict[str, Storage]) -> None:
        self.root, self._offsets, self._storages = root, offsets, storages

    def offset_of(self, parts: FileParts, storage: Storage) -> int:
        """Where the bytes of a storage begin, after its number of elements, which is looked at.

        Raises
        ------
        Malformed
            E_PICKLE or E_SIZE_SHORT.
        TensorError
            From reading the file.
        """
        first = self._storages[storage.key]
        offset = self._offsets.get(storage.key)
        if offset is None or (first.dtype, first.numel) != (storage.dtype, storage.numel):
            raise Malformed("E_PICKLE", f"storage {shortened(storage.key)} is not among those of the file, or is there as another one")
        count = int.from_bytes(parts.read(offset, _COUNT_BYTES), "little")
        if count != storage.numel:
            raise Malformed("E_SIZE_SHORT", f"byte {offset}: expected a storage of {storage.numel} elements, got one of {count}")
        return offset + _COUNT_BYTES


def is_tar(parts: FileParts) -> bool:
    """The format of torch before 0.1.10."""
    return parts.size > 262 and parts.read(257, 5) == b"ustar"


def read_stream(parts: FileParts, most: int) -> Stream:
    """The pickles of a file, whose first bytes are one of `STREAM_MAGICS`, and where each storage lies.

    Raises
    ------
    Malformed
        E_PICKLE, or E_TRUNCATED if the file ends before its last storage does.
    TensorError
        From reading the file.
    """
    size = _FIRST_READ
    while True:
        content = bytes(parts.read(0, min(size, parts.size)))
        try:
            values, storages, end = _load_all(content)
            break
        except Malformed as error:
            if error.code != "E_TRUNCATED" or len(content) == parts.size:
                raise
            if len(content) >= most:
                raise Malformed("E_PICKLE", f"the pickles take more than {most} bytes") from None
        size *= 4
    number, version, _, root, keys = values
    if type(version) is not int or version != _VERSION or number != _NUMBER:
        found = shortened(version) if type(version) is int else kind_of(version)
        raise Malformed("E_PICKLE", f"expected version {_VERSION} of the format of torch.save, got {found}")
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) < len(keys):
        raise Malformed("E_PICKLE", f"byte {end}: expected the list of the storages before, each once")
    offsets: dict[str, int] = {}
    for key in keys:
        storage = storages.get(key)
        bits = (
            DTYPES[storage.dtype].bits
            if storage is not None and storage.dtype in DTYPES
            else _FOREIGN_BITS.get(storage.dtype if storage else "")
        )
        if storage is None or bits is None:
            raise Malformed("E_PICKLE", f"byte {end}: storage {shortened(key)} follows, which no tensor has, or whose size is not known")
        offsets[key] = end
        end += _COUNT_BYTES + storage.numel * (bits // 8)
    if end > parts.size:
        raise Malformed("E_TRUNCATED", f"byte {parts.size}: the file ends {end - parts.size} bytes before its last storage does")
    return Stream(root, offsets, storages)


# Of storages that are stepped over.
_FOREIGN_BITS: Final = {"qint8": 8, "quint8": 8, "qint32": 32, "quint4x2": 8, "quint2x4": 8}


def _load_all(content: bytes) -> tuple[list[object], dict[str, Storage], int]:
    values: list[object] = []
    storages: dict[str, Storage] = {}
    at = 0
    for _ in range(5):
        value, at = load(content, at, storages)
        values.append(value)
    return values, storages, at
