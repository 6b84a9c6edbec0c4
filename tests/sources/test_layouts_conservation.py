"""Whatever lies in a directory: every tensor file is one tensor of the dump, or it is said to be left out."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_makers import empty_tree

from fastcmp.errors import UsageError
from fastcmp.formats import scan_batch
from fastcmp.options import LAYOUT_NAMES, CompareOptions, ScanOptions
from fastcmp.sources import load

# Pieces of all layouts, so that they are met in every odd combination.
DIRECTORIES = [
    "tensors",
    "0_7",
    "1_7",
    "7",
    "0",
    "3",
    "thread_5",
    "0_X",
    "1_Y",
    "before",
    "after",
    "torch_tensors",
    "npu0_7",
    "root.a",
    "root",
]
DIRECTORIES += ["weights", "step0", "step1", "rank0", "proc7", "dump_tensor_data", "TP0_PP0_Rank0_pid7", "dump", "atb_temp", "layer_3"]
NAMES = [
    "outtensor0",
    "intensor1_q",
    "inTensor2",
    "output",
    "input_0",
    "model_output",
    "Torch.a.0.forward.input.0",
    "root.w",
    "Pass00001",
    "a",
]
NAMES += ["step=0___rank=0___dump_index=1___name=x", "step=0___rank=1___dump_index=2___name=x___layer_id=3", "step=0___rank=0___name=x"]

paths = st.builds(
    lambda directories, name, suffix: "/".join([*directories, name + suffix]),
    st.lists(st.sampled_from(DIRECTORIES), max_size=5),
    st.sampled_from(NAMES),
    st.sampled_from([".npy", ".bin"]),
)


@settings(deadline=None)
@given(st.lists(paths, min_size=1, max_size=8, unique=True), st.sampled_from(["auto", *(set(LAYOUT_NAMES) - {"metadata"})]))
def test_every_file_is_one_tensor_or_left_out(names: list[str], layout: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = empty_tree(Path(place), *names)
        try:
            dump = load(root, "golden", CompareOptions(layout=layout))
        except UsageError as error:
            # Two layouts, or none of the one that was asked for.
            assert ("a tree of several layouts" in str(error)) == (layout == "auto")
            return
        keys = [tensor.key for tensor in dump.tensors]
        assert len(set(keys)) == len(keys)
        read = {str(Path(tensor.path).relative_to(root)) for tensor in dump.tensors}
        assert len(read) == len(keys) and read <= set(names)
        left_out = sum(count for what, count in dump.left_out.items() if what.startswith("tensor files of the layout"))
        assert len(names) - len(read) == left_out


values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(["torch.Tensor", "torch.float32", "x.npy", "../x", "ab12"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "dtype", "shape", "Max", "Norm", "md5", "data_name", "input_args", "output", "tensor", "a"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
calls = st.dictionaries(
    st.sampled_from(["Torch.a.0.forward", "Module.m.M.forward.0", "x.debug", "Module.m.M.parameters_grad", ""]), values, max_size=4
)


@settings(deadline=None)
@given(calls, st.dictionaries(st.sampled_from(["Torch.a.0.forward", "Module.m.M.forward.0", "x.debug"]), values, max_size=3) | values)
def test_no_dump_json_is_more_than_names_and_statements(data: dict[str, Any], construct: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = empty_tree(Path(place), "x.npy", "step0/rank0/dump_tensor_data/x.npy")
        (root / "step0/rank0/dump.json").write_text(json.dumps({"task": "tensor", "level": "mix", "data": data}))
        (root / "step0/rank0/construct.json").write_text(json.dumps(construct))
        dump = load(root, "golden", CompareOptions())
        keys = [tensor.key for tensor in dump.tensors]
        assert len(set(keys)) == len(keys)
        found = scan_batch([tensor.path for tensor in dump.tensors], ScanOptions())
        assert {error.code for error in found if isinstance(error, Exception)} <= {
            "E_EMPTY_FILE",
            "E_MISSING",
            "E_STATS_ONLY",
            "E_CHECKSUM",
            "E_NO_DATA",
        }
        for tensor in dump.tensors:
            assert tensor.path.partition("\0")[0].startswith(f"{root}/")


@pytest.mark.parametrize("content", ['"task" : ' * 7000, '"dump_data_dir"' + " " * 64_000, '"task":' + '"data' * 12_000])
def test_no_text_takes_long_to_be_no_dump_json(tmp_path: Path, content: str) -> None:
    empty_tree(tmp_path, "a.npy")
    (tmp_path / "dump.json").write_text(content)
    began = time.process_time()
    assert load(tmp_path, "golden", CompareOptions()).layout == "plain"
    assert time.process_time() - began < 1
