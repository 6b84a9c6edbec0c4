"""Every prefix of well-formed files: an error with a code, never a tensor."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fastcmp.dtypes import BY_ACL_CODE
from fastcmp.errors import TensorError
from fastcmp.formats import scan_batch
from fastcmp.options import ScanOptions

SHAPES = ((), (1,), (5,), (2, 3), (2, 1, 3), (1, 2, 1, 2))
NPY_DTYPES = ("<f4", ">f4", "<f2", "<f8", "|b1", "|i1", "<i4", "<u8", "<c8")


def bin_files() -> dict[str, bytes]:
    """One of every dtype, the shapes in turn; a third of them in the dialect of upper case."""
    files = {}
    for number, (code, dtype) in enumerate(sorted(BY_ACL_CODE.items())):
        shape = SHAPES[number % len(SHAPES)]
        payload = b"\1" * dtype.payload_bytes(int(np.prod(shape)))
        dims = ",".join(map(str, shape))
        end = "$END=1" if number % 3 == 0 else "$End=1"
        head = f"$Version=1.0\n$Object.Count=1\n$Object.Length={len(payload)}\nformat=2\ndtype={code}\ndims={dims}\n"
        files[f"{dtype.name}.bin"] = f"{head}$Object.data=0,{len(payload)}\n{end}\n".encode() + payload
    return files


def npy_files() -> dict[str, bytes]:
    files = {}
    for number, dtype in enumerate(NPY_DTYPES):
        for order in "CF":
            buffer = io.BytesIO()
            version = ((1, 0), (2, 0))[number % 2]
            np.lib.format.write_array(buffer, np.ones(SHAPES[(number + 3) % len(SHAPES)], dtype, order), version)
            files[f"{number}{order}.npy"] = buffer.getvalue()
    return files


@pytest.mark.parametrize("files", [bin_files(), npy_files()], ids=["bin", "npy"])
def test_every_prefix_of_every_kind_of_file_is_an_error(tmp_path: Path, files: dict[str, bytes]) -> None:
    whole = [tmp_path / name for name in files]
    paths = []
    for path, content in zip(whole, files.values(), strict=True):
        path.write_bytes(content)
        for size in range(len(content)):
            paths.append(tmp_path / f"{path.stem}.{size}{path.suffix}")
            paths[-1].write_bytes(content[:size])
    assert all(not isinstance(found, Exception) for found in scan_batch([str(path) for path in whole], ScanOptions()))
    found = scan_batch([str(path) for path in paths], ScanOptions())
    accepted = [path.name for path, one in zip(paths, found, strict=True) if not isinstance(one, TensorError)]
    assert accepted == []
    codes = {one.code for one in found if isinstance(one, TensorError)}
    assert codes == {"E_EMPTY_FILE", "E_TRUNCATED"} | ({"E_NO_END"} if whole[0].suffix == ".bin" else set())
    print(f"{len(whole)} files, {len(paths)} prefixes")
