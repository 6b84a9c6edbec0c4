"""What a run says beside its numbers."""

from __future__ import annotations

from fastcmp.progress import Silent


class Notes(Silent):
    """Keeps the remarks of a run."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, remark: str) -> None:
        """Keep it."""
        self.said.append(remark)
