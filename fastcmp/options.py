"""One options dataclass for the command line, the environment, the config file and the API."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from fastcmp.errors import UsageError
from fastcmp.executor_choice import parse_executor

# Far more than any machine has cores: a number beyond it is a slip of the keyboard.
MOST_WORKERS: Final = 4096

FormatPolicy = Literal["strict", "flat"]
MultiRecord = Literal["error", "first", "last"]
AllowUnpaired = Literal["none", "golden", "target", "both"]
KLChoice = Literal["auto", "all", "none"]
CompatEuclid = Literal["sqrt", "legacy"]
PairWay = Literal["key", "md5", "ops", "position", "content"]
# A token beyond it is a slip of the keyboard.
MOST_TOKEN_OFFSET: Final = 10**9
ReportColumns = Literal["", "msprobe"]

ROLES: Final = ("golden", "target")
LAYOUT_NAMES: Final = ("auto", "metadata", "plain", "atb", "msit", "msprobe", "sglang", "hook")
"""What ``--layout`` may say: how the directories of a dump are read."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How headers are read and which files may be opened; `UsageError` for a value that is none of these."""

    multi_record: MultiRecord = "error"
    format_policy: FormatPolicy = "strict"
    roots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # One text would count as many roots, "/" among them.
        _freeze_list(self, "roots")
        _check_texts("roots", self.roots)
        _check_choice("multi_record", self.multi_record, get_args(MultiRecord))
        _check_choice("format_policy", self.format_policy, get_args(FormatPolicy))


@dataclass(frozen=True, slots=True)
class FoldOptions:
    """What a kernel must know beside the numbers."""

    kl: bool = False
    relative_floor: float = 2.0**-23
    scale: float | None = None
    mask_fill: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What the pairs of some names and dtypes must meet.

    Attributes
    ----------
    match : tuple of str
        Case-sensitive globs on the data_id as the report shows it; one of them must match. Empty: every name.
    dtype : tuple of str
        Globs on the narrower storage dtype of the pair, likewise.
    thresholds : tuple of str
        Such as ``cosine_similarity >= 0.999``; they replace what earlier rules and the default say about that metric.
    off : tuple of str
        Metrics that such pairs are not judged by: what earlier rules and the default say about them is dropped.
    """

    match: tuple[str, ...] = ()
    dtype: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("match", "dtype", "thresholds", "off"):
            _freeze_list(self, name)


@dataclass(frozen=True, slots=True)
class ParallelSide:
    """How the ranks of one dump share its tensors.

    Attributes
    ----------
    ranks : str
        Ways to divide the work and the ranks of each, such as ``"dp=2 tp=4"``: rank numbers count through the last way fastest. "" for a
        dump of one rank.
    dims : tuple of (str, str)
        A glob on the data_id, and the notation of `fastcmp.formats.dims` for the names that it matches; of several globs the last counts.
        A name that none matches is put together as the shapes of both sides say, where they leave one answer.
    """

    ranks: str = ""
    dims: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        said: object = self.dims  # people write a dict
        pairs: Any = said.items() if isinstance(said, dict) else said
        try:
            dims = tuple((glob, text) for glob, text in pairs if not isinstance(pairs, str))
            is_pairs = not isinstance(pairs, str) and not any(isinstance(pair, str) for pair in pairs)
        except (TypeError, ValueError):
            is_pairs = False
        if not is_pairs:
            raise UsageError(f"ParallelSide: dims: expected {{glob: notation}}, got {said!r}")
        object.__setattr__(self, "dims", dims)


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Everything that `fastcmp compare` can be told.

    Attributes
    ----------
    output : str
        Directory of the report.
    thresholds : tuple of str
        Such as ``cosine_similarity >= 0.999``; each replaces that metric's default, and whatever a rule says about it.
    rules : tuple of Rule
        For pairs of some names and dtypes; of all that match, the last one that speaks of a metric decides it.
    include, exclude : tuple of str
        Globs on data_id; a key is compared if it matches any include (all, if none is given) and no exclude.
    maps : tuple of str
        Files of rules that say what golden's names are called by target; they come before ``pair_by``.
    pair_by : tuple of {"key", "md5", "ops", "position", "content"}
        How names find each other, one way after another: equal keys, the MD5 of a weight, operations of the acceleration library and torch
        modules, the position within a layer, and what the tensors hold.
    token_offset : int
        Target's token is golden's and this.
    allow_unpaired : {"none", "golden", "target", "both"}
        Keys that may stand on that side alone without failing the run.
    kl : {"auto", "all", "none"}
        Which pairs get kl_divergence; auto: names that say logits, probs, softmax, lm_head.
    relative_floor : float
        Golden values at or below it take no part in relative errors.
    compat_euclid : {"sqrt", "legacy"}
        legacy: relative_euclidean_distance without the square root, as the original of 2023.
    scale : float or None
        Integer against float: the integer side is multiplied by it.
    mask_fill : bool
        Minus infinity on one side against the most negative number of the dtype on the other is a mask, and no mismatch.
    metrics : tuple of str
        ``file.py:name``: functions of two arrays, whose numbers become columns.
    metric_max_bytes : int
        What both arrays may take together; a larger pair has no such numbers.
    golden_parallel, target_parallel : ParallelSide or None
        How the ranks of a dump share each tensor; None: every rank has tensors of its own, which are compared with those of the same rank.
    workers : int
        0: one per core this process may use, or that the cluster has.
    executor : str
        ``local``, ``threads``, ``serial``, ``ray``, or a cluster: ``ray://host:port``, ``dask://host:port``.
    stall_s : float
        A worker that makes no progress for so long is killed.
    csv_raw : bool
        Text cells are not made harmless to spreadsheets.
    parquet : bool
    fresh : bool
        Take nothing from an earlier run that did not come to its end.
    layout : str
        One of `LAYOUT_NAMES` for both dumps, or ``golden=...,target=...``.
    columns : {"", "msprobe"}
        Whose columns a further report has.
    """

    output: str = "./fastcmp_report"
    thresholds: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    pair_by: tuple[PairWay, ...] = ("key",)
    token_offset: int = 0
    allow_unpaired: AllowUnpaired = "none"
    kl: KLChoice = "auto"
    relative_floor: float = 2.0**-23
    compat_euclid: CompatEuclid = "sqrt"
    scale: float | None = None
    mask_fill: bool = False
    metrics: tuple[str, ...] = ()
    metric_max_bytes: int = 2**30
    golden_parallel: ParallelSide | None = None
    target_parallel: ParallelSide | None = None
    workers: int = 0
    executor: str = "local"
    stall_s: float = 120.0
    csv_raw: bool = False
    parquet: bool = False
    fresh: bool = False
    layout: str = "auto"
    columns: ReportColumns = ""
    scan: ScanOptions = field(default_factory=ScanOptions)

    def __post_init__(self) -> None:
        for name in ("thresholds", "rules", "include", "exclude", "maps", "pair_by", "metrics"):
            _freeze_list(self, name)


