"""What the environment of either era selects, against an oracle that tells the rules a second time (`preload_expected.is_selected`)."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from preload_expected import MODEL, Offer, bin_bytes, is_selected, offers
from preload_host import EVERYTHING, EVERYTHING_OF_2023, HostRun, Hosts, write_list

import fastcmp

SIZE = {"threads": 2, "tokens": 4, "layers": 2, "nbytes": 16}
ARGUMENTS = ("--threads", 2, "--tokens", 4, "--layers", 2, "--bytes", 16)
OFFERS = list(offers(**SIZE))

UNSET = None
# Every variable: unset, empty, malformed, and what the documents say.
ATB: dict[str, list[str | None]] = {
    "ATB_SAVE_TENSOR": ["1", "1", "1", "2", "", "0", "true", " 1", "11", UNSET],
    "ATB_SAVE_TENSOR_RANGE": [
        "all", "ALL", "0,3", "1,2", "0,0,2,3", "2,2", "3,1", "1", "0,1,3", "a,b", "0,b,2,3", "-1,2", "0, 1", "+0,3", "0,99999999999999999999",
        "0,18446744073709551615", ",", "", "0;3", "1.0,2.0", UNSET,
    ],
    "ATB_SAVE_TENSOR_PART": ["0", "1", "2", "2", "2", "3", "", "all", "-1", UNSET],
    "ATB_SAVE_TENSOR_TIME": ["0", "1", "2", "", "3", "before", UNSET],
    "ATB_SAVE_TENSOR_IN_BEFORE_OUT_AFTER": ["1", "0", "", "yes", UNSET, UNSET, UNSET],
    "ATB_SAVE_TENSOR_IDS": ["0_1", "0_1_2,1_0", "0", "1_1_0", "0_1_2_3", "_", "0__1", " 0_0 , 1_1 ", "", "x", "00_1", ",,", UNSET, UNSET, UNSET],
    "ATB_SAVE_CHILD": ["1", "0", "", "2", "no", UNSET, UNSET],
    "ATB_SAVE_TENSOR_RUNNER": [
        "NormOpsRunner", "normops", "NORM,linear", "StandinLayer", "Ops", "Self Attention", " norm ", "", "*", ",", UNSET, UNSET, UNSET,
    ],
    "ATB_DUMP_TYPE": ["tensor", "model|tensor", "model", "", "|", "Tensor", "tensors", " tensor | op ", UNSET, UNSET, UNSET, UNSET],
    "ATB_DEVICE_ID": ["0", "1", "1,0", "", "x", UNSET, UNSET, UNSET],
}  # fmt: skip
ACLTRANSFORMER: dict[str, list[str | None]] = {
    "ACLTRANSFORMER_SAVE_TENSOR": ["1", "1", "1", "0", "", "2", "1 ", "true", UNSET],
    "ACLTRANSFORMER_SAVE_TENSOR_MAX": ["1", "2", "3", "5000", "0", "-1", "", "x", " 2", "+3", "2x", "0x3", UNSET],
    "ACLTRANSFORMER_SAVE_TENSOR_RUNNER": ["NormOpsRunner", "NormOps,Linear", "normops", "Ops", "", ",", "StandinLayerRunner", UNSET, UNSET],
}


# The seed's variables are also what lets registered tensors through, so they select by themselves only where they are told to.
BY_ENVIRONMENT = {"FASTCMP_SELECT": "environment"}


def sampled(table: Mapping[str, list[str | None]], rng: random.Random) -> dict[str, str]:
    chosen = {name: rng.choice(values) for name, values in table.items()}
    return {name: value for name, value in chosen.items() if value is not None}


def one_at_a_time() -> list[dict[str, str]]:
    """Every value of every variable, beside a selection of everything."""
    return [
        {**{name: text for name, text in EVERYTHING.items() if name != variable}, **({} if value is None else {variable: value})}
        for variable, values in ATB.items()
        for value in dict.fromkeys(values)
    ]


def expected_files(environment: Mapping[str, str]) -> dict[str, bytes]:
    wanted = {"data": lambda one: one.contents, "description": lambda one: bin_bytes(2, 0, "1,4", b"")}
    return {one.tail(): wanted[what](one) for one in OFFERS if (what := is_selected(one, environment))}


def saved(run: HostRun) -> dict[str, bytes]:
    assert run.status == 0, run.stderr
    return {tail: path.read_bytes() for tail, path in run.files().items()}


def check_all(environments: list[dict[str, str]], hosts: Hosts, tmp_path: Path, flow: tuple[str, ...] = ()) -> None:
    outputs, wrong, nonempty = set(), [], 0
    for number, environment in enumerate(environments):
        place = tmp_path / str(number)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, *flow, program=f"standin_host_abi{number % 2}", **environment, **BY_ENVIRONMENT)
        found, expected = saved(run), expected_files(environment)
        nonempty += bool(expected)
        outputs.add(run.stdout.partition(":")[2])
        if found != expected:
            wrong.append((environment, sorted(found.keys() ^ expected.keys())[:4]))
    assert not wrong, f"{len(wrong)} of {len(environments)} environments: {wrong[:5]}"
    assert len(outputs) == 1, "the host computes the same, whatever is saved"
    assert nonempty >= len(environments) / 8, "most of them select nothing: a poor sample"


def test_each_value_of_each_probe_variable_selects_what_is_documented(hosts: Hosts, tmp_path: Path) -> None:
    check_all(one_at_a_time(), hosts, tmp_path)


@pytest.mark.parametrize("flow", [(), ("--older",), ("--mki",)], ids=["present-day", "older", "mki"])
def test_combinations_of_the_probe_variables_select_their_intersection(flow: tuple[str, ...], hosts: Hosts, tmp_path: Path) -> None:
    rng = random.Random(f"probe {flow}")
    environments: list[dict[str, str]] = []
    while len(environments) < 50:  # mostly such as select something
        environment = sampled(ATB, rng)
        if rng.random() < 0.1 or any(is_selected(one, environment) for one in OFFERS):
            environments.append(environment)
    check_all(environments, hosts, tmp_path, flow)


def test_children_of_an_id_are_not_those_of_a_longer_number(hosts: Hosts, tmp_path: Path) -> None:
    environment = {**EVERYTHING, "ATB_SAVE_TENSOR_IDS": "0_1", "ATB_SAVE_CHILD": "1", "ATB_SAVE_TENSOR_TIME": "1"}
    run = hosts.run(tmp_path, "--tokens", 1, "--layers", 12, "--bytes", 16, **environment)
    expected = {one.tail() for one in offers(layers=12, nbytes=16) if one.ids[:2] == (0, 1) and one.when == "after"}
    assert saved(run).keys() == expected and len(expected) == 8


@pytest.mark.slow
def test_thousands_of_combinations_select_their_intersection(hosts: Hosts, tmp_path: Path) -> None:
    rng = random.Random("thousands")
    environments = [sampled(ATB, rng) for _ in range(20_000)]
    check_all([one for one in environments if rng.random() < 0.02 or any(is_selected(offer, one) for offer in OFFERS)], hosts, tmp_path)


def test_the_seeds_variables_select_in_a_present_day_library_as_in_their_own(hosts: Hosts, tmp_path: Path) -> None:
    rng = random.Random("seed")
    check_all([sampled(ACLTRANSFORMER, rng) for _ in range(40)], hosts, tmp_path)


def test_where_both_eras_are_set_the_later_one_decides(hosts: Hosts, tmp_path: Path) -> None:
    rng = random.Random("both")
    both = [{**sampled(ACLTRANSFORMER, rng), "ACLTRANSFORMER_SAVE_TENSOR": "1", **sampled(ATB, rng), **EVERYTHING} for _ in range(3)]
    check_all([*both, {**EVERYTHING, "ATB_SAVE_TENSOR": "", "ACLTRANSFORMER_SAVE_TENSOR": "1"}], hosts, tmp_path)


def legacy_expected(environment: Mapping[str, str]) -> dict[str, bytes]:
    """What libacltransformer offers by its own variables; the model saves no inputs before an operation."""
    if environment.get("ACLTRANSFORMER_SAVE_TENSOR") != "1":
        return {}
    of_its_own = {name: value for name, value in environment.items() if name.startswith("ACL")}
    return {one.tail(legacy=True): one.contents for one in OFFERS if is_selected(one, of_its_own)}


@pytest.mark.parametrize("flow", ["--legacy", "--legacy-pid", "--legacy-store-util"])
def test_what_the_seeds_library_offers_by_its_variables_is_saved_as_it_is(flow: str, hosts: Hosts, tmp_path: Path) -> None:
    rng = random.Random(flow)
    for number in range(12):
        place = tmp_path / str(number)
        place.mkdir()
        environment = sampled(ACLTRANSFORMER, rng) | (sampled(ATB, rng) if number % 3 == 0 else {})
        if environment.get("ACLTRANSFORMER_SAVE_TENSOR_RUNNER") == ",":
            continue  # its own reading of it, which no preload library sees
        run = hosts.run(place, *ARGUMENTS, flow, program=f"standin_host_abi{number % 2}", **environment, **BY_ENVIRONMENT)
        assert saved(run) == legacy_expected(environment), environment


@pytest.mark.parametrize("flow", ["", "--older", "--legacy", "--legacy-pid", "--legacy-store-util"])
def test_the_seeds_variables_alone_save_nothing_that_was_not_registered(flow: str, hosts: Hosts, tmp_path: Path) -> None:
    environment = {"ACLTRANSFORMER_SAVE_TENSOR": "1", "ACLTRANSFORMER_SAVE_TENSOR_MAX": "5000"}
    run = hosts.run(tmp_path, *ARGUMENTS, *([flow] if flow else []), **environment)
    assert saved(run) == {}
    if flow.startswith("--legacy"):
        text = "nothing is registered so far, so nothing is saved; FASTCMP_SELECT=environment saves what the environment selects"
        assert run.stderr.count(text) == 1


@pytest.mark.parametrize("store", ["asdops", "atb"])
@pytest.mark.parametrize(
    ("environment", "rounds"),
    [
        ({"ATB_SAVE_TENSOR": "1"}, range(4)),
        ({"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_START": "1", "ATB_SAVE_TENSOR_END": "2"}, range(1, 3)),
        ({"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "3,3"}, range(3, 4)),
        ({"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_PART": "0"}, range(4)),
        ({"ATB_SAVE_TENSOR": "0"}, range(0)),
        ({}, range(0)),
    ],
    ids=str,
)
def test_what_a_library_of_november_2023_offers_is_saved_as_it_is(
    store: str, environment: dict[str, str], rounds: range, hosts: Hosts, tmp_path: Path
) -> None:
    run = hosts.run(tmp_path, *ARGUMENTS, "--store", store, **environment, ASDOPS_LOG_TO_FILE_DIR=f"{tmp_path}/logs")
    kept = {("before", "in"), ("after", "out")}
    assert saved(run) == {one.tail(): one.contents for one in OFFERS if one.token in rounds and (one.when, one.part) in kept}
    assert all(path.is_relative_to(tmp_path / "logs" / "tensors") for path in run.files().values())


# --- who selects -------------------------------------------------------------------------------------------------------------------------

LISTED = [one for one in OFFERS if one.token == 1 and one.when == "before"][:3]
SELECTING = {"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "2,2", "ATB_SAVE_TENSOR_PART": "1"}


def contents(which: list[Offer]) -> dict[str, bytes]:
    return {one.tail(): one.contents for one in which}


@pytest.mark.parametrize("flow", [(), ("--older",), ("--mki",)], ids=["present-day", "older", "mki"])
@pytest.mark.parametrize("has_list", [True, False], ids=["list", "no-list"])
@pytest.mark.parametrize("select", ["", "auto", "registered", "Registered ", "environment", "ENVIRONMENT", "nonsense"])
def test_FASTCMP_SELECT_says_whether_the_list_or_the_environment_counts(
    select: str, has_list: bool, flow: tuple[str, ...], abi: int, hosts: Hosts, tmp_path: Path
) -> None:
    environment = {**SELECTING, "FASTCMP_SELECT": select}
    if has_list:
        environment["FASTCMP_ALLOWLIST"] = str(write_list(tmp_path / "list" / "paths.txt", *(one.tail() for one in LISTED)))
    run = hosts.run(tmp_path, *ARGUMENTS, *flow, program=f"standin_host_abi{abi}", **environment)
    word = select.strip().lower()
    by_list = word == "registered" or (word != "environment" and has_list)
    selected = [one for one in OFFERS if is_selected(one, SELECTING)]
    assert selected and LISTED
    assert saved(run) == (contents(LISTED) if by_list and has_list else {} if by_list else contents(selected))
    has_effect = has_list and word != "environment"
    assert run.heartbeat()["selected_by"] == ("registered" if has_effect else "nothing" if word == "registered" else "environment")


@pytest.mark.parametrize("flow", ["--legacy", "--legacy-pid", "--legacy-store-util"])
@pytest.mark.parametrize(("select", "by_list"), [("", True), ("registered", True), ("environment", False)])
def test_FASTCMP_SELECT_counts_for_the_seeds_library_too(flow: str, select: str, by_list: bool, hosts: Hosts, tmp_path: Path) -> None:
    after = [one for one in OFFERS if one.when == "after"]
    listed = write_list(tmp_path / "list" / "paths.txt", *(one.tail(legacy=True) for one in after[:3]))
    run = hosts.run(tmp_path, *ARGUMENTS, flow, **EVERYTHING_OF_2023, FASTCMP_ALLOWLIST=str(listed), FASTCMP_SELECT=select)
    assert saved(run) == {one.tail(legacy=True): one.contents for one in (after[:3] if by_list else after)}


@pytest.mark.parametrize("word", ["0", "off", "No", "FALSE", " 0 "])
def test_FASTCMP_DUMP_switches_it_off(word: str, hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", OFFERS[0].tail())
    before = sorted(tmp_path.rglob("*"))
    for flow in ((), ("--legacy",), ("--store", "atb")):
        run = hosts.run(tmp_path, *ARGUMENTS, *flow, **EVERYTHING_OF_2023 | EVERYTHING, FASTCMP_ALLOWLIST=str(listed), FASTCMP_DUMP=word)
        assert (run.status, run.stderr) == (0, "")
    assert sorted(tmp_path.rglob("*")) == before, "not even a heartbeat"


@pytest.mark.parametrize("word", ["1", "on", "", "2", "maybe"])
def test_any_other_word_leaves_it_on(word: str, hosts: Hosts, tmp_path: Path) -> None:
    assert saved(hosts.run(tmp_path, *ARGUMENTS, **EVERYTHING, FASTCMP_DUMP=word))


# --- where it goes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "stamp", "expected"),
    [
        (None, None, "msit_dump"),
        ("", "", "msit_dump"),
        ("{}/out/", None, "out/msit_dump"),
        ("{}/out", "20240101", "out/msit_dump_20240101"),
        ("out/deep//er/", None, "out/deep/er/msit_dump"),
        ("./", "../up", "msit_dump"),
        ("./", "a/b", "msit_dump"),
        ("./", "..", "msit_dump"),
        ("out/../other", None, "other/msit_dump"),
    ],
)
def test_files_go_below_the_output_directory(output: str | None, stamp: str | None, expected: str, hosts: Hosts, tmp_path: Path) -> None:
    variables = {"ATB_OUTPUT_DIR": None if output is None else output.format(tmp_path), "ATB_TIMESTAMP": stamp}
    (tmp_path / "out").mkdir()
    run = hosts.run(tmp_path, *ARGUMENTS, **EVERYTHING, **{name: value for name, value in variables.items() if value is not None})
    assert len(run.files()) == len(OFFERS)
    assert all(path.resolve().is_relative_to(tmp_path / expected / "tensors") for path in run.files().values())


def test_tiling_data_is_saved_raw_where_it_is_asked_for(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, *ARGUMENTS, program=f"standin_host_abi{abi}", **EVERYTHING, ATB_SAVE_TILING="1")
    files = list(tmp_path.rglob("kernel_tilingdata.bin"))
    assert len(files) == len(OFFERS) // 4 and {path.read_bytes() for path in files} == {bytes([1, 2, 3, 4])}
    counters = run.counters()
    assert counters["saved"] == counters["offered"] == len(OFFERS) + len(files)


# --- what the library says of it ---------------------------------------------------------------------------------------------------------

# Reads each of several environments, in one process.
SAY = """
import json, os, sys
from standin_model import *
before = dict(os.environ)
for variables in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(before | variables)
    print(json.dumps(environment()))
