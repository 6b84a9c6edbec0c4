"""Equal keys of both sides to the rows of the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from fastcmp.errors import UsageError
from fastcmp.globs import any_glob_mask
from fastcmp.options import CompareOptions
from fastcmp.pairing.common_rank import common_ranks
from fastcmp.pairing.common_token import common_token, token_advice
from fastcmp.pairing.nearest import Nearest, nearest_text
from fastcmp.pairing.token_shift import Shift, better_shift, idle_offset
from fastcmp.pairing.weights import RULE_WEIGHT, is_weight_name
from fastcmp.parallel.advice import parallel_advice
from fastcmp.sources.dump import Dump
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.wording import LOW_LEVEL_ADVICE, NOT_LISTED, listing, printable

RULE_KEY: Final = "key"
RULE_PATH: Final = "path"
RULE_FILE: Final = "file"
_MAX_PATTERNS: Final = 3
_MAX_REMARKS: Final = 6


class Pair(NamedTuple):
    """One row of the report to be. Exactly one side may be None (`E_UNPAIRED`).

    A named tuple: it is made in a third of the time of a frozen dataclass.

    Attributes
    ----------
    row : int
        Index in the report.
    key : TensorKey
        Golden's, where there is one; of target alone its own, or what tells it apart from golden's.
    golden, target : NamedTensor or None
    rule : str
        ``key`` (metadata, or files of several tensors, name both so), ``path`` (relative path in two directories), ``file`` (two files of
        one tensor), ``md5`` (of a weight), ``map:3`` (line 3 of ``--map``), ``ops``, ``position``, ``content``; "" for one side alone.
    execution_order : int
        0 for the pair that was computed first: by token, then by the first appearance of the data_id. The first divergence goes by it.
    """

    row: int
    key: TensorKey
    golden: NamedTensor | None
    target: NamedTensor | None
    rule: str
    execution_order: int


class Paired(NamedTuple):
    """All rows of the report to be, in its order, and what a user should know about how they came about."""

    pairs: list[Pair]
    warnings: list[str]


def pair(golden: Dump, target: Dump, options: CompareOptions) -> list[Pair]:
    """The pairs of `pair_dumps` alone."""
    return pair_dumps(golden, target, options).pairs


def pair_dumps(golden: Dump, target: Dump, options: CompareOptions) -> Paired:
    """Every key of either dump exactly once, in the row order of the report.

    Rank, then the data_id in golden's order, then the token; the keys that only target has follow in the same way, in target's order,
    at the end of their rank. Two files of one tensor are a pair whatever their names are. For ranks of one side only see `common_ranks`.

    Parameters
    ----------
    golden, target : Dump
    options : CompareOptions
        ``maps``, ``pair_by`` and ``token_offset`` say which name of target is which of golden, where they are not equal. ``include`` and
        ``exclude`` are case-sensitive globs on the data_id; keys left out have no row.

    Raises
    ------
    UsageError
        If there is no pair, or the rules of a map are ambiguous.
    """
    left, right = _by_key(golden), _by_key(target)
    kinds = {golden.kind, target.kind}
    rules: Mapping[TensorKey, str] = {}
    warnings = idle_offset(left, right, options.token_offset) if options.token_offset else []
    if kinds == {"file"} and len(left) == len(right) == 1:
        rule = RULE_FILE
        right = dict(zip(left, right.values(), strict=True))
    else:
        rule = RULE_PATH if kinds == {"directory"} else RULE_KEY
        (left, right), remarks = common_ranks((golden, left), (target, right))
        warnings += remarks
        right, remark = common_token(left, right, options.token_offset)
        warnings += [remark] if remark else []
        if options.maps or options.token_offset or options.pair_by != (RULE_KEY,):
            from fastcmp.pairing.renamed import rename

            right, rules, remarks = rename((golden, left), (target, right), options, rule, are_tokens_compared=not remark)
            warnings += remarks
    keys = list(left)
    keys += [key for key in right if key not in left]
    shared_count = len(left) + len(right) - len(keys)
    shift = better_shift(left, right) if shared_count < min(len(left), len(right)) else None
    advice = parallel_advice(golden, target, options) if shared_count < max(len(left), len(right)) else ""
    warnings += [advice] if advice else []
    if not shared_count:
        if unread := _unread_files(golden, target):
            raise UsageError("; ".join(unread))
        way = "other rules or ways" if options.maps or options.pair_by != (RULE_KEY,) else "--map or --pair-by"
        no_pair = _no_pair(golden, target, left, right, _shift_text(shift, options), way)
        raise UsageError("; ".join([no_pair, *warnings[:_MAX_REMARKS], *_remarks(golden, target)]))
    if shift is not None:
        warnings.append(_shift_text(shift, options))
    if options.include or options.exclude:
        # Of target alone by its own name, not by the one that tells it apart.
        names = [key.data_id if key in left else right[key].key.data_id for key in keys]
        wanted = _wanted(names, options)
        keys = [key for key, name in zip(keys, names, strict=True) if name in wanted]
    if not any(key in left and key in right for key in keys):
        raise UsageError(f"no pair is left of {shared_count}: {_given_globs(options)}; check the globs")
    return Paired(_rows(keys, left, right, rule, rules), warnings)


def _shift_text(shift: Shift | None, options: CompareOptions) -> str:
    """What another offset would do; "" for none."""
    if shift is None:
        return ""
    offset = options.token_offset + shift.offset
    return (
        f"{shift.pairs_now} tokens pair, with --token-offset {offset} {shift.pairs_then} would, all that can: "
        "does one side count its tokens from another number?"
    )


def _by_key(dump: Dump) -> dict[TensorKey, NamedTensor]:
    return {tensor.key: tensor for tensor in dump.tensors}


def _rows(
    keys: list[TensorKey],
    left: dict[TensorKey, NamedTensor],
    right: dict[TensorKey, NamedTensor],
    rule: str,
    rules: Mapping[TensorKey, str],
) -> list[Pair]:
    """One pair for each key; ``rules`` for those that have another one than ``rule``."""
    row_order, execution_order, names = _orders(keys, left)
    # One object for each number, as row and as execution order: two million of them are 64 MB.
    numbers = list(range(len(keys)))
    executed = np.empty(len(keys), np.int64)
    executed[execution_order] = np.arange(len(keys))
    pairs = []
    for row, position, order in zip(numbers, row_order, executed[row_order], strict=True):
        key = keys[position]
        one, other = left.get(key), right.get(key)
        pairs.append(Pair(row, key, one, other, rule if one is not None and other is not None else "", numbers[order]))
    # Afterwards, and by names, of which there are fewer: nearly always nothing is left to do.
    weights = {data_id for _, data_id in names if is_weight_name(data_id)} if rule == RULE_KEY and not rules else ()
    if rules:
        pairs = [pair._replace(rule=rules.get(pair.key, rule)) if pair.rule else pair for pair in pairs]
    elif weights:
        pairs = [pair._replace(rule=RULE_WEIGHT) if pair.rule and pair.key.data_id in weights else pair for pair in pairs]
    return pairs


def _orders(keys: list[TensorKey], left: dict[TensorKey, NamedTensor]) -> tuple[np.ndarray, np.ndarray, Iterable[tuple[str, ...]]]:
    """Positions of the keys in the order of the report, and in the order in which they were computed; and each rank and data_id once."""
    appearance: dict[tuple[str, ...], int] = {}
    name = _integers(appearance.setdefault(key[:2], len(appearance)) for key in keys)
    ranks, tokens = _positions({key.rank for key in keys}), _positions({key.token_id for key in keys})
    rank = _integers(ranks[key.rank] for key in keys)
    token = _integers(tokens[key.token_id] for key in keys)
    is_target_only = _integers(key not in left for key in keys)
    name_in_rank = _within_rank(appearance)[name]
    return np.lexsort((token, name, is_target_only, rank)), np.lexsort((rank, name_in_rank, token)), appearance


def _integers(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, np.int64)


def _positions(texts: set[str]) -> dict[str, int]:
    """Where each token (or rank) stands among the others: there are few of them, and integers sort faster than `token_key`."""
    return {text: position for position, text in enumerate(sorted(texts, key=token_key))}


def _within_rank(appearance: dict[tuple[str, ...], int]) -> np.ndarray:
    """Of every appearance, its number in its own rank, from 0, so that the ranks of one model step stand side by side."""
    counts: dict[str, int] = {}
    numbered = []
    for rank, _ in appearance:
        number = counts.get(rank, 0)
        counts[rank] = number + 1
        numbered.append(number)
    return np.array(numbered, np.int64)


def _wanted(data_ids: Iterable[str], options: CompareOptions) -> set[str]:
    """Those that an include matches (all, where none is given) and no exclude."""
    names = list(dict.fromkeys(data_ids))
    chosen = any_glob_mask(options.include, names)
    if options.exclude:
        chosen &= ~any_glob_mask(options.exclude, names)
    return {name for name, is_chosen in zip(names, chosen.tolist(), strict=True) if is_chosen}


def _given_globs(options: CompareOptions) -> str:
    """The globs as they are given on the command line."""
    given = [("--include", glob) for glob in options.include] + [("--exclude", glob) for glob in options.exclude]
    return " ".join(f"{flag} {shlex.quote(printable(glob, 80))}" for flag, glob in given)


def _no_pair(
    golden: Dump, target: Dump, left: dict[TensorKey, NamedTensor], right: dict[TensorKey, NamedTensor], shift_text: str, way: str
) -> str:
    sides = [
        f"{role} {printable(dump.path)} has {len(keys)} tensor{'s' if len(keys) > 1 else ''} ({_examples(keys)})"
        if keys
        else f"{role} {printable(dump.path)} has no tensor"
        for role, dump, keys in (("golden", golden, left), ("target", target, right))
    ]
    unmatched = [tensor for keys in (left, right) for tensor in keys.values() if tensor.is_unmatched]
    patterns = [f"{_name(tensor.key)} is {printable(tensor.path, 400)}: {'; '.join(tensor.notes)}" for tensor in unmatched[:_MAX_PATTERNS]]
    if len(unmatched) > _MAX_PATTERNS:
        patterns.append(f"and {len(unmatched) - _MAX_PATTERNS} more patterns")
    advice = [LOW_LEVEL_ADVICE] if patterns else []
    advice += [tokens] if (tokens := token_advice(left, right)) else []
    near = [] if shift_text else _near(left, right)
    keys = "the keys of both must agree" + ("" if shift_text or not near else f", or {way} say which name is which")
    return "; ".join([f"no pair at all: {', '.join(sides)}", *patterns, *advice, *near, *([shift_text] if shift_text else []), keys])


def _unread_files(golden: Dump, target: Dump) -> list[str]:
    """Why no tensor of a file that was named is known. Its keys say nothing then: it has the name of the file for one."""
    files = [(role, dump) for role, dump in (("golden", golden), ("target", target)) if dump.kind == "file"]
    said = [(role, warning) for role, dump in files for warning in dump.warnings]
    return [f"{role}: {warning.removeprefix(NOT_LISTED)}" for role, warning in said if warning.startswith(NOT_LISTED)]


def _remarks(golden: Dump, target: Dump) -> list[str]:
    """What was said when the dumps were loaded: it may be why nothing pairs."""
    both = [(f"{role}: ", warning) for role, dump in (("golden", golden), ("target", target)) for warning in dump.warnings]
    said = [warning if warning.startswith(role) else role + warning for role, warning in both]  # those of --parallel name it themselves
    more = [f"and {len(said) - _MAX_REMARKS} more warnings"] if len(said) > _MAX_REMARKS else []
    return [*said[:_MAX_REMARKS], *more]


def _near(left: dict[TensorKey, NamedTensor], right: dict[TensorKey, NamedTensor]) -> list[str]:
    """The first names of golden, each with those that look like it, where they are not equal."""
    index = Nearest(dict.fromkeys(key.data_id for key in right))
    names = list(dict.fromkeys(key.data_id for key in left))[:_MAX_PATTERNS]
    texts = [(name, nearest_text(index, name)) for name in names if name not in {key.data_id for key in right}]
    return [f"golden {printable(name, 80)!r}{text.replace('; ', ', ', 1)}" for name, text in texts if text][:1]


def _examples(keys: dict[TensorKey, NamedTensor]) -> str:
    shown = listing(map(_name, keys))
    return shown if len(keys) <= 5 else f"{shown} ..."


def _name(key: TensorKey) -> str:
    return printable("/".join(part for part in (key.rank and f"rank{key.rank}", key.data_id, key.token_id) if part), 80)
