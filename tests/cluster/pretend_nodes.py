"""Nodes of a cluster that needs neither Ray nor Dask: processes with sockets, each in a mount namespace of its own if disks are given."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from fastcmp.engine import messages
from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.engine.cluster_link import Node, NodeLost

SERVER = Path(__file__).with_name("pretend_server.py")


@functools.cache
def can_mount() -> bool:
    """True where a process may have mounts of its own: a directory of one node is then another directory on the next."""
    done = subprocess.run(["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"], capture_output=True)
    return done.returncode == 0


# Only root may have mounts; everybody else is told which tests did not run.
needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs mounts of its own (root)")


def on_disk(disk: Path, place: Path, command: list[str]) -> list[str]:
    """A command that finds ``disk`` at ``place``."""
    script = f'mount --bind {shlex.quote(str(disk))} {shlex.quote(str(place))} && exec {shlex.join(command)} "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


class PretendNode:
    """One process that answers calls, and this end of its socket."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.sock, theirs = socket.socketpair()
        with theirs:
            number = str(theirs.fileno())
            self.process = subprocess.Popen(
                [*command, number], pass_fds=[theirs.fileno()], env={**os.environ, **(environment or {})}, start_new_session=True
            )
        self.pending: dict[int, Future[bytes]] = {}
        self.lock = threading.Lock()
        self.calls = 0
        self.ended = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def call(self, body: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        with self.lock:
            if self.ended:
                future.set_exception(NodeLost(self.ended, for_good=True))
                return future
            self.calls += 1
            number = self.calls
            self.pending[number] = future
            with contextlib.suppress(OSError):
                messages.send(self.sock, (number, body))
        return future

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, reply = messages.unpack(messages.receive_body(self.sock))
                with self.lock:
                    future = self.pending.pop(number)
                future.set_result(reply)
        with self.lock:
            self.ended = "its process ended"
            pending, self.pending = list(self.pending.values()), {}
        for future in pending:
            future.set_exception(NodeLost(self.ended, for_good=True))

    def kill(self) -> None:
        """The machine loses its power: the process, and with it (by the lifeline) its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.process.wait(20)
        self.sock.close()


class PretendLink:
    """The way to some `PretendNode`."""

    def __init__(self, nodes: list[PretendNode]) -> None:
        self.nodes = nodes

    def call(self, node: int, body: bytes) -> Future[bytes]:
        return self.nodes[node].call(body)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def pretend_cluster(disks: list[Path] | int, place: Path | None = None, *, workers: int = 1, stall_s: float = 60.0) -> ClusterExecutor:
    """Nodes ``n0``, ``n1`` ...: so many, or one for each disk, which they find at ``place``."""
    count = disks if isinstance(disks, int) else len(disks)
    nodes = []
    for number in range(count):
        command = [sys.executable, str(SERVER), f"n{number}", str(workers), str(stall_s)]
        if not isinstance(disks, int) and place is not None:
            command = on_disk(disks[number], place, command)
        nodes.append(PretendNode(command, {"PRETEND_NODE": f"n{number}"}))
    link = PretendLink(nodes)
    return ClusterExecutor("pretend://here", link, [Node(f"n{number}", workers) for number in range(count)], "x86-pretended")
