"""In which order the tensors of a report ran, from its table alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastcmp.sources.natural_order import token_key


@dataclass(frozen=True)
class ExecutionOrder:
    """The rows of a report as they ran; arrays with an entry per row, but for ``rows``.

    Attributes
    ----------
    position : ndarray of int64
        0 for the row that ran first: by token, then by the first appearance of its data_id within its rank; ranks side by side. As
        `fastcmp.pairing.Pair.execution_order`, but without gaps.
    rows : ndarray of int64
        Row numbers in that order.
    token, rank : ndarray of int64
        Position of the row's token among ``tokens``, of its rank among ``ranks``.
    name : ndarray of int64
        Which of ``names`` its data_id is.
    tokens, ranks : list of str
        In the order of `token_key`.
    names : pyarrow.StringArray
        Every data_id once, in the order of the table.
    """

    position: np.ndarray
    rows: np.ndarray
    token: np.ndarray
    rank: np.ndarray
    name: np.ndarray
    tokens: list[str]
    ranks: list[str]
    names: pa.StringArray


def find_execution_order(table: pa.Table) -> ExecutionOrder:
    """The execution order of a report table in its row order."""
    name, names = _encoded(table, "data_id")
    token, tokens = _sorted_codes(table, "token_id")
    rank, ranks = _sorted_codes(table, "rank")
    rows = np.lexsort((rank, _appearance_in_rank(rank, name, len(names)), token))
    position = np.empty_like(rows)
    position[rows] = np.arange(len(rows))
    return ExecutionOrder(position, rows, token, rank, name, tokens, ranks, names)


def execution_orders(table: pa.Table) -> np.ndarray:
    """For each row of a report when it ran, from 0."""
    return find_execution_order(table).position


def _encoded(table: pa.Table, column: str) -> tuple[np.ndarray, pa.StringArray]:
    """A text column as numbers, and the texts they stand for in the order of their first appearance."""
    encoded = table.column(column).combine_chunks().fill_null("").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # what an empty table becomes
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _sorted_codes(table: pa.Table, column: str) -> tuple[np.ndarray, list[str]]:
    codes, texts = _encoded(table, column)
    found: list[str] = texts.to_pylist()
    by_key = sorted(range(len(found)), key=lambda code: token_key(found[code]))
    places = np.empty(len(found), dtype=np.int64)
    places[by_key] = np.arange(len(found))
    return places[codes], [found[code] for code in by_key]


def _appearance_in_rank(rank: np.ndarray, name: np.ndarray, name_count: int) -> np.ndarray:
    """For each row how many other names had appeared in its rank before its own did."""
    width = max(name_count, 1)
    keys, first, key_of = np.unique(rank * width + name, return_index=True, return_inverse=True)
    by_appearance = np.lexsort((first, keys // width))
    numbers = np.empty(len(keys), np.int64)
    numbers[by_appearance] = np.arange(len(keys))
    starts = np.searchsorted(keys // width, keys // width)  # the keys are sorted, so those of one rank stand together
    return (numbers - starts)[key_of.reshape(-1)]
