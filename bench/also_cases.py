"""Released tools from the package index, in an environment of their own: only where `--also` asks for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from also_tools import TOOLS
from answers import WrongAnswer
from cases import FOR_THE_RECORD
from instead_cases import FURTHER_BYTES, ROUNDS, Pair, compare_pair, make_pair
from measure import ROOT, Case, further, slope, timed
from setting import Setting

ENVIRONMENT = ROOT / "build/bench-also"
PROGRAM = Path(__file__).resolve().parent / "also_tools.py"
PACKAGES = ("mindstudio-probe", "polygraphy")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
DTYPE = "float16"
# Of a pair that agrees: a cosine similarity, or that it matches.
AGREES = 0.999


def also_cases(setting: Setting) -> list[Case]:
    """One row for each, as in `instead_cases`."""
    python = environment_python()
    pair = make_pair(setting.data / "instead", DTYPE, setting.size.other_tool_bytes)
    more = FURTHER_BYTES // (2 * pair.nbytes)
    compare_pair(pair, setting.report, 1)  # warms up
    check_tools(python, pair)
    rounds = [take_round(python, pair, setting.report, 1 + more) for _ in range(ROUNDS)]
    once_s, ours_s, tools_s = zip(*rounds, strict=True)
    work = further(ours_s, once_s)
    cases = []
    for tool in TOOLS:
        case = Case(f"{DTYPE} pair: ours / {tool}", "GB/s", tool, FOR_THE_RECORD, group="instead")
        measured = [more * pair.gigabytes / seconds for seconds in work]
        cases.append(slope(case, work, measured, [pair.gigabytes / seconds[tool] for seconds in tools_s]))
    return cases


def take_round(python: Path, pair: Pair, report: Path, times: int) -> tuple[float, float, dict[str, float]]:
    """Seconds of ours for the pair once and many times, and of each tool."""
    ours = [timed(lambda count=count: compare_pair(pair, report, count)) for count in (1, times)]
    return ours[0], ours[1], {tool: run_tool(python, tool, pair.golden, pair.target)["seconds"] for tool in TOOLS}


def check_tools(python: Path, pair: Pair) -> None:
    """Each finds that the pair agrees and that the planted one does not."""
    for tool in TOOLS:
        agreeing, planted = (run_tool(python, tool, pair.golden, target)["figure"] for target in (pair.target, pair.planted))
        if not agreeing >= AGREES > planted:
            raise WrongAnswer(f"{tool}: {agreeing} for a pair that agrees, {planted} for the planted difference")


def run_tool(python: Path, tool: str, golden: Path, target: Path) -> dict[str, float]:
    """Seconds in the tool's own process, without its imports, and a figure."""
    answer: dict[str, float] = json.loads(run_python(python, str(PROGRAM), tool, str(golden), str(target)).splitlines()[-1])
    return answer


def environment_python() -> Path:
    """The Python of the environment, which is made if need be (some minutes)."""
    python, installed = ENVIRONMENT / "bin/python", ENVIRONMENT / ".installed"
    if not installed.exists():
        print(f"bench: {', '.join(PACKAGES)} into {ENVIRONMENT}", file=sys.stderr, flush=True)
        run_python(Path(sys.executable), "-m", "venv", str(ENVIRONMENT))
        run_python(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *PACKAGES)
        installed.touch()
    return python


def run_python(python: Path, *arguments: str) -> str:
    """What it prints; what it complained about ends the run."""
    done = subprocess.run([python, *arguments], env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: {python} {' '.join(arguments)}: exit status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
