"""The names that a dump gives its tensors. Plain data."""

from __future__ import annotations

from typing import NamedTuple


class TensorKey(NamedTuple):
    """What both dumps share. ``rank`` is "" where a dump has none. All are text, also when they were written as numbers."""

    rank: str
    data_id: str
    token_id: str


class NamedTensor(NamedTuple):
    """One tensor that a dump names, whether its file exists or not.

    A named tuple: it is made in a third of the time of a frozen dataclass, once for each of hundreds of thousands.

    Attributes
    ----------
    key : TensorKey
    written_path : str
        As the metadata has it; what the report shows.
    path : str
        Where the file lies (resolved); where it was looked for first if it is nowhere.
    dtype : str
        The true storage dtype if the dump side stored a wider one (`dtypes.json`), else "".
    notes : tuple of str
    is_unmatched : bool
        A ``*`` in the path stands for no file; ``notes`` say why.
    """

    key: TensorKey
    written_path: str
    path: str
    dtype: str = ""
    notes: tuple[str, ...] = ()
    is_unmatched: bool = False
