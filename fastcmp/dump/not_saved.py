"""Why one call of `dump_data` saved nothing, and how what it was given is shown."""

from __future__ import annotations

from typing import Final

_MAX_SHOWN_TEXT: Final = 160


class NotSaved(Exception):
    """One call saved nothing: the counter to add to, a key that tells causes apart, and the sentence."""

    def __init__(self, counter: str, cause: str, text: str) -> None:
        super().__init__(counter, cause, text)
        self.counter, self.cause, self.text = counter, cause, text


def shown(value: object) -> str:
    """A value in a message: short, and whatever its ``__repr__`` does."""
    try:
        if isinstance(value, str) and len(value) > _MAX_SHOWN_TEXT:
            return f"{value[:_MAX_SHOWN_TEXT]!r}..."
        text = repr(value)
    except Exception:  # somebody else's __repr__
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."
