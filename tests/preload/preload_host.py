"""Runs the hosts of the stand-in acceleration library, with and without the preload library, and looks at what they left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEARTBEAT = ".fastcmp_probe."
# Everything that the stand-in offers, from the first token on.
EVERYTHING = {"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "all", "ATB_SAVE_TENSOR_PART": "2", "ATB_SAVE_TENSOR_TIME": "2"}
EVERYTHING_OF_2023 = {"ACLTRANSFORMER_SAVE_TENSOR": "1", "ACLTRANSFORMER_SAVE_TENSOR_MAX": "1000000", "ATB_SAVE_TENSOR": "1"}
# The disk of a test machine may be fuller than the default reserve.
QUIET = {"FASTCMP_MIN_FREE": "0"}
LOSSES = (
    "refused_path", "refused_size", "refused_attributes", "no_data", "no_device_copy", "over_limit",
    "low_disk", "write_failed", "stalled", "already_saved",
)  # fmt: skip


@dataclass(frozen=True)
class HostRun:
    """A finished host: what it printed, and the directory that it ran in."""

    directory: Path
    status: int
    stdout: str
    stderr: str

    def files(self) -> dict[str, Path]:
        """What was saved, by `{token}/{tensor_path}`."""
        return saved_files(self.directory)

    def heartbeats(self) -> list[dict[str, Any]]:
        return heartbeats(self.directory)

    def heartbeat(self) -> dict[str, Any]:
        (only,) = self.heartbeats()
        return only

    def counters(self) -> dict[str, int]:
        return self.heartbeat()["counters"]

    def lines(self) -> list[str]:
        """What the preload library said."""
        said = self.stderr.splitlines()
        assert all(line.startswith("fastcmp preload: ") for line in said), self.stderr
        return [line.removeprefix("fastcmp preload: ") for line in said]


@dataclass(frozen=True)
class Hosts:
    """The built hosts and libraries, and the preload library that they run under."""

    standin: Path
    library: Path

    def environment(self, variables: Mapping[str, str], *, preload: bool = True) -> dict[str, str]:
        before = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(self.library)} if preload else {"PATH": os.environ["PATH"]}
        return {**before, **QUIET, **variables}

    def run(
        self,
        directory: Path,
        *arguments: object,
        program: str = "standin_host_abi1",
        preload: bool = True,
        wrapper: tuple[str, ...] = (),
        timeout: float = 60,
        options: Mapping[str, Any] | None = None,
        **variables: str,
    ) -> HostRun:
        """Run a host in ``directory``; ``wrapper`` is a command that runs it, ``options`` go to `subprocess.run`."""
        done = subprocess.run(
            [*wrapper, str(self.standin / program), *map(str, arguments)],
            cwd=directory,
            env=self.environment(variables, preload=preload),
            timeout=timeout,
            check=False,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | dict(options or {})),
        )
        return HostRun(directory, done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode(errors="surrogateescape"))

    def run_python(
        self, directory: Path, code: str, *arguments: object, standin: str = "libatb_standin_abi1.so", status: int = 0, **variables: str
    ) -> HostRun:
        """Run a Python program that finds the library named ``standin`` through `standin_model`, and is expected to exit with ``status``."""
        where = {"PYTHONPATH": str(Path(__file__).parent), "STANDIN": str(self.standin / standin), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=directory,
            env=self.environment({**where, **variables}),
            capture_output=True,
            timeout=300,
            check=False,
        )
        run = HostRun(directory, done.returncode, done.stdout.decode(), done.stderr.decode(errors="surrogateescape"))
        assert run.status == status, run.stdout + run.stderr
        return run

    def start(self, directory: Path, *arguments: object, program: str = "standin_host_abi1", **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.standin / program), *map(str, arguments)],
            cwd=directory,
            env=self.environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def copy_to(self, directory: Path) -> Hosts:
        """A copy that another user can read."""
        place = Path(shutil.copytree(self.standin, directory / "standin"))
        return Hosts(place, Path(shutil.copy(self.library, directory)))


def heartbeats(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(directory.rglob(f"{HEARTBEAT}*"))]


def tail_of(path: Path) -> str:
    """`{token}/{tensor_path}`: what follows the run directory, which is the one below the last `tensors`."""
    parts = path.parts
    last = max(index for index, part in enumerate(parts) if part == "tensors")
    return "/".join(parts[last + 2 :])


def saved_files(directory: Path) -> dict[str, Path]:
    """By `{token}/{tensor_path}`, without what was handed over as bad input."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if (
            path.is_file()
            and not path.name.startswith(".")
            and path.suffix == ".bin"
            and {"tensors", "0_Bad"} & {*path.parts} == {"tensors"}
        ):
            tail = tail_of(path)
            assert tail not in found, f"{path} and {found[tail]}"
            found[tail] = path
    return found


def temporaries(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.tmp"))


def write_list(path: Path, *lines: str, mode: int = 0o600) -> Path:
    """A list of registered paths, private as the library wants it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)
    return path


def tree_hash(directory: Path, *, without: tuple[Path, ...] = ()) -> str:
    """Names, kinds, modes and contents of all there is, but for what lies in ``without``."""
    digest = hashlib.sha256()
    for path in _walk(directory, without):
        status = path.lstat()
        digest.update(f"{path.relative_to(directory)} {status.st_mode:o} {status.st_uid} ".encode(errors="surrogateescape"))
        if path.is_symlink():
            digest.update(os.readlink(path).encode())
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _walk(directory: Path, without: tuple[Path, ...]) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path in without:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, without)
