"""The names that a dump gives its tensors. Plain data."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from fastcmp.formats.places import files_of

_NOTHING: Final = sys.maxsize


class TensorKey(NamedTuple):
    """What both dumps share. ``rank`` is "" where a dump has none. All are text, also when they were written as numbers."""

    rank: str
    data_id: str
    token_id: str


# The keys of one dump, from each to itself: a key of the other that is equal can be the same object. Of a million pairs, 130 MB.
KnownKeys = Mapping[tuple[str, str, str], TensorKey]


class NamedTensor(NamedTuple):
    """One tensor that a dump names, whether its file exists or not.

    A named tuple: it is made in a third of the time of a frozen dataclass, once for each of hundreds of thousands.

    Attributes
    ----------
    key : TensorKey
    written_path : str
        As the metadata has it; what the report shows.
    place : str
        The path without what `tail_start` says: of the files of one directory, the same object. A path for each would be as much memory
        as all the rest.
    dtype : str
        The true storage dtype if the dump side stored a wider one (`dtypes.json`), else "".
    notes : tuple of str
    is_unmatched : bool
        A ``*`` in the path stands for no file; ``notes`` say why.
    tail_start : int
        From here on ``written_path`` is the end of the path too; none of it is, if not given.
    """

    key: TensorKey
    written_path: str
    place: str
    dtype: str = ""
    notes: tuple[str, ...] = ()
    is_unmatched: bool = False
    tail_start: int = _NOTHING

    @property
    def path(self) -> str:
        """Its place, see `fastcmp.formats.places`; the file is resolved, or where it was looked for first if it is nowhere."""
        return self[2] + self[1][self[6] :]

    @property
    def files(self) -> tuple[str, ...]:
        """The files alone: one, but of what several ranks hold."""
        return files_of(self.path)
