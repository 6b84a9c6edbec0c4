"""What is fuzzed in Python: functions that take any bytes, and raise where a promise does not hold.

`make fuzz` calls them millions of times with bytes that atheris makes up, `make test` once with each committed seed. Parts of one input
stand between `BETWEEN_PARTS`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from fuzz_archive_targets import npz_file, pickle_in_archive, pt_file, safetensors_file
from fuzz_watch import BOMB_MARKER, LONGEST_MESSAGE, memory_file, only_these_are_opened

from fastcmp import dump_layout
from fastcmp.errors import CODES, TensorError, UsageError
from fastcmp.formats import npy
from fastcmp.formats.dims import Dim, parse_dims
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing.map_files import load_maps
from fastcmp.results.text import characters, csv_cells, string_array, without_formulas
from fastcmp.sources import load
from fastcmp.sources.natural_order import natural_key, token_key
from fastcmp.sources.wording import printable
from fastcmp.thresholds import JUDGED_METRICS, parse_threshold

BETWEEN_PARTS: Final = b"\n\xff\n"

_PLAIN: Final = ScanOptions()
_OPTIONS: Final = CompareOptions()

# --- .npy --------------------------------------------------------------------------------------------------------------------------------


def npy_header(data: bytes) -> None:
    """A `.npy` file is refused with a code, or means to us what it means to numpy; nothing in it runs."""
    file = memory_file()
    file.fill(data)
    with only_these_are_opened():
        found = npy.scan_batch([file.path], _PLAIN)[0]
    assert not os.path.lexists(BOMB_MARKER), "a pickle was loaded"
    if isinstance(found, TensorError):
        assert found.code in CODES and found.code not in ("E_INTERNAL", "E_MEMORY", "E_IO"), found
        assert "\n" not in str(found) and len(str(found)) < LONGEST_MESSAGE, str(found)
        return
    shape, is_fortran, dtype, data_offset = _header_to_numpy(data)
    assert found.shape == shape, (found.shape, shape)
    assert found.dtype == ("bfloat16" if dtype == np.dtype("V2") else dtype.newbyteorder("=").name), (found.dtype, dtype)
    assert found.big_endian == (dtype.byteorder == ">")
    assert found.data_offset == data_offset
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    assert found.nbytes == size <= len(data) - found.data_offset
    assert (found.strides is not None) == (is_fortran and sum(extent > 1 for extent in shape) > 1 and 0 not in shape)


def _header_to_numpy(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (3, 0):  # there is no public function for it, and the text is ASCII in all three, or it would have been refused
        stream = io.BytesIO(data[:6] + b"\x02" + data[7:])
        np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy repairs headers of Python 2 and says so; ours is to have refused them
        shape, is_fortran, dtype = read(stream)
        if 0 not in shape:
            array = np.lib.format.read_array(io.BytesIO(data))
            assert array.shape == shape and array.dtype == dtype
    return shape, is_fortran, dtype, stream.tell()


# --- metadata.json -----------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fastcmp_fuzz_")


class _Twice(Exception):
    """A key stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _Twice
    return dict(pairs)


def _slow_rows(content: bytes) -> list[tuple[str, str, str]] | None:
    """What a document without odd things lists; None where it has some. ValueError where it must be refused."""
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        document = json.loads(text, object_pairs_hook=_once, parse_int=float)
    except _Twice:
        return None
    except RecursionError as error:
        raise ValueError(error) from error
    if not isinstance(document, dict) or not all(isinstance(tokens, dict) for tokens in document.values()):
        raise ValueError("no objects")
    rows = [(data_id, token_id, path) for data_id, tokens in document.items() for token_id, path in tokens.items()]
    if any(isinstance(path, list) for _, _, path in rows):
        return None
    if not all(isinstance(path, str) for _, _, path in rows):
        raise ValueError("no paths")
    return None if any("*" in path for _, _, path in rows) else rows


