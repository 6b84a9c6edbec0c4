"""Lists of registered paths, what of them is on disk, and what was meant by those that are not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from heartbeats import write_list

from fastcmp.doctor.nearest import explain_missing
from fastcmp.doctor.registered import find_lists, read_lines, stands_for, without_file

PATH = "0/0_Model/3_Layer/6_NormOpsRunner/after/outTensor0.bin"


def test_only_lists_directly_in_a_directory_are_found(tmp_path: Path) -> None:
    write_list(tmp_path, 71, PATH)
    write_list(tmp_path / "below", 72, PATH)
    write_list(tmp_path, 73)  # nothing registered
    (tmp_path / "74_cmp_dump_data").mkdir()
    (tmp_path / "75_cmp_dump_data").touch()
    (tmp_path / "76_cmp_dump_data" / "allow_list").mkdir(parents=True)
    (tmp_path / "76_cmp_dump_data" / "allow_list" / "paths.txt").symlink_to(tmp_path / "71_cmp_dump_data" / "allow_list" / "paths.txt")
    write_list(tmp_path / "x", 77, PATH).rename(tmp_path / "77_cmp_dump_data.earlier-1")
    write_list(tmp_path / "x", 78, PATH).rename(tmp_path / "78-1_cmp_dump_data")
    assert sorted(one.pid for one in find_lists([str(tmp_path), str(tmp_path / "none")]).found) == [71, 78]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_lists_of_other_users_are_counted_and_not_read(tmp_path: Path) -> None:
    for pid in (71, 72, 73):
        dump = write_list(tmp_path, pid, PATH)
        os.chown(dump / "allow_list" / "paths.txt", 65534 if pid > 71 else 0, -1)
    lists = find_lists([str(tmp_path)])
    assert ([one.pid for one in lists.found], lists.foreign_count) == ([71], 2)


def test_a_journal_that_is_no_file_is_not_opened(tmp_path: Path, opened: list[str]) -> None:
    dump = write_list(tmp_path, 71, PATH)
    os.mkfifo(dump / "acl_tensor" / "journal.jsonl")
    (one,) = find_lists([str(tmp_path)]).found
    opened.clear()
    assert without_file(one, [PATH], {}) == [PATH] and opened == []


def test_complete_lines_count_once(tmp_path: Path) -> None:
    dump = write_list(tmp_path, 71, PATH, "1/x.bin", PATH, PATH.replace("outT", "outt"), "")
    with open(dump / "allow_list" / "paths.txt", "ab") as file:
        file.write(b"2/\xff.bin\n2/\0.bin\n3/torn.b")
    (one,) = find_lists([str(tmp_path)]).found
    assert read_lines(one) == [PATH.replace("outT", "outt"), "1/x.bin", "2/\udcff.bin"]


def test_a_long_list_is_read_in_part(tmp_path: Path) -> None:
    write_list(tmp_path, 71, *(f"{token}/{'x' * 200}.bin" for token in range(100_000)))
    (one,) = find_lists([str(tmp_path)]).found
    assert 10_000 < len(read_lines(one)) < 25_000


def test_files_are_looked_for_where_the_library_would_put_them(tmp_path: Path) -> None:
    lines = [f"{token}/x.bin" for token in range(5)]
    dump = write_list(tmp_path, 71, *lines, saved=("0/x.bin",))
    home, journal_home = tmp_path / "home", tmp_path / "other"
    for run, token in ((home / "tensors/thread_71", 1), (journal_home / "tensors/thread_71", 2), (tmp_path / "tensors/thread_72", 3)):
        (run / str(token)).mkdir(parents=True)
        (run / str(token) / "x.bin").touch()
    header = {"fastcmp_journal": 1}
    entries = [
        {"data_id": "7", "path": "./71_cmp_dump_data/acl_tensor/0/7.npy"},
        {"data_id": "8", "path": f"{journal_home}/tensors/thread_71/0/x"},
    ]
    (dump / "acl_tensor" / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [header, *entries]) + "[1]\n{")
    (one,) = find_lists([str(tmp_path)]).found
    environment = {"ACLTRANSFORMER_HOME_PATH": str(home)}
    assert without_file(one, lines, environment) == ["3/x.bin", "4/x.bin"]
    assert without_file(one, lines, environment, [72]) == ["4/x.bin"]


def test_run_directories_with_a_number_behind_the_pid_count_as_well(tmp_path: Path) -> None:
    """A process whose plain run directory an earlier one has used, as in containers, has made `thread_{pid}_{n}`."""
    runs = ("thread_71", "thread_71_1", "thread_71_12", "thread_72_1", "thread_71_1_72", "thread_71_1x", "thread_711")
    lines = [f"{token}/x.bin" for token in range(len(runs))]
    write_list(tmp_path, 71, *lines)
    for token, run in enumerate(runs):
        (tmp_path / "tensors" / run / str(token)).mkdir(parents=True)
        (tmp_path / "tensors" / run / str(token) / "x.bin").touch()
    (one,) = find_lists([str(tmp_path)]).found
    assert without_file(one, lines, {}) == lines[3:]
    assert without_file(one, lines, {}, [72]) == lines[5:]


def test_files_of_an_earlier_process_with_this_pid_do_not_count(tmp_path: Path) -> None:
    write_list(tmp_path, 71, "0/x.bin", "1/x.bin", started=time.time() - 50, saved=("0/x.bin", "1/x.bin"))
    os.utime(tmp_path / "tensors/thread_71/0/x.bin", (1000, 1000))
    (one,) = find_lists([str(tmp_path)]).found
    assert without_file(one, read_lines(one), {}) == ["0/x.bin"]


@pytest.mark.parametrize(
    ("line", "is_there"),
    [
        ("0/7_Layer/x.bin", True),
        ("0/*_Layer/x.bin", True),
        ("*/*_Layer/x.bin", True),
        ("0/1*_Layer/x.bin", False),
        ("0/**_Layer/x.bin", False),
        ("0/*_Lay?r/x.bin", False),
        ("0/*/x.bin", False),
        ("1/*_Layer/x.bin", False),
        ("0/*_Layer", False),
    ],
)
def test_a_star_stands_for_a_number(line: str, is_there: bool, tmp_path: Path) -> None:
    write_list(tmp_path, 71, line, saved=("0/7_Layer/x.bin", "0/12_Layer/x.bin"))
    (one,) = find_lists([str(tmp_path)]).found
    assert without_file(one, [line], {}) == ([] if is_there else [line])


def test_stars_are_matched_in_time() -> None:
    start = time.perf_counter()
    assert not stands_for("*1" * 5000, "1" * 10_000 + "x")
    assert time.perf_counter() - start < 1


def explained(line: str, *asked: str) -> str:
    (said,) = explain_missing([line], [line], asked)
    return said


def test_a_name_that_differs_is_named() -> None:
    wrong = PATH.replace("6_NormOpsRunner", "6_NormOps")
    operation = PATH.rpartition("/after")[0]
    for example in (PATH, PATH.replace("outT", "outt"), operation):
        assert explained(wrong, "0/0_Model/3_Layer/1_LinearOpsRunner", example) == (
            f"registered {wrong!r}: nearest to it the library has {example!r}, which differs only in a name: '6_NormOpsRunner', not '6_NormOps'"
        )
    wrong = wrong.replace("3_Layer", "*_Layer")
    assert explained(wrong, PATH).endswith("which differs only in a name: '6_NormOpsRunner', not '6_NormOps'")


def test_a_token_that_differs_is_named() -> None:
    assert explained(f"7{PATH[1:]}", PATH).endswith(f"the library has {PATH!r}, which differs only in the token: '0', not '7'")


def test_a_path_that_begins_with_the_token_is_recognised() -> None:
    said = explained(f"0/{PATH}", PATH)
    assert "begins with '0' as if with a token, and token_id says that already ('0'); nearest to it" in said and said.endswith(repr(PATH))


def test_a_path_without_its_end_is_recognised() -> None:
    assert "does not end in .bin; nearest to it" in explained(PATH.removesuffix(".bin"), PATH)
    assert explained("0/x") == "registered '0/x': does not end in .bin"
    assert explained(PATH) == f"registered {PATH!r}"


def test_where_nothing_is_like_it_some_examples_are_shown() -> None:
    assert explained("0/zzz.bin", "0/0_Model/1_Q", "0/0_Model/2_K").endswith(
        "the library has nothing like it, but, for example, '0/0_Model/1_Q', '0/0_Model/2_K'"
    )


def test_paths_that_differ_in_their_numbers_are_shown_once() -> None:
    lines = [f"{token}/{layer}_Layer/x.bin" for token in range(10) for layer in range(10)] + ["0/y.bin"]
    assert explain_missing(lines, lines, []) == ["registered '0/0_Layer/x.bin'", "registered '0/y.bin'"]


def test_without_a_list_there_are_examples() -> None:
    asked = [f"0/{name}" for name in "abcd"]
    assert explain_missing([], [], asked) == ["what it has and nobody registered is, for example, '0/a', '0/b', '0/c' and 1 more"]
    assert explain_missing([], [], []) == []
