"""The collector is as it was after a pause, whatever happens in it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fastcmp.garbage import collector_paused


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was_after_a_pause(was_enabled: bool) -> None:
    (gc.enable if was_enabled else gc.disable)()
    with pytest.raises(ValueError, match="anything"), collector_paused() as resume:
        assert not gc.isenabled()
        resume()
        assert gc.isenabled() == was_enabled and gc.get_freeze_count()
        raise ValueError("anything")
    assert gc.isenabled() == was_enabled and not gc.get_freeze_count()


def test_a_pause_that_is_never_ended_ends_all_the_same() -> None:
    with collector_paused():
        pass
    assert gc.isenabled() and not gc.get_freeze_count()


def test_what_somebody_else_froze_stays_frozen() -> None:
    gc.freeze()
    count = gc.get_freeze_count()
    with collector_paused() as resume:
        resume()
        assert gc.isenabled()
    assert gc.get_freeze_count() >= count - 100  # some of it may have gone meanwhile
