"""Registered tensors, and no others: lists of this process and of another one, lines that come while it runs, wildcards, a million lines."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from preload_expected import Offer, offers
from preload_host import EVERYTHING_OF_2023, HostRun, Hosts, saved_files, write_list

SIZE = {"threads": 2, "tokens": 4, "layers": 3, "nbytes": 64}
ARGUMENTS = ("--threads", 2, "--tokens", 4, "--layers", 3, "--bytes", 64)
OFFERS = list(offers(**SIZE))
BY_TAIL = {one.tail(): one for one in OFFERS}
PROBE_FLOWS = {"present-day": (), "older": ("--older",), "mki": ("--mki",)}
OLD_FLOWS = {"legacy": ("--legacy",), "legacy-pid": ("--legacy-pid",), "legacy-store-util": ("--legacy-store-util",)}
STORE_FLOWS = {"store-asdops": ("--store", "asdops"), "store-atb": ("--store", "atb")}


def contents(which: Iterable[Offer]) -> dict[str, bytes]:
    return {one.tail(): one.contents for one in which}


def saved(run: HostRun) -> dict[str, bytes]:
    assert run.status == 0, run.stderr
    return {tail: path.read_bytes() for tail, path in run.files().items()}


def some(*, every: int = 7, start: int = 3) -> list[Offer]:
    return OFFERS[start::every]


@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_exactly_the_listed_tensors_are_saved(abi: int, flow: str, hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", *(one.tail() for one in some()))
    run = hosts.run(tmp_path, *ARGUMENTS, *PROBE_FLOWS[flow], program=f"standin_host_abi{abi}", FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == contents(some()) and run.stderr == ""
    heartbeat = run.heartbeat()
    assert (heartbeat["registered_lines"], heartbeat["registered_saved"]) == (len(some()),) * 2
    assert heartbeat["selected_by"] == "registered"


@pytest.mark.parametrize("flow", OLD_FLOWS | STORE_FLOWS)
def test_exactly_the_listed_tensors_are_saved_of_those_that_an_old_library_offers(
    abi: int, flow: str, hosts: Hosts, tmp_path: Path
) -> None:
    is_legacy = flow in OLD_FLOWS
    kept = {("after", "in"), ("after", "out")} if is_legacy else {("before", "in"), ("after", "out")}
    wanted = [one for one in OFFERS if (one.when, one.part) in kept][::5]
    listed = write_list(tmp_path / "list" / "paths.txt", *(one.tail(legacy=is_legacy) for one in wanted))
    arguments = (*ARGUMENTS, *(OLD_FLOWS | STORE_FLOWS)[flow])
    run = hosts.run(tmp_path, *arguments, program=f"standin_host_abi{abi}", **EVERYTHING_OF_2023, FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == {one.tail(legacy=is_legacy): one.contents for one in wanted}


def test_D10_the_task_directory_of_the_old_tool_is_no_part_of_a_path(hosts: Hosts, tmp_path: Path) -> None:
    wanted = [one for one in OFFERS if one.when == "after"][:4]
    listed = write_list(tmp_path / "list" / "paths.txt", *(one.tail(legacy=True) for one in wanted))
    variables = {**EVERYTHING_OF_2023, "AIT_CMP_TASK_ID": "77_3", "FASTCMP_ALLOWLIST": str(listed)}
    run = hosts.run(tmp_path, *ARGUMENTS, "--legacy", **variables)
    assert {tail.removeprefix("77_3/") for tail in saved(run)} == {one.tail(legacy=True) for one in wanted}


@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_either_spelling_of_a_tensor_finds_it(flow: str, hosts: Hosts, tmp_path: Path) -> None:
    """outTensor0.bin, as the seed has it, is outtensor0.bin to its successors."""
    one = next(one for one in OFFERS if one.when == "after" and one.part == "out")
    as_the_seed = one.tail(legacy=True)
    assert as_the_seed.endswith("outTensor0.bin")
    listed = write_list(tmp_path / "list" / "paths.txt", as_the_seed)
    run = hosts.run(tmp_path, *ARGUMENTS, *PROBE_FLOWS[flow], FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == {one.tail(): one.contents}, "a list of another process leaves the name to the library"


@pytest.mark.parametrize(
    "pattern", ["0/0_Model/0_Layer/0_Norm/after/{}", "0/0_Model/*_Layer/*_Norm/after/{}", "*/0_Model/0_Layer/0_Norm/after/{}"]
)
@pytest.mark.parametrize(
    ("standin", "name", "of_library"), [("atb", "outTensor0.bin", "outtensor0.bin"), ("acltransformer", "outtensor0.bin", "outTensor0.bin")]
)
def test_a_registered_tensor_is_called_as_it_was_registered(
    abi: int, standin: str, name: str, of_library: str, pattern: str, hosts: Hosts, tmp_path: Path
) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", pattern.format(name))
    code = f"from standin_model import *\nassert follow({str(listed)!r}, {str(tmp_path / 'run')!r}) == 0\nModel().execute(0, 0, 0, b'abcd', dims='1')"
    run = hosts.run_python(tmp_path, code, standin=f"lib{standin}_standin_abi{abi}.so", **EVERYTHING_OF_2023)
    assert [str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.bin")] == [
        f"0/0_Model/0_Layer/0_Norm/after/{name}"
    ]
    assert run.stderr == "" and name != of_library


# --- lines that come later -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_D17_lines_that_are_appended_between_two_tokens_count_from_then_on(abi: int, flow: str, hosts: Hosts, tmp_path: Path) -> None:
    """The library asks once per runner, before the first token, whether it is to be saved at all."""
    wanted = {token: next(one for one in OFFERS if one.token == token and len(one.ids) == 3) for token in (1, 2, 3)}
    late = next(one for one in OFFERS if one.token == 0)
    listed = write_list(tmp_path / "list" / "paths.txt")
    appended = itertools.chain.from_iterable(("--register", f"{listed}:{one.tail()}") for one in (wanted[1], wanted[3], late))
    arguments = (*ARGUMENTS, *PROBE_FLOWS[flow], *appended)
    run = hosts.run(tmp_path, *arguments, program=f"standin_host_abi{abi}", FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == contents([wanted[1], wanted[3]])
    assert run.lines() == ["2 tensors saved; 1 of 3 registered paths have no tensor (`fastcmp doctor` says why)"]


@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_a_list_that_is_made_while_the_host_runs_is_found(flow: str, hosts: Hosts, tmp_path: Path) -> None:
    one = next(one for one in OFFERS if one.token == 2)
    (tmp_path / "list").mkdir(mode=0o700)
    path = tmp_path / "list" / "paths.txt"
    arguments = (*ARGUMENTS, *PROBE_FLOWS[flow], "--register", f"{path}:{one.tail()}", "--sleep-ms", 25)  # looked for every 10 ms
    run = hosts.run(tmp_path, *arguments, FASTCMP_ALLOWLIST=str(path))
    assert saved(run) == contents([one])


def test_a_list_that_was_not_there_counts_at_once_for_who_follows_it(hosts: Hosts, tmp_path: Path) -> None:
    """As `dump_data` does. Nobody waits until it is looked for again."""
    code = """
