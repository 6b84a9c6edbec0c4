"""Every error that fastcmp raises on purpose, and the closed list of error codes.

A *tensor* error costs one row of the report; every other error ends the run with exit code 2 and one line.
All exceptions here keep their fields positional in ``args``, so they survive the trip from a worker process.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

EXIT_OK: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_ERROR: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143


@dataclass(frozen=True)
class CodeInfo:
    """What an error code means, and what its reader can do about it; ``is_in_detail`` where each detail says that, for the very tensor."""

    meaning: str
    advice: str
    is_in_detail: bool = False

    def advised(self, detail: str) -> str:
        """``detail`` and, where that does not say it, what to do."""
        return detail if self.is_in_detail or self.advice in detail else f"{detail}; {self.advice}"


CODES: Final[dict[str, CodeInfo]] = {
    # finding and opening the file
    "E_MISSING": CodeInfo("the file is listed but does not exist", "check that the dump finished and was moved as a whole"),
    "E_PERMISSION": CodeInfo("the file may not be read by this user", "change its permissions, or run as its owner"),
    "E_NOT_REGULAR": CodeInfo("the path is a directory, device, FIFO or socket", "name a regular tensor file"),
    "E_LOOP": CodeInfo("the path runs through a loop of symbolic links", "repair the links"),
    "E_LINK_OUTSIDE": CodeInfo("a symbolic link leads outside the allowed roots", "add --root for the place it leads to"),
    "E_PATH_OUTSIDE": CodeInfo("the path lies outside the allowed roots", "add --root for it, if it is trusted"),
    "E_PATH": CodeInfo("the path cannot be a file name (NUL byte, too long)", "repair the entry in metadata.json"),
    "E_EMPTY_FILE": CodeInfo("the file has no bytes", "dump this tensor again"),
    "E_UNKNOWN_FORMAT": CodeInfo("no reader knows this kind of file", "convert it to .npy, .safetensors or .pt"),
    # .bin headers
    "E_BAD_MAGIC": CodeInfo("the file does not start like a tensor file of its kind", "check that it is a tensor dump"),
    "E_NO_END": CodeInfo("the header has no $End=1 line", "the dump was cut short; dump this tensor again"),
    "E_DUP_KEY": CodeInfo("a header key stands twice", "dump this tensor again"),
    "E_VERSION": CodeInfo("the header has an unknown version", "update fastcmp, or dump in version 1.0"),
    "E_DTYPE": CodeInfo("the element type is unknown or cannot be compared", "dump in a numeric dtype"),
    "E_BAD_DIMS": CodeInfo("the dims are not a valid shape", "dump this tensor again"),
    "E_OBJ_RANGE": CodeInfo("an object lies outside the payload, or objects overlap", "dump this tensor again"),
    "E_TRUNCATED": CodeInfo("the file ends before its payload does", "the dump was cut short; dump this tensor again"),
    "E_MULTI_RECORD": CodeInfo("several records were appended to one file", "choose one with --multi-record first|last"),
    "E_SIZE_SHORT": CodeInfo("the payload is smaller than dims x dtype", "dump this tensor again"),
    "E_SIZE_LONG": CodeInfo("the payload is larger than dims x dtype", "dump this tensor again"),
    "E_SIZE": CodeInfo("the payload fits no packing of this sub-byte dtype", "dump this tensor again"),
    "E_NO_DATA": CodeInfo("the file describes a tensor but holds no data", "dump with data (ATB_SAVE_TENSOR=1)"),
    "E_STATS_ONLY": CodeInfo("the file holds statistics only, and by those the pair is judged", "dump with data to know more"),
    "E_CHECKSUM": CodeInfo("the file holds a checksum only: it says same bytes or other bytes", "dump with data to know more"),
    "E_ALIAS": CodeInfo("the file names another tensor instead of holding data", "compare the tensor that it names"),
    "E_NZ_LOGICAL": CodeInfo("a FRACTAL_NZ payload under its logical shape cannot be reordered", "convert to ND before dumping"),
    "E_FORMAT": CodeInfo("the memory format cannot be reordered", "convert to ND before dumping, or --format-policy flat"),
    # .npy headers
    "E_NPY_PICKLE": CodeInfo("the .npy file holds pickled Python objects, which are never loaded", "save a numeric array"),
    "E_NPY_KIND": CodeInfo("the .npy dtype is not a plain number", "save a numeric array"),
    "E_NPY_HEADER": CodeInfo("the .npy header is malformed", "save this array again"),
    "E_NPY_VERSION": CodeInfo("the .npy version is unknown", "save as version 1.0, 2.0 or 3.0"),
    # files of several tensors
    "E_SAFETENSORS": CodeInfo("the .safetensors header is malformed", "save this file again"),
    "E_MEMBER": CodeInfo("the file holds no tensor of that name, or several and none is named", "name one that it holds, or dump it alone"),
    "E_ZIP": CodeInfo("the zip archive is malformed", "save this file again"),
    "E_COMPRESSED": CodeInfo("the tensor lies compressed in its archive", "save it by np.savez or torch.save, without compression", True),
    "E_PICKLE": CodeInfo("the pickle is malformed, or names what is no tensor", "save tensors in dicts, lists and tuples"),
    "E_TENSOR_KIND": CodeInfo(
        "the tensor has no plain elements (sparse, quantized, conjugated, a private NPU format), or is none (an array, a set, a storage)",
        "save it by .to_dense(), .dequantize(), .resolve_conj() or .cpu(), an array by torch.from_numpy()",
        True,
    ),
    # tensors of several ranks
    "E_SHARDS": CodeInfo("the parts of the ranks do not make up one tensor", "say how they do: --parallel, docs/parallel.md"),
    "E_REPLICAS": CodeInfo("ranks that must hold the same tensor do not", "summands? then say tp:partial in --parallel; else tp:first"),
    # while reading
    "E_SHRUNK": CodeInfo("the file became smaller while it was read", "compare after the dump has finished"),
    "E_CHANGED": CodeInfo("the file changed while it was read", "compare after the dump has finished"),
    "E_IO": CodeInfo("the operating system could not read the file", "check the disk"),
    "E_OPEN_FILES": CodeInfo("more files are open than this process, or the machine, may have", "raise the limit: ulimit -n, or -j fewer"),
    "E_MEMORY": CodeInfo("there was not enough memory for this pair", "run with fewer workers (-j)"),
    "E_TIMEOUT": CodeInfo("no byte of this pair could be read for a long time", "check the file system, or raise --stall"),
    "E_WORKER_DIED": CodeInfo("the worker process died twice on this pair", "look at this pair alone; report it if the files are sound"),
    "E_NODE_LOST": CodeInfo("the node of the cluster that this pair was given to was lost, several times", "bring it back and run again"),
    "E_INTERNAL": CodeInfo("fastcmp itself failed on this pair", "please report it, with --debug output"),
    # pairs
    "E_SHAPE": CodeInfo("golden and target differ in shape or element count", "check which tensor was dumped"),
    "E_UNPAIRED": CodeInfo("the tensor was dumped on one side only", "dump it on the other side, pair it by --map, or --allow-unpaired"),
}  # fmt: skip

STATED_CODES: Final = ("E_STATS_ONLY", "E_CHECKSUM")
"""Those of a file that says something of a tensor's elements without holding them."""

