"""Tensors that may belong together by what they are: their place, their shape, their values."""

from __future__ import annotations

from typing import Final, NamedTuple

from fastcmp.formats import TensorInfo, scan_batch
from fastcmp.pairing.layer_numbers import Parsed
from fastcmp.pairing.links import Matching, Name, Side
from fastcmp.pairing.name_parts import NameParts
from fastcmp.pairing.token_shift import shifted
from fastcmp.sources.named_tensor import NamedTensor
from fastcmp.sources.natural_order import token_key

# Headers are read for each. More free names than this are left alone.
MOST_TENSORS: Final = 200_000
_AT_ONCE: Final = 4096

ShapeClass = tuple[int, int]
"""Number of elements, and the last extent that is not 1: (1, 7, 4096) and (7, 4096) are alike, whoever keeps the axis of the batch."""


class Candidate(NamedTuple):
    """A free name, and its tensor at the token that both sides have."""

    name: Name
    parts: NameParts
    tensor: NamedTensor
    info: TensorInfo

    @property
    def shape_class(self) -> ShapeClass:
        """See `ShapeClass`."""
        return self.info.element_count, row_length(self.info)


def row_length(info: TensorInfo) -> int:
    """The last extent that is not 1."""
    return next((extent for extent in reversed(info.shape) if extent != 1), 1)


class Candidates(NamedTuple):
    """Of one side: the free names whose tensor can be read, in the order of the dump, and those that have none, or one that cannot."""

    readable: list[Candidate]
    others: list[Name]


def find_candidates(matching: Matching, golden: Parsed, target: Parsed, way: str) -> tuple[Candidates, Candidates]:
    """The free names of both sides by whether their tensor of the first common token can be read.

    Of each rank, one token decides: the first, in the order of tokens, that a free name of golden and a free name of target have.
    """
    if max(len(matching.golden.free), len(matching.target.free)) > MOST_TENSORS:
        matching.warn([f"--pair-by {way}: more than {MOST_TENSORS} names of one side are left; none of them is looked at"])
        return Candidates([], []), Candidates([], [])
    offset = matching.options.token_offset
    tokens = _common_tokens(matching, offset)
    theirs = {rank: shifted(token, offset) for rank, token in tokens.items()}
    return _readable(matching.golden, tokens, golden, matching), _readable(matching.target, theirs, target, matching)


def _common_tokens(matching: Matching, offset: int) -> dict[str, str]:
    of_golden, of_target = _tokens(matching.golden), _tokens(matching.target)
    found = {}
    for rank, tokens in of_golden.items():
        common = [token for token in tokens if shifted(token, offset) in of_target.get(rank, ())]
        if common:
            found[rank] = min(common, key=token_key)
    return found


def _tokens(side: Side) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in side.free:
        found.setdefault(name[0], set()).update(side.by_name[name])
    return found


def _readable(side: Side, tokens: dict[str, str], parsed: Parsed, matching: Matching) -> Candidates:
    chosen = [(name, side.by_name[name][tokens[name[0]]]) for name in side.free if tokens.get(name[0]) in side.by_name[name]]
    found: list[Candidate] = []
    has_token = {name for name, _ in chosen}
    others = [name for name in side.free if name not in has_token]
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        infos = scan_batch([tensor.path for _, tensor in part], matching.options.scan)
        for (name, tensor), info in zip(part, infos, strict=True):
            if isinstance(info, TensorInfo):
                found.append(Candidate(name, parsed[name], tensor, info))
            else:
                others.append(name)
    return Candidates(found, others)
