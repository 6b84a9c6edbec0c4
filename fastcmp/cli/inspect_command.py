"""``fastcmp inspect``: headers as the readers see them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from cyclopts import Parameter

from fastcmp.cli.dump_text import dump_as_json, dump_in_lines, first_of_data_ids
from fastcmp.cli.endings import say
from fastcmp.cli.paths import is_there
from fastcmp.cli.shown import bytes_text, counted, grouped, one_line, visible
from fastcmp.errors import EXIT_ERROR, EXIT_OK, STATED_CODES, NoDataError, TensorError, UsageError
from fastcmp.options import CompareOptions, ScanOptions

if TYPE_CHECKING:
    from fastcmp.formats.tensor_info import TensorInfo
    from fastcmp.sources import TensorKey

# Keeps memory flat and output flowing on directories of any size.
_FILES_AT_ONCE: Final = 1000


def inspect(
    path: str,
    /,
    *,
    root: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    multi_record: Literal["error", "first", "last"] = "error",
    format_policy: Literal["strict", "flat"] = "strict",
    layout: str = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show as what a dump is recognised, and what the headers of its tensor files say; no payload is read.

    Parameters
    ----------
    path
        A tensor file, FILE:NAME for one tensor of a file that holds several, a metadata.json, or a directory of dumps.
    root
        Open nothing whose real path is outside of this directory. Repeatable.
    multi_record
        Which record of a .bin file that holds several.
    format_policy
        flat: accept memory formats without a known order.
    layout
        How a directory is read: auto, metadata, plain, atb, msit, msprobe, sglang or hook.
    json
        One JSON object for the dump, unless one tensor file was named, then one per tensor.
    """
    if not is_there(path):
        raise UsageError(f"{path}: does not exist; name a tensor file, a metadata.json or a directory")
    # Here and below, not above: numpy comes with it, and every command would wait for that.
    from fastcmp.formats import file_and_member, scan_batch
    from fastcmp.formats.places import member_place
    from fastcmp.formats.suffixes import SUFFIXES

    options = ScanOptions(multi_record=multi_record, format_policy=format_policy, roots=root)
    place = member_place(*file_and_member(path, options))
    single = place != path or (not os.path.isdir(path) and not path.endswith(".json") and _holds_one_tensor(path, options))
    named = iter([_Named(path, place)]) if single else _named_places(path, CompareOptions(scan=options, layout=layout), as_json=json)
    seen = failed = 0
    while batch := list(islice(named, _FILES_AT_ONCE)):
        for one, info in zip(batch, scan_batch([one.place for one in batch], options), strict=True):
            seen += 1
            failed += isinstance(info, TensorError) and not _is_stated(info)
            say(_as_json(one, info) if json else _in_full(one.place, info) if single else _in_a_line(one.name, info))
    if not seen:
        raise UsageError(f"{path}: holds no tensor; expected {', '.join(SUFFIXES)} files, or a metadata.json")
    if not single and not json:
        say(f"{counted(seen, 'tensor')}, {grouped(failed)} cannot be read")
    return EXIT_ERROR if failed else EXIT_OK


def _is_stated(info: TensorInfo | TensorError) -> bool:
    """True where there are statistics or a checksum instead of data: all that the dump has, and it can be compared."""
    return isinstance(info, NoDataError) and info.code in STATED_CODES


def _holds_one_tensor(path: str, options: ScanOptions) -> bool:
    """Also where the file cannot be read: its row says why."""
    from fastcmp.formats import list_members

    names = list_members((path,), options)[0]
    return isinstance(names, TensorError) or names == ("",)


class _Named(NamedTuple):
    """A tensor: its name for people, its place, and its key where a dump gives it one."""

    name: str
    place: str
    key: TensorKey | None = None


def _named_places(path: str, options: CompareOptions, *, as_json: bool) -> Iterator[_Named]:
    """What a metadata.json, a file of several tensors or a directory names; what that is, is said first."""
    from fastcmp import sources
    from fastcmp.formats import scan_batch
    from fastcmp.formats.places import member_place, shown_place, split_place
    from fastcmp.formats.stated import is_stated

    dump = sources.load(path, "golden", options)
    firsts = [tensor.path for tensor in first_of_data_ids(dump)]
    say(dump_as_json(dump) if as_json else dump_in_lines(dump, scan_batch(firsts, options.scan)))
    for tensor in dump.tensors:
        file, member = split_place(tensor.path)
        if is_stated(member):
            yield _Named(tensor.written_path, tensor.path, tensor.key)
        else:
            name = shown_place(member_place(os.path.relpath(file, path) if os.path.isdir(path) else file, member))
            yield _Named(name, tensor.path, tensor.key)


def _in_a_line(name: str, info: TensorInfo | TensorError) -> str:
    name = visible(name)
    if isinstance(info, NoDataError) and _is_stated(info):
        return "  ".join((name, info.dtype or "unknown dtype", str(info.shape), one_line(info.detail)))
    if isinstance(info, TensorError):
        return f"{name}  {one_line(info.detail)} [{info.code}]"
    parts = [name, info.dtype, str(info.shape), bytes_text(info.nbytes)]
    return "  ".join((*parts, *_oddities(info), *map(one_line, info.warnings)))


def _in_full(path: str, info: TensorInfo | TensorError) -> str:
    if isinstance(info, TensorError):
        return one_line(str(info))
    from fastcmp.formats.places import shown_place

    rows: Sequence[tuple[str, str]] = (
        ("file", visible(shown_place(path))),
        ("dtype", info.dtype),
        ("shape", str(info.shape)),
        ("elements", grouped(info.element_count)),
        ("payload", f"{grouped(info.nbytes)} bytes at byte {grouped(info.data_offset)}"),
        ("layout", ", ".join(_oddities(info)) or "C-contiguous, native byte order"),
        *(("warning", one_line(warning)) for warning in info.warnings),
    )
    return "\n".join(f"{label:<9} {value}" for label, value in rows)


def _oddities(info: TensorInfo) -> list[str]:
    odd: list[str] = [] if info.layout == "plain" else [info.layout]
    if info.strides is not None:
        odd.append(f"strides {info.strides} elements")
    if info.big_endian:
        odd.append("big endian")
    if info.packed:
        odd.append("packed")
    if info.format_code != 2:
        odd.append(f"format {info.format_code}")
    return odd


def _as_json(named: _Named, info: TensorInfo | TensorError) -> str:
    import json

    from fastcmp.formats.places import split_place
    from fastcmp.formats.stated import is_stated

    file, member = split_place(named.place)
    said = {"member": named.name} if is_stated(member) else {"member": member} if member else {}
    facts: dict[str, Any] = {"path": file, **said, **(named.key._asdict() if named.key else {})}
    if isinstance(info, TensorError):
        facts |= {"error": info.code, "detail": info.detail}
    else:
        facts |= {
            "dtype": info.dtype, "shape": list(info.shape), "data_offset": info.data_offset, "nbytes": info.nbytes,
            "strides": None if info.strides is None else list(info.strides), "big_endian": info.big_endian, "packed": info.packed,
            "layout": info.layout, "format_code": info.format_code, "warnings": list(info.warnings),
        }  # fmt: skip
    return json.dumps(facts)