WARNINGS: Final[dict[str, str]] = {
    "W_COUNT": "$Object.Count is not the number of objects",
    "W_TRAILING": "bytes follow the payload",
    "W_PACKING_ASSUMED": "a packed sub-byte dtype: low bits first is assumed (experimental)",
    "W_FORMAT_DIFFERS": "golden and target have different memory formats; compared in the order they lie",
    "W_FORMAT_FLAT": "a memory format without a known order; compared in the order the elements lie",
    "W_NARROW_VALUES": "a tensor holds values of a narrower dtype than it is stored in",
    "W_MERGED": "the tensor was put together from those of several ranks",
    "W_ALIAS": "the file names another one, which was compared in its place",
    "W_MULTI_RECORD": "several records in one file; one was chosen",
}


def open_files_hint(error: BaseException) -> str:
    """What follows a reason of the operating system where it is that too many files are open; "" for all others."""
    return " (ulimit -n raises the limit)" if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE) else ""


def reason_and_advice(error: BaseException, advice: str) -> str:
    """Why the operating system refused, and what to do: ``advice``, where it is not that too many files are open."""
    reason = f"{getattr(error, 'strerror', None) or error}"
    return f"{reason}{open_files_hint(error) or f'; {advice}'}"


class FastcmpError(Exception):
    """Base of every error raised on purpose. ``exit_code`` is what the command line ends with."""

    exit_code: int = EXIT_ERROR


