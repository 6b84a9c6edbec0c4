"""In which order the tensors of a report ran, from its table alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fastcmp.sources.natural_order import token_key


def execution_orders(table: pa.Table) -> np.ndarray:
    """For each row of a report when it ran, from 0, as `fastcmp.pairing.Pair.execution_order` has it.

    By token, then by the first appearance of its data_id within its rank; the ranks of one step stand side by side.
    """
    name, names = _encoded(table, "data_id")
    token, rank = _sorted_codes(table, "token_id"), _sorted_codes(table, "rank")
    order = np.lexsort((rank, _appearance_in_rank(rank, name, len(names)), token))
    orders = np.empty(len(order), np.int64)
    orders[order] = np.arange(len(order))
    return orders


def _encoded(table: pa.Table, column: str) -> tuple[np.ndarray, pa.Array]:
    """A text column as numbers, and the texts that they stand for."""
    texts = pa.concat_arrays(table.column(column).chunks) if table.num_rows else pa.array([], pa.string())
    encoded = texts.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _sorted_codes(table: pa.Table, column: str) -> np.ndarray:
    """For each row the place of its text among all of the column, as tokens are sorted."""
    codes, distinct = _encoded(table, column)
    texts = distinct.to_pylist()
    places = np.empty(len(texts), np.int64)
    places[sorted(range(len(texts)), key=lambda code: token_key(texts[code]))] = np.arange(len(texts))
    return places[codes]


def _appearance_in_rank(rank: np.ndarray, name: np.ndarray, name_count: int) -> np.ndarray:
    """For each row how many other names had appeared in its rank before its own did."""
    width = max(name_count, 1)
    keys, first, key_of = np.unique(rank * width + name, return_index=True, return_inverse=True)
    by_appearance = np.lexsort((first, keys // width))
    numbers = np.empty(len(keys), np.int64)
    numbers[by_appearance] = np.arange(len(keys))
    starts = np.searchsorted(keys // width, keys // width)  # the keys are sorted, so those of one rank stand together
    return (numbers - starts)[key_of.reshape(-1)]
