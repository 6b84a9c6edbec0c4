"""A `*` in a low-level path: which files it stands for, what they are called, and that nothing is lost or searched without bounds."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dump_layout import JournalEntry, JournalHeader, entry_line, header_line
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.sources import load, wildcards
from fastcmp.sources.dump import Dump
from fastcmp.sources.wildcards import DirectoryNames, NotSearched, matches

OPTIONS = CompareOptions()
NORM = "0_Model/*_Layer/6_Norm/after/outTensor0.bin"


def make_run(place: Path, run: str, *tails: str) -> Path:
    for tail in tails:
        (place / "tensors" / run / tail).parent.mkdir(parents=True, exist_ok=True)
        (place / "tensors" / run / tail).touch()
    return place


def load_rows(place: Path, rows: dict[str, dict[str, str]], options: CompareOptions = OPTIONS) -> Dump:
    """Rows whose paths are below ``tensors/thread_71``, read back."""
    home = f"{place}/tensors/thread_71"
    document = {data_id: {token: f"{home}/{tail}" for token, tail in tokens.items()} for data_id, tokens in rows.items()}
    (place / "metadata.json").write_text(json.dumps(document))
    return load(place / "metadata.json", "target", options)


def found(dump: Dump) -> list[tuple[str, str, str]]:
    """(data_id, token_id, path below the run directory)."""
    return [(tensor.key.data_id, tensor.key.token_id, tensor.path.split("/tensors/")[1].partition("/")[2]) for tensor in dump.tensors]


# --- which names ------------------------------------------------------------------------------------------------------------------------


def naive_digits(pattern: str, name: str, at: int = 0) -> Iterator[tuple[str, ...]]:
    """Every way in which the stars of a pattern are whole runs of digits in a name, character by character."""
    if not pattern:
        if at == len(name):
            yield ()
    elif pattern[0] == "*":
        for end in range(at + 1, len(name) + 1):
            run, around = name[at:end], name[at - 1 : at] + name[end : end + 1]
            if set(run) <= set("0123456789") and not set(around) & set("0123456789"):
                yield from ((run, *rest) for rest in naive_digits(pattern[1:], name, end))
    elif name[at : at + 1] == pattern[0]:
        yield from naive_digits(pattern[1:], name, at + 1)


NAME = st.text("01a_٣?[.", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
PATTERN = st.text("*01a_?[", min_size=1, max_size=4)


def listed(*names: str) -> DirectoryNames:
    index = DirectoryNames()
    index._list = lambda directory: list(names)
    return index


@settings(max_examples=examples(600), deadline=None)
@given(PATTERN, st.sets(NAME, max_size=8))
def test_a_star_is_a_whole_run_of_digits_as_the_naive_reading_has_it(pattern: str, names: set[str]) -> None:
    expected = {name: ways for name in names if (ways := list(naive_digits(pattern, name)))}
    assert all(len(ways) == 1 for ways in expected.values())
    assert dict(listed(*names).like(pattern, "/d")) == {name: ways[0] for name, ways in expected.items()}


@pytest.mark.parametrize("pattern", ["1*_Layer", "*1_Layer", "**_Layer", "*", "1?_Layer", "[0-9]*_Layer", "*_layer", "*Layer", "*_Layer*"])
def test_a_star_that_would_need_other_text_matches_nothing(pattern: str) -> None:
    assert listed("12_Layer", "7_Layer").like(pattern, "/d") == []


def naive_matches(root: Path, tail: str) -> set[tuple[str, str, tuple[str, ...]]]:
    parts = tail.split("/")
    expected = set()
    for path in root.rglob("*"):
        names = str(path.relative_to(root)).split("/")
        if len(names) != len(parts):
            continue
        ways = [
            [()] if depth == 0 and part == "*" and name[0] != "." else list(naive_digits(part, name))
            for depth, (part, name) in enumerate(zip(parts, names, strict=True))
        ]
        if all(ways):
            expected.add(("/".join(names), names[0], sum((way[0] for way in ways[1:]), ())))
    return expected


TREE = st.sets(
    st.lists(st.sampled_from(["0", "7", "07", "12", "a", "3_a", "13_a", "x0", ".h"]), min_size=1, max_size=4).map("/".join), max_size=14
)
TAIL = (
    st.lists(st.sampled_from(["*", "*_a", "x*", "0", "a", "7", "**"]), min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda tail: "*" in tail)
)


@settings(max_examples=examples(150), deadline=None)
@given(TREE, TAIL)
def test_a_path_with_stars_finds_the_files_that_a_walk_of_everything_finds(tree: set[str], tail: str) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        for path in tree:
            (root / path).mkdir(parents=True, exist_ok=True)
        answer = matches(str(root), tail, DirectoryNames())
        assert {tuple(match) for match in answer} == naive_matches(root, tail)
        assert len(answer) == len({match.tail for match in answer})
        values = [[int(digits) for digits in match.digits] for match in answer]
        assert values == sorted(values)
    finally:
        shutil.rmtree(root)


# --- what they are called ---------------------------------------------------------------------------------------------------------------


def test_a_pattern_becomes_a_tensor_for_each_layer_in_natural_order_at_its_place(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", *(f"0/0_Model/{layer}_Layer/6_Norm/after/outTensor0.bin" for layer in (10, 2, 0, 1)))
    dump = load_rows(tmp_path, {"first": {"0": "0/a.bin"}, "norm": {"0": f"0/{NORM}"}, "last": {"0": "0/b.bin"}})
    assert found(dump) == [
        ("first", "0", "0/a.bin"),
        *((f"norm[{layer}]", "0", f"0/{NORM.replace('*', str(layer))}") for layer in (0, 1, 2, 10)),
        ("last", "0", "0/b.bin"),
    ]
    assert dump.tensors[1].written_path == f"{tmp_path}/tensors/thread_71/0/{NORM.replace('*', '0')}"
    assert dump.warnings == [] and all(tensor.notes == () and not tensor.is_unmatched for tensor in dump.tensors)


def test_two_stars_have_two_brackets(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/1_L/6_op/o.bin", "0/1_L/10_op/o.bin", "0/0_L/6_op/o.bin", "0/0_L/6_other/o.bin")
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/*_op/o.bin"}})
    assert [name for name, *_ in found(dump)] == ["x[0][6]", "x[1][6]", "x[1][10]"]


def test_any_token_is_the_name_of_its_directory(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", *(f"{token}/{layer}_L/o.bin" for token in ("10", "2", "first", "a%2Fb", ".hidden") for layer in (1, 0)))
    dump = load_rows(tmp_path, {"x": {"*": "*/*_L/o.bin"}, "y": {"*": "*/1_L/o.bin"}})
    tokens = ["2", "10", "a%2Fb", "first"]
    assert [key[:2] for key in found(dump)] == [
        *(("x[0]", token) for token in tokens),
        *(("x[1]", token) for token in tokens),
        *(("y", token) for token in tokens),
    ]


def test_leading_zeros_are_left_out_unless_two_files_would_have_one_name(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/007_L/o.bin", "0/07_L/o.bin", "0/000_L/o.bin", "0/08_L/o.bin")
    assert found(load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}})) == [
        ("x[0]", "0", "0/000_L/o.bin"),
        ("x[7]", "0", "0/07_L/o.bin"),
        ("x[007]", "0", "0/007_L/o.bin"),
        ("x[8]", "0", "0/08_L/o.bin"),
    ]


def test_numbers_beyond_any_integer_are_sorted_by_value(tmp_path: Path) -> None:
    digits = ["9" * 200, "1" + "0" * 200, "5"]
    make_run(tmp_path, "thread_71", *(f"0/{number}_L/o.bin" for number in digits))
    assert [name for name, *_ in found(load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}}))] == [
        f"x[{number}]" for number in ("5", "9" * 200, "1" + "0" * 200)
    ]


def test_a_second_save_of_a_tensor_and_a_half_written_one_are_no_matches(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/0_L/o0.bin", "0/0_L/o0__r2.bin", "0/0_L/.o0.bin.71.1.tmp", "0/0_L/o1.bin")
    assert [name for name, *_ in found(load_rows(tmp_path, {"x": {"0": "0/*_L/o*.bin"}}))] == ["x[0][0]", "x[0][1]"]


def test_what_no_file_matches_is_one_tensor_under_its_plain_name(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/a.bin")
    (tensor,) = load_rows(tmp_path, {"norm": {"0": f"0/{NORM}"}}).tensors
    assert tensor.key == ("", "norm", "0") and tensor.path == f"{tmp_path}/tensors/thread_71/0/{NORM}"
    assert tensor.notes == ("no file matches; a * stands for a whole number",) and tensor.is_unmatched


# --- where they lie ---------------------------------------------------------------------------------------------------------------------


def test_a_moved_dump_is_searched_where_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_run(tmp_path / "before", "thread_71", "0/3_L/o.bin", "0/4_L/o.bin")
    side = before / "71_cmp_dump_data" / "acl_tensor"
    side.mkdir(parents=True)
    (side / "metadata.json").write_text(json.dumps({"x": {"0": "./tensors/thread_71/0/*_L/o.bin"}}))
    shutil.move(before, tmp_path / "after")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    dump = load("../after/71_cmp_dump_data", "target", OPTIONS)
    assert [tensor.path for tensor in dump.tensors] == [f"{tmp_path}/after/tensors/thread_71/0/{layer}_L/o.bin" for layer in (3, 4)]


@pytest.mark.parametrize("token", ["0", "*"])
@pytest.mark.parametrize("run", ["thread_140093", "71", "3_71"])
def test_a_pattern_is_found_in_the_directory_of_another_build(tmp_path: Path, run: str, token: str) -> None:
    make_run(tmp_path, run, "0/3_L/o.bin", "0/4_L/o.bin")
    make_run(tmp_path, "thread_9", "0/unlike.bin")
    dump = load_rows(tmp_path, {"x": {token: f"{token}/*_L/o.bin"}})
    assert [key[:2] for key in found(dump)] == [("x[3]", "0"), ("x[4]", "0")]
    assert [tensor.notes for tensor in dump.tensors] == [(f"found in {run} instead of thread_71",)] * 2
    assert dump.tensors[0].path == f"{tmp_path}/tensors/{run}/0/3_L/o.bin"
    assert dump.tensors[0].written_path == f"{tmp_path}/tensors/thread_71/0/3_L/o.bin"


def test_of_several_other_runs_none_is_chosen(tmp_path: Path) -> None:
    for run in ("thread_9", "thread_10"):
        make_run(tmp_path, run, "0/3_L/o.bin")
    (tensor,) = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}}).tensors
    assert tensor.notes == ("not in thread_71; several others hold it, so none was chosen: thread_9, thread_10",)
    assert tensor.key.data_id == "x"


def test_entries_of_the_journal_are_expanded_too(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/3_L/o.bin")
    side = tmp_path / "71_cmp_dump_data" / "acl_tensor"
    side.mkdir(parents=True)
    entry = JournalEntry("x", "0", f"{tmp_path}/tensors/thread_71/0/*_L/o.bin")
    (side / "journal.jsonl").write_bytes(header_line(JournalHeader(71, "", "/", "acl")) + entry_line(entry))
    assert [tensor.key.data_id for tensor in load(side, "target", OPTIONS).tensors] == ["x[3]"]


@pytest.mark.parametrize("path", ["0/a*_tensor.npy", "sub*/a.npy", "/abs/*_L/a.npy"])
def test_a_star_in_any_other_path_is_a_star(tmp_path: Path, path: str) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a5_tensor.npy").touch()
    (tmp_path / "metadata.json").write_text(json.dumps({"x": {"0": path}}))
    (tensor,) = load(tmp_path / "metadata.json", "golden", OPTIONS).tensors
    assert tensor.key.data_id == "x" and tensor.written_path == path and tensor.notes == ()


def test_a_file_of_the_very_name_is_that_file(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/*_L/o.bin", "0/3_L/o.bin")
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}})
    assert found(dump) == [("x", "0", "0/*_L/o.bin")] and not dump.tensors[0].is_unmatched


# --- names that clash -------------------------------------------------------------------------------------------------------------------


def test_an_entry_of_its_own_wins_over_a_match_and_is_told(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/0_L/o.bin", "0/1_L/o.bin", "0/other.bin")
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}, "x[0]": {"0": "0/other.bin"}})
    assert found(dump) == [("x[1]", "0", "0/1_L/o.bin"), ("x[0]", "0", "0/other.bin")]
    run = f"{tmp_path}/tensors/thread_71/0"
    rule = "of a tensor that several entries name, once through a *, one counts"
    assert dump.warnings == [f"{tmp_path}/metadata.json: {rule}: x[0] of token 0 is {run}/other.bin, not {run}/0_L/o.bin"]


def test_an_entry_that_names_the_very_file_is_no_clash(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/0_L/o.bin", "0/1_L/o.bin")
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin", "*": "*/*_L/o.bin"}, "x[0]": {"0": "0/0_L/o.bin"}})
    assert found(dump) == [("x[1]", "0", "0/1_L/o.bin"), ("x[0]", "0", "0/0_L/o.bin")] and dump.warnings == []


def test_of_two_patterns_with_one_name_the_earlier_counts(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/0_L/o.bin", "0/0_L/p.bin", "1/0_L/p.bin")
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin", "*": "*/*_L/p.bin"}})
    assert found(dump) == [("x[0]", "0", "0/0_L/o.bin"), ("x[0]", "1", "1/0_L/p.bin")]
    assert len(dump.warnings) == 1 and dump.warnings[0].endswith("/0/0_L/p.bin")


def test_only_some_of_many_clashes_are_told(tmp_path: Path) -> None:
    layers = range(9)
    make_run(tmp_path, "thread_71", *(f"0/{layer}_L/o.bin" for layer in layers))
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}, **{f"x[{layer}]": {"0": "0/no.bin"} for layer in layers}})
    assert dump.warnings[0].endswith(" and 4 more") and len(dump.tensors) == 9


@settings(max_examples=examples(60), deadline=None)
@given(
    TREE,
    st.dictionaries(st.sampled_from(["x", "x[7]", "x[0]"]), st.dictionaries(st.sampled_from("0*7"), TAIL | st.just("0/a"), max_size=3)),
)
def test_every_key_stands_once_and_no_entry_without_a_star_is_lost(tree: set[str], rows: dict[str, dict[str, str]]) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        for path in tree:
            (place / "tensors" / "thread_71" / path).mkdir(parents=True, exist_ok=True)
        keys = [tensor.key[1:] for tensor in load_rows(place, rows).tensors]
        assert len(keys) == len(set(keys))
        assert {(data_id, token) for data_id, tokens in rows.items() for token, tail in tokens.items() if "*" not in tail} <= set(keys)
    finally:
        shutil.rmtree(place)


# --- hostile ----------------------------------------------------------------------------------------------------------------------------


def test_more_matches_than_the_bound_are_one_missing_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wildcards, "MAX_MATCHES", 3)
    make_run(tmp_path, "thread_71", *(f"0/{layer}_L/o.bin" for layer in range(4)))
    (tensor,) = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}}).tensors
    assert tensor.notes == ("more than 3 names match, so none was taken",) and not os.path.exists(tensor.path)


def test_more_names_than_the_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wildcards, "MAX_NAMES", 10)
    make_run(tmp_path, "thread_71", *(f"0/{layer}_L/o.bin" for layer in range(20)), "1/0_L/o.bin")
    names = DirectoryNames()
    with pytest.raises(NotSearched, match="more than 10 names"):
        names.like("*_L", f"{tmp_path}/tensors/thread_71/0")
    assert names._count == 11
    dump = load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin", "1": "1/*_L/o.bin"}})
    assert {tensor.notes for tensor in dump.tensors} == {("the directories hold more than 10 names, so they were not searched",)}


def test_a_directory_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "thread_71", *(f"0/{layer}_L/o{n}.bin" for layer in range(4) for n in range(3)))
    listed: list[object] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or real(path))
    dump = load_rows(tmp_path, {f"x{n}": {"0": f"0/*_L/o{n}.bin"} for n in range(3)})
    monkeypatch.undo()
    assert len(dump.tensors) == 12 and listed == [f"{tmp_path}/tensors/thread_71/0/"]


def test_no_directory_outside_the_roots_is_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "secret", "thread_71", "0/3_L/o.bin")
    (tmp_path / "inside").mkdir()
    path = tmp_path / "inside" / "metadata.json"
    path.write_text(json.dumps({"x": {"0": f"{tmp_path}/secret/tensors/thread_71/0/*_L/o.bin"}}))
    options = CompareOptions(scan=ScanOptions(roots=(str(tmp_path / "inside"),)))
    assert [tensor.key.data_id for tensor in load(path, "target", options).tensors] == ["x"]
    (tmp_path / "inside" / "tensors").symlink_to(tmp_path / "secret" / "tensors")
    path.write_text(json.dumps({"x": {"0": f"{tmp_path}/inside/tensors/thread_71/0/*_L/o.bin"}}))
    assert [tensor.key.data_id for tensor in load(path, "target", options).tensors] == ["x"]


@pytest.mark.parametrize(
    "tail", ["0/*\0/o.bin", "0/" + "*/" * 3000 + "o.bin", "0/" + "*" * 5000, "0/*\udcff", "0/../*/o.bin", "*", "0/*/", "0//*_L//o.bin", "."]
)
def test_a_hostile_pattern_is_one_tensor_or_finds_its_files(tmp_path: Path, tail: str) -> None:
    make_run(tmp_path, "thread_71", "0/3_L/o.bin")
    dump = load_rows(tmp_path, {"x": {"0": tail}})
    assert len(dump.tensors) == 1


def test_files_with_odd_names_do_not_stop_the_search(tmp_path: Path) -> None:
    make_run(tmp_path, "thread_71", "0/3_L/o.bin", "0/[_L/o.bin", "0/(?:_L/o.bin", "0/\n5_L/o.bin", "0/٣_L/o.bin")
    with open(os.fsencode(tmp_path) + b"/tensors/thread_71/0/\xff7_L", "wb"):
        pass
    os.symlink("nowhere", tmp_path / "tensors/thread_71/0/4_L")
    os.symlink(".", tmp_path / "tensors/thread_71/0/5_L")
    assert [name for name, *_ in found(load_rows(tmp_path, {"x": {"0": "0/*_L/o.bin"}}))] == ["x[3]"]
