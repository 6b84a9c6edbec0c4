"""What was meant by a registered path that the acceleration library does not have: the nearest of what it has, and where they part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final

from fastcmp.doctor.registered import spelled_alike, stands_for

_MOST_SHOWN: Final = 3
_MOST_LOOKED_AT: Final = 2000
_MOST_EXAMPLES: Final = 64
_LONGEST: Final = 512
_ALIKE: Final = 0.5


def explain_missing(missing: Sequence[str], lines: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Sentences on registered paths without a tensor; of many that are alike but for their numbers, one.

    Parameters
    ----------
    missing : sequence of str
        ``{token}/{tensor_path}`` each.
    lines : sequence of str
        All registered paths.
    asked : sequence of str
        Examples of what the library has and nobody registered, in that form: tensors, or directories of them.
    """
    said: list[str] = []
    without = set(missing)
    of_tokens: dict[str, str] = {}
    for line in lines:
        if line not in without:
            token, _, tail = line.partition("/")
            of_tokens.setdefault(tail, token)
    other_tokens = [line for line in missing if line.partition("/")[2] in of_tokens]
    if other_tokens:
        token, _, tail = other_tokens[0].partition("/")
        tokens = list(dict.fromkeys(line.partition("/")[0] for line in other_tokens))
        said.append(f"{len(other_tokens)} were saved of other tokens, {tail!r} of {of_tokens[tail]!r}, but not of {_some(tokens)}")
    rest = _unlike(line for line in missing[:_MOST_LOOKED_AT] if line.partition("/")[2] not in of_tokens)
    said += [_explained(line, asked[:_MOST_EXAMPLES]) for line in rest[:_MOST_SHOWN]]
    if not rest and not other_tokens and asked:
        said.append(f"what it has and nobody registered is, for example, {_some(asked)}")
    return said


def _unlike(lines: Iterable[str]) -> list[str]:
    """Those that differ in more than their numbers."""
    return list({re.sub(r"[0-9]+", "0", line): line for line in reversed(list(lines))}.values())[::-1]


def _explained(line: str, asked: Sequence[str]) -> str:
    hints = []
    parts = line.split("/")
    if len(parts) > 2 and parts[1].isdecimal():
        hints.append(f"begins with {parts[1]!r} as if with a token, and token_id says that already ({parts[0]!r})")
    if not parts[-1].endswith(".bin"):
        hints.append("does not end in .bin")
    near = _nearest(line, asked)
    if near:
        hints.append(f"nearest to it the library has {near!r}{_difference(line, near)}")
    elif asked:
        hints.append(f"the library has nothing like it, but, for example, {_some(asked)}")
    return f"registered {line!r}" + (": " + "; ".join(hints) if hints else "")


def _nearest(line: str, asked: Sequence[str]) -> str:
    best, best_score = "", _ALIKE
    for example in asked:
        head = _head(line, example)[:_LONGEST]
        score = SequenceMatcher(None, head, spelled_alike(example)[:_LONGEST], autojunk=False).ratio()
        if score > best_score:
            best, best_score = example, score
    return best


def _head(line: str, example: str) -> str:
    """As many parts of a registered path as an example has, which may be a directory."""
    return "/".join(spelled_alike(line).split("/")[: example.count("/") + 1])


def _difference(line: str, example: str) -> str:
    ours, theirs = _head(line, example).split("/"), spelled_alike(example).split("/")
    if len(ours) != len(theirs):
        return ""
    apart = [(one, other) for depth, (one, other) in enumerate(zip(ours, theirs, strict=True)) if not stands_for(one, other, depth == 0)]
    if len(apart) != 1:
        return ""
    one, other = apart[0]
    return f", which differs only in {'the token' if ours[0] == one and ours[0] != theirs[0] else 'a name'}: {other!r}, not {one!r}"


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(repr(text) for text in texts[:_MOST_SHOWN])
    return shown + (f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else "")