import os, sys
from standin_model import *
model = Model()
model.add(0, 0)
for token, path in enumerate(sys.argv[2:]):
    model.execute(0, 0, token, b"abcd", dims="1")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f"{token}/0_Model/0_Layer/0_Norm/after/outtensor0.bin\\n")
    assert follow(path, sys.argv[1]) == 0
    model.execute(0, 0, token, b"abcd", dims="1")
"""
    (tmp_path / "list").mkdir(mode=0o700)
    lists = [tmp_path / "list" / f"{number}.txt" for number in range(5)]
    hosts.run_python(tmp_path, code, tmp_path / "tensors" / "thread_1", *lists, FASTCMP_ALLOWLIST=str(lists[0]))
    assert [tail.split("/")[0] for tail in saved_files(tmp_path)] == ["0", "1", "2", "3", "4"]


def test_a_last_line_without_its_end_registers_nothing_until_it_has_it(hosts: Hosts, tmp_path: Path) -> None:
    """What another process has written half."""
    first, second = OFFERS[0], next(one for one in OFFERS if one.token == 2)
    listed = write_list(tmp_path / "list" / "paths.txt", first.tail())
    with open(listed, "a") as file:
        file.write(second.tail()[:-3])
    assert saved(hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))) == contents([first])
    place = tmp_path / "again"
    place.mkdir()
    # The rest of the line, and its end, come after the first token.
    run = hosts.run(place, *ARGUMENTS, "--register", f"{listed}:{second.tail()[-3:]}", FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == contents([first, second])


def test_a_list_that_is_replaced_or_cut_short_is_read_anew(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os, sys
from standin_model import *
path = sys.argv[1]
def name(token):
    return f"{token}/0_Model/0_Layer/0_Norm/after/outtensor0.bin"
def replace(text):
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.chmod(f"{path}.new", 0o600)
    os.rename(f"{path}.new", path)
def cut(text):
    with open(path, "w") as file:
        file.write(text)
def unlink(text):
    os.unlink(path)
    cut(text)
    os.chmod(path, 0o600)
model = Model()
model.add(0, 0)
assert follow(path, sys.argv[2]) == 0
for token, (change, more) in enumerate([(replace, 9), (cut, 0), (replace, 1), (unlink, 5), (cut, 2)]):
    change(f"{name(token)}\\n" + "x/y\\n" * more)
    model.execute(0, 0, token, b"abcd", dims="1")
"""
    listed = write_list(tmp_path / "list" / "paths.txt", "0/x")
    hosts.run_python(tmp_path, code, listed, tmp_path / "tensors" / "thread_1")
    assert [tail.split("/")[0] for tail in saved_files(tmp_path)] == ["0", "1", "2", "3", "4"]