class TensorError(FastcmpError, ValueError):
    """One tensor cannot be used: a row of the report, never the end of a run.

    Parameters
    ----------
    code : str
        A key of `CODES`.
    path : str
        The file, as the user would find it.
    detail : str
        Where in the file, what was found, what was expected; no path and no code.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        if code not in CODES:
            raise KeyError(f"error code {code!r} is not in the closed list")
        super().__init__(code, path, detail)

    @property
    def code(self) -> str:
        return self.args[0]

    @property
    def path(self) -> str:
        return self.args[1]

    @property
    def detail(self) -> str:
        return self.args[2]

    def __str__(self) -> str:
        return f"{self.path}: {CODES[self.code].advised(self.detail)} [{self.code}]"


STATISTICS: Final = ("max", "min", "mean", "l2norm")
"""What files state of a tensor instead of its elements."""


class NoDataError(TensorError):
    """A file that describes its tensor and does not hold it: a description, statistics, a checksum, or the name of another tensor.

    Parameters
    ----------
    code, path, detail : str
        See `TensorError`.
    dtype : str
        Storage dtype that the header names.
        "" where it is none that is known.
    shape : tuple of int
    statistics : tuple of (str, float)
        Those of `STATISTICS` that it gives as numbers.
    decimals : int or None
        To how many decimals they are rounded; None for all digits of a float.
    checksum : str
    names : str
        The tensor that it names instead of holding one, as written.
    identity : tuple of int or None
        The file as it was, as `fastcmp.formats.tensor_info.FileIdentity`; zeros where none was opened for it, None where that is not known.
    """

    def __init__(
        self,
        code: str,
        path: str,
        detail: str,
        dtype: str,
        shape: tuple[int, ...],
        statistics: tuple[tuple[str, float], ...],
        decimals: int | None = None,
        checksum: str = "",
        names: str = "",
        identity: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__(code, path, detail)
        self.args = (code, path, detail, dtype, shape, statistics, decimals, checksum, names, identity)

    @property
    def dtype(self) -> str:
        return self.args[3]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.args[4]

    @property
    def statistics(self) -> dict[str, float]:
        return dict(self.args[5])

    @property
    def decimals(self) -> int | None:
        return self.args[6]

    @property
    def checksum(self) -> str:
        return self.args[7]

    @property
    def names(self) -> str:
        return self.args[8]

    @property
    def identity(self) -> tuple[int, int, int, int] | None:
        return self.args[9]


class UsageError(FastcmpError, ValueError):
    """An argument, option or input list that is refused before the first byte is read. One line, exit 2."""


class OutputError(FastcmpError, OSError):
    """The report cannot be written where the user wants it. One line with the path, exit 2."""


class DumpError(FastcmpError, RuntimeError):
    """`dump_data` could not save a tensor, and FASTCMP_STRICT=1 asked to hear of it."""


class WorkerDied(FastcmpError, RuntimeError):
    """A worker process ended while it worked on one row.

    Parameters
    ----------
    row : int
        The row it was on, or -1 if it had not said yet.
    cause : str
        For example ``killed by SIGKILL``, ``exit status 3``, ``no progress for 120 s``.
    timed_out : bool
        It did not die by itself: it was stopped because it made no progress.
    node_lost : bool
        It was lost together with its machine, or with the connection to that: whatever it worked on is not to blame.
    """

    def __init__(self, row: int, cause: str, timed_out: bool = False, node_lost: bool = False) -> None:
        super().__init__(row, cause, timed_out, node_lost)

    @property
    def row(self) -> int:
        return self.args[0]

    @property
    def cause(self) -> str:
        return self.args[1]

    @property
    def timed_out(self) -> bool:
        return self.args[2]

    @property
    def node_lost(self) -> bool:
        return self.args[3]

    def __str__(self) -> str:
        return f"a worker died on row {self.row}: {self.cause}"
