from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from fastcmp import _native
from fastcmp.dtypes import BY_ACL_CODE
from fastcmp.errors import CODES
from fastcmp.formats import _READERS
from fastcmp.formats.suffixes import SUFFIXES

ROOT = Path(__file__).parents[2]


def test_the_stub_has_the_functions_and_arguments_of_the_module() -> None:
    tree = ast.parse((ROOT / "fastcmp" / "_native.pyi").read_text())
    stub = {node.name: [argument.arg for argument in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)}
    module = {}
    for name in (name for name in dir(_native) if not name.startswith("_")):
        signature = re.search(rf"^{name}\((.*?)\) ->", getattr(_native, name).__doc__, re.MULTILINE | re.DOTALL)
        assert signature is not None
        module[name] = re.findall(r"(\w+): ", signature[1])
    assert stub == module


def test_both_tables_of_dtypes_are_the_same() -> None:
    assert {code: (bits, name) for code, bits, name in _native.dtype_codes()} == {
        code: (row.bits, row.name) for code, row in BY_ACL_CODE.items()
    }


def test_every_code_that_the_reader_gives_is_in_the_closed_list() -> None:
    found = set()
    for source in (ROOT / "cpp" / "src").glob("*.cpp"):
        found |= set(re.findall(r'"([EW]_[A-Z_]+)"', source.read_text()))
    assert {"E_MISSING", "E_BAD_MAGIC", "E_SIZE_LONG"} <= found <= set(CODES)


def test_each_suffix_has_one_reader() -> None:
    assert sorted(suffix for reader in _READERS for suffix in reader.suffixes) == sorted(SUFFIXES)


def test_an_unknown_policy_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="multi_record: expected error, first or last"):
        _native.scan_bin([], "all", [], None, 0, 0)


def test_small_files_are_kept_one_behind_the_other_until_the_memory_is_full(tmp_path: Path) -> None:
    contents = {"a": b"x" * 10, "b": b"y" * 21, "c": b"z" * 20, "d": b"w" * 5}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    memory = np.zeros(40, np.uint8)
    heads = _native.read_heads([str(tmp_path / name) for name in contents], 4, [], memory, 3, 20)
    assert [head[2] for head in heads] == [3, -1, 13, 33]  # b is above the limit of 20
    assert memory.tobytes() == bytes(3) + contents["a"] + contents["c"] + contents["d"] + bytes(2)
    assert [head[0] for head in heads] == [content[:4] for content in contents.values()]
    assert _native.read_heads([str(tmp_path / "a")], 4, [], memory, 38, 20)[0][2] == -1  # it would not fit


def test_more_bytes_used_than_there_are_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="used: expected at most the size of the memory"):
        _native.read_heads([], 4, [], np.zeros(3, np.uint8), 4, 20)


def test_only_regular_files_have_a_size(tmp_path: Path) -> None:
    (tmp_path / "é").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("é")
    (tmp_path / "nowhere").symlink_to("gone")
    names = ["é", "link", "nowhere", "gone", ".", "é\0", "\ud800"]
    assert _native.file_sizes([f"{tmp_path}/{name}" for name in names] + [""]) == [5, 5, 0, 0, 0, 0, 0, 0]