def check(options: CompareOptions) -> None:
    """Refuse option values that cannot be meant, before the first byte is read.

    Raises
    ------
    UsageError
    """
    for name in ("thresholds", "include", "exclude", "maps", "pair_by", "metrics"):
        _check_texts(name, getattr(options, name))
    _check_ways(options.pair_by)
    if abs(options.token_offset) > MOST_TOKEN_OFFSET:
        raise UsageError(f"--token-offset {options.token_offset}: expected a whole number, {-MOST_TOKEN_OFFSET} to {MOST_TOKEN_OFFSET}")
    _check_rules(options.rules)
    for name in ("golden_parallel", "target_parallel"):
        side = getattr(options, name)
        if side is not None and not isinstance(side, ParallelSide):
            raise UsageError(f"{name}: expected a ParallelSide, got {side!r}")
    _check_choice("allow_unpaired", options.allow_unpaired, get_args(AllowUnpaired))
    _check_choice("kl", options.kl, get_args(KLChoice))
    _check_choice("compat_euclid", options.compat_euclid, get_args(CompatEuclid))
    _check_choice("columns", options.columns, get_args(ReportColumns))
    _check_texts("layout", (options.layout,))
    for role in ROLES:
        layout_of(options.layout, role)
    if not 0 <= options.workers <= MOST_WORKERS:
        raise UsageError(f"-j {options.workers}: expected a number of workers, 1 to {MOST_WORKERS}, or 0 for one per core")
    choice = parse_executor(options.executor)
    if choice.is_cluster and not all(root.startswith("/") for root in options.scan.roots if root):
        raise UsageError(f"--root: expected absolute paths with --executor {choice}, for they are looked up on its nodes")
    if not all(options.scan.roots):
        raise UsageError("--root '': expected the name of a directory")
    if not (options.stall_s > 0 and math.isfinite(options.stall_s)):
        raise UsageError(f"--stall {options.stall_s:g}: expected seconds, more than 0")
    if not (options.relative_floor >= 0 and math.isfinite(options.relative_floor)):
        raise UsageError(f"--relative-floor {options.relative_floor:g}: expected a number, 0 or more")
    if options.metric_max_bytes <= 0:
        raise UsageError(f"--metric-max-bytes {options.metric_max_bytes}: expected a number of bytes, more than 0")
    if options.scale is not None and not (math.isfinite(options.scale) and options.scale != 0):
        raise UsageError(f"--scale {options.scale:g}: expected what one integer step is worth, not 0")
    if not options.output or "\0" in options.output:
        raise UsageError(f"-o {options.output!r}: expected the name of a directory")


def layout_of(text: str, role: str) -> str:
    """What an option ``layout`` says of the golden or of the target dump.

    Raises
    ------
    UsageError
        If it is neither the name of a layout nor ``golden=NAME,target=NAME``.
    """
    by_role = dict.fromkeys(ROLES, text)
    if "=" in text:
        by_role = dict.fromkeys(ROLES, "auto")
        for part in text.split(","):
            name, _, layout = part.strip().partition("=")
            if name not in ROLES:
                raise UsageError(f"--layout {text!r}: expected golden=NAME,target=NAME, got {part.strip()!r}")
            by_role[name] = layout.strip()
    for layout in by_role.values():
        if layout not in LAYOUT_NAMES:
            raise UsageError(f"--layout {text!r}: expected one of {', '.join(LAYOUT_NAMES)}, got {layout!r}")
    return by_role[role]


def _freeze_list(options: object, name: str) -> None:
    """Lists are what people write in Python; options must hash and pickle."""
    value: object = getattr(options, name)
    if isinstance(value, list):
        object.__setattr__(options, name, tuple(value))


def _check_texts(name: str, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        raise UsageError(f"{name}: expected a list or tuple of texts, got {value!r}")


def _check_ways(ways: tuple[str, ...]) -> None:
    for way in ways:
        _check_choice("--pair-by", way, get_args(PairWay))
    if not ways or len(set(ways)) < len(ways):
        raise UsageError(f"--pair-by {','.join(ways)!r}: expected one or several of {', '.join(get_args(PairWay))}, each once")


def _check_rules(value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(rule, Rule) for rule in value):
        raise UsageError(f"rules: expected a list or tuple of Rule, got {value!r}")
    for rule in value:
        for name in ("match", "dtype", "thresholds", "off"):
            _check_texts(f"rules: {name}", getattr(rule, name))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