def metadata_document(data: bytes) -> None:
    """A metadata.json, with or without a journal and dtypes beside it: rows, or one line that says what is wrong.

    Parts: metadata.json, the journal, dtypes.json.
    """
    parts = data.split(BETWEEN_PARTS, 2)
    names = (dump_layout.METADATA_NAME, dump_layout.JOURNAL_NAME, dump_layout.DTYPES_NAME)
    paths = [f"{_folder().name}/{name}" for name in names]
    for path, content in zip(paths, parts, strict=False):
        with open(path, "wb") as file:
            file.write(content)
    try:
        with only_these_are_opened(*paths):
            dump = load(paths[0], "golden" if len(data) % 2 else "target", _OPTIONS)
    except UsageError as error:
        text = str(error)
        assert text.startswith(_folder().name) and text.isprintable() and len(text) < LONGEST_MESSAGE, text
        dump = None
    finally:
        for path in paths[: len(parts)]:
            os.unlink(path)
    try:
        expected = _slow_rows(parts[0])
    except ValueError:
        assert dump is None, "what is no document is refused"
        return
    if dump is None:
        assert expected is None or len(parts) > 2 or _depth(parts[0]) > 64, "a plain document is taken"
        return
    assert all(warning.isprintable() and len(warning) < LONGEST_MESSAGE for warning in dump.warnings), dump.warnings
    assert len({tensor.key for tensor in dump.tensors}) == len(dump.tensors), "every key is one row"
    assert all(tensor.path.startswith("/") for tensor in dump.tensors), "every path is absolute"
    if expected is not None and len(parts) == 1:
        assert [(tensor.key.data_id, tensor.key.token_id, tensor.written_path) for tensor in dump.tensors] == expected


def _depth(content: bytes) -> int:
    return max(content.count(b"{"), content.count(b"["))


# --- the journal of a dump ---------------------------------------------------------------------------------------------------------------


