"""What the tests of this directory share: dumps to compare, the command in a process, and what may be left afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from fastcmp.results.journal import Journal, journal_paths

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TENSORS = "tensors"
PATIENCE_S = 120

Sides = tuple[Path, Path]


# --- dumps -------------------------------------------------------------------------------------------------------------------------------


def bin_record(values: np.ndarray) -> bytes:
    """One well-formed `.bin` file of float32 ``values``."""
    payload = values.tobytes()
    dims = ",".join(map(str, values.shape))
    head = f"$Version=1.0\n$Object.Count=1\n$Object.Length={len(payload)}\nformat=2\ndtype=0\ndims={dims}\n$Object.data=0,{len(payload)}\n$End=1\n"
    return head.encode() + payload


def write_document(side: Path, files: Sequence[str]) -> Path:
    """metadata.json of a side: data_id ``n`` is the n-th of ``files``, which lie in its tensors directory."""
    document = side / "metadata.json"
    document.write_text(json.dumps({str(number): {"0": f"./{TENSORS}/{name}"} for number, name in enumerate(files)}))
    return document


def one_of_each(root: Path) -> Sides:
    """A dozen pairs that between them go every way through the readers: small and large, as they lie, and gathered."""
    documents = []
    for role, noise in (("golden", 0.0), ("acl", 1e-6)):
        random = np.random.default_rng(5)
        folder = root / role / TENSORS
        folder.mkdir(parents=True)
        names = []
        for number in range(12):
            shape = (300, 512) if number in (6, 7, 9) else (7, 33 + number)
            values = random.standard_normal(shape).astype(np.float32)
            values *= 1 + np.float32(noise)
            name = f"{number}.{'bin' if number in (4, 5, 9) else 'npy'}"
            names.append(name)
            if name.endswith(".bin"):
                (folder / name).write_bytes(bin_record(values))
            elif number == 7 and role == "golden":
                np.save(folder / name, np.asfortranarray(values))
            else:
                np.save(folder / name, values.astype({8: ">f4", 10: "<f2"}.get(number, "<f4")))
        documents.append(write_document(folder.parent, names))
    return documents[0], documents[1]


def many_pairs(root: Path, count: int, *, elements: int, files: int = 8, poison: int | None = None) -> Sides:
    """``count`` pairs over few files, which costs little disk; the pair ``poison`` has files of its own with that word in their names."""
    documents = []
    for role, noise in (("golden", 0.0), ("acl", 1e-6)):
        random = np.random.default_rng(6)
        folder = root / role / TENSORS
        folder.mkdir(parents=True)
        values = [random.standard_normal(elements, dtype=np.float32) * np.float32(1 + noise) for _ in range(files)]
        for number, tensor in enumerate(values):
            np.save(folder / f"{number}.npy", tensor)
        np.save(folder / "poison.npy", values[0])
        names = [f"{number % files}.npy" for number in range(count)]
        if poison is not None:
            names[poison] = "poison.npy"
        documents.append(write_document(folder.parent, names))
    return documents[0], documents[1]


def tree_state(*roots: Path) -> dict[str, Any]:
    """Everything about the files below ``roots`` that a program could change, but the time of the last access."""
    found: dict[str, Any] = {}
    for root in roots:
        for path in [root, *sorted(root.rglob("*"))]:
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_ino, status.st_size, status.st_mtime_ns, content)
    return found


# --- runs --------------------------------------------------------------------------------------------------------------------------------


def words(sides: Sequence[object], output: object, *options: object) -> list[str]:
    """The command line of a comparison."""
    return [sys.executable, "-m", "fastcmp", "compare", *map(str, sides), "-o", str(output), *map(str, options)]


def compare(sides: Sequence[object], output: object, *options: object, **popen: Any) -> subprocess.CompletedProcess[str]:
    """A comparison in a process of its own."""
    return subprocess.run(
        words(sides, output, "-q", *options),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=popen.pop("cwd", ROOT),
        **popen,
    )


def report_lines(output: Path) -> list[bytes]:
    """The rows of the report, without its header. No cell of these dumps holds a line break."""
    return (output / "cmp_report.csv").read_bytes().splitlines()[1:]


def report_files(output: Path) -> dict[str, bytes]:
    """Both forms of the report, to the last byte."""
    return {name: (output / name).read_bytes() for name in ("cmp_report.csv", "cmp_report.arrow")}


def whole_report(output: Path) -> dict[str, bytes]:
    """The same, of one run: run.json says how long each is, and its checksum."""
    files = report_files(output)
    said = json.loads((output / "run.json").read_bytes())["files"]
    assert said == {name: {"bytes": len(content), "crc32": f"{crc32(content):08x}"} for name, content in files.items()}
    return files


def rows_kept(output: Path) -> int:
    """Compared rows in the journals that a run left; none where it came to its end, or no further than into the head of its journal."""
    journals = [path for path in journal_paths(str(output)) if has_its_head(Path(path))]
    return sum(entry.batch.column("cmp_flag").true_count for path in journals for entry in Journal(path))


def has_its_head(journal: Path) -> bool:
    """A stream of Arrow begins with four bytes that are set, and the length of what describes its columns."""
    content = journal.read_bytes()
    return len(content) >= 8 and len(content) >= 8 + int.from_bytes(content[4:8], "little")


def in_child(function: str, *arguments: object, preload: Path | None = None, timeout: float = 600) -> Any:
    """What ``module:function`` returns in a process of its own, which the library ``preload`` is loaded into."""
    module, name = function.split(":")
    code = f"import json, sys; from {module} import {name}; print(json.dumps({name}(*json.loads(sys.argv[1]))))"
    environment = (
        os.environ
        | {"PYTHONPATH": f"{HERE}:{ROOT}:{ROOT / 'tests' / 'dump'}:{ROOT / 'tests' / 'trying'}"}
        | ({"LD_PRELOAD": str(preload)} if preload else {})
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([str(one) if isinstance(one, Path) else one for one in arguments])],
        capture_output=True, text=True, timeout=timeout, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


# --- processes ---------------------------------------------------------------------------------------------------------------------------


def descendants(parent: int) -> dict[int, int]:
    """Living processes below ``parent``: pid to the pid of its own parent."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    below, queue = {}, [parent]
    while queue:
        one = queue.pop()
        new = [pid for pid, its_parent in parents.items() if its_parent == one]
        below.update((pid, one) for pid in new)
        queue += new
    return below


def workers(parent: int) -> list[int]:
    """The worker processes of a comparison: children of its only child."""
    return [pid for pid, its_parent in descendants(parent).items() if its_parent != parent]


def is_alive(pid: int) -> bool:
    """Not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def survivors(pids: Sequence[int], patience_s: float = 3.0) -> list[int]:
    """Which of these processes outlive ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [pid for pid in pids if is_alive(pid)]


def shared_memory() -> set[str]:
    """Names of ours in /dev/shm."""
    ours = {name for name in os.listdir("/dev/shm") if "fastcmp" in name or name.startswith("psm_")}
    return {name for name in ours if not name.startswith("fastcmp_test_")}  # disks of other tests, at the same time
