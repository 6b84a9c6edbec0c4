"""Target's keys by golden's names, where `CompareOptions` asks for more than equal keys. Equal keys are pairs then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing.content import content_links
from fastcmp.pairing.links import Link, Matching, Name, Side, shown
from fastcmp.pairing.map_files import load_maps
from fastcmp.pairing.mapped import map_links
from fastcmp.pairing.operations import operation_links
from fastcmp.pairing.position import position_links
from fastcmp.pairing.token_shift import shifted
from fastcmp.pairing.weights import RULE_WEIGHT, is_weight_name, weight_links
from fastcmp.sources.dump import Dump
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.wording import printable

Tensors = Mapping[TensorKey, NamedTensor]


def _key_links(matching: Matching) -> list[Link]:
    rule = matching.equal_rule
    weights = RULE_WEIGHT if rule == "key" else rule
    shared = [name for name in matching.golden.free if name in matching.target.free]
    return [Link(name, name, weights if is_weight_name(name[1]) else rule) for name in shared]


_WAYS: Final[dict[str, Callable[[Matching], list[Link]]]] = {
    "key": _key_links,
    "md5": weight_links,
    "ops": operation_links,
    "position": position_links,
    "content": content_links,
}


class Renamed(NamedTuple):
    """Target's tensors by golden's keys; of each pair that there will be its rule; warnings."""

    target: dict[TensorKey, NamedTensor]
    rules: dict[TensorKey, str]
    warnings: list[str]


def rename(
    golden: tuple[Dump, Tensors],
    target: tuple[Dump, Tensors],
    options: CompareOptions,
    equal_rule: str,
    *,
    are_tokens_compared: bool,
) -> Renamed:
    """Link names by the rules of ``--map`` first, then by each way of ``--pair-by`` in its order; what one has linked, no later one sees.

    A name of target that is linked to none keeps its own; where golden has that name too, a ``#`` tells it apart.
    ``are_tokens_compared`` is False where target has golden's one token (`fastcmp.pairing.common_token`).

    Raises
    ------
    UsageError
        If a file of rules cannot be used, or they are ambiguous.
    """
    matching = Matching(Side(*golden), Side(*target), options, equal_rule)
    if options.maps:
        matching.take(map_links(matching, load_maps(options.maps)))
    for way in options.pair_by:
        if matching.golden.free and matching.target.free:
            matching.take(_WAYS[way](matching))
    by_target = {link.target: link for link in matching.links}
    own = _own_names(matching, by_target)
    found = Renamed({}, {}, matching.warnings)
    for key, tensor in target[1].items():
        link = by_target.get((key.rank, key.data_id))
        if link is None:
            name = own.get((key.rank, key.data_id), (key.rank, key.data_id))
            new = TensorKey(*name, shifted(key.token_id, -options.token_offset))
        else:
            new = TensorKey(*link.golden, shifted(key.token_id, -options.token_offset - link.offset * are_tokens_compared))
        if new in found.target:
            raise UsageError(_two_targets(new, found.target[new], tensor, "" if link is None else link.rule))
        if link is None:
            found.target[new] = tensor
            continue
        found.target[new] = tensor._replace(notes=(*tensor.notes, link.note)) if link.note else tensor
        found.rules[new] = link.rule
    return found


def _own_names(matching: Matching, by_target: Mapping[Name, Link]) -> dict[Name, Name]:
    """The names that target's unlinked tensors get where golden has one of that name, which is not theirs."""
    taken = {*matching.golden.by_name, *matching.target.by_name}
    own: dict[Name, Name] = {}
    for name in matching.target.free:
        if name in by_target or name not in matching.golden.by_name:
            continue
        rank, data_id = name
        while (rank, data_id) in taken:
            data_id += "#"
        taken.add((rank, data_id))
        own[name] = rank, data_id
    return own


def _two_targets(key: TensorKey, one: NamedTensor, other: NamedTensor, rule: str) -> str:
    targets = " and ".join(f"{shown(tensor.key[:2])!r} token_id {printable(tensor.key.token_id, 40)}" for tensor in (one, other))
    way, advice = "--token-offset", "leave it out, or give the tokens numbers of at most 18 digits"
    if rule.startswith("map:"):
        way, advice = "--map", "give the rules patterns or token offsets that do not overlap"
    elif rule and one.key[:2] != other.key[:2]:
        way, advice = f"--pair-by {rule}", "say with --map which of them it is"
    return f"{way}: golden {shown(key[:2])!r} token_id {printable(key.token_id, 40)} is {targets} of target, expected one of them; {advice}"
