"""Threads, forks, several processes, and processes that are killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from dump_reading import metadata_of, saved, side_of
from tries import tries

from fastcmp.dump import dump_counters, dump_data
from fastcmp.dump_layout import read_journal

ROOT = Path(__file__).parents[2]


DUMP_FROM_THREADS = """
import sys, threading, numpy as np
from fastcmp.dump import dump_data, dump_counters
thread_count, call_count = int(sys.argv[1]), int(sys.argv[2])
def work(thread):
    for number in range(call_count):
        dump_data("golden", f"{thread}.{number % 50}", np.full(100, number), token_id=number // 50)
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(thread_count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
numbers = dump_counters()
assert numbers["saved"] == thread_count * call_count and numbers["replaced"] == 0, numbers
"""


def start(code: str, cwd: Path, *arguments: object) -> subprocess.Popen[str]:
    return launch([sys.executable, "-W", "error", "-c", code, *map(str, arguments)], cwd)


def launch(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, err
    return out


def read_everything(base: Path, seen: dict[Path, int]) -> None:
    """What a reader may count on at any instant: JSON that parses and never shrinks, entries whose files are whole."""
    for path in base.glob("*_cmp_dump_data/golden_tensor/metadata.json"):
        metadata = metadata_of(path.parent)
        count = sum(map(len, metadata.values()))
        assert count >= seen.get(path, 0)
        seen[path] = count
        some = random.Random(count).sample(sorted(metadata), min(3, len(metadata)))
        for data_id in some:
            for token_id, written in metadata[data_id].items():
                assert set(np.load(base / written)) == {int(data_id.split(".")[1]) + 50 * int(token_id)}


def threads_times_processes(base: Path, process_count: int, thread_count: int, call_count: int) -> None:
    processes = [start(DUMP_FROM_THREADS, base, thread_count, call_count) for _ in range(process_count)]
    seen: dict[Path, int] = {}
    while any(process.poll() is None for process in processes):
        read_everything(base, seen)
        time.sleep(0.002)
    for process in processes:
        finish(process)
    read_everything(base, seen)
    assert sorted(seen.values()) == [thread_count * call_count] * process_count
    for process in processes:
        journal = read_journal(str(side_of(base, pid=process.pid) / "journal.jsonl"))
        assert len({(entry.data_id, entry.token_id) for entry in journal.entries}) == thread_count * call_count
        assert journal.rejected_count == 0 and not journal.is_torn
    assert list(base.rglob("*.tmp")) == []


def test_D4_threads_and_processes_lose_nothing_under_a_reader(own_dump: Path) -> None:
    threads_times_processes(own_dump, 2, 4, 100)


@pytest.mark.slow
def test_D4_many_threads_and_processes_lose_nothing_under_a_reader(own_dump: Path) -> None:
    threads_times_processes(own_dump, 4, 8, tries("DUMP_CALLS", 5000))


def test_threads_that_dump_one_key_leave_one_whole_tensor(own_dump: Path) -> None:
    def work(thread: int) -> None:
        for _ in range(30):
            dump_data("golden", 0, np.full(5000, thread, dtype="f4" if thread % 2 else "f8"))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    array = saved(own_dump)
    assert len(set(array)) == 1 and dump_counters()["replaced"] == 119
    entries = read_journal(str(side_of(own_dump) / "journal.jsonl")).entries
    assert len(entries) == 120 and entries[-1].dtype == array.dtype.name, "the last line belongs to the file that stayed"


def kill_at_a_random_instant(base: Path, seed: int) -> None:
    code = """
import itertools, numpy as np
from fastcmp.dump import dump_data
dump_data("golden", "first", np.zeros(1))
print("ready", flush=True)
for number in itertools.count():
    dump_data("golden", number, np.full(20000, number), token_id=number % 3)
"""
    process = start(code, base)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    side = side_of(base, pid=process.pid)
    journal = read_journal(str(side / "journal.jsonl"))
    assert journal.rejected_count == 0
    keys = {(entry.data_id, entry.token_id) for entry in journal.entries}
    for entry in journal.entries:
        array = np.load(base / entry.path)
        assert entry.data_id == "first" or (set(array) == {float(entry.data_id)} and array.size == 20000)
    metadata = {(data_id, token_id) for data_id, tokens in metadata_of(side).items() for token_id in tokens}
    assert metadata <= keys
    files = list(side.glob("*/*_tensor.npy"))
    assert len(keys) <= len(files) <= len(keys) + 1, "only the tensor in flight may be unknown to the journal"
    shutil.rmtree(side.parent)  # a thousand of them are many gigabytes


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_loses_at_most_what_was_in_flight(own_dump: Path, seed: int) -> None:
    kill_at_a_random_instant(own_dump, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 100 + tries("DUMP_KILLS", 200)))
def test_many_killed_processes_lose_at_most_what_was_in_flight(own_dump: Path, seed: int) -> None:
    kill_at_a_random_instant(own_dump, seed)


def test_a_killed_short_run_has_all_entries_in_metadata(own_dump: Path) -> None:
    code = """
import os, signal, numpy as np
from fastcmp.dump import dump_data
for number in range(10):
    dump_data("golden", number, np.zeros(1))
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(code, own_dump)
    process.communicate(timeout=60)
    assert len(metadata_of(side_of(own_dump, pid=process.pid))) == 10


def test_a_forked_child_dumps_into_its_own_directory(own_dump: Path) -> None:
    code = """
import os, sys, numpy as np
from fastcmp.dump import dump_data, dump_counters
dump_data("golden", "parent", np.zeros(1))
os.mkdir("elsewhere")
os.chdir("elsewhere")
child = os.fork()
if not child:
    assert dump_counters()["saved"] == 0
    for number in range(40):
        dump_data("golden", f"child {number}", np.ones(1))
    sys.exit()
os.waitpid(child, 0)
dump_data("golden", "parent again", np.zeros(1))
print(child)
"""
    process = start(code, own_dump)
    child = int(finish(process))
    assert list(metadata_of(side_of(own_dump, pid=process.pid))) == ["parent", "parent again"]
    assert len(metadata_of(side_of(own_dump, pid=child))) == 40, "beside its parent's, and complete at exit"
    assert list((own_dump / "elsewhere").iterdir()) == []


def test_a_fork_while_other_threads_dump_does_not_hang_the_child(own_dump: Path) -> None:
    code = """
import os, signal, threading, numpy as np
from fastcmp.dump import dump_data
stop = threading.Event()
def work(thread):
    number = 0
    while not stop.is_set():
        dump_data("golden", f"{thread} {number}", np.zeros(10)); number += 1
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
[thread.start() for thread in threads]
statuses = []
for _ in range(10):
    child = os.fork()
    if not child:
        signal.alarm(20)
        dump_data("golden", "child", np.zeros(10))
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
stop.set()
[thread.join() for thread in threads]
print(statuses)
"""
    # Python 3.12 and later warn of any fork beside threads, whoever made them.
    assert finish(start("import warnings; warnings.simplefilter('ignore')\n" + code, own_dump)) == f"{[0] * 10}\n"
    assert len(list(own_dump.glob("*_cmp_dump_data"))) == 11
    for path in own_dump.glob("*_cmp_dump_data/golden_tensor/journal.jsonl"):
        assert read_journal(str(path)).rejected_count == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_has_complete_metadata(own_dump: Path, method: str) -> None:
    (own_dump / "script.py").write_text(
        f"""
import multiprocessing, warnings
import numpy as np
from fastcmp.dump import dump_data
warnings.simplefilter("ignore")
def work(name):
    for number in range(40):
        dump_data("golden", f"{{name}} {{number}}", np.zeros(1))
if __name__ == "__main__":
    dump_data("golden", "parent", np.zeros(1))
    process = multiprocessing.get_context("{method}").Process(target=work, args=("child",))
    process.start()
    process.join()
    print(process.pid)
"""
    )
    process = launch([sys.executable, "-W", "error", "script.py"], own_dump)
    child = int(finish(process))
    assert len(metadata_of(side_of(own_dump, pid=child))) == 40
    assert list(metadata_of(side_of(own_dump, pid=process.pid))) == ["parent"]


def test_a_process_that_executes_itself_anew_sets_its_first_dump_aside(own_dump: Path) -> None:
    code = """
import os, sys, numpy as np
from fastcmp.dump import dump_data
dump_data("golden", sys.argv[1], np.zeros(1))
if sys.argv[1] == "first":
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], "second"])
"""
    process = start(code, own_dump, "first", code)
    finish(process)
    assert list(metadata_of(side_of(own_dump, pid=process.pid))) == ["second"]
    aside = own_dump / f"{process.pid}_cmp_dump_data.earlier-1/golden_tensor"
    assert list(json.loads((aside / "metadata.json").read_text())) == ["first"]
