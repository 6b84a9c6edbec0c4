r"""Where a dump lies and how its files are written: what `fastcmp.dump` writes and `fastcmp.sources` read. Standard library only.

One process that dumps owns one directory, named after it, in the dump directory: ``FASTCMP_DUMP_DIR``, or else its working directory at
the first call::

    {pid}_cmp_dump_data/
        .lock                                    held (flock) while the process lives
        allow_list/paths.txt                     0700: the low-level paths asked for, one ``{token}/{tensor_path}`` a line
        {golden|acl}_tensor/
            metadata.json                        {data_id: {token_id: path}}, valid at every instant, may lag behind the journal
            dtypes.json                          {data_id: {token_id: dtype}}, only for tensors stored in a wider dtype than their own
            journal.jsonl                        every entry, in the order of the calls
            {token}/{data_id}_tensor.npy         the tensors; {token} and {data_id} as `safe_name` gives them

``{pid}`` is followed by ``-1``, ``-2`` ... where a live process of another pid namespace already has the plain name. The directory of a
dead process with the same pid is renamed to ``{pid}_cmp_dump_data.earlier-{n}`` first, so entries of two runs never mix.

Paths in metadata.json and in the journal are relative to the dump directory, ``./{pid}_cmp_dump_data/golden_tensor/0/7_tensor.npy``, as the
original wrote them; low-level ones are ``{home}/tensors/thread_{pid}/{token}/{tensor_path}``, where ``{home}``, ACLTRANSFORMER_HOME_PATH,
is absolute only if it lies outside of the dump directory. `path_candidates` and `low_level_candidates` find them again.

The journal is ASCII, one JSON object a line, each appended by one write. The first line is the header::

    {"fastcmp_journal": 1, "pid": 71, "rank": "0", "cwd": "/where/it/ran", "data_src": "golden"}
    {"data_id":"7","token_id":"0","path":"./71_cmp_dump_data/golden_tensor/0/7_tensor.npy","dtype":"float32"}

``dtype`` is the dtype that the program had ("" for low-level entries, never to be trusted over the file's own header where both could be
right); ``"stored":"float16"`` follows where the file holds another one. A key that stands twice is worth its last line: the last writer
wins. A killed writer leaves at most one torn line, the last one; readers drop it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

METADATA_NAME: Final = "metadata.json"
DTYPES_NAME: Final = "dtypes.json"
JOURNAL_NAME: Final = "journal.jsonl"
LOCK_NAME: Final = ".lock"
ALLOW_LIST_DIRECTORY: Final = "allow_list"
ALLOW_LIST_NAME: Final = "paths.txt"
JOURNAL_VERSION: Final = 1
ANY_TOKEN: Final = "*"
"""The token_id of a low-level tensor that is wanted of every token."""

# Longer lines are neither written nor read: a bound on what one hostile line can make a reader hold.
MAX_JOURNAL_LINE: Final = 256 * 1024
# With "~", 32 hex digits and "_tensor.npy" still below the 255 bytes of a file name.
MAX_PLAIN_NAME: Final = 200

ROLE_OF_SOURCE: Final[dict[str, str]] = {"golden": "golden", "acl": "target"}
"""What ``data_src`` is called here and in the original, and the role it plays."""

_SOURCE_DIRECTORIES: Final = frozenset(f"{data_src}_tensor" for data_src in ROLE_OF_SOURCE)
_DUMP_SUFFIX: Final = "_cmp_dump_data"
_DUMP_DIRECTORY = re.compile(r"[0-9]+(-[0-9]+)?_cmp_dump_data")
_RUN_DIRECTORY = re.compile(r"thread_[^/]+|[0-9]+(_[0-9]+)*")
# Nearly every id there is; ten times quicker than looking at each character.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
# Absolute, and no name in it is empty or begins with a dot: such a path is its own normal form.
_IS_NORMAL = re.compile(r"(/[^/.][^/]*)+", re.DOTALL)
_RESERVED_NAMES: Final = frozenset({METADATA_NAME, DTYPES_NAME, JOURNAL_NAME})


# --- names -----------------------------------------------------------------------------------------------------------------------------


def dump_directory_name(pid: int, copy: int = 0) -> str:
    """Name of the directory that a process dumps into; ``copy`` counts up where a live process of another pid namespace has the name."""
    return f"{pid}-{copy}_cmp_dump_data" if copy else f"{pid}_cmp_dump_data"


def is_dump_directory_name(name: str) -> bool:
    """True for ``{pid}_cmp_dump_data`` and ``{pid}-{n}_cmp_dump_data``."""
    return _DUMP_DIRECTORY.fullmatch(name) is not None


def is_lock_held(lock: int) -> bool:
    """True if a live process holds the lock file that ``lock`` is open on. False too where the file system cannot say.

    Asked by a shared lock, which is let go of when ``lock`` is closed: those who ask do not take each other for the holder.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def source_directory_name(data_src: str) -> str:
    """Name of the directory of one side, ``golden_tensor`` or ``acl_tensor``."""
    return f"{data_src}_tensor"


