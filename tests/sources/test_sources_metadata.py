"""metadata.json of every era, honest and hostile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

import fastcmp
from fastcmp.cli.main import main
from fastcmp.dump_layout import JournalEntry, JournalHeader, entry_line, header_line
from fastcmp.errors import TensorError, UsageError
from fastcmp.formats import scan_batch
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.sources import load
from fastcmp.sources.eras import rows_of
from fastcmp.sources.json_document import MAX_DEPTH, _deepest_level, parse

OPTIONS = CompareOptions()
MD5 = "0123456789abcdef0123456789ABCDEF"


def write(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def keys(dump):
    return [(tensor.key.data_id, tensor.key.token_id) for tensor in dump.tensors]


def test_seed_era_keeps_the_order_of_the_file(tmp_path):
    dump = load(write(tmp_path / "metadata.json", {"b": {"1": "x.npy", "0": "y.npy"}, "a": {"0": "z.npy"}}), "golden", OPTIONS)
    assert keys(dump) == [("b", "1"), ("b", "0"), ("a", "0")]
    assert [tensor.written_path for tensor in dump.tensors] == ["x.npy", "y.npy", "z.npy"]
    assert dump.kind == "metadata"
    assert dump.warnings == []


def test_automatic_mode_names_a_tensor_by_its_weight_and_keeps_every_path(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {MD5: ["a.npy", "b.npy"]}, "1": {MD5: ["c.npy"]}})
    assert rows_of(json.loads(Path(path).read_text()), "golden", path) == {
        (MD5, "0"): "a.npy",
        (f"{MD5}#1", "0"): "b.npy",
        (MD5, "1"): "c.npy",
    }


@pytest.mark.parametrize(("role", "expected"), [("golden", "g.pth"), ("target", "my.pth")])
def test_manual_mode_has_one_path_for_each_role(role, expected):
    assert rows_of({"7": {"0": ["g.pth", "my.pth"]}}, role, "m") == {("7", "0"): expected}


def test_manual_mode_without_a_path_is_a_tensor_that_the_role_lacks():
    document = {"7": {"0": ["g.pth", None], "1": ["", "my.pth"]}}
    assert rows_of(document, "golden", "m") == {("7", "0"): "g.pth"}
    assert rows_of(document, "target", "m") == {("7", "1"): "my.pth"}


def test_keys_that_stand_twice_are_merged_with_a_warning(tmp_path):
    dump = load(write(tmp_path / "metadata.json", '{"0":{"1":"a"},"1":{"1":"c"},"0":{"2":"b","1":"d"}}'), "golden", OPTIONS)
    assert keys(dump) == [("0", "1"), ("0", "2"), ("1", "1")]
    assert [tensor.written_path for tensor in dump.tensors] == ["d", "b", "c"]
    assert len(dump.warnings) == 1
    assert "keys that stand twice were merged, of two paths the later one counts: 0, 1" in dump.warnings[0]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("012"), st.text('xy\\"{}[]', max_size=4)), max_size=12))
def test_no_tensor_is_lost_to_keys_that_stand_twice(entries):
    text = "{" + ",".join(f"{json.dumps(data)}:{{{json.dumps(token)}:{json.dumps(path)}}}" for data, token, path in entries) + "}"
    value, warnings = parse(text.encode(), "m")
    assert rows_of(value, "golden", "m") == {(data, token): path for data, token, path in entries}
    assert bool(warnings) == (len({data for data, _, _ in entries}) < len(entries))


HOSTILE = {
    "empty": (b"", "line 1 column 1: not JSON: Expecting value"),
    "half": (b'{"0": {"0": "a.npy"},\n "1": {"0": "b', "line 2 column 13: not JSON: Unterminated string"),
    "list": (b"[]", r"the whole: expected \{data_id: \{token_id: path\}\}, found a list of 0"),
    "text": (b'"x"', "found the text 'x'"),
    "null": (b"null", "found null"),
    "path_as_value": (b'{"0": "a.npy"}', r'entry \["0"\]: expected an object \{token_id: path\}, found the text'),
    "number": (b'{"0": {"1": 5}}', r'entry \["0"\]\["1"\]: expected a path, found the number 5'),
    "nan": (b'{"0": {"1": NaN}}', "expected a path, found the number nan"),
    "true": (b'{"0": {"1": true}}', "expected a path, found true"),
    "object": (b'{"0": {"1": {}}}', "expected a path, found an object"),
    "list_of_numbers": (b'{"0": {"1": ["a", 3]}}', "found a list of 2 with the number 3 in it"),
    "list_of_three": (b'{"0": {"1": ["a", "b", "c"]}}', r"expected \[golden path, target path\], found a list of 3"),
    "digits_beyond_int": (b'{"0": {"1": ' + b"9" * 5000 + b"}}", "expected a path, found the number inf"),
    "deep_lists": (b'{"0":' + b"[" * 100_000, "nested deeper than 64 levels"),
    "deep_objects": (b'{"0":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 64 levels"),
    "deep_behind_brackets_in_text": (b'{"}}}}\\"]]":' * 70 + b"1" + b"}" * 70, "nested deeper than 64 levels"),
    "utf16": ('{"0": {}}'.encode("utf-16"), "line 1 column 1: not JSON"),
    "control_in_key": (b'{"a\\nb": 1}', r'entry \["a\\\\nb"\]'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_malformed_metadata_is_refused_on_one_line_with_its_place(tmp_path, name):
    content, message = HOSTILE[name]
    path = write(tmp_path / "metadata.json", content)
    with pytest.raises(UsageError, match=message) as caught:
        load(path, "golden", OPTIONS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path)


@settings(max_examples=examples(150), deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text('{}[]":,\\01a\n', max_size=60).map(str.encode)))
def test_any_bytes_are_rows_or_a_usage_error(content):
    try:
        value, _ = parse(content, "m")
        rows = rows_of(value, "golden", "m")
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(path, str) for path in rows.values())


@settings(max_examples=examples(150), deadline=None)
@given(
    st.recursive(
        st.text('{}[]"\\', max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{"\\'), inner, max_size=3)
    )
)
def test_depth_is_counted_outside_strings_only(value):
    def depth(part: object) -> int:
        if isinstance(part, dict):
            part = list(part.values())
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    assert _deepest_level(json.dumps(value).encode()) == depth(value)


def test_the_depth_limit_itself_is_allowed():
    parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "m")
    with pytest.raises(UsageError, match="nested deeper"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "m")


def test_a_file_above_the_size_limit_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path / "metadata.json", b"{}")
    os.truncate(path, 3 * 1024**3)  # sparse
    with pytest.raises(UsageError, match="3221225472 bytes, expected at most 2147483648"):
        load(path, "golden", OPTIONS)


def test_a_byte_order_mark_is_skipped(tmp_path):
    assert keys(load(write(tmp_path / "metadata.json", b'\xef\xbb\xbf{"0":{"1":"a"}}'), "golden", OPTIONS)) == [("0", "1")]


def test_a_path_that_is_not_utf8_finds_its_file(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe.npy"
    with open(name, "wb"):
        pass
    tensor = load(write(tmp_path / "metadata.json", b'{"0":{"0":"\xff\xfe.npy"}}'), "golden", OPTIONS).tensors[0]
    assert os.fsencode(tensor.path) == name


@pytest.mark.parametrize("written", ["a\0b.npy", "x" * 5000, "d/" * 2500 + "x", "\ud800.npy", "..", "../../etc/passwd", "", "/", "a//b/"])
def test_a_path_that_cannot_be_a_file_stays_a_row(tmp_path, written):
    other = {"1": {"0": "good.npy"}}
    dump = load(write(tmp_path / "metadata.json", {"0": {"0": written}} | other), "golden", OPTIONS)
    assert keys(dump) == [("0", "0"), ("1", "0")]
    assert dump.tensors[0].written_path == written
    assert dump.tensors[1].path == str(tmp_path / "good.npy")


@pytest.mark.parametrize("name", ["nowhere.json", "nowhere", "no\0where", "x" * 300])
def test_an_argument_that_does_not_exist_is_a_usage_error(tmp_path, name):
    with pytest.raises(UsageError, match=r"name a metadata\.json, a directory or a tensor file"):
        load(str(tmp_path / name), "golden", OPTIONS)


@pytest.mark.parametrize("name", ["metadata.json", "pipe.npy"])
def test_a_fifo_is_refused_without_blocking(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="not a regular file"):
        load(str(tmp_path / name), "golden", OPTIONS)


def test_roots_confine_the_metadata_too(tmp_path):
    path = write(tmp_path / "outside" / "metadata.json", {"0": {"0": "a.npy"}})
    (tmp_path / "inside").mkdir()
    os.symlink(path, tmp_path / "inside" / "metadata.json")
    options = CompareOptions(scan=ScanOptions(roots=(str(tmp_path / "inside"),)))
    with pytest.raises(UsageError, match="E_PATH_OUTSIDE"):
        load(str(tmp_path / "inside" / "metadata.json"), "golden", options)
    assert load(path, "golden", CompareOptions(scan=ScanOptions(roots=(str(tmp_path),)))).tensors


def journal(path: Path, entries, rank="", tail=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header_line(JournalHeader(7, rank, "/", "golden")), *(entry_line(entry) for entry in entries), tail]
    path.write_bytes(b"".join(lines))


def test_entries_that_only_the_journal_has_count(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {"0": "a.npy"}})
    journal(tmp_path / "journal.jsonl", [JournalEntry("0", "0", "a.npy"), JournalEntry("1", "0", "b.npy", "bfloat16", "float32")], "3")
    dump = load(path, "golden", OPTIONS)
    assert [tuple(tensor.key) for tensor in dump.tensors] == [("3", "0", "0"), ("3", "1", "0")]
    assert [tensor.dtype for tensor in dump.tensors] == ["", "bfloat16"]


def test_what_was_dumped_anew_since_metadata_was_made_is_taken_from_the_journal(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {"0": "old.bin"}, "1": {"0": "mine.npy"}, "2": {"0": "c.npy"}})
    write(tmp_path / "dtypes.json", {"2": {"0": "float8_e4m3fn"}})
    entries = [
        JournalEntry("0", "0", "old.bin"),
        JournalEntry("1", "0", "b.npy"),
        JournalEntry("2", "0", "c.npy", "float8_e4m3fn", "float16"),
    ]
    journal(tmp_path / "journal.jsonl", [*entries, JournalEntry("0", "0", "new.bin"), JournalEntry("2", "0", "c.npy", "float32")])
    tensors = load(path, "golden", OPTIONS).tensors
    assert [tensor.written_path for tensor in tensors] == ["new.bin", "mine.npy", "c.npy"]
    assert [tensor.dtype for tensor in tensors] == ["", "", ""]


def test_a_journal_is_enough(tmp_path):
    journal(tmp_path / "golden_tensor" / "journal.jsonl", [JournalEntry("0", "0", "a.npy")])
    assert keys(load(str(tmp_path), "golden", OPTIONS)) == [("0", "0")]


def test_a_torn_journal_is_a_warning(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {"0": "a.npy"}})
    journal(tmp_path / "journal.jsonl", [JournalEntry("0", "0", "a.npy")], tail=b'nonsense\n{"data_id": "1", "tok')
    warnings = load(path, "golden", OPTIONS).warnings
    assert "the last line is cut short" in warnings[0]
    assert "1 lines are no entries" in warnings[1]


def test_true_dtypes_come_from_the_file_beside_and_only_known_names(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {"0": "a.npy", "1": "b.npy"}, "1": {"0": "c.npy"}})
    write(tmp_path / "dtypes.json", {"0": {"0": "float8_e4m3fn", "1": "__import__"}, "1": {"0": 5}})
    assert [tensor.dtype for tensor in load(path, "golden", OPTIONS).tensors] == ["float8_e4m3fn", "", ""]


def test_malformed_dtypes_are_refused(tmp_path):
    path = write(tmp_path / "metadata.json", {"0": {"0": "a.npy"}})
    write(tmp_path / "dtypes.json", ["float32"])
    with pytest.raises(UsageError, match=r"dtypes\.json: expected \{data_id: \{token_id: dtype\}\}"):
        load(path, "golden", OPTIONS)


def test_both_sides_share_their_keys_and_the_files_of_a_directory_its_name(tmp_path):
    document = {str(number): {"0": f"./tensors/{number}.npy", "1": f"./tensors/{number}_1.npy"} for number in range(4)}
    golden = load(write(tmp_path / "g" / "metadata.json", document), "golden", OPTIONS)
    target = load(write(tmp_path / "t" / "metadata.json", {**document, "more": {"0": "x.npy"}}), "target", OPTIONS, golden)
    assert [tensor.key for tensor in target.tensors[:-1]] == [tensor.key for tensor in golden.tensors]
    assert all(one.key is other.key for one, other in zip(golden.tensors, target.tensors[:-1], strict=True))
    assert keys(target)[-1] == ("more", "0")
    assert len({id(tensor.place) for tensor in golden.tensors}) == 1
    assert golden.tensors[3].path == f"{tmp_path}/g/tensors/1_1.npy"


@pytest.mark.parametrize(
    "behind",
    [
        'stated\0["float32",[2],{"max":1.0},null,""]',
        "b",
        "",
        "\0",
        "refused\0b",
        '\0["b",[],{},[]]',
    ],
)
@pytest.mark.parametrize("path", ["./gone.npy", "./two.npz", "two.npz", "", "0/1/*_x"])
def test_a_path_with_a_nul_byte_names_no_member_and_states_nothing(tmp_path, path, behind):
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(3))
    dump = load(write(tmp_path / "metadata.json", {"x": {"0": f"{path}\0{behind}"}, "good": {"0": "./gone.npy"}}), "golden", OPTIONS)
    assert [tensor.written_path for tensor in dump.tensors] == [f"{path}\0{behind}", "./gone.npy"]
    odd, good = scan_batch([tensor.path for tensor in dump.tensors], ScanOptions())
    assert isinstance(odd, TensorError) and isinstance(good, TensorError) and good.code == "E_MISSING"
    assert (odd.code, odd.detail) == ("E_PATH", "the path has a NUL byte")
    assert "\0" not in odd.path and odd.path.startswith(str(tmp_path))


def test_two_paths_with_a_nul_byte_make_up_no_verdict(tmp_path):
    odd = './gone.npy\0stated\0["float32",[2],{"max":1.0},null,""]'
    sides = [write(tmp_path / role / "metadata.json", {"x": {"0": odd}}) for role in ("golden", "target")]
    (row,) = fastcmp.compare(*sides, output=str(tmp_path / "r"), executor="serial").to_arrow().to_pylist()
    assert (row["verdict"], row["cmp_fail_reason"].endswith("the path has a NUL byte; repair the entry in metadata.json [E_PATH]")) == (
        "error",
        True,
    )
    assert main(["inspect", str(tmp_path / "golden" / "metadata.json")]) == 2
