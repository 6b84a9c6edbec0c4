"""Frames come whole out of a stream, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.engine.messages import FrameBuffer, pack, unpack


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12), st.lists(st.integers(1, 60), min_size=1))
def test_frames_are_whole_however_the_stream_is_cut(messages: list[bytes], widths: list[int]) -> None:
    stream = b"".join(map(pack, messages))
    buffer, found = FrameBuffer(), []
    chunk = bytearray(60)  # used again, as a receiver does
    while stream:
        width = min(widths[len(found) % len(widths)], len(stream))
        chunk[:width], stream = stream[:width], stream[width:]
        found += buffer.feed(memoryview(chunk)[:width])
    assert [unpack(body) for body in found] == messages


def test_a_stream_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of 18446744073709551615 bytes, expected at most 1073741824"):
        FrameBuffer().feed(b"\xff" * 9)