def id_text(value: object) -> str:
    """The text of a data_id or token_id; 7, ``numpy.int64(7)`` and ``"7"`` are one id, as they are in JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def safe_name(text: str) -> str:
    """A file name for any text: never empty, hidden, a path or longer than 233 UTF-8 bytes; different texts have different names.

    Plain names stay as they are. ``/``, ``%``, control characters, a leading dot and lone surrogates become ``%XX`` per UTF-8 byte;
    the empty text is ``%empty``; a name of more than 200 bytes is cut and ends in ``~`` and 32 hex digits of its SHA-256.
    """
    if _PLAIN_NAME.fullmatch(text) and text not in _RESERVED_NAMES:
        return text
    if not text:
        return "%empty"
    encode_first = text[0] == "." or text in _RESERVED_NAMES
    parts = [_percent(char) if _is_unsafe(char) or (index == 0 and encode_first) else char for index, char in enumerate(text)]
    name = "".join(parts)
    if len(name.encode()) <= MAX_PLAIN_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    # Filled up to 197..200 bytes, so a cut name is always longer than an uncut one and cannot meet it.
    kept, size = [], 0
    for part in parts:
        size += len(part.encode())
        if size > MAX_PLAIN_NAME:
            break
        kept.append(part)
    filler = "~" * (MAX_PLAIN_NAME - len("".join(kept).encode()))
    return f"{''.join(kept)}{filler}~{digest}"


def _is_unsafe(char: str) -> bool:
    return char in "/%" or char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def tensor_file_name(data_id: str) -> str:
    """File name of a high-level tensor, ``{data_id}_tensor.npy``."""
    return f"{safe_name(data_id)}_tensor.npy"


def low_level_run_directory(home: str, pid: int, copy: int = 0) -> str:
    """Where the acceleration library writes the tensors of a process.

    ``home`` is ACLTRANSFORMER_HOME_PATH: absolute, or relative to the dump directory (``.``, ``./below``) where it lies there. ``copy``
    counts up where an earlier process of this number, or one of another container, has the plain name.
    """
    return f"{home}/tensors/thread_{pid}_{copy}" if copy else f"{home}/tensors/thread_{pid}"


def written_low_level_path(run_directory: str, token_id: str, tensor_path: str) -> str:
    """The path where the acceleration library will write a tensor, as metadata.json has it."""
    return f"{run_directory}/{allow_list_line(token_id, tensor_path)}"


def allow_list_line(token_id: str, tensor_path: str) -> str:
    """What the preload library looks up: ``{token_id}/{tensor_path}``, without the line feed."""
    return f"{safe_name(token_id)}/{tensor_path}"


# --- finding a path again --------------------------------------------------------------------------------------------------------------


def reroot(path: str) -> str | None:
    """The part of ``path`` below its last ``{pid}_cmp_dump_data``, or None where there is none or it holds ``..``.

    >>> reroot("./71_cmp_dump_data/golden_tensor/0/7_tensor.npy")
    'golden_tensor/0/7_tensor.npy'
    """
    if _DUMP_SUFFIX not in path:
        return None
    parts = _parts(path)
    for index in range(len(parts) - 1, -1, -1):
        if is_dump_directory_name(parts[index]):
            below = parts[index + 1 :]
            return "/".join(below) if below and ".." not in below else None
    return None


def _below_source_directory(path: str) -> tuple[str, str]:
    """The last ``{golden|acl}_tensor`` in ``path``, and what follows it; two empty texts where there is none or ``..`` follows it."""
    if not any(name in path for name in _SOURCE_DIRECTORIES):
        return "", ""
    parts = _parts(path)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] in _SOURCE_DIRECTORIES:
            below = parts[index + 1 :]
            return (parts[index], "/".join(below)) if ".." not in below else ("", "")
    return "", ""


def _parts(path: str) -> list[str]:
    """The names in a path, as `PurePosixPath.parts` has them without the root: that takes twenty times as long, and a dump names
    thousands of directories."""
    return [part for part in path.split("/") if part and part != "."]


class _Place(NamedTuple):
    """What matters of the directory of a metadata.json: its name, the directory above it, and the ``{pid}_cmp_dump_data`` around it."""

    path: str
    name: str
    parent: str
    dump_directory: str | None
    beside_dump_directory: str | None


@lru_cache(maxsize=64)
def _place_of(metadata_directory: str) -> _Place:
    here = PurePosixPath(metadata_directory)
    root = next((ancestor for ancestor in (here, *here.parents) if is_dump_directory_name(ancestor.name)), None)
    return _Place(str(here), here.name, str(here.parent), *((None, None) if root is None else (str(root), str(root.parent))))


def path_candidates(path: str, metadata_directory: str, working_directory: str | None = None, *, is_one_sided: bool = False) -> list[str]:
    """Where a path written in a metadata.json may lie, in the order to try, without repeats.

    An absolute path as it stands, a relative one against the JSON's own directory; then re-rooted, for a dump that was moved: beside the
    ``{pid}_cmp_dump_data`` that holds the JSON, or below whatever that directory is called now; then, for a ``{golden|acl}_tensor``
    copied under another name, beside the JSON; then against the working directory.

    Parameters
    ----------
    path : str
        As written. Never opened here.
    metadata_directory : str
        The directory of the metadata.json, absolute.
    working_directory : str, optional
        By default the process's own.
    is_one_sided : bool
        The JSON is the metadata.json of one side. Beside any other, a golden and a target path would meet in one file.
    """
    place = _place_of(metadata_directory)
    found = [_joined(metadata_directory, path)]
    below = reroot(path)
    if below is not None:
        if place.dump_directory is not None:
            found.append(f"{place.dump_directory}/{below}")
        if place.name == below.split("/", 1)[0]:
            found.append(f"{place.parent}/{below}")
    elif place.beside_dump_directory is not None and not path.startswith("/"):
        found.append(_joined(place.beside_dump_directory, path))
    source, tail = _below_source_directory(path) if is_one_sided else ("", "")
    if tail and place.name not in _SOURCE_DIRECTORIES - {source}:
        found.append(f"{place.path}/{tail}")
    found.append(_joined(working_directory or os.getcwd(), path))
    return _without_repeats(found)


def _joined(directory: str, path: str) -> str:
    """As `os.path.join`, in a quarter of its time."""
    if path.startswith("/"):
        return path
    return f"{directory}{path}" if not directory or directory.endswith("/") else f"{directory}/{path}"


def _without_repeats(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(_normal, paths)))


def _normal(path: str) -> str:
    """As `os.path.normpath`, but a path with ``..`` as it stands: what is in its way may be a link."""
    if _IS_NORMAL.fullmatch(path) or ".." in path.split("/"):
        return path
    return os.path.normpath(path)


def low_level_candidates(path: str, metadata_directory: str, working_directory: str | None = None) -> list[str]:
    """As `path_candidates`, for a path of the acceleration library.

    A relative one is looked for beside the dump that the JSON is in. Only if the JSON is in none, it may be in the working directory: in
    that of another dump, a moved one or a copy say, tensors of the same names lie, and a number made from those would look right.
    """
    if path.startswith("/"):
        return path_candidates(path, metadata_directory, working_directory)
    here = _place_of(metadata_directory)
    places = [] if here.beside_dump_directory is None else [here.beside_dump_directory]
    if not places and here.name in _SOURCE_DIRECTORIES:  # {pid}_cmp_dump_data was renamed
        places.append(_place_of(here.parent).parent)
    found = [_joined(place, path) for place in (*places, here.path)]
    if not places:
        found.append(_joined(working_directory or os.getcwd(), path))
    return _without_repeats(found)


class LowLevelPath(NamedTuple):
    """A path of the acceleration library in three parts: ``{tensors_directory}/{run_directory}/{tail}``.

    ``run_directory`` is ``thread_{pid}`` as `dump_data` wrote it; builds that name it by thread id or by device and pid have the same
    tail under another name. So the file, if it is nowhere else, is the one match of ``{tensors_directory}/*/{tail}``
    whose run directory `is_run_directory_name`.
    """

    tensors_directory: str
    run_directory: str
    tail: str


def split_low_level_path(path: str) -> LowLevelPath | None:
    """Split ``.../tensors/thread_{pid}/{token}/{tensor_path}``; None where the path is of another kind or holds ``..``."""
    parts = path.split("/")
    if ".." in parts:
        return None
    for index in range(len(parts) - 2):
        if parts[index] == "tensors" and is_run_directory_name(parts[index + 1]):
            return LowLevelPath("/".join(parts[: index + 1]), parts[index + 1], "/".join(parts[index + 2 :]))
    return None


def is_run_directory_name(name: str) -> bool:
    """True for ``thread_*``, ``{pid}``, ``{pid}_{tid}`` and ``{device}_{pid}``: what a library calls the directory of one run."""
    return _RUN_DIRECTORY.fullmatch(name) is not None


# --- journal ---------------------------------------------------------------------------------------------------------------------------


class JournalEntry(NamedTuple):
    """One `dump_data` call that succeeded. ``dtype`` is "" where unknown; ``stored`` is "" where the file has the tensor's own dtype."""

    data_id: str
    token_id: str
    path: str
    dtype: str = ""
    stored: str = ""


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """Who wrote a journal: ``rank`` is "" where RANK was not set, ``cwd`` the working directory at the first call."""

    pid: int
    rank: str
    cwd: str
    data_src: str
    version: int = JOURNAL_VERSION


@dataclass(frozen=True, slots=True)
class Journal:
    """What could be read of a journal.

    Attributes
    ----------
    header : JournalHeader or None
        None where the first line is not a header of this version.
    entries : list of JournalEntry
        In file order, repeats included.
    is_torn : bool
        The last line has no line feed: its writer was killed, or is writing now.
    rejected_count : int
        Complete lines that are no entry.
    """

    header: JournalHeader | None
    entries: list[JournalEntry]
    is_torn: bool
    rejected_count: int


def header_line(header: JournalHeader) -> bytes:
    """The first line of a journal, line feed included."""
    fields = {"fastcmp_journal": header.version, "pid": header.pid, "rank": header.rank, "cwd": header.cwd, "data_src": header.data_src}
    return json.dumps(fields).encode("ascii") + b"\n"


def entry_line(entry: JournalEntry) -> bytes:
    """One journal line, line feed included."""
    # Put together by hand: json.dumps takes 3.4 us of a call that np.save does in 40.
    data_id, token_id, path, dtype, stored = map(encode_basestring_ascii, entry)
    tail = f',"stored":{stored}' if entry.stored else ""
    return f'{{"data_id":{data_id},"token_id":{token_id},"path":{path},"dtype":{dtype}{tail}}}\n'.encode("ascii")


def read_journal(path: str) -> Journal:
    """Read a journal, also one that is being written or was cut short. Never raises for what the file holds.

    Raises
    ------
    OSError
        If it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path}: found no regular file, expected a journal; name the directory of a dump")
        header: JournalHeader | None = None
        entries: list[JournalEntry] = []
        rejected_count, is_first, is_torn = 0, True, False
        while line := file.readline(MAX_JOURNAL_LINE):
            if not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    is_torn, line = True, file.readline(MAX_JOURNAL_LINE)
                if line:
                    is_torn, rejected_count, is_first = False, rejected_count + 1, False
                continue
            fields = _object_of(line)
            if is_first:
                header = _header_of(fields)
            if not is_first or header is None:
                entry = _entry_of(fields)
                if entry is None:
                    rejected_count += 1
                else:
                    entries.append(entry)
            is_first = False
    return Journal(header, entries, is_torn, rejected_count)


def _object_of(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode())  # of bytes json.loads would guess the encoding, and take UTF-16 with NULs for a line
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _header_of(fields: dict[str, Any]) -> JournalHeader | None:
    pid, rank, cwd, data_src = (fields.get(name) for name in ("pid", "rank", "cwd", "data_src"))
    if fields.get("fastcmp_journal") != JOURNAL_VERSION or type(pid) is not int:
        return None
    if not (isinstance(rank, str) and isinstance(cwd, str) and isinstance(data_src, str)):
        return None
    return JournalHeader(pid, rank, cwd, data_src)


def _entry_of(fields: dict[str, Any]) -> JournalEntry | None:
    data_id, token_id, path = fields.get("data_id"), fields.get("token_id"), fields.get("path")
    dtype, stored = fields.get("dtype", ""), fields.get("stored", "")
    if not (isinstance(data_id, str) and isinstance(token_id, str) and isinstance(path, str) and path):
        return None
    if not (isinstance(dtype, str) and isinstance(stored, str)):
        return None
    return JournalEntry(data_id, token_id, path, dtype, stored)


def metadata_of(entries: Iterable[JournalEntry]) -> dict[str, dict[str, str]]:
    """``{data_id: {token_id: path}}`` in order of first appearance; of a repeated key the last path."""
    metadata: dict[str, dict[str, str]] = {}
    for entry in entries:
        metadata.setdefault(entry.data_id, {})[entry.token_id] = entry.path
    return metadata


def dtypes_of(entries: Iterable[JournalEntry]) -> dict[str, dict[str, str]]:
    """``{data_id: {token_id: dtype}}`` of the tensors that are stored in another dtype than their own; of a repeated key the last word.

    The names are numpy's, ml_dtypes' and torch's; a reader ignores one that it does not know.
    """
    dtypes: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.stored:
            dtypes.setdefault(entry.data_id, {})[entry.token_id] = entry.dtype
        elif entry.data_id in dtypes:
            dtypes[entry.data_id].pop(entry.token_id, None)
    return {data_id: tokens for data_id, tokens in dtypes.items() if tokens}
