"""`.bin` files of ATB and its probes. The header is parsed in C++ (`cpp/src/header.cpp`); here codes become dtypes and layouts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from fastcmp.dtypes import BY_ACL_CODE
from fastcmp.errors import STATISTICS, NoDataError, TensorError
from fastcmp.formats.aliases import Listings, aliased_path
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.layout import ND, Layout, place
from fastcmp.formats.open_file import scan_bin, tensor_error
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

SUFFIXES = (".bin",)
# Every writer begins with $Version, the dialect without objects with dtype.
MAGICS = (b"$Version=", b"dtype=")

# As std::to_string writes them; N/A and the (re,im) of complex tensors are left out.
_STATISTIC: Final = re.compile(f"({'|'.join(STATISTICS)})=" + r"(-?[0-9]{1,40}(?:\.[0-9]{1,20})?|-?nan|-?inf)")
_DECIMALS: Final = 6


def scan_batch(paths: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
    """What each header says, or why it cannot be used; one C++ call for all of them, without the GIL."""
    policy = options.format_policy
    found = [
        _to_info(path, entry, policy) for path, entry in zip(paths, scan_bin(paths, options.multi_record, options.roots, kept), strict=True)
    ]
    listings: Listings | None = None
    for position, info in enumerate(found):
        if info.__class__ is NoDataError and info.code == "E_ALIAS":  # not isinstance: a call more for each of many files
            assert isinstance(info, NoDataError)
            listings = listings or Listings()
            found[position] = _behind(info, listings, options, kept)
    return found


def _behind(alias: NoDataError, listings: Listings, options: ScanOptions, kept: KeptFiles | None) -> TensorInfo | TensorError:
    """The tensor that a file names instead of holding it, where it lies in the same execution, or what is wrong with that; the alias
    where there is none, or it has no data either."""
    named = alias.names
    path = aliased_path(alias.path, named, listings)
    if path is None or path == alias.path:
        return alias
    entry = scan_bin((path,), options.multi_record, options.roots, kept)[0]
    info = _to_info(path, entry, options.format_policy)
    if isinstance(info, NoDataError):
        return alias
    said = f"{os.path.basename(alias.path)} names {named}"
    if isinstance(info, TensorError):
        return TensorError(info.code, info.path, f"{info.detail}; it was read because {said}")
    return info._replace(warnings=(*info.warnings, f"W_ALIAS: {said}"))


def _to_info(path: str, entry: tuple[Any, ...], policy: Literal["strict", "flat"]) -> TensorInfo | TensorError:
    if len(entry) == 3:
        return tensor_error(path, (entry[0], entry[1], entry[2]))
    if len(entry) == 7:
        return _described(tensor_error(path, (entry[0], entry[1], entry[2])), *entry[3:])
    code, format_code, dims, data_offset, nbytes, packed, warnings, identity, _ = entry
    dtype = BY_ACL_CODE[code]
    layout = Layout(dims, "plain", 0)
    if format_code != ND:
        try:
            layout = place(path, dtype, dims, format_code, policy)
        except TensorError as error:
            return error
    return TensorInfo(
        path, data_offset, nbytes, dtype.name, layout.shape, FileIdentity._make(identity), None, False, packed, layout.layout, format_code,
        layout.c0, warnings,
    )  # fmt: skip


def _described(error: TensorError, code: int, dims: tuple[int, ...], statistics: str, identity: Any) -> NoDataError:
    numbers = tuple(
        (name, float(value)) for word in statistics.split(", ") if (found := _STATISTIC.fullmatch(word)) for name, value in [found.groups()]
    )
    named = statistics.removeprefix("data=").strip("'") if error.code == "E_ALIAS" else ""
    return NoDataError(
        error.code, error.path, error.detail, BY_ACL_CODE[code].name, dims, numbers, _DECIMALS, names=named, identity=identity
    )
