"""Where one tensor lies: a file, a tensor inside a file that holds several, or what several ranks hold. A text, so that it travels
like a path.
"""

from __future__ import annotations

import json
from typing import Final

# No path can hold it.
_MARK: Final = "\0"
COMPOSED_MARK: Final = "\0\0"
"""How the place of a tensor begins that is made up of several, see `fastcmp.formats.composition`."""


STATED_MARK: Final = f"stated{_MARK}"
"""How what stands in the place of a member begins where a file only states something of a tensor, see `fastcmp.formats.stated`."""
_STATED: Final = f"{_MARK}{STATED_MARK}"

REFUSED_MARK: Final = f"refused{_MARK}"
"""How what stands in the place of a member begins where a source has a path with a NUL byte: it names no member and states nothing."""
NUL_IN_PATH: Final = "the path has a NUL byte"


def refused_place(path: str) -> str:
    """The place of a path with a NUL byte, which no file has; a scan says so."""
    file, _, rest = path.partition(_MARK)
    return f"{file}{_MARK}{REFUSED_MARK}{rest}"


def member_place(path: str, member: str) -> str:
    """The place of one tensor of a file; "" is the only one of a file that holds just one."""
    return f"{path}{_MARK}{member}" if member else path


def split_place(place: str) -> tuple[str, str]:
    """The file, and the name of the tensor inside it ("" if none is named)."""
    path, _, member = place.partition(_MARK)
    return path, member


def shown_place(place: str) -> str:
    """The place for people: ``file:member``."""
    if is_composed(place):
        first, *others = _parts(place)
        return f"{shown_place(first)} and {len(others)} more" if others else shown_place(first)
    path, member = split_place(place)
    return path if not member or member.startswith((STATED_MARK, REFUSED_MARK)) else f"{path}:{member}"


def files_of(place: str) -> tuple[str, ...]:
    """The files that a place is in."""
    return tuple(split_place(part)[0] for part in _parts(place)) if is_composed(place) else (split_place(place)[0],)


def is_composed(place: str) -> bool:
    """True for what several ranks hold."""
    return place.startswith(COMPOSED_MARK)


def is_stated_place(place: str) -> bool:
    """True for a tensor of which a file only states something, see `fastcmp.formats.stated`."""
    return _STATED in place and not is_composed(place)


def _parts(place: str) -> list[str]:
    """The places of the parts of what several ranks hold, as `fastcmp.formats.composition.composed_place` writes them."""
    return [part[-1] for part in json.loads(place[len(COMPOSED_MARK) :])[3]]
