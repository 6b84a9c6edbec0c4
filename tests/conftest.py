"""What every test process needs before its first test."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest
from hypothesis import settings
from tries import examples

# A shell starts its background jobs with SIGINT ignored, and children inherit that: no test of Ctrl-C could ever see one.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The quick set judges a change, so it tries the same examples each time; `make test-slow` draws new ones, and so finds what these do not.
settings.register_profile("same examples", derandomize=True, max_examples=examples(100))
settings.register_profile("new examples", max_examples=examples(100))


def pytest_configure(config: pytest.Config) -> None:
    """As the marks that were asked for: without the slow tests, the same examples."""
    settings.load_profile("same examples" if config.getoption("markexpr") == "not slow" else "new examples")


@pytest.fixture
def cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Cuts as a tensor of gigabytes has them, in tensors of kilobytes: sets how many bytes of a side a piece has at most."""

    def cut(most_bytes: int) -> None:
        for module in ("fastcmp.plan", "fastcmp.engine.measure"):  # both have a name for it
            monkeypatch.setattr(f"{module}.PIECE_BYTES", most_bytes)

    return cut
