"""One revision of the package, installed where nothing of another can get in: its files, its C++ reader, an interpreter for these alone.

An interpreter of its own and not a search path: the editable installation in .venv answers every import of fastcmp before any path is
looked at, and the processes that a comparison starts would meet it again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIDES = ROOT / "build" / "ab"


class CannotBuild(Exception):
    """There is no such revision, or it does not build here."""


def git(*words: str) -> str:
    """What git says about this repository; `CannotBuild` if it refuses."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"git {' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def make_base(revision: str) -> Path:
    """A directory with the package of a revision; made once."""
    commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    home = SIDES / commit[:12]
    if not (home / "made").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        unpack(commit, home)
        native = installed_native() if same_reader(commit) else build_native(home)
        shutil.copy2(native, home / "fastcmp")
        make_interpreter(home)
        (home / "made").touch()
    return home


def make_head() -> Path:
    """The same for the working tree as it is now."""
    home = SIDES / "head"
    shutil.rmtree(home, ignore_errors=True)
    # Times of files are kept: they say whether a compiled kernel is still that of its source.
    shutil.copytree(ROOT / "fastcmp", home / "fastcmp", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy2(installed_native(), home / "fastcmp")
    make_interpreter(home)
    return home


def unpack(commit: str, home: Path) -> None:
    packed = subprocess.run(["git", "archive", commit, "fastcmp", "cpp"], cwd=ROOT, capture_output=True)
    if packed.returncode:
        raise CannotBuild(f"git archive {commit}: {packed.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(home, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def same_reader(commit: str) -> bool:
    """True if the working tree's C++ reader is that of the commit: what is installed is then the commit's, too."""
    sources = ("cpp/src", "cpp/include", "cpp/CMakeLists.txt")
    return subprocess.run(["git", "diff", "--quiet", commit, "--", *sources], cwd=ROOT).returncode == 0


def installed_native() -> Path:
    from fastcmp import _native

    return Path(_native.__file__)


def build_native(home: Path) -> Path:
    """The C++ reader alone, without the preload library: half a minute on a busy machine."""
    build = home / "reader"
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    configure = ["cmake", "-S", str(home / "cpp"), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    for command in ([*configure, f"-DPython_EXECUTABLE={sys.executable}"], ["cmake", "--build", str(build), "--target", "_native"]):
        done = subprocess.run(command, env=tools, capture_output=True, text=True)
        if done.returncode:
            raise CannotBuild(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return next(build.glob("_native*.so"))


def make_interpreter(home: Path) -> None:
    """A virtual environment that sees this side's package first, then everything that is installed beside the package in ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    paths = sysconfig.get_paths()
    (site / "side.pth").write_text("\n".join([str(home), *dict.fromkeys((paths["purelib"], paths["platlib"]))]), encoding="utf-8")


@dataclass
class Answer:
    """Seconds of each turn, or why the case cannot run there."""

    seconds: float = 0.0
    reason: str = ""


class Side:
    """A process of one side, told what to run: `ab_server.py`."""

    def __init__(self, name: str, home: Path, data: dict[str, Any]) -> None:
        self.name = name
        self.home = home
        environment = {**os.environ, "XDG_CACHE_HOME": str(SIDES / "cache")}
        for variable in ("PYTHONPATH", "PYTHONHOME", "NUMBA_CACHE_DIR", "VIRTUAL_ENV"):
            environment.pop(variable, None)
        script = str(Path(__file__).resolve().with_name("ab_server.py"))
        self.process = subprocess.Popen(
            [str(home / "venv" / "bin" / "python"), script, str(home), json.dumps(data)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate()

    def send(self, case: str, times: int) -> None:
        """Ask for a case; 0 times has everything ready that it needs."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"case": case, "times": times}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Answer:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with status {self.process.wait()}")
        return Answer(**json.loads(line))

    def run(self, case: str, times: int) -> Answer:
        self.send(case, times)
        return self.receive()
