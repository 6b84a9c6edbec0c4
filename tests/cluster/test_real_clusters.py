"""Ray and Dask themselves, two nodes of each on this machine: the same bytes as from one process, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from cluster_dumps import report, write_rank
from pretend_nodes import needs_mounts
from real_clusters import ENVIRONMENT, KINDS, RealCluster, fastcmp, free_port, real_cluster, started, wait_for_rows

METRIC = Path(__file__).with_name("slow_metric.py")
SLOW = ("--metric", f"{METRIC}:slow")


@pytest.fixture(scope="module", params=list(KINDS))
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One that nobody harms."""
    with real_cluster(request.param, tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four ranks, 400 pairs."""
    root = tmp_path_factory.mktemp("dump")
    for rank in range(4):
        write_rank(root, rank, names=20, tokens=5)
    return root


@pytest.fixture(scope="module")
def expected(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("here")
    assert fastcmp(dump / "golden", dump / "target", "-o", output, "-q").returncode == 0
    return report(output)


@pytest.fixture(scope="module")
def slow_expected(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("slow")
    assert fastcmp(dump / "golden", dump / "target", "-o", output, "-q", *SLOW).returncode == 0
    return report(output)


def rows(output: Path) -> list[dict[str, object]]:
    with pa.ipc.open_file(output / "cmp_report.arrow") as file:
        return file.read_all().to_pylist()


def test_the_report_is_the_same_bytes_and_nothing_is_said(
    cluster: RealCluster, dump: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    done = fastcmp(dump / "golden", dump / "target", "-o", tmp_path, "-q", "--executor", cluster.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert report(tmp_path) == expected


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_another_executor(
    cluster: RealCluster, dump: Path, slow_expected: dict[str, bytes], tmp_path: Path
) -> None:
    for first, second in ((cluster.url, "local"), ("threads", cluster.url)):
        output = tmp_path / second.partition(":")[0]
        arguments = (dump / "golden", dump / "target", "-o", output, *SLOW)
        process = started(*arguments, "--executor", first)
        wait_for_rows(process, output)
        process.kill()
        process.communicate()
        done = fastcmp(*arguments, "--executor", second)
        assert done.returncode == 0 and "going on where an earlier run stopped" in done.stderr, done.stderr
        assert report(output) == slow_expected


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_leaves_the_cluster_as_it_was(cluster: RealCluster, dump: Path, tmp_path: Path) -> None:
    before = cluster.ours()  # in Dask's workers, two minutes of a command that was killed
    process = started(dump / "golden", dump / "target", "-o", tmp_path, *SLOW, "--executor", cluster.url)
    wait_for_rows(process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "rows are kept; the same command goes on from there" in said
    deadline = time.monotonic() + 30
    while cluster.ours() - before:
        assert time.monotonic() < deadline, "the processes of the agents live on"
        time.sleep(0.2)


@pytest.mark.slow
def test_an_agent_that_is_killed_is_started_again(
    cluster: RealCluster, dump: Path, slow_expected: dict[str, bytes], tmp_path: Path
) -> None:
    before = cluster.ours()
    process = started(dump / "golden", dump / "target", "-o", tmp_path, *SLOW, "--executor", cluster.url)
    wait_for_rows(process, tmp_path)
    os.kill(cluster.agent(1, before), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert report(tmp_path) == slow_expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_node_that_is_killed_in_the_middle_costs_no_row(kind: str, dump: Path, slow_expected: dict[str, bytes], tmp_path: Path) -> None:
    with real_cluster(kind, tmp_path) as own:
        process = started(dump / "golden", dump / "target", "-o", tmp_path / "r", *SLOW, "--executor", own.url)
        wait_for_rows(process, tmp_path / "r")
        own.kill_node(1)
        _, said = process.communicate(timeout=150)
        assert process.returncode == 0, said
        assert report(tmp_path / "r") == slow_expected


@pytest.mark.slow
@needs_mounts
@pytest.mark.parametrize("kind", list(KINDS))
def test_each_node_compares_what_lies_on_its_own_disk(kind: str, dump: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    disks = [tmp_path / name for name in "ab"]
    place = tmp_path / "dumps"
    place.mkdir()
    for rank in range(4):
        write_rank(disks[rank % 2], rank, names=20, tokens=5)
    with real_cluster(kind, tmp_path, disks=disks, place=place) as own:
        arguments = (place / "golden", place / "target", "--executor", own.url)
        done = fastcmp(*arguments, "-o", tmp_path / "r", "-q")
        assert (done.returncode, done.stderr) == (0, "")
        assert report(tmp_path / "r") == expected
        process = started(*arguments, "-o", tmp_path / "lost", *SLOW)
        wait_for_rows(process, tmp_path / "lost")
        own.kill_node(1)
        _, said = process.communicate(timeout=150)
        assert process.returncode == 2, said
    found = rows(tmp_path / "lost")
    lost = [row for row in found if "[E_NODE_LOST]" in str(row["cmp_fail_reason"])]
    assert lost and {row["rank"] for row in lost} <= {"1", "3"}
    assert len(found) == 400 and all(row["cmp_flag"] for row in found if row not in lost)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_node_that_cannot_take_part_is_named(kind: str, dump: Path, tmp_path: Path) -> None:
    without, other = tmp_path / "without", tmp_path / "other"
    without.mkdir()
    (without / "sitecustomize.py").write_text("import sys\nsys.modules['fastcmp'] = None\n")
    (other / "numpy-1.0.dist-info").mkdir(parents=True)
    (other / "numpy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    for folder, said in ((without, "fastcmp"), (other, "has numpy 1.0, expected ")):
        logs = tmp_path / f"logs-{folder.name}"
        logs.mkdir()
        with real_cluster(kind, logs, count=1) as own:
            own.add(environment={"PYTHONPATH": str(folder)})
            began = time.monotonic()
            done = fastcmp(dump / "golden", dump / "target", "-o", tmp_path / "r", "--executor", own.url)
            assert done.returncode == 2 and said in done.stderr and f"{own.url}: node " in done.stderr, done.stderr
            assert done.stderr.count("\n") == 1 and time.monotonic() - began < 90
    assert not list(tmp_path.glob("r/cmp_report*"))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_cluster_that_is_not_there_is_said_at_once(kind: str, dump: Path, tmp_path: Path) -> None:
    pytest.importorskip(KINDS[kind])
    began = time.monotonic()
    url = f"{kind}://127.0.0.1:{free_port()}"
    done = fastcmp(dump / "golden", dump / "target", "-o", tmp_path / "r", "--executor", url)
    assert done.returncode == 2 and f"fastcmp: {url}: nobody answers there: Connection refused; name the address that" in done.stderr
    assert done.stderr.count("\n") == 1 and time.monotonic() - began < 20


@pytest.mark.parametrize("kind", list(KINDS))
def test_without_the_package_it_is_said_how_to_get_it(kind: str, dump: Path, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{KINDS[kind]!r}] = None\nfrom fastcmp.cli.main import main\n"
        f"sys.exit(main(['compare', {str(dump / 'golden')!r}, {str(dump / 'target')!r}, '--executor', '{kind}://127.0.0.1:9']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2 and f"pip install 'fastcmp[{kind}]'" in done.stderr, done.stderr


def test_a_ray_of_this_machine_is_started_and_ended_and_leaves_nothing(
    dump: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setitem(ENVIRONMENT, "HOME", str(home))
    monkeypatch.setitem(ENVIRONMENT, "XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    monkeypatch.delitem(ENVIRONMENT, "RAY_AUTH_MODE")
    done = fastcmp(dump / "golden", dump / "target", "-o", tmp_path / "r", "-q", "--executor", "ray", "-j", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert report(tmp_path / "r") == expected
    assert list(home.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cause"), [("dask", "the scheduler is gone"), ("ray", "the head has not answered for 30 s")])
def test_without_its_head_a_run_ends_and_keeps_what_is_done(kind: str, cause: str, dump: Path, tmp_path: Path) -> None:
    arguments = (dump / "golden", dump / "target", "-o", tmp_path / "r")
    metric = METRIC.with_name("slower_metric.py")
    with real_cluster(kind, tmp_path) as own:
        process = started(*arguments, "--metric", f"{metric}:slow", "--executor", own.url)
        wait_for_rows(process, tmp_path / "r")
        own.kill_head()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 2 and f"{own.url}: all 2 nodes are lost, the last because of: {cause}; the same" in said, said
    assert "rows are kept; the same command goes on from there" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_somebody_else_at_the_address_is_given_up(kind: str, dump: Path, tmp_path: Path) -> None:
    pytest.importorskip(KINDS[kind])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        url = f"{kind}://127.0.0.1:{silent.getsockname()[1]}"
        done = fastcmp(dump / "golden", dump / "target", "-o", tmp_path / "r", "--executor", url)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and last.startswith(f"fastcmp: {url}: ") and " no answer within " in last, done.stderr
    assert time.monotonic() - began < 60
