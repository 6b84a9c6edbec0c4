"""Two revisions beside each other: turns, ratios and what counts as slower. The processes are stand-ins."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def from_bench(*names: str) -> list[ModuleType]:
    """Modules of bench/, which is no package; what other tests have under the same names is put back."""
    ours = {path.stem for path in BENCH.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in ours if name in sys.modules}
    sys.path.insert(0, str(BENCH))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(BENCH))
        for name in ours:
            sys.modules.pop(name, None)
        sys.modules.update(others)


ab, ab_side, ab_server = from_bench("ab", "ab_side", "ab_server")
Answer, CannotBuild = ab_side.Answer, ab_side.CannotBuild


class StandIn:
    """A side that takes a known time for each call."""

    def __init__(self, name: str, seconds: Callable[[int], float], reason: str = "") -> None:
        self.name, self.seconds, self.reason = name, seconds, reason
        self.asked: list[int] = []

    def send(self, case: str, times: int) -> None:
        self.asked.append(times)

    def receive(self) -> Answer:
        return Answer(self.asked[-1] * self.seconds(len(self.asked)), self.reason)

    def run(self, case: str, times: int) -> Answer:
        self.send(case, times)
        return self.receive()


def compared(base: StandIn, head: StandIn) -> ab.Comparison:
    return ab.compare_case("task", base, head, 0.5, 6)


def drifting(turn: int) -> float:
    """A machine that is twice as slow in the end."""
    return 0.01 * (1 + min(turn, 40) / 40)


def test_equal_sides_are_equal_on_a_machine_that_drifts() -> None:
    found = compared(StandIn("base", drifting), StandIn("head", drifting))
    assert found.median == pytest.approx(1.0, abs=0.1) and not ab.slower(found, 1.15)


def test_a_slower_head_is_told_from_a_drift() -> None:
    found = compared(StandIn("base", drifting), StandIn("head", lambda turn: 1.3 * drifting(turn)))
    assert ab.slower(found, 1.15) and "SLOWER than 1.15 times" in ab.table([found], 1.15)
    assert not ab.slower(compared(StandIn("base", lambda turn: 0.01), StandIn("head", lambda turn: 0.005)), 1.15)


def test_neither_side_is_always_the_first() -> None:
    order = [first for first, _ in ab.turn_order("base", "head", 4)]
    assert order == ["base", "head", "base", "head"]


def test_what_the_base_does_not_have_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(StandIn("base", drifting, "ImportError: no run_task"), StandIn("head", drifting))
    assert found.skipped and not ab.slower(found, 1.15) and "skipped" in ab.table([found], 1.15)
    assert "base cannot run it: ImportError: no run_task" in capsys.readouterr().err


def test_what_the_head_does_not_have_is_an_error() -> None:
    with pytest.raises(SystemExit, match="head cannot run it: gone"):
        compared(StandIn("base", drifting), StandIn("head", drifting, "gone"))


def test_a_clone_without_history_has_nothing_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: str) -> str:
        raise CannotBuild("no")

    monkeypatch.setattr(ab, "git", refuse)
    monkeypatch.setattr(sys, "argv", ["ab.py", "--short"])
    assert ab.main() == 0
    monkeypatch.setattr(sys, "argv", ["ab.py"])
    assert ab.main() == 2


def test_code_of_another_revision_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = ModuleType("fastcmp"), ModuleType("fastcmp._native")
    own.__file__, other.__file__ = "/base/fastcmp/__init__.py", "/installed/fastcmp/_native.so"
    monkeypatch.setattr(sys, "modules", {"sys": sys, "fastcmp": own})
    assert ab_server.strangers("/base") == []
    sys.modules["fastcmp._native"] = other
    assert ab_server.strangers("/base") == ["/installed/fastcmp/_native.so"]
