"""Whatever goes wrong with one pair, as the error row that it becomes."""

from __future__ import annotations

import errno
from typing import Final

from fastcmp.errors import CODES, TensorError
from fastcmp.formats.places import files_of, shown_place
from fastcmp.plan import WorkItem

_CODE_BY_ERRNO: Final = {
    errno.ENOENT: "E_MISSING",
    errno.ENOTDIR: "E_MISSING",
    errno.EACCES: "E_PERMISSION",
    errno.EPERM: "E_PERMISSION",
    errno.ELOOP: "E_LOOP",
    errno.EMFILE: "E_OPEN_FILES",
    errno.ENFILE: "E_OPEN_FILES",
    errno.ENOMEM: "E_MEMORY",
}


class ItemError(Exception):
    """Why one item has no sums: an error code, the side it is about ("" for the pair), and the detail."""

    def __init__(self, code: str, side: str, detail: str) -> None:
        assert code in CODES
        super().__init__(code, side, detail)
        self.code, self.side, self.detail = code, side, detail


def as_item_error(error: BaseException, item: WorkItem, side: str = "") -> ItemError:
    """The error row for any exception; ``side`` where the caller knows it."""
    if isinstance(error, ItemError):
        return error
    if isinstance(error, TensorError):
        return ItemError(error.code, side or _side_of(error.path, item), f"{error.path}: {error.detail}")
    if isinstance(error, MemoryError):
        return ItemError(
            "E_MEMORY", side, f"{shown_place(item.golden_path)}: no memory for this pair" + (f" ({error})" if str(error) else "")
        )
    if isinstance(error, OSError) and error.errno is not None:
        path = str(error.filename) if error.filename else files_of(item.golden_path)[0]
        name = errno.errorcode.get(error.errno, str(error.errno))
        return ItemError(_CODE_BY_ERRNO.get(error.errno, "E_IO"), side or _side_of(path, item), f"{path}: {name}: {error.strerror}")
    return ItemError("E_INTERNAL", side, f"{shown_place(item.golden_path)}: {type(error).__name__}: {error}")


def both_sides(golden: ItemError, target: ItemError) -> ItemError:
    """One error row for a pair of which neither side could be used; golden's code stands."""
    side = "" if golden.code == target.code else "golden"
    return ItemError(golden.code, side, f"{golden.detail}; {target.detail}")


def _side_of(path: str, item: WorkItem) -> str:
    golden, target = files_of(item.golden_path), files_of(item.target_path)
    return "" if golden == target else "golden" if path in golden else "target" if path in target else ""
