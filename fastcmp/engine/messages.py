"""Frames between our own processes: eight bytes of length, then a pickle of plain data.

Both ends of every socket are processes that we started; nothing that was read from a tensor file is ever unpickled.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - between our own processes only
import signal
import socket
import struct
from typing import Any, Final

_LENGTH: Final = struct.Struct("<Q")
LENGTH_BYTES: Final = _LENGTH.size
# A frame holds one task or one result, well under a MiB; more than this is a broken stream.
MOST_BYTES: Final = 1 << 30
CHUNK_BYTES: Final = 1 << 18
# They reach the whole group of processes; what they mean, the parent decides alone.
TERMINAL_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pack(message: object) -> bytes:
    """A message as the bytes of one frame."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes | bytearray) -> Any:
    """The message in a frame's body."""
    return pickle.loads(body)  # noqa: S301 - written by a process that we started


class FrameBuffer:
    """Bytes as they come from a socket, given back as whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Bodies of the frames that ``data`` completes; ValueError if this is no stream of frames."""
        # Most of what comes is whole frames, and is not copied into what is held.
        held = self._held
        source = held if held else data
        if held:
            held += data
        with memoryview(source) as view:
            bodies, end = _frames_in(view)
        if source is held:
            del held[:end]
        else:
            held += data[end:]
        return bodies


def _frames_in(view: memoryview) -> tuple[list[bytes], int]:
    """Bodies of the whole frames, and where the last of them ends."""
    bodies: list[bytes] = []
    at = 0
    while len(view) - at >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(view, at)
        if length > MOST_BYTES:
            raise ValueError(f"a frame of {length} bytes, expected at most {MOST_BYTES}")
        end = at + _LENGTH.size + length
        if end > len(view):
            break
        bodies.append(bytes(view[at + _LENGTH.size : end]))
        at = end
    return bodies, at


def send(sock: socket.socket, message: object) -> None:
    """Send one frame, waiting as long as it takes."""
    sock.sendall(pack(message))


def receive_body(sock: socket.socket) -> bytes:
    """Body of the next frame; EOFError when the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    if length > MOST_BYTES:
        raise EOFError
    return _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        try:
            part = sock.recv(min(count, CHUNK_BYTES))
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
