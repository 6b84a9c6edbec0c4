"""Directories: sorted out by role and rank, or read as trees of tensor files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.sources import load
from fastcmp.sources.natural_order import natural_key, token_key
from fastcmp.sources.tree import is_tensor_name

OPTIONS = CompareOptions()


def process(place: Path, source: str, data_id: str, rank: str | None = None) -> None:
    side = place / f"{source}_tensor"
    side.mkdir(parents=True, exist_ok=True)
    (side / "metadata.json").write_text(json.dumps({data_id: {"0": f"{source}.npy"}}))
    if rank is not None:
        header = {"fastcmp_journal": 1, "pid": 7, "rank": rank, "cwd": "/", "data_src": source}
        (side / "journal.jsonl").write_text(json.dumps(header) + "\n")


def tree(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    return place


def data_ids(path: Path, role="golden"):
    return [tensor.key.data_id for tensor in load(path, role, OPTIONS).tensors]


@pytest.mark.parametrize("argument", [".", "71_cmp_dump_data"])
def test_a_directory_with_both_roles_is_read_by_role(tmp_path, argument):
    process(tmp_path / "71_cmp_dump_data", "golden", "g")
    process(tmp_path / "71_cmp_dump_data", "acl", "a")
    assert data_ids(tmp_path / argument, "golden") == ["g"]
    assert data_ids(tmp_path / argument, "target") == ["a"]


@pytest.mark.parametrize(("source", "role", "own_role"), [("golden", "target", "golden"), ("acl", "golden", "target")])
def test_a_dump_of_the_other_role_serves_and_asks_about_it(tmp_path, source, role, own_role):
    process(tmp_path / "71_cmp_dump_data", source, "g")
    dump = load(tmp_path, role, OPTIONS)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["g"]
    question = f"{role.upper()} holds {source}_tensor only: are the sides swapped?"
    taken = f"Taken as the {role} side: 71_cmp_dump_data/{source}_tensor/metadata.json"
    assert dump.warnings == [f"{tmp_path}: {question} {taken}"]
    assert load(tmp_path, own_role, OPTIONS).warnings == []


def test_ranks_of_the_journals_tell_processes_apart(tmp_path):
    for pid, rank in (("71", "10"), ("72", "2")):
        process(tmp_path / f"{pid}_cmp_dump_data", "golden", "g", rank)
    assert [tuple(tensor.key) for tensor in load(tmp_path, "golden", OPTIONS).tensors] == [("2", "g", "0"), ("10", "g", "0")]


def test_rank_directories_tell_processes_apart(tmp_path):
    process(tmp_path / "rank0" / "71_cmp_dump_data", "golden", "g")
    process(tmp_path / "rank_1" / "72_cmp_dump_data", "golden", "g")
    assert [tensor.key.rank for tensor in load(tmp_path, "golden", OPTIONS).tensors] == ["0", "1"]


@pytest.mark.parametrize("ranks", [(None, None), ("0", None), ("0", "0")])
def test_processes_without_distinct_ranks_are_refused_with_the_list(tmp_path, ranks):
    for pid, rank in zip(("71", "72"), ranks, strict=True):
        process(tmp_path / f"{pid}_cmp_dump_data", "golden", "g", rank)
    with pytest.raises(UsageError, match=r"2 golden processes, expected one, or one of each rank; name one of them: .*72_cmp_dump_data"):
        load(tmp_path, "golden", OPTIONS)


def test_the_successors_directory_serves_both_roles_with_its_own_columns(tmp_path):
    side = tmp_path / "msit_dump_20240101" / "71_0" / "golden_tensor"
    side.mkdir(parents=True)
    (side / "metadata.json").write_text('{"7": {"0": ["g.pth", "my.pth"]}}')
    assert load(tmp_path, "golden", OPTIONS).tensors[0].written_path == "g.pth"
    assert load(tmp_path, "target", OPTIONS).tensors[0].written_path == "my.pth"


def test_a_tree_is_named_by_relative_path_in_natural_order(tmp_path):
    tree(tmp_path, "0/layer_10/out.bin", "0/layer_2/out.npy", "10/a.npy", "9/a.npy", "top.NPY")
    dump = load(tmp_path, "golden", OPTIONS)
    assert [tensor.key for tensor in dump.tensors] == [
        ("", "0/layer_2/out", ""),
        ("", "0/layer_10/out", ""),
        ("", "9/a", ""),
        ("", "10/a", ""),
        ("", "top", ""),
    ]
    assert dump.kind == "directory"
    assert dump.tensors[0].written_path == "0/layer_2/out.npy"
    assert dump.tensors[0].path == str(tmp_path / "0/layer_2/out.npy")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outtensor0.bin", True),
        ("intensor1_query.BIN", True),
        ("7_tensor.npy", True),
        ("kernel_tilingdata.bin", False),
        ("0123456789abcdef0123456789abcdef", False),
        ("0123456789abcdef0123456789abcdef.bin", False),
        ("0123456789abcdef0123456789abcdef0.bin", True),
        ("op_param.json", False),
        ("statistic.csv", False),
    ],
)
def test_which_names_are_tensors(name, expected):
    assert is_tensor_name(name) is expected


def test_hidden_names_are_left_out(tmp_path):
    assert data_ids(tree(tmp_path, ".a.npy", ".git/b.npy", "c.npy")) == ["c"]


def test_of_two_files_with_one_stem_the_second_keeps_its_extension(tmp_path):
    dump = load(tree(tmp_path, "a.bin", "a.npy", "a.bin.npy"), "golden", OPTIONS)
    assert {tensor.key.data_id: tensor.written_path for tensor in dump.tensors} == {
        "a": "a.npy",
        "a.bin": "a.bin.npy",
        "a.bin#": "a.bin",
    }
    assert "two files of one name" in dump.warnings[0]


def test_a_tree_of_both_roles_without_metadata_is_read_by_role(tmp_path):
    tree(tmp_path, "71_cmp_dump_data/golden_tensor/0/7_tensor.npy", "71_cmp_dump_data/acl_tensor/0/7_tensor.npy")
    for role, source in (("golden", "golden"), ("target", "acl")):
        tensor = load(tmp_path, role, OPTIONS).tensors[0]
        assert tensor.key.data_id == "0/7_tensor"
        assert tensor.path == str(tmp_path / "71_cmp_dump_data" / f"{source}_tensor" / "0" / "7_tensor.npy")


def test_linked_files_stay_and_loops_of_links_end(tmp_path):
    tree(tmp_path, "real/a.npy")
    os.symlink("real/a.npy", tmp_path / "linked.npy")
    os.symlink("nowhere", tmp_path / "dangling.npy")
    os.symlink("self.npy", tmp_path / "self.npy")
    os.symlink("..", tmp_path / "real" / "up")
    os.symlink("real", tmp_path / "twin")
    dump = load(tmp_path, "golden", OPTIONS)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["dangling", "linked", "real/a", "self", "twin/a"]
    assert len(dump.warnings) == 2
    assert all("a link back to a directory above it" in warning for warning in dump.warnings)


def test_a_tree_deeper_than_any_dump_ends_with_a_warning(tmp_path):
    tree(tmp_path, "a.npy", "d/" * 40 + "b.npy")
    dump = load(tmp_path, "golden", OPTIONS)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["a"]
    assert "more than 32 directories deep" in dump.warnings[0]


def test_a_directory_without_any_tensor_is_refused(tmp_path):
    tree(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match=r"no metadata\.json and no tensor file \(\.npy, \.bin"):
        load(tmp_path, "golden", OPTIONS)


def test_a_single_file_is_one_tensor(tmp_path):
    tree(tmp_path, "out.npy")
    dump = load(tmp_path / "out.npy", "golden", OPTIONS)
    assert (dump.kind, [tuple(tensor.key) for tensor in dump.tensors]) == ("file", [("", "out", "")])


def test_a_name_that_is_not_utf8_is_kept(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.npy", "wb"):
        pass
    assert data_ids(tmp_path) == ["\udcff"]


def test_natural_order_reads_numbers_by_value():
    names = ["b", "a10b", "a10", "a2", "a01", "a1", "1" * 5000, "a"]
    assert sorted(names, key=natural_key) == ["1" * 5000, "a", "a01", "a1", "a2", "a10", "a10b", "b"]


def test_tokens_are_numeric_then_textual():
    tokens = ["t10", "t2", "9" * 40, "first", "10", "2", "", "-1", "0"]
    assert sorted(tokens, key=token_key) == ["-1", "0", "2", "10", "", "9" * 40, "first", "t2", "t10"]


def test_too_many_open_files_are_not_answered_with_what_to_name(tmp_path: Path) -> None:
    tree(tmp_path, "dump/a.npy", "m.json")
    code = (
        "import resource, sys\nfrom fastcmp.errors import UsageError\nfrom fastcmp.options import CompareOptions\n"
        "from fastcmp.sources import load\n"
        "load(sys.argv[1], 'golden', CompareOptions())\n"  # which imports what it needs
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        load(path, 'golden', CompareOptions())\n"
        "    except UsageError as error:\n        print(error)\n"
    )
    names = [f"{tmp_path}/dump", f"{tmp_path}/m.json"]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        f"{tmp_path}/dump: Too many open files (ulimit -n raises the limit)",
        f"{tmp_path}/m.json: cannot be read: Too many open files (ulimit -n raises the limit)",
    ], done.stderr