# --- wildcards -----------------------------------------------------------------------------------------------------------------------------

STARRED = {
    "1/0_StandinModelTorch/*_StandinLayerRunner/1_SelfAttentionRunner/after/outtensor0.bin": "1/0/*/1",
    "*/1_StandinModelTorch/2_StandinLayerRunner/*_NormOpsRunner/before/intensor0.bin": "*/1/2/0",
    "2/*_StandinModelTorch/*_StandinLayerRunner/after/intensor0.bin": "2/*/*",
    "3/*_StandinModelTorch/1_StandinLayerRunner/2_*/after/outtensor0.bin": "",
    "*/*/*/after/outtensor0.bin": "",
    "0/1*_StandinModelTorch/0_StandinLayerRunner/after/outtensor0.bin": "",
    "0/**_StandinModelTorch/0_StandinLayerRunner/after/outtensor0.bin": "",
    "0/0_Standin?odelTorch/0_StandinLayerRunner/after/outtensor0.bin": "",
    "0/[0-9]_StandinModelTorch/0_StandinLayerRunner/after/outtensor0.bin": "",
    "0/0_StandinModelTorch/0_StandinLayerRunner/0_NormOpsRunner/after/*tensor*.bin": "",
    "0/0_StandinModelTorch/0_StandinLayerRunner/0_NormOpsRunner/after/outtensor*.bin": "0/0/0/0",
}


def matching(pattern: str, places: str) -> list[Offer]:
    """By the numbers alone: token, model, layer, node."""
    parts = places.split("/")
    name = pattern.split("/")
    when, part = name[-2], name[-1].split("tensor")[0]
    return [
        one
        for one in OFFERS
        if places
        and len(parts) == 1 + len(one.ids)
        and (one.when, one.part) == (when, part)
        and all(wanted in ("*", str(number)) for wanted, number in zip(parts, (one.token, *one.ids), strict=True))
    ]


@pytest.mark.parametrize(("pattern", "places"), STARRED.items())
@pytest.mark.parametrize("flow", PROBE_FLOWS)
def test_a_star_stands_for_one_whole_number(flow: str, pattern: str, places: str, hosts: Hosts, tmp_path: Path) -> None:
    expected = matching(pattern, places)
    assert bool(expected) == bool(places)
    listed = write_list(tmp_path / "list" / "paths.txt", pattern)
    run = hosts.run(tmp_path, *ARGUMENTS, *PROBE_FLOWS[flow], FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == contents(expected)
    heartbeat = run.heartbeat()
    assert (heartbeat["registered_lines"], heartbeat["registered_saved"]) == (1, int(bool(expected)))


def test_patterns_and_paths_that_overlap_save_each_tensor_once(hosts: Hosts, tmp_path: Path) -> None:
    patterns = [pattern for pattern, places in STARRED.items() if places]
    expected = {one.tail(): one for pattern, places in STARRED.items() for one in matching(pattern, places)}
    listed = write_list(tmp_path / "list" / "paths.txt", *patterns, *expected, *patterns, *(one.tail() for one in some()))
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))
    assert saved(run) == contents([*expected.values(), *some()])
    assert run.counters()["resaved"] == 0


# --- where registered tensors go -------------------------------------------------------------------------------------------------------------

FOLLOW = """
import json, sys
from standin_model import *
errors = [follow(*arguments) for arguments in json.loads(sys.argv[1])]
run_library(tokens=2, layers=1, nbytes=64)
print(json.dumps(errors))
"""


