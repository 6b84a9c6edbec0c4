"""The preload library as it is installed, and the stand-in acceleration library that it is tried on."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_lists import NOBODY
from preload_host import Hosts

from fastcmp.preload_library import library_path

REPOSITORY = Path(__file__).resolve().parents[2]
READ_BY_LIBRARIES = ("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "ASDOPS_", "AIT_", "STANDIN_", "LD_")


@pytest.fixture(scope="session")
def preload_library() -> Path:
    """FASTCMP_TEST_PRELOAD names another one, not yet installed."""
    return Path(os.environ.get("FASTCMP_TEST_PRELOAD") or library_path())


@pytest.fixture(scope="session")
def hosts(preload_library: Path) -> Hosts:
    place = REPOSITORY / "build" / "standin" / "standin"
    if not (place / "standin_host_abi1").is_file():
        pytest.fail("the stand-in acceleration library is not built: run `make build/standin/.built`")
    return Hosts(place, preload_library)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Where many small files cost little: in memory, if there is room; gone after the test."""
    in_memory = Path("/dev/shm")
    has_room = in_memory.is_dir() and shutil.disk_usage(in_memory).free > 4 << 30
    made = Path(tempfile.mkdtemp(prefix="fastcmp_test_", dir=in_memory if has_room else None))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(READ_BY_LIBRARIES)]:
        monkeypatch.delenv(name)


@pytest.fixture(params=[0, 1], ids=["abi0", "abi1"])
def abi(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes system calls slow or fail; fault_shim.c says which."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))))
    built = tmp_path_factory.mktemp("shim") / "fault_shim.so"
    source = Path(__file__).with_name("fault_shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(built), str(source), "-ldl"], check=True, timeout=60)
    return built


@pytest.fixture(scope="session")
def public_hosts(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A copy that every user can reach: neither the repository nor pytest's directory need be open to others."""
    place = Path("/tmp") / f"fastcmp_test_preload_{os.getpid()}"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    try:
        yield hosts.copy_to(place)
    finally:
        shutil.rmtree(place)


@pytest.fixture
def nobodys(public_hosts: Hosts, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of the user nobody, who can go nowhere else."""
    if os.geteuid() != 0:
        pytest.skip("a user other than root cannot become another")
    place = public_hosts.standin.parent / f"nobody_{len(list(public_hosts.standin.parent.iterdir()))}"
    place.mkdir(mode=0o755)
    os.chown(place, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("a user other than root cannot mount")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "fastcmp_test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        pytest.skip(f"this container may not mount: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)