def _fields(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def journal(data: bytes) -> None:
    """The journal of a dump, cut or damaged anywhere: what its whole lines say, counted line by line."""
    file = memory_file()
    file.fill(data)
    with only_these_are_opened(file.path):
        found = dump_layout.read_journal(file.path)
    *lines, rest = data.split(b"\n")
    assert found.is_torn == bool(rest)
    whole = [_fields(line) if len(line) < dump_layout.MAX_JOURNAL_LINE else {} for line in lines]
    if found.header is not None:
        first = whole.pop(0)
        assert found.header == dump_layout.JournalHeader(*(first[name] for name in ("pid", "rank", "cwd", "data_src")))
    texts = [[fields.get(name, "") for name in ("data_id", "token_id", "path", "dtype", "stored")] for fields in whole]
    entries = [
        tuple(values)
        for fields, values in zip(whole, texts, strict=True)
        if "data_id" in fields and "token_id" in fields and values[2] and all(isinstance(value, str) for value in values)
    ]
    assert [tuple(entry) for entry in found.entries] == entries
    assert found.rejected_count == len(whole) - len(entries)
    listed = dump_layout.metadata_of(found.entries)
    assert {(data_id, token_id): path for data_id, tokens in listed.items() for token_id, path in tokens.items()} == {
        values[:2]: values[2] for values in entries
    }
    for entry in found.entries[:8]:
        again = _fields(dump_layout.entry_line(entry))
        assert tuple(again.get(name, "") for name in entry._fields) == tuple(entry), "an entry comes back as it was written"


# --- words of the user and of the model --------------------------------------------------------------------------------------------------


def threshold(data: bytes) -> None:
    """A `--threshold` is a comparison of a metric with a number, or is refused on one line."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        with only_these_are_opened():
            found = parse_threshold(text)
    except UsageError as error:
        assert "\n" not in str(error), str(error)
        return
    words = text.replace(found.symbol, f" {found.symbol} ", 1).split()
    assert words[0] == found.metric and found.metric in JUDGED_METRICS
    assert words[1] == found.symbol and float(words[2]) == found.limit and len(words) == 3
    assert text.isascii() or words[2].isascii(), "digits are ASCII"
    assert bool(found.holds(found.limit)) == ("=" in found.symbol)


def map_rules(data: bytes) -> None:
    """A file of `--map` is rules, or is refused on one line; what a rule captures is of its kind. Parts: the file, a name of golden."""
    content, _, name = data.partition(BETWEEN_PARTS)
    file, golden = memory_file(), _text_of(name)
    file.fill(content)
    try:
        with only_these_are_opened(file.path):
            rules = load_maps([file.path])
    except UsageError as error:
        assert "\n" not in str(error) and len(str(error)) < LONGEST_MESSAGE, str(error)
        return
    for rule in rules:
        captures = rule.golden.captures(golden)
        if captures is None:
            continue
        assert list(captures) == list(rule.golden.kinds)
        for one, text in captures.items():
            kind = rule.golden.kinds[one]
            assert text in golden and (kind == "deep" or not set(text) & set("./"))
            assert kind != "int" or (text.isascii() and text.isdigit())
        filled = rule.target.filled(captures)
        assert filled is None or isinstance(filled, str)


def names(data: bytes) -> None:
    """Names of any code points: a file of its own on the dump side, and harmless cells in the report. Parts: two names."""
    texts = [_text_of(part) for part in data.split(BETWEEN_PARTS, 1)]
    files = [dump_layout.tensor_file_name(text) for text in texts]
    for text, file in zip(texts, files, strict=True):
        assert len(file.encode()) <= 255 and "/" not in file and "\0" not in file and not file.startswith("."), file
        assert printable(text).isprintable() and len(printable(text)) <= 10 * 203, printable(text)
        again = json.loads(dump_layout.entry_line(dump_layout.JournalEntry(text, text, text)))
        # JSON has one spelling for a character and for its two surrogates.
        assert again["data_id"] == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert len(set(files)) == len(set(texts)), "two names have two files"
    for order in (natural_key, token_key):
        assert len({order(text) for text in sorted(texts, key=order)}) == len(set(texts)), "two names have an order"
    check_cells(texts)


def _text_of(part: bytes) -> str:
    try:
        return part.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return part.decode("utf-8", "surrogateescape")


def check_cells(texts: list[str]) -> None:
    """Cells of the report's CSV: one for each text, the same but for what a spreadsheet would run."""
    column = string_array(texts)
    cells = csv_cells(without_formulas(column))
    assert isinstance(column, pa.Array)
    line = bytes(characters(pa.array([",".join(cells.to_pylist())], pa.string()))).decode()
    read = next(csv.reader(io.StringIO(line, newline=""), strict=True), [""])
    assert len(read) == len(texts), "no cell is lost or doubled"
    for shown, cell in zip(column.to_pylist(), read, strict=True):
        assert cell in (shown, f"'{shown}") and not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (shown, cell)


def dims_notation(data: bytes) -> None:
    """A notation of how ranks divide a tensor is read, and says what it was written as, or is refused on one line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        dims = parse_dims(text)
    except UsageError as error:
        said = str(error)
        assert "\n" not in said and len(said) < LONGEST_MESSAGE, said
        return
    words = [f"{dim.name}{_bracketed(dim)}{'' if dim.stop is None else f'={dim.start}:{dim.stop}'}" for dim in dims.dims] + (
        ["#", *(f"{name}:{kind}" for name, kind in dims.rest)] if dims.rest else []
    )
    assert parse_dims(" ".join(words)) == dims, (text, words)


def _bracketed(dim: Dim) -> str:
    ways = ",".join(way.name if way.division == "part" else f"{way.name}:{way.division}" for way in dim.ways)
    return f"[{ways}]" if ways else ""


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "dims": dims_notation,
    "journal": journal,
    "map": map_rules,
    "metadata": metadata_document,
    "names": names,
    "npy": npy_header,
    "npz": npz_file,
    "pickle": pickle_in_archive,
    "pt": pt_file,
    "safetensors": safetensors_file,
    "threshold": threshold,
}
