"""Names and numbers as a terminal shows them. Names come from files: nothing in them may move a cursor, turn the text or draw a colour."""

from __future__ import annotations

import sys
import unicodedata
from typing import Final

from fastcmp.name_expressions import layer_span

_LEFT_OUT: Final = "..."
# Control, format (bidirectional marks, zero width), surrogate, private use, unassigned, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(text: str) -> str:
    r"""``text`` with everything that a terminal would obey or hide written as ``\xNN`` or ``\uNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if unicodedata.category(character) in _HIDDEN else character for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a file name byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """`visible` text on one line; line ends become spaces."""
    return visible(" ".join(text.split("\n")).strip())


def shortened(text: str, width: int) -> str:
    """`visible` text of at most ``width`` characters: the end, which tells most of a name or a path, and the layer before it."""
    text = visible(text)
    if len(text) <= width:
        return text
    room = width - len(_LEFT_OUT)
    layer = layer_span(text)
    if layer is None or layer[0] >= len(text) - room:
        return f"{_LEFT_OUT}{text[len(text) - room :]}"
    head = text[layer[0] : layer[1]] if layer[0] == 0 else f"{_LEFT_OUT}{text[layer[0] : layer[1]]}"
    if len(head) > room // 2:
        return f"{_LEFT_OUT}{text[len(text) - room :]}"
    return f"{head}{_LEFT_OUT}{text[len(text) - room + len(head) :]}"


def fitted(text: str, width: int) -> str:
    """`shortened` where a terminal shows it; whole in a file or a pipe, which have no width."""
    return shortened(text, width) if sys.stdout.isatty() else visible(text)


def measured(value: float, digits: int) -> str:
    """A number in so many digits; one that is nearly 1 in as many as show by how much it is not, as cosines are."""
    if 0.9 < abs(value) < 1:
        return f"{value:.12f}".rstrip("0")
    return f"{value:.{digits}g}"


def grouped(count: int) -> str:
    """``1234567`` as ``1 234 567``."""
    return f"{count:,}".replace(",", " ")


def counted(count: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"


def bytes_text(count: int) -> str:
    """Bytes in the unit that fits: ``512 B``, ``3.2 MB``, ``1.25 GB`` (powers of ten, as throughput has it)."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            amount = count / size
            return f"{amount:.3g} {unit}" if amount < 999.5 else f"{amount:.0f} {unit}"
    return f"{count} B"


def seconds_text(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def throughput_text(byte_count: int, seconds: float) -> str:
    """``2.7 GB/s``; "" below 100 MB, where it is the start of the workers that would be measured."""
    if byte_count < 100_000_000 or seconds <= 0:
        return ""
    gigabytes_per_s = byte_count / seconds / 1e9
    return f"{gigabytes_per_s:.2g} GB/s" if gigabytes_per_s >= 0.1 else f"{gigabytes_per_s * 1000:.2g} MB/s"
