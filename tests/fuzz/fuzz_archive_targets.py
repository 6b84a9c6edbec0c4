"""`.pt`, `.npz` and `.safetensors` files and pickles as fuzz targets: see `fuzz_targets`."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from typing import Final

import numpy as np
from fuzz_watch import BOMB_MARKER, LONGEST_MESSAGE, memory_file, only_these_are_opened

from fastcmp.dtypes import DTYPES
from fastcmp.errors import CODES, TensorError
from fastcmp.formats import TensorInfo, npz, pt, safetensors
from fastcmp.formats.file_parts import Container
from fastcmp.formats.places import member_place
from fastcmp.options import ScanOptions

_PLAIN: Final = ScanOptions()


def _read(container: Container, data: bytes) -> tuple[tuple[str, ...] | TensorError, list[TensorInfo | TensorError]]:
    """The names in a file of several tensors, and each of them or the error: refused with a code, or inside the file; nothing in it runs."""
    file = memory_file()
    file.fill(data)
    with only_these_are_opened():
        names = container.members([file.path], _PLAIN)[0]
        found = container.scan_batch([member_place(file.path, name) for name in names], _PLAIN) if isinstance(names, tuple) else [names]
    assert not os.path.lexists(BOMB_MARKER), "a pickle was loaded"
    for entry in found:
        check_place(entry, data)
    return names, found


def pt_file(data: bytes) -> None:
    """A `.pt` file is refused with a code, or each of its tensors lies in it; nothing in it runs."""
    names, _ = _read(pt.PT, data)
    if isinstance(names, tuple):
        assert len(set(names)) == len(names) and all(len(name) <= 1024 and name.encode() for name in names if name), names
        assert data.startswith(pt.MAGICS[1:]) or members_of(data) != []


def pickle_in_archive(data: bytes) -> None:
    """The same of any pickle in an archive of two storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in (("a/data.pkl", data), ("a/data/0", bytes(24)), ("a/data/1", bytes(8))):
            made.writestr(zipfile.ZipInfo(name), content)
    pt_file(file.getvalue())


def npz_file(data: bytes) -> None:
    """A `.npz` file is refused with a code, or its arrays lie where numpy finds them."""
    names, found = _read(npz.NPZ, data)
    if isinstance(names, tuple):
        theirs = members_of(data)
        assert theirs is None or len(theirs) == len(names)
        for entry, content in zip(found, theirs or [None] * len(names), strict=True):
            if isinstance(entry, TensorInfo) and content is not None:
                inside = content.index(data[entry.data_offset : entry.data_offset + entry.nbytes])
                array = np.lib.format.read_array(io.BytesIO(content)) if 0 not in entry.shape else None
                assert inside <= len(content) - entry.nbytes and (array is None or array.shape == entry.shape)


def check_place(entry: TensorInfo | TensorError, data: bytes) -> None:
    if isinstance(entry, TensorError):
        assert entry.code in CODES and entry.code not in ("E_INTERNAL", "E_MEMORY", "E_IO", "E_CHANGED", "E_SHRUNK"), entry
        assert "\n" not in str(entry) and len(str(entry)) < LONGEST_MESSAGE, str(entry)
        return
    assert entry.data_offset >= 0 and entry.data_offset + entry.nbytes <= len(data), entry
    strides = entry.strides
    if strides is not None:
        last = sum((extent - 1) * stride for extent, stride in zip(entry.shape, strides, strict=True))
        assert entry.nbytes == (last + 1) * np.dtype(DTYPES[entry.dtype].view).itemsize and 0 not in entry.shape
    else:
        assert entry.nbytes == DTYPES[entry.dtype].payload_bytes(entry.element_count, packed=entry.packed), entry


def members_of(data: bytes) -> list[bytes | None] | None:
    """What the members hold, in the order in which they lie; None for one with another checksum.

    None alone if the archive asks for a version that zipfile does not know, or has a name that is no text, which a `.pt` file may have.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [_content_of(archive, info) for info in sorted(archive.infolist(), key=lambda info: info.header_offset)]
    except (NotImplementedError, UnicodeDecodeError):
        return None
    except zipfile.BadZipFile as error:
        raise AssertionError("zipfile knows the archive, too") from error


def _content_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, zlib.error, EOFError):
        return None


def safetensors_file(data: bytes) -> None:
    """A `.safetensors` file is refused with a code, or means to us what it means to the library that writes them."""
    names, found = _read(safetensors.SAFETENSORS, data)
    if isinstance(names, tuple) and (theirs := _by_their_reader(data)) is not None:
        assert set(names) == set(theirs), (names, theirs)
        for name, entry in zip(names, found, strict=True):
            if isinstance(entry, TensorInfo):
                assert (list(entry.shape), entry.nbytes) == (theirs[name]["shape"], len(theirs[name]["data"])), (name, entry, theirs[name])


def _by_their_reader(data: bytes) -> dict[str, dict[str, object]] | None:
    """None where it refuses the file: of ours nothing follows then, for it takes payloads with holes and odd dtypes."""
    import safetensors as reference

    try:
        return dict(reference.deserialize(data))
    except (reference.SafetensorError, ValueError, OverflowError):
        return None
