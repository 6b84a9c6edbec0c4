"""The value of ``--executor``: a name, or the address of a cluster."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fastcmp.errors import UsageError

NAMES: Final = ("local", "threads", "serial", "ray")
EXPECTED: Final = f"expected {', '.join(NAMES)}, ray://HOST:PORT or dask://HOST:PORT"

_URL: Final = re.compile(r"(ray|dask)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::([0-9]{1,5}))?/?")
_LONGEST: Final = 300


class ExecutorChoice(NamedTuple):
    """What runs the work.

    Attributes
    ----------
    kind : str
        ``local``, ``threads``, ``serial``, ``ray`` or ``dask``.
    host : str
        Of the cluster; "" for this machine. Without the brackets of an IPv6 address.
    port : int
    """

    kind: str
    host: str = ""
    port: int = 0

    @property
    def is_cluster(self) -> bool:
        """True where the work may run on other machines."""
        return self.kind in ("ray", "dask")

    @property
    def address(self) -> str:
        """``host:port``; "" for this machine."""
        if not self.host:
            return ""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.kind}://{self.address}" if self.host else self.kind


def parse_executor(text: object) -> ExecutorChoice:
    """What a text chooses.

    Raises
    ------
    UsageError
        If it names no executor, or no address where one is needed.
    """
    shown = repr(text)[:_LONGEST]
    if not isinstance(text, str):
        raise UsageError(f"--executor {shown}: {EXPECTED}")
    if text in NAMES:
        return ExecutorChoice(text)
    if text == "dask":
        raise UsageError("--executor dask: found no address; name the scheduler that `dask scheduler` prints, dask://HOST:PORT")
    found = _URL.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise UsageError(f"--executor {shown}: {EXPECTED}")
    kind, host, port = found.groups()
    if port is None or not 0 < int(port) < 65536:
        said = "found no port" if port is None else f"port {port}"
        raise UsageError(f"--executor {shown}: {said}, expected 1 to 65535; name {kind}://HOST:PORT")
    return ExecutorChoice(kind, host.strip("[]"), int(port))
