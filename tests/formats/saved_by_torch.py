"""Files of torch for the tests of its reader, and what that says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastcmp.errors import TensorError
from fastcmp.formats import list_members, scan
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
KEPT = KeptFiles()
BOTH_FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])


def save(path: Path, value: object, is_zip: bool = True) -> str:
    torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    return str(path)


def names(path: str) -> tuple[str, ...]:
    (found,) = list_members([path], OPTIONS)
    assert not isinstance(found, TensorError), found
    return found


def stored(path: str, member: str = "") -> bytes:
    """The elements in logical order, as the kernels get them."""
    info = scan(member_place(path, member), OPTIONS)
    with open_payload(info) as payload:
        return bytes(payload.piece(0, info.element_count).tobytes())


def bytes_of(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
