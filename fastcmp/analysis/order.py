"""In which order the tensors of a report ran, from its table alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastcmp.analysis.names import Names, parse_names
from fastcmp.sources.natural_order import token_key


@dataclass(frozen=True)
class Order:
    """The rows of a report in execution order; arrays with an entry per row, but for ``rows``.

    Attributes
    ----------
    position : ndarray of int64
        0 for the row that ran first: by token, then by the first appearance of its data_id within its rank; ranks side by side.
    rows : ndarray of int64
        Row numbers in that order.
    token, rank : ndarray of int64
        Position of the row's token among ``tokens``, of its rank among ``ranks``.
    name : ndarray of int64
        Which of ``names`` its data_id is.
    step : ndarray of int64
        Number of the (token, rank): what one process computed in one forward pass.
    tokens, ranks : list of str
        In the order of `token_key`.
    names : Names
    """

    position: np.ndarray
    rows: np.ndarray
    token: np.ndarray
    rank: np.ndarray
    name: np.ndarray
    step: np.ndarray
    tokens: list[str]
    ranks: list[str]
    names: Names


def find_order(table: pa.Table) -> Order:
    """The execution order of a report table in its row order; equals `fastcmp.pairing.Pair.execution_order`."""
    name, texts = _encoded(table, "data_id")
    token, tokens = _sorted_codes(table, "token_id")
    rank, ranks = _sorted_codes(table, "rank")
    appearance = _appearance_in_rank(rank, name, len(texts))
    rows = np.lexsort((rank, appearance, token))
    position = np.empty_like(rows)
    position[rows] = np.arange(len(rows))
    return Order(position, rows, token, rank, name, token * max(len(ranks), 1) + rank, tokens, ranks, parse_names(texts))


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
    """For each row, how many other data_ids had appeared in its rank when its own first did."""
    combined, first, inverse = np.unique(rank * name_count + name, return_index=True, return_inverse=True)
    by_row = np.lexsort((first, combined // max(name_count, 1)))
    numbers = np.empty(len(combined), dtype=np.int64)
    numbers[by_row] = np.arange(len(combined))
    ranks_of = combined // max(name_count, 1)
    starts = np.searchsorted(ranks_of, ranks_of)  # combined is sorted, so ranks are runs
    return (numbers - starts)[inverse]
