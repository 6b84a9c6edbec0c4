"""Clusters of Ray and of Dask on this machine: two nodes, each a process group that can be killed, each with a disk of its own if asked."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from pretend_nodes import on_disk

KINDS = {"ray": "ray", "dask": "distributed"}
START_S = 60.0
# A token of this user would be asked for by some of Ray's commands and not be given by others.
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("", 0))  # free at all addresses: Ray listens at one of its own choice
        return sock.getsockname()[1]


class RealCluster:
    """A cluster that runs.

    Attributes
    ----------
    url : str
        For ``--executor``.
    nodes : list of Popen
        Each the leader of a process group: all that is left when it is killed is what is nobody's child.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        if find_spec(KINDS[kind]) is None:
            pytest.skip(f"{KINDS[kind]} is not installed")
        self.kind, self.folder = kind, folder
        self.port = free_port()
        self.url = f"{kind}://127.0.0.1:{self.port}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.others: list[subprocess.Popen[bytes]] = []
        # The sockets of Ray have names of at most 107 bytes, and pytest's folders are deep.
        self.short = Path(tempfile.mkdtemp(prefix="fc-", dir="/tmp"))
        if kind == "dask":
            self.others.append(self.run([sys.executable, "-m", "distributed.cli.dask_scheduler", *self.scheduler_options()]))
            self.wait_for_port()

    def scheduler_options(self) -> list[str]:
        return ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]

    def add(self, disk: Path | None = None, place: Path | None = None, environment: dict[str, str] | None = None) -> None:
        """Another node, with one core, which finds ``disk`` at ``place``; returns when it is there."""
        number = len(self.nodes)
        if self.kind == "ray":
            command = [str(BIN / "ray"), "start", "--block", "--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
            first = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.short}"]
            command += [f"--address=127.0.0.1:{self.port}"] if self.nodes else first
            command.append("--node-ip-address=127.0.0.1")
        else:
            command = [
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                f"tcp://127.0.0.1:{self.port}",
                "--nthreads=1",
                "--no-dashboard",
            ]
            command += [f"--name=w{number}", "--nanny", f"--local-directory={self.short / str(number)}", "--death-timeout=30"]
        if disk is not None and place is not None:
            command = on_disk(disk, place, command)
        self.nodes.append(self.run(command, environment))
        self.wait_for_node(number)

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        log = open(self.folder / f"log-{len(self.nodes)}-{len(self.others)}.txt", "wb")  # noqa: SIM115 - for as long as the process lives
        env = {**ENVIRONMENT, **(environment or {})}
        with log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, env=env
            )

    def log(self, number: int) -> str:
        return (self.folder / f"log-{number}-{len(self.others)}.txt").read_text(errors="replace")

    def wait_for_port(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.1)

    def wait_for_node(self, number: int) -> None:
        """Until it says in its log that it has joined."""
        said = re.compile("Ray runtime started" if self.kind == "ray" else "Registered to")
        deadline = time.monotonic() + START_S
        while not said.search(self.log(number)):
            assert time.monotonic() < deadline and self.nodes[number].poll() is None, self.log(number)
            time.sleep(0.1)

    def processes(self, number: int) -> list[int]:
        """All processes of a node, itself first; those of Ray leave its group, but keep its session's child tree."""
        found = [self.nodes[number].pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def ours(self) -> set[int]:
        """All processes of fastcmp on all nodes, which agents have started."""
        found = set()
        for number in range(len(self.nodes)):
            for pid in self.processes(number):
                with contextlib.suppress(OSError):
                    if b"fastcmp/engine/boot.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.add(pid)
        return found

    def agent(self, number: int, others: set[int]) -> int:
        """The process on a node that has our agent: the parent of the one that workers are forked from. ``others`` are of earlier runs."""
        new = self.ours() - others
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in new} - new
        (agent,) = parents & set(self.processes(number))
        return agent

    def kill_node(self, number: int) -> None:
        """As if somebody pulled the plug."""
        for pid in self.processes(number):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[number].wait()

    def kill_head(self) -> None:
        """Dask's scheduler, or the one process that a cluster of Ray has once."""
        if self.kind == "dask":
            self.others[0].kill()
            return
        for pid in self.processes(0):
            if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        for number in reversed(range(len(self.nodes))):
            self.kill_node(number)
        for other in self.others:
            other.kill()
            other.wait()
        shutil.rmtree(self.short, ignore_errors=True)


@contextlib.contextmanager
def real_cluster(kind: str, folder: Path, count: int = 2, disks: Sequence[Path] = (), place: Path | None = None) -> Iterator[RealCluster]:
    """A cluster of ``count`` nodes, or of one for each disk."""
    cluster = RealCluster(kind, folder)
    try:
        for number in range(len(disks) or count):
            cluster.add(disks[number] if disks else None, place)
        yield cluster
    finally:
        cluster.stop()


def fastcmp(*arguments: str | Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "fastcmp", "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env=ENVIRONMENT)


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    """The command, on its way."""
    command = [sys.executable, "-m", "fastcmp", "compare", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=ENVIRONMENT)


def wait_for_rows(process: subprocess.Popen[str], folder: Path) -> None:
    """Until some rows are in the journal of a report that is being made."""
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 20_000 for path in folder.glob("journal-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
