"""``fastcmp explain``: what an error code means and what to do."""

from __future__ import annotations

from difflib import get_close_matches

from fastcmp.cli.endings import say
from fastcmp.errors import CODES, WARNINGS, UsageError


def explain(code: str = "", /) -> int:
    """Say what an error code means and what to do; without one, list them all.

    Parameters
    ----------
    code
        Such as E_TRUNCATED, as the report has it; with or without brackets.
    """
    word = code.strip().strip("[]").upper()
    if not word:
        width = max(map(len, (*CODES, *WARNINGS)))
        meanings = {**{name: info.meaning for name, info in CODES.items()}, **WARNINGS}
        say("\n".join(f"{name:<{width}}  {meaning}" for name, meaning in meanings.items()))
        return 0
    if word in CODES:
        say(f"{word}: {CODES[word].meaning}\nWhat to do: {CODES[word].advice}")
        return 0
    if word in WARNINGS:
        say(f"{word}: {WARNINGS[word]}\nThe pair was compared; this is only a note.")
        return 0
    close = get_close_matches(word, (*CODES, *WARNINGS), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "fastcmp explain lists them all"
    raise UsageError(f"no error code is called {code!r}; {hint}")
