"""What the name of a tensor says about its place: layer, operation, input or output. A name that says nothing has none of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# All of these run in RE2, in time linear to the name, however hostile that is. Decoder and encoder layers, blocks, GPT's ``h``;
# in an op tree of the acceleration library the number stands before: ``3_DecoderLayer/1_Attention``. ``1_LayerNorm`` is no layer.
_NUMBER_FIRST: Final = r"(?i)(?P<before>(?:^|/))(?P<layer>\d{1,6})(?P<behind>_[^/]*(?:layer|block)(?:[^n_]|_[^n]|_?$))"
_NUMBER_LAST: Final = r"(?i)(?P<before>(?:layers[./_\[-]?|layer[._\[-]?|blocks?[._\[-]?|(?:^|\.)h\.))(?P<layer>\d{1,6})(?P<behind>[^0-9]|$)"

# ``…/after/outtensor0``, ``…/intensor1``, ``layers.3.mlp.input[1]``, ``layers.3.mlp_output``, ``….forward.0.input.0``.
_PART: Final = (
    r"(?i)^(?P<owner>|.*[^a-z0-9])(?P<word>in|out|inter|internal|intermediate)_?(?:puts?|tensors?)(?:[._]?\d{1,6}|\[[^\]]*\])?$"
)
_SAVED_WHEN: Final = r"(?i)^(?P<owner>.*?)/?(?P<when>before|after)/$"
_INDEX: Final = r"\[[^\[\]]*\]$"
_SEPARATORS: Final = r"[^A-Za-z0-9\])]+$"

OUTPUT: Final = 0
INPUT: Final = 1
INSIDE: Final = 2
"""An intermediate tensor, or an input as it was after the operation."""
STALE: Final = 3
"""An output as it was before the operation: whatever the memory held, so its error means nothing."""


@dataclass(frozen=True)
class Names:
    """What each of some names says; arrays with an entry per name.

    Attributes
    ----------
    texts : pyarrow.StringArray
    layer : ndarray of int64
        -1 where the name has none.
    part : ndarray of int8
        `OUTPUT` (also where the name does not say), `INPUT`, `INSIDE` or `STALE`.
    owner : ndarray of int64
        Which of ``owners`` its operation is: equal for its inputs and outputs.
    owners : list of str
    kind : ndarray of int64
        Number of what the names have in common that differ in the layer only; with part and index.
    """

    texts: pa.StringArray
    layer: np.ndarray
    part: np.ndarray
    owner: np.ndarray
    owners: list[str]
    kind: np.ndarray


def parse_names(texts: pa.StringArray) -> Names:
    """Read names, all at once."""
    first, last = (pc.struct_field(pc.extract_regex(texts, pattern), "layer") for pattern in (_NUMBER_FIRST, _NUMBER_LAST))
    layer = pc.fill_null(pc.cast(pc.coalesce(first, last), pa.int64()), -1).to_numpy(zero_copy_only=False)
    without = pc.if_else(
        pc.is_valid(first),
        pc.replace_substring_regex(texts, _NUMBER_FIRST, r"\1*\3", max_replacements=1),
        pc.replace_substring_regex(texts, _NUMBER_LAST, r"\1*\3", max_replacements=1),
    )
    split = pc.extract_regex(texts, _PART)
    word, owner = pc.utf8_lower(pc.struct_field(split, "word")), pc.struct_field(split, "owner")
    saved = pc.extract_regex(owner, _SAVED_WHEN)
    when = pc.utf8_lower(pc.struct_field(saved, "when"))
    owner = pc.coalesce(pc.struct_field(saved, "owner"), owner, pc.replace_substring_regex(texts, _INDEX, ""))
    owner = pc.replace_substring_regex(owner, _SEPARATORS, "")
    owners = owner.dictionary_encode()
    kinds = without.dictionary_encode()
    return Names(texts, layer, _parts(word, when), _numbers(owners), owners.dictionary.to_pylist(), _numbers(kinds))


def _parts(word: pa.StringArray, when: pa.StringArray) -> np.ndarray:
    def equals(column: pa.StringArray, text: str) -> np.ndarray:
        return pc.fill_null(pc.equal(column, text), False).to_numpy(zero_copy_only=False)

    is_input, is_output, before, after = equals(word, "in"), equals(word, "out"), equals(when, "before"), equals(when, "after")
    is_inside = pc.is_valid(word).to_numpy(zero_copy_only=False) & ~is_input & ~is_output
    return np.select(
        [is_inside | (is_input & after), is_input, is_output & before], [INSIDE, INPUT, STALE], OUTPUT
    ).astype(np.int8)  # fmt: skip


def _numbers(encoded: pa.DictionaryArray) -> np.ndarray:
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


_LAYER_PREFIX: Final = re.compile(
    r"(?:.*?/)??\d{1,6}_[^/]*?(?:layer|block)(?:[^n_/][^/]*|_[^n/][^/]*|_?)(?:/|$)"
    r"|.*?(?:layers[./_\[-]?|layer[._\[-]?|blocks?[._\[-]?|(?:^|\.)h\.)\d{1,6}\]?(?:[./_-]|$)",
    re.IGNORECASE,
)
_LONGEST_NAME: Final = 1000


def operation(name: str) -> str:
    """The name without its layer and what stands before it, ``mlp.down_proj``; the whole name where it has no layer."""
    if len(name) > _LONGEST_NAME:
        return name
    match = _LAYER_PREFIX.match(name)
    return name if match is None else name[match.end() :]
