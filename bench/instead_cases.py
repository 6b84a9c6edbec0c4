"""What a person would do instead: the same pair of .npy files, warm, through other tools by one thread, as their documentation says."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dumps
import numpy as np
import original
import torch
from answers import WrongAnswer
from cases import FOR_THE_RECORD, MiB
from measure import Case, further, slope, timed
from setting import Setting

import fastcmp

DTYPES = ("float16", "float32")
# Ours is a slope: this many bytes more than one pair, so that starting a worker is no part of it.
FURTHER_BYTES = 2048 * MiB
ROUNDS = 3
TOLERANCE = {"rtol": 1e-2, "atol": 1e-2}
# Float32 sums of millions of elements.
AGREES = 1e-2


@dataclass(frozen=True)
class Pair:
    """One .npy file a side that agree, and a target with a planted difference."""

    directory: Path
    dtype: str
    nbytes: int

    @property
    def golden(self) -> Path:
        return self.directory / f"{self.dtype}_golden.npy"

    @property
    def target(self) -> Path:
        return self.directory / f"{self.dtype}_target.npy"

    @property
    def planted(self) -> Path:
        return self.directory / f"{self.dtype}_planted.npy"

    @property
    def gigabytes(self) -> float:
        return 2 * self.nbytes / 1e9


def instead_cases(setting: Setting) -> list[Case]:
    """Each other tool beside ours, for a wide and a narrow dtype."""
    torch.set_num_threads(1)
    cases, original_s, gigabytes = [], 0.0, 0.0
    for dtype in DTYPES[:1] if setting.size.name == "short" else DTYPES:
        pair = make_pair(setting.data / "instead", dtype, setting.size.other_tool_bytes)
        check_tools(pair, setting.report)
        rows = pair_cases(setting, pair)
        cases += rows
        gigabytes += pair.gigabytes
        original_s += pair.gigabytes / float(np.median([floor for _, floor in rows[0].rounds]))
    setting.original_gb_s = gigabytes / original_s
    return cases


def make_pair(directory: Path, dtype: str, nbytes: int) -> Pair:
    """Files of a few MiB are made anew each time: warm, and the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    pair = Pair(directory, dtype, nbytes)
    golden, target = (values.reshape(-1, 4096) for values in dumps.base_values(nbytes // dumps.itemsize(dtype), dtype))
    np.save(pair.golden, golden)
    np.save(pair.target, target)
    target[-1, 7] = dumps.PLANTED_VALUE
    np.save(pair.planted, target)
    return pair


def pair_cases(setting: Setting, pair: Pair) -> list[Case]:
    """One row for each tool, with KL in ours where the other has it too. Checking the tools has warmed them up."""
    count = 1 if setting.size.name == "short" else ROUNDS
    more = FURTHER_BYTES // (2 * pair.nbytes)
    rounds = [take_round(pair, setting.report, 1 + more) for _ in range(count)]
    cases = []
    for name, kl, _ in TOOLS:
        case = Case(f"{pair.dtype} pair: ours / {name}", "GB/s", name, FOR_THE_RECORD, group="instead")
        work = further([ours[kl] for _, ours, _ in rounds], [once for once, _, _ in rounds])
        floor = [pair.gigabytes / seconds[name] for _, _, seconds in rounds]
        cases.append(slope(case, work, [more * pair.gigabytes / seconds for seconds in work], floor))
    return cases


def take_round(pair: Pair, report: Path, times: int) -> tuple[float, dict[bool, float], dict[str, float]]:
    """Seconds of ours for the pair once, for the pair many times without and with KL, and of each tool."""
    once_s = timed(lambda: compare_pair(pair, report, 1))
    ours_s = {kl: timed(functools.partial(compare_pair, pair, report, times, kl=kl)) for kl in (False, True)}
    tools_s = {name: timed(functools.partial(tool, str(pair.golden), str(pair.target))) for name, _, tool in TOOLS}
    return once_s, ours_s, tools_s


def compare_pair(pair: Pair, report: Path, times: int, *, kl: bool = False, target: Path | None = None) -> fastcmp.Result:
    """Through Python, the pair under so many tokens."""
    sides = []
    for role, path in (("golden", pair.golden), ("target", target or pair.target)):
        sides.append(pair.directory / f"{role}.json")
        sides[-1].write_text(json.dumps({"pair": {str(token): str(path) for token in range(times)}}), encoding="utf-8")
    options = fastcmp.CompareOptions(output=str(report), kl="all" if kl else "none", workers=1)
    return fastcmp.compare(*sides, options=options)


def numpy_allclose(golden: str, target: str) -> bool:
    return np.allclose(np.load(target), np.load(golden), **TOLERANCE)


def torch_assert_close(golden: str, target: str) -> None:
    torch.testing.assert_close(torch.from_numpy(np.load(target)), torch.from_numpy(np.load(golden)), **TOLERANCE)


# name, whether it forms the KL divergence, what it does with two paths
TOOLS: tuple[tuple[str, bool, Callable[[str, str], Any]], ...] = (
    ("original", False, functools.partial(original.compare_pair, kl=False)),
    ("original, KL", True, functools.partial(original.compare_pair, kl=True)),
    ("numpy.allclose", False, numpy_allclose),
    ("torch.testing.assert_close", False, torch_assert_close),
)


def check_tools(pair: Pair, report: Path) -> None:
    """All agree that the pair agrees and that the planted one does not; the original's figures are ours within float32."""
    ours = compare_pair(pair, report, 1, kl=True)
    row = ours.table.to_pylist()[0]
    theirs = original.compare_pair(str(pair.golden), str(pair.target), kl=True)
    for name in ("cosine_similarity", "relative_euclidean_distance", "max_absolute_error", "mean_absolute_error", "golden_max_value"):
        if not abs(theirs[name] - row[name]) <= AGREES * abs(row[name]):
            raise WrongAnswer(f"{pair.golden}: {name} is {theirs[name]} by the original's formula, ours is {row[name]}")
    torch_assert_close(str(pair.golden), str(pair.target))
    if not (ours.ok and numpy_allclose(str(pair.golden), str(pair.target))):
        raise WrongAnswer(f"{pair.golden}: a pair that agrees failed")
    if compare_pair(pair, report, 1, target=pair.planted).ok or numpy_allclose(str(pair.golden), str(pair.planted)):
        raise WrongAnswer(f"{pair.planted}: a planted difference passed")
