"""What the name of a tensor looks like where it says its layer, and whether it is an input or an output of an operation.

The expressions mean the same to Python's `re` and to RE2. They are for *patterns* of names, in which every number is a 0, except `PART` and
`SAVED_WHEN`, which do not care.
"""

from __future__ import annotations

import re
from typing import Final

# Layers and blocks, GPT's ``h``; in an op tree of the acceleration library the number stands before: ``3_DecoderLayer/1_Attention``.
# ``1_LayerNorm`` is no layer, and ``40_layers.3.norm`` has its own number. The first of the two that fits counts.
NUMBER_FIRST: Final = r"(?i)^(?P<before>.*?(?:^|/))(?P<layer>0)_[^/.]*(?:layer|block)s?(?:$|/|_$|_/|_[^n0/]|[^n_0s./\[-])"
NUMBER_LAST: Final = r"(?i)^(?P<before>.*?(?:layers[./_\[-]?|layer[._\[-]?|blocks?[._\[-]?|(?:^|\.)h\.))(?P<layer>0)"

# ``…/after/outtensor0``, ``…/intensor1``, ``layers.3.mlp.input[1]``, ``layers.3.mlp_output``, ``….forward.0.input.0``.
PART: Final = r"(?i)^(?P<owner>|.*[^a-z0-9])(?P<word>in|out|inter|internal|intermediate)_?(?:puts?|tensors?)(?:[._]?[0-9]+|\[[^\]]*\])?$"
SAVED_WHEN: Final = r"(?i)^(?P<owner>.*?)/?(?P<when>before|after)/$"
SEPARATORS: Final = r"[./_:-]+$"
# A number of more digits is no layer.
MOST_DIGITS: Final = 6

OUTPUT: Final = 0
INPUT: Final = 1
INSIDE: Final = 2
"""An intermediate tensor, or an input as it was after the operation."""
STALE: Final = 3
"""An output as it was before the operation: whatever the memory held, so its error means nothing."""

_LAYER_PREFIX: Final = re.compile(
    r"(?:.*?/)??\d{1,6}_[^/.]*?(?:layer|block)s?(?:[^n_s./\[\d-][^/]*|_[^n/\d][^/]*|_?)(?:/|$)"
    r"|.*?(?:layers[./_\[-]?|layer[._\[-]?|blocks?[._\[-]?|(?:^|\.)h\.)\d{1,6}\]?(?:[./_-]|$)",
    re.IGNORECASE,
)
_LAYER: Final = re.compile(
    r"(?:^|(?<=/))\d{1,6}_[^/.]*?(?:layer|block)s?(?:[^n_s./\[\d-][^/]*|_[^n/\d][^/]*|_?)(?=/|$)"
    r"|(?:layers[./_\[-]?|layer[._\[-]?|blocks?[._\[-]?|(?:^|(?<=\.))h\.)\d{1,6}\]?(?=[./_-]|$)",
    re.IGNORECASE,
)
_LONGEST_NAME: Final = 1000


def operation(name: str) -> str:
    """The name without its layer and what stands before it, ``mlp.down_proj``; the whole name where it has no layer."""
    if len(name) > _LONGEST_NAME:
        return name
    match = _LAYER_PREFIX.match(name)
    return name if match is None else name[match.end() :]


def layer_span(name: str) -> tuple[int, int] | None:
    """Where in the name its layer stands, ``layers.3``; None where it has none."""
    match = _LAYER.search(name) if len(name) <= _LONGEST_NAME else None
    return None if match is None else match.span()