"""


def told(hosts: Hosts, directory: Path, *environments: Mapping[str, str]) -> list[dict[str, Any]]:
    run = hosts.run_python(directory, SAY, json.dumps(environments))
    assert run.stderr == "" and not list(directory.iterdir()), "asking touches nothing"
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_the_environment_is_told_as_it_is_read(hosts: Hosts, tmp_path: Path) -> None:
    plain, full, seed, registered, off = told(
        hosts,
        tmp_path,
        {},
        {**EVERYTHING, "ATB_OUTPUT_DIR": "/o/", "FASTCMP_ALLOWLIST": "/a/paths.txt"},
        {"ACLTRANSFORMER_SAVE_TENSOR": "1", **BY_ENVIRONMENT},
        {**EVERYTHING, "FASTCMP_SELECT": "registered"},
        {**EVERYTHING, "FASTCMP_DUMP": "0"},
    )
    assert plain == {
        "version": fastcmp.__version__, "dump": True, "select": "auto", "era": "none", "selects": False,
        "reasons": ["neither ATB_SAVE_TENSOR nor ACLTRANSFORMER_SAVE_TENSOR is set"],
        "allow_list": "", "output": f"{tmp_path}/msit_dump/tensors", "min_free": 0,
    }  # fmt: skip
    assert (full["era"], full["selects"], full["reasons"], full["output"]) == ("atb", True, [], "/o/msit_dump/tensors")
    assert full["allow_list"] == "/a/paths.txt"
    assert seed["era"] == "acltransformer" and seed["selects"]
    assert registered["select"] == "registered" and not registered["selects"]
    assert off["dump"] is False and not off["selects"]


def test_whatever_selects_nothing_has_a_reason(hosts: Hosts, tmp_path: Path) -> None:
    environments = [one for one in one_at_a_time() if not any(is_selected(offer, one) for offer in OFFERS)]
    # Ids, runners and devices are not malformed where they match nothing: only the library knows its operations.
    unmatched = ("ATB_SAVE_TENSOR_IDS", "ATB_SAVE_TENSOR_RUNNER", "ATB_DEVICE_ID")
    asked = [one for one in environments if not any(map(one.get, unmatched))]
    assert len(asked) >= 25
    for environment, answer in zip(asked, told(hosts, tmp_path, *asked), strict=True):
        assert answer["reasons"] and not answer["selects"], environment


MALFORMED = [
    ("ATB_SAVE_TENSOR_TIME", "3", "1 is taken"),
    ("FASTCMP_SELECT", "all", "auto is taken"),
    ("FASTCMP_RESAVE", "rename", "suffix is taken"),
    ("FASTCMP_MIN_FREE", "lots", "2G is taken"),
    ("FASTCMP_DUMP_LIMIT", "-1", "there is no limit"),
    ("FASTCMP_MAX_STALL_S", "nan", "30 is taken"),
    ("FASTCMP_MAX_STALL_S", "-1", "30 is taken"),
    ("FASTCMP_MAX_STALL_S", "1 minute", "30 is taken"),
    ("ATB_SAVE_TENSOR_RANGE", "0,1,2", "this pair selects no round"),
    ("ATB_SAVE_TENSOR_RANGE", ",", "no round is in range"),
    ("ATB_DUMP_CONFIG", "/x.json", "is not read"),
    ("ATB_SAVE_TENSOR_STATISTICS", "1", "has no effect"),
]


def test_what_is_malformed_is_named_with_its_effect(hosts: Hosts, tmp_path: Path) -> None:
    answers = told(hosts, tmp_path, *({**EVERYTHING, name: value} for name, value, _ in MALFORMED))
    for (name, value, expected), answer in zip(MALFORMED, answers, strict=True):
        (reason,) = answer["reasons"]
        assert reason.startswith(name) and expected in reason, (value, reason)


def test_names_of_a_model_are_those_of_the_oracle() -> None:
    assert OFFERS[0].tail() == f"0/0_{MODEL}/0_StandinLayerRunner/before/intensor0.bin" and len(OFFERS) == 2 * 4 * 2 * 4 * 4