def test_a_followed_list_names_the_directory(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    lists = [write_list(tmp_path / f"list{number}" / "paths.txt", OFFERS[number].tail()) for number in range(3)]
    calls = [(str(lists[0]), f"{tmp_path}/a//tensors/thread_1/"), (str(lists[1]), f"{tmp_path}/b/thread_2"), (str(lists[2]), None)]
    run = hosts.run_python(tmp_path, FOLLOW, json.dumps(calls), standin=f"libatb_standin_abi{abi}.so")
    assert json.loads(run.stdout) == [0, 0, 0]
    expected = {one.tail(): one.contents for one in offers(tokens=2, nbytes=64)}
    for number, place in enumerate((tmp_path / "a/tensors/thread_1", tmp_path / "b/thread_2")):
        assert (place / OFFERS[number].tail()).read_bytes() == expected[OFFERS[number].tail()]
    (third,) = (tmp_path / "msit_dump" / "tensors").iterdir()
    assert (third / OFFERS[2].tail()).read_bytes() == expected[OFFERS[2].tail()]
    assert len(list(tmp_path.rglob("*.bin"))) == 3


def test_a_list_that_is_followed_again_goes_where_it_was_said_last(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", OFFERS[0].tail())
    calls = [(str(listed), f"{tmp_path}/a"), (str(listed), f"{tmp_path}/b")]
    assert json.loads(hosts.run_python(tmp_path, FOLLOW, json.dumps(calls)).stdout) == [0, 0]
    assert [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.bin")] == ["b"]


@pytest.mark.parametrize(
    ("variables", "list_path", "directory", "error"),
    [
        ({}, "paths.txt", "/x", "EINVAL"),
        ({}, "", "/x", "EINVAL"),
        ({}, "{}/list/paths.txt", "x", "EINVAL"),
        ({}, "{}/list/missing.txt", "{}/x", "ENOENT"),
        ({}, "{}/missing/paths.txt", "{}/x", "ENOENT"),
        ({}, "{}/list", "{}/x", "EPERM"),
        ({}, "{}/list/" + "x" * 300, "{}/x", "ENAMETOOLONG"),
        ({"FASTCMP_ALLOWLIST": "{}/list/missing.txt"}, "{}/list/missing.txt", "{}/x", "ENOENT"),
        ({"FASTCMP_ALLOWLIST": "{}/list"}, "{}/list", "{}/x", "EPERM"),
        ({"FASTCMP_SELECT": "environment"}, "{}/list/paths.txt", "{}/x", "ENOTSUP"),
        ({"FASTCMP_DUMP": "0"}, "{}/list/paths.txt", "{}/x", "ENOTSUP"),
    ],
)
def test_what_cannot_be_followed_says_why(
    variables: dict[str, str], list_path: str, directory: str, error: str, hosts: Hosts, tmp_path: Path
) -> None:
    write_list(tmp_path / "list" / "paths.txt", OFFERS[0].tail())
    calls = [(list_path.format(tmp_path), directory.format(tmp_path))] * 2
    code = "import errno\n" + FOLLOW.replace("json.dumps(errors)", "json.dumps([errno.errorcode[one] for one in errors])")
    run = hosts.run_python(tmp_path, code, json.dumps(calls), **{name: value.format(tmp_path) for name, value in variables.items()})
    assert json.loads(run.stdout) == [error] * 2 and not list(tmp_path.rglob("*.bin"))


def test_a_run_directory_that_cannot_be_made_costs_the_host_nothing(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", OFFERS[0].tail())
    (tmp_path / "file").write_text("")
    run = hosts.run_python(tmp_path, FOLLOW, json.dumps([(str(listed), f"{tmp_path}/file/tensors/thread_1")]))
    assert json.loads(run.stdout) == [0]
    assert "opening the output directory: Not a directory" in run.lines()[0]


# --- lists of another process, by name -------------------------------------------------------------------------------------------------------


def test_the_old_tools_list_counts_only_on_request(hosts: Hosts, tmp_path: Path) -> None:
    """Its name is known to everybody, so it is read only where the user says so."""
    task = f"fastcmp_test_{time.time_ns()}"
    listed = Path("/tmp") / task / "ait_compare_acl_map.txt"
    after = [one for one in OFFERS if one.when == "after"]
    write_list(listed, after[0].tail(legacy=True))
    try:
        for number, (word, is_read) in enumerate({"": False, "0": False, "no": False, "1": True, "yes": True}.items()):
            place = tmp_path / str(number)
            place.mkdir()
            variables = {"AIT_CMP_TASK_PID": task, "FASTCMP_LEGACY_ALLOWLIST": word, "FASTCMP_SELECT": "registered"}
            run = hosts.run(place, *ARGUMENTS, "--legacy", **EVERYTHING_OF_2023, **variables)
            assert len(run.files()) == int(is_read), word
        place = tmp_path / "link"
        place.mkdir()
        (listed.parent / "real").symlink_to(listed.parent)
        run = hosts.run(place, *ARGUMENTS, AIT_CMP_TASK_PID=f"{task}/real", FASTCMP_LEGACY_ALLOWLIST="1")
        assert run.files() == {}, "a task that is no plain name is none"
    finally:
        for path in (listed, listed.parent / "real"):
            path.unlink(missing_ok=True)
        listed.parent.rmdir()


# --- many lines ------------------------------------------------------------------------------------------------------------------------------

TIMED = """
import json, sys, time
from standin_model import *
def resident_kib():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS:")]
    return int(line.split()[1])
before = resident_kib()
start = time.monotonic()
assert follow(sys.argv[1], sys.argv[2]) == 0
elapsed = time.monotonic() - start
run_library(tokens=1, layers=1, nbytes=64)
print(json.dumps([elapsed, resident_kib() - before, status()["registered_lines"]]))
"""


def test_a_hundred_thousand_lines_are_read_in_a_second_and_fit_in_memory(hosts: Hosts, tmp_path: Path) -> None:
    lines = [
        f"{token}/0_Model/{layer}_Layer/{node}_Runner/after/outtensor0.bin"
        for token in range(100)
        for layer in range(100)
        for node in range(10)
    ]
    listed = write_list(tmp_path / "list" / "paths.txt", *lines, OFFERS[0].tail())
    run = hosts.run_python(tmp_path, TIMED, listed, tmp_path / "run")
    elapsed, kib, count = json.loads(run.stdout)
    assert count == 100_001 and elapsed < 3 and kib < 80 << 10
    assert saved_files(tmp_path / "run") == {} and (tmp_path / "run" / OFFERS[0].tail()).is_file()


@pytest.mark.slow
def test_a_million_lines_are_read_in_seconds_and_fit_in_memory(hosts: Hosts, tmp_path: Path) -> None:
    lines = [
        f"{token}/0_Model/{layer}_Layer/{node}_Runner/after/outtensor0.bin"
        for token in range(1000)
        for layer in range(100)
        for node in range(10)
    ]
    one = next(offers(nbytes=64))
    listed = write_list(tmp_path / "list" / "paths.txt", *lines[:-1], one.tail(), lines[-1], "5/one/line/too/many.bin")
    run = hosts.run_python(tmp_path, TIMED, listed, tmp_path / "run")
    elapsed, kib, count = json.loads(run.stdout)
    print(f"a million lines: {elapsed:.2f} s, {kib >> 10} MiB")
    assert count == 1_000_000 and elapsed < 15 and kib < 600 << 10
    assert saved_files(tmp_path / "run") == {} and (tmp_path / "run" / one.tail()).read_bytes() == one.contents
    assert "found more than 1000000 lines; those that follow register nothing" in run.lines()[0]


@pytest.mark.parametrize(
    ("lines", "limit_ns"),
    [
        pytest.param([], 5_000, id="an empty list"),
        pytest.param(
            [f"{token}/0_M/{layer}_L/after/outtensor0.bin" for token in range(1, 200) for layer in range(100)], 5_000, id="20000 lines"
        ),
        pytest.param([f"0/0_M/{layer}_L/after/outtensor0.bin" for layer in range(100_000)], 5_000, id="100000 lines of this token"),
        pytest.param([f"{token}/0_M/*_L/{node}_N/after/out.bin" for token in range(500) for node in range(20)], 5_000, id="10000 patterns"),
        pytest.param([f"0/0_M/*_L/{node}_N/after/out.bin" for node in range(100)], 20_000, id="100 patterns of this token"),
    ],
)
@pytest.mark.parametrize("flow", [(), ("--older",)], ids=["present-day", "older"])
def test_a_tensor_that_is_not_registered_costs_about_a_microsecond(
    flow: tuple[str, ...], lines: list[str], limit_ns: int, hosts: Hosts, tmp_path: Path
) -> None:
    """The order of magnitude only: bench/ has the figure, on a quiet machine."""
    listed = write_list(tmp_path / "list" / "paths.txt", *lines)
    run = hosts.run(tmp_path, "--not-selected", 100_000, *flow, FASTCMP_ALLOWLIST=str(listed))
    result = json.loads(run.stdout)
    print(f"{min(result['ns_per_offer']):.0f} ns an offer")
    assert min(result["ns_per_offer"]) < limit_ns


def test_a_list_that_is_not_there_yet_costs_little_more(hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, "--not-selected", 50_000, FASTCMP_ALLOWLIST=f"{tmp_path}/missing/paths.txt")
    result = json.loads(run.stdout)
    print(f"{min(result['ns_per_offer']):.0f} ns an offer")
    assert min(result["ns_per_offer"]) < 20_000
