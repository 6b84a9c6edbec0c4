"""The collector is as it was after a pause, whatever happens in it."""

from __future__ import annotations

import gc

import pytest

from fastcmp.garbage import collector_paused


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was_after_a_pause(was_enabled: bool) -> None:
    (gc.enable if was_enabled else gc.disable)()
    try:
        with pytest.raises(ValueError, match="anything"), collector_paused():
            assert not gc.isenabled()
            raise ValueError("anything")
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()
