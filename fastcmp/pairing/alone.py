"""Why a tensor of one side has no counterpart, as its row says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastcmp.pairing.links import Name
from fastcmp.pairing.nearest import Nearest, nearest_text
from fastcmp.pairing.pairs import Pair
from fastcmp.sources.wording import listing, printable

_MOST_TOKENS: Final = 5


class Alone:
    """What there is to say about the pairs that have one side only: which tokens the other side has, or which names look like theirs.

    Of all other pairs nothing is kept.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        golden = dict.fromkeys((pair.key.rank, pair.key.data_id) for pair in pairs if pair.target is None)
        target = dict.fromkeys((pair.key.rank, pair.key.data_id) for pair in pairs if pair.golden is None)
        self._tokens: dict[tuple[Name, bool], list[str]] = {}
        for pair in pairs if golden or target else ():
            name = pair.key.rank, pair.key.data_id
            if name in golden and pair.target is not None:
                self._tokens.setdefault((name, True), []).append(pair.target.key.token_id)
            if name in target and pair.golden is not None:
                self._tokens.setdefault((name, False), []).append(pair.golden.key.token_id)
        # A name that pairs at other tokens looks like nobody else.
        self._golden = Nearest(data_id for (rank, data_id) in golden if ((rank, data_id), True) not in self._tokens)
        self._target = Nearest(
            dict.fromkeys(
                pair.target.key.data_id
                for pair in pairs
                if pair.golden is None and pair.target is not None and (pair.key[:2], False) not in self._tokens
            )
        )

    def text(self, pair: Pair) -> str:
        """How the reason of a row ends; "" where nothing is near."""
        is_golden = pair.target is None
        tokens = self._tokens.get(((pair.key.rank, pair.key.data_id), is_golden))
        if tokens is not None:
            other = "target" if is_golden else "golden"
            more = f" and {len(tokens) - _MOST_TOKENS} more" if len(tokens) > _MOST_TOKENS else ""
            return f"; {other} has this name at token_id {listing(map(_shown, tokens), _MOST_TOKENS)}{more}"
        tensor = pair.golden or pair.target
        if tensor is None or tensor.is_unmatched:  # there is no file, whatever its name is
            return ""
        if not is_golden and tensor.key.data_id != pair.key.data_id:
            return "; golden has this very name: --pair-by that begins with key pairs equal names"
        own, other_side = (self._golden, self._target) if is_golden else (self._target, self._golden)
        return nearest_text(other_side, tensor.key.data_id, own.numbers(tensor.key.data_id))


def _shown(token_id: str) -> str:
    return printable(token_id, 40) or "''"
