"""Names, paths and journals that both sides share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp import dump_layout
from fastcmp.dump_layout import (
    JournalEntry,
    JournalHeader,
    entry_line,
    header_line,
    low_level_candidates,
    path_candidates,
    read_journal,
    reroot,
    safe_name,
)

ANY_TEXT = st.text(alphabet=st.characters(codec=None, categories=None), max_size=260)
TRAPS = [
    "",
    ".",
    "..",
    "/",
    "%",
    "%2F",
    "%empty",
    "~",
    "metadata.json",
    "journal.jsonl",
    "\x00",
    "\udc80",
    "\x80",
    "a/../b",
    "e" * 200,
    "é" * 101,
]


@pytest.mark.parametrize("text", ["0", "layer.3.mlp", "a-b_C", "注意", "a b", "x" * 200])
def test_plain_names_stay_as_they_are(text: str) -> None:
    assert safe_name(text) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("", "%empty"),
        ("50%", "50%25"),
        ("a\x00\n", "a%00%0A"),
        ("\udc80", "%ED%B2%80"),
        ("metadata.json", "%6Detadata.json"),
    ],
)
def test_unsafe_bytes_are_percent_encoded(text: str, name: str) -> None:
    assert safe_name(text) == name


@settings(max_examples=examples(500), deadline=None)
@given(st.one_of(ANY_TEXT, st.sampled_from(TRAPS)))
def test_every_name_is_one_short_visible_path_component(text: str) -> None:
    name = dump_layout.tensor_file_name(text)
    assert 0 < len(name.encode()) <= 255 - len(".tmp")
    assert "/" not in name and "\x00" not in name and not name.startswith(".")
    assert safe_name(text) not in (dump_layout.METADATA_NAME, dump_layout.JOURNAL_NAME, dump_layout.DTYPES_NAME)


@settings(max_examples=examples(500), deadline=None)
@given(st.lists(st.one_of(ANY_TEXT, st.sampled_from(TRAPS)), unique=True, max_size=8))
def test_different_ids_have_different_names(texts: list[str]) -> None:
    assert len({safe_name(text) for text in texts}) == len(texts)


@settings(max_examples=examples(300), deadline=None)
@given(st.text(min_size=201, max_size=260), st.text(max_size=233))
def test_a_cut_name_never_meets_a_name_that_looks_cut(long: str, other: str) -> None:
    cut = safe_name(long)
    assert len(cut.encode()) == 233 and safe_name(cut) != cut
    assert other == long or safe_name(other) != cut


def test_an_id_is_the_same_as_number_and_as_text() -> None:
    assert dump_layout.id_text(7) == dump_layout.id_text("7") == "7"
    assert dump_layout.id_text(b"a\xff") == "a\udcff"


@settings(max_examples=examples(500), deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT.filter(bool), st.sampled_from(["", "float32"]), st.sampled_from(["", "float16"]))
def test_a_journal_line_is_ascii_json_and_says_what_went_in(data_id: str, token_id: str, path: str, dtype: str, stored: str) -> None:
    line = entry_line(JournalEntry(data_id, token_id, path, dtype, stored))
    assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")
    expected = {"data_id": data_id, "token_id": token_id, "path": path, "dtype": dtype}
    assert json.loads(line) == (expected | {"stored": stored} if stored else expected)


HEADER = JournalHeader(71, "3", "/where", "golden")
ENTRIES = [JournalEntry("0", "0", "./a.npy", "float32"), JournalEntry("é", "1", "./b.npy", "float8_e5m2", "float16")]


def journal_bytes() -> bytes:
    return header_line(HEADER) + b"".join(map(entry_line, ENTRIES))


def test_a_journal_cut_at_any_byte_gives_a_prefix_of_its_entries(tmp_path: Path) -> None:
    whole = journal_bytes()
    path = tmp_path / "journal.jsonl"
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        journal = read_journal(str(path))
        complete = whole[:size].count(b"\n")
        assert journal.entries == ENTRIES[: max(complete - 1, 0)]
        assert journal.header == (HEADER if complete else None)
        assert journal.is_torn == (size > 0 and whole[size - 1 : size] != b"\n")
        assert journal.rejected_count == 0


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"{\n",
        b'{"data_id":0,"token_id":"0","path":"p"}\n',
        b'{"data_id":"0","token_id":"0","path":""}\n',
        b'{"data_id":"0","token_id":"0","path":"p","dtype":3}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 10_000 + b"\n",
        b"x" * (3 * dump_layout.MAX_JOURNAL_LINE) + b"\n",
    ],
    ids=["empty", "list", "no-utf8", "cut", "number-id", "empty-path", "number-dtype", "deep", "long-number", "too-long"],
)
def test_a_line_that_is_no_entry_is_counted_and_costs_no_other(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(header_line(HEADER) + entry_line(ENTRIES[0]) + line + entry_line(ENTRIES[1]))
    journal = read_journal(str(path))
    assert journal.entries == ENTRIES and journal.rejected_count == 1 and journal.header == HEADER and not journal.is_torn


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_can_be_read_as_a_journal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "journal.jsonl"
    path.write_bytes(data)
    journal = read_journal(str(path))
    assert len(journal.entries) + journal.rejected_count <= data.count(b"\n")


def test_a_journal_that_is_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match="found no regular file, expected a journal"):
        read_journal(str(tmp_path / "journal.jsonl"))


def test_the_last_line_of_a_key_counts() -> None:
    entries = [
        JournalEntry("0", "0", "./old", "float8_e5m2", "float16"),
        JournalEntry("1", "0", "./b"),
        JournalEntry("0", "0", "./new", "float32"),
    ]
    assert dump_layout.metadata_of(entries) == {"0": {"0": "./new"}, "1": {"0": "./b"}}
    assert dump_layout.dtypes_of(entries) == {}
    assert dump_layout.dtypes_of(entries[:1]) == {"0": {"0": "float8_e5m2"}}


WRITTEN = "./71_cmp_dump_data/golden_tensor/0/7_tensor.npy"


@pytest.mark.parametrize(
    ("path", "json_directory", "real"),
    [
        (WRITTEN, "/run/71_cmp_dump_data/golden_tensor", "/run/71_cmp_dump_data/golden_tensor/0/7_tensor.npy"),
        (WRITTEN, "/moved/golden_tensor", "/moved/golden_tensor/0/7_tensor.npy"),
        (WRITTEN, "/renamed/71_cmp_dump_data.earlier-1/golden_tensor", "/renamed/71_cmp_dump_data.earlier-1/golden_tensor/0/7_tensor.npy"),
        (WRITTEN, "/run", "/run/71_cmp_dump_data/golden_tensor/0/7_tensor.npy"),
        (
            "/old/71_cmp_dump_data/golden_tensor/0/7.npy",
            "/new/71_cmp_dump_data/golden_tensor",
            "/new/71_cmp_dump_data/golden_tensor/0/7.npy",
        ),
        ("o.npy", "/elsewhere", "/cwd/o.npy"),
    ],
)
def test_a_path_is_found_after_chdir_and_after_a_move(path: str, json_directory: str, real: str) -> None:
    candidates = path_candidates(path, json_directory, "/cwd")
    assert real in candidates and len(set(candidates)) == len(candidates)


def test_an_absolute_path_is_tried_first_as_it_stands() -> None:
    assert path_candidates("/old/7.npy", "/new/71_cmp_dump_data/golden_tensor", "/cwd") == ["/old/7.npy"]


class PathlibCandidates:
    """`path_candidates` and `low_level_candidates` by `PurePosixPath`: the slow truth."""

    SOURCES = frozenset({"golden_tensor", "acl_tensor"})

    @classmethod
    def high_level(cls, path: str, metadata_directory: str, working_directory: str, is_one_sided: bool) -> list[str]:
        here = PurePosixPath(metadata_directory)
        found = [os.path.join(metadata_directory, path)]
        root = next((ancestor for ancestor in (here, *here.parents) if dump_layout.is_dump_directory_name(ancestor.name)), None)
        _, below = cls.below_last(path, dump_layout.is_dump_directory_name)
        if below:
            if root is not None:
                found.append(f"{root}/{below}")
            if here.name == below.split("/", 1)[0]:
                found.append(f"{here.parent}/{below}")
        elif root is not None and not os.path.isabs(path):
            found.append(os.path.join(root.parent, path))
        source, tail = cls.below_last(path, cls.SOURCES.__contains__) if is_one_sided else ("", "")
        if tail and here.name not in cls.SOURCES - {source}:
            found.append(f"{here}/{tail}")
        return cls.without_repeats([*found, os.path.join(working_directory, path)])

    @classmethod
    def low_level(cls, path: str, metadata_directory: str, working_directory: str) -> list[str]:
        if os.path.isabs(path):
            return cls.high_level(path, metadata_directory, working_directory, False)
        here = PurePosixPath(metadata_directory)
        places = [ancestor.parent for ancestor in (here, *here.parents) if dump_layout.is_dump_directory_name(ancestor.name)][:1]
        if not places and here.name in cls.SOURCES:
            places.append(here.parent.parent)
        found = [os.path.join(place, path) for place in (*places, here)]
        return cls.without_repeats(found if places else [*found, os.path.join(working_directory, path)])

    @staticmethod
    def below_last(path: str, is_wanted: Callable[[str], bool]) -> tuple[str, str]:
        parts = PurePosixPath(path).parts
        last = max((index for index, part in enumerate(parts) if is_wanted(part)), default=None)
        if last is None or ".." in parts[last + 1 :]:
            return "", ""
        return parts[last], "/".join(parts[last + 1 :])

    @staticmethod
    def without_repeats(paths: list[str]) -> list[str]:
        return list(dict.fromkeys(path if ".." in PurePosixPath(path).parts else os.path.normpath(path) for path in paths))


NAMES = st.sampled_from(
    ["71_cmp_dump_data", "71-1_cmp_dump_data", "x71_cmp_dump_data", "golden_tensor", "acl_tensor", "0", "a b", ".h", ".", "..", "", "\n"]
)
PATHS = st.builds(lambda root, names: root + "/".join(names), st.sampled_from(["", "", "/", "./", "//"]), st.lists(NAMES, max_size=6))
DIRECTORIES = st.builds(lambda names: "/" + "/".join(names), st.lists(NAMES, max_size=4))


@settings(max_examples=examples(500), deadline=None)
@given(PATHS, DIRECTORIES, DIRECTORIES, st.booleans())
def test_candidates_are_those_of_pathlib(path: str, json_directory: str, working_directory: str, is_one_sided: bool) -> None:
    expected = PathlibCandidates.high_level(path, json_directory, working_directory, is_one_sided)
    assert path_candidates(path, json_directory, working_directory, is_one_sided=is_one_sided) == expected
    assert low_level_candidates(path, json_directory, working_directory) == PathlibCandidates.low_level(
        path, json_directory, working_directory
    )


LOW_LEVEL = "./tensors/thread_71/0/o.bin"


@pytest.mark.parametrize(
    ("path", "json_directory", "candidates"),
    [
        (
            LOW_LEVEL,
            "/run/71_cmp_dump_data/acl_tensor",
            ["/run/tensors/thread_71/0/o.bin", "/run/71_cmp_dump_data/acl_tensor/tensors/thread_71/0/o.bin"],
        ),
        (LOW_LEVEL, "/run/71_cmp_dump_data", ["/run/tensors/thread_71/0/o.bin", "/run/71_cmp_dump_data/tensors/thread_71/0/o.bin"]),
        (LOW_LEVEL, "/run/renamed/acl_tensor", ["/run/tensors/thread_71/0/o.bin", "/run/renamed/acl_tensor/tensors/thread_71/0/o.bin"]),
        (LOW_LEVEL, "/json", ["/json/tensors/thread_71/0/o.bin", "/cwd/tensors/thread_71/0/o.bin"]),
        ("/home/tensors/thread_71/0/o.bin", "/run/71_cmp_dump_data/acl_tensor", ["/home/tensors/thread_71/0/o.bin"]),
    ],
)
def test_a_low_level_path_belongs_to_the_dump_that_its_json_is_in(path: str, json_directory: str, candidates: list[str]) -> None:
    assert low_level_candidates(path, json_directory, "/cwd") == candidates


def test_a_path_is_not_rerooted_through_its_parent() -> None:
    assert reroot("./71_cmp_dump_data/../../etc/passwd") is None
    assert reroot("./71_cmp_dump_data") is None and reroot("/a/b") is None and reroot("./x71_cmp_dump_data/a") is None


@pytest.mark.parametrize("run", ["thread_71", "thread_140245", "71", "71_72", "0_71"])
def test_a_low_level_path_is_split_at_its_run_directory(run: str) -> None:
    path = f"/home/tensors/{run}/3/0_Model/tensors/after/outTensor0.bin"
    assert dump_layout.split_low_level_path(path) == ("/home/tensors", run, "3/0_Model/tensors/after/outTensor0.bin")


@pytest.mark.parametrize(
    "path", ["/home/tensors/x/3/o.bin", "/home/thread_7/3/o.bin", "/tensors/thread_7/../o.bin", "/tensors/thread_7", "o.bin"]
)
def test_other_paths_are_not_low_level(path: str) -> None:
    assert dump_layout.split_low_level_path(path) is None
