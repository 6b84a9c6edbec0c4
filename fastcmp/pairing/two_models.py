"""A library that runs the prefill and the decode steps as two models, against a torch model that runs both."""

from __future__ import annotations

import re
from typing import Final

from fastcmp.pairing.layer_numbers import Parsed
from fastcmp.pairing.links import Matching, Side, shown
from fastcmp.pairing.name_parts import model_of
from fastcmp.pairing.token_shift import number_of
from fastcmp.sources.natural_order import natural_key

_BOTH: Final = 2
_ATTENTION: Final = re.compile(r"^(?:self|paged|flash)attention.*$")


def prefill_and_decode(matching: Matching, golden: Parsed, target: Parsed) -> list[tuple[str, int]]:
    """What the names of each of two models of target begin with, and the offset of its tokens; [] where there are no two.

    Each model counts its own executions from 0, so the folder of the first holds the prefill and the first decode step. Only where golden
    has modules of torch, one set of them, no token would have two tensors, and both models have the same layers and operations: a model of
    pictures before one of words is no prefill.
    """
    if any(parts.words for parts in golden.values()):
        return []
    models = sorted({model_of(name[1]) for name in target if target[name].words and target[name].layer >= 0}, key=natural_key)
    if len(models) != _BOTH or models[1].startswith(models[0]):
        return []
    if _shape_of(target, models[0]) != _shape_of(target, models[1]):
        return []
    first, then = (_tokens(matching.target, target, model) for model in models)
    offset = 0 if not first & then else 1
    if not first or not then or first & {token + offset for token in then}:
        return []
    if offset:
        one, other = (shown(("", model.rstrip("/"))) for model in models)
        text = f"{one} of target is taken for the prefill and {other} for what follows, each counting from {min(first)}: "
        matching.warn([f"{text}token_id {min(then) + 1} of golden is {min(then)} of the second"])
    return [(models[0], 0), (models[1], -offset)]


def _shape_of(parsed: Parsed, model: str) -> tuple[set[int], set[tuple[str, ...]]]:
    """The layers of a model and its operations; only the attention of a prefill has another name than that of a decode step."""
    layers, operations = set(), set()
    for name, parts in parsed.items():
        if name[1].startswith(model) and parts.words and parts.layer >= 0:
            layers.add(parts.layer)
            operations.add(tuple(_ATTENTION.sub("attention", word) for word in parts.words))
    return layers, operations


def _tokens(side: Side, parsed: Parsed, model: str) -> set[int]:
    """The tokens of the tensors of a model; none where one of them is no number."""
    names = [name for name in parsed if name[1].startswith(model)]
    numbers = {number_of(token) for name in names for token in side.by_name[name]}
    return set() if None in numbers else {number for number in numbers if number is not None}
