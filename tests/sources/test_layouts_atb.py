"""Low-level trees of every era: the names they get, and that those of two runs meet."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from layout_makers import empty_tree, write_tree

from fastcmp.errors import NoDataError, TensorError
from fastcmp.formats import scan_batch
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.sources import Dump, load

OPTIONS = CompareOptions()

# One tree per era: where it begins, with what differs between two runs written as {0}, and the key of its tensor.
ERAS = [
    ("oldest", "tensors/LinearRunner/0_MatMulKernel/outtensor0.bin", ("LinearRunner/0_MatMulKernel/outtensor0", "")),
    (
        "thread id",
        "tensors/thread_14018{0}64/2/0_ModelTorch/1_LayerRunner/3_LinearRunner/after/outTensor0.bin",
        ("0_ModelTorch/1_LayerRunner/3_LinearRunner/after/outtensor0", "2"),
    ),
    ("pid and task", "tensors/71{0}/71{0}_0/3/0_ModelTorch/1_Layer/after/outTensor1.bin", ("0_ModelTorch/1_Layer/after/outtensor1", "3")),
    ("pid and tid", "atb_temp/tensors/71{0}_72{0}/0/0_X/1_Y/before/intensor2.bin", ("0_X/1_Y/before/intensor2", "0")),
    ("ait", "ait_dump/tensors/{0}_71{0}/4/0_X/1_Y/after/outtensor0.bin", ("0_X/1_Y/after/outtensor0", "4")),
    ("msit", "msit_dump_2024{0}/tensors/{0}_71{0}/10/0_X/after/outtensor0.bin", ("0_X/after/outtensor0", "10")),
    ("msprobe", "atb_dump_data/data/{0}_71{0}/0/0_X/1_Y/after/outtensor0.bin", ("0_X/1_Y/after/outtensor0", "0")),
    ("named", "msit_dump/tensors/{0}_71{0}/0/0_X/after/outtensor0_attn_out.bin", ("0_X/after/outtensor0", "0")),
]


def loaded(path: Path) -> Dump:
    return load(path, "golden", OPTIONS)


def keys(path: Path) -> list[tuple[str, str, str]]:
    return [tuple(tensor.key) for tensor in loaded(path).tensors]


@pytest.mark.parametrize(("path", "expected"), [(path, expected) for _, path, expected in ERAS], ids=[era for era, _, _ in ERAS])
def test_two_runs_of_an_era_have_the_same_keys(tmp_path: Path, path: str, expected: tuple[str, str]) -> None:
    for run in ("3", "5"):
        empty_tree(tmp_path / run, path.format(run))
        assert keys(tmp_path / run) == [("", *expected)]
        dump = loaded(tmp_path / run)
        assert (dump.layout, dump.kind) == ("atb", "tree")
        assert dump.tensors[0].path == str(tmp_path / run / path.format(run))


def test_any_directory_of_a_tree_can_be_named(tmp_path: Path) -> None:
    root = empty_tree(
        tmp_path, "msit_dump/tensors/0_71/4/0_X/1_Y/after/outtensor0.bin", "msit_dump/tensors/0_71/4/0_X/after/outtensor0.bin"
    )
    for place in (".", "msit_dump", "msit_dump/tensors", "msit_dump/tensors/0_71"):
        assert [key[1:] for key in keys(root / place)] == [("0_X/1_Y/after/outtensor0", "4"), ("0_X/after/outtensor0", "4")]
    below = root / "msit_dump/tensors/0_71/4"
    assert keys(below) == [("", "0_X/1_Y/after/outtensor0", ""), ("", "0_X/after/outtensor0", "")]


def test_devices_are_ranks_where_there_are_several(tmp_path: Path) -> None:
    tree = [f"ait_dump/tensors/{device}_{900 + device}/0/0_X/after/outtensor0.bin" for device in (10, 2)]
    assert keys(empty_tree(tmp_path, *tree)) == [("2", "0_X/after/outtensor0", "0"), ("10", "0_X/after/outtensor0", "0")]
    assert loaded(tmp_path).warnings == []
    assert keys(tmp_path / "ait_dump/tensors/10_910") == [("", "0_X/after/outtensor0", "0")]


@pytest.mark.parametrize(
    "runs",
    [("atb_temp/tensors/71_71", "atb_temp/tensors/72_72"), ("tensors/thread_5", "tensors/thread_6"), ("a/tensors/0_71", "b/tensors/0_72")],
)
def test_processes_that_nothing_tells_apart_keep_their_directories_and_are_warned_of(tmp_path: Path, runs: tuple[str, str]) -> None:
    empty_tree(tmp_path, *(f"{run}/0/0_X/after/outtensor0.bin" for run in runs))
    dump = loaded(tmp_path)
    assert [tensor.key.rank for tensor in dump.tensors] == [run.rpartition("/")[2] for run in runs]
    (warning,) = dump.warnings
    assert warning == (
        f"{tmp_path}: 2 processes and nothing that tells their ranks: each pairs only with a directory of the same name; "
        f"name one of them, to compare it alone: {runs[0]}, {runs[1]}"
    )


def test_the_era_without_devices_is_known_from_the_root_too(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"atb_temp/tensors/{run}/0/0_X/after/outtensor0.bin" for run in ("12_13", "14_15")))
    for place in (".", "atb_temp", "atb_temp/tensors"):
        assert [key[0] for key in keys(tmp_path / place)] == ["12_13", "14_15"]


def test_a_directory_of_that_name_further_up_says_nothing(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"atb_temp/x/ait_dump/tensors/{device}_7/0/0_X/after/outtensor0.bin" for device in (0, 1)))
    assert [key[0] for key in keys(tmp_path)] == ["0", "1"]


def test_an_operation_comes_as_it_ran_inputs_parts_outputs(tmp_path: Path) -> None:
    operations = ["0_M/before/intensor0", "0_M/2_A/before/intensor0", "0_M/2_A/before/intensor10", "0_M/2_A/0_Kernel/outtensor0"]
    operations += [
        "0_M/2_A/after/outtensor0",
        "0_M/10_B/after/outtensor0",
        "0_M/after/intensor0",
        "0_M/after/outtensor0",
        "1_Head/after/outtensor0",
    ]
    empty_tree(tmp_path, *(f"0_7/0/{name}.bin" for name in reversed(operations)))
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == operations
    assert dump.is_in_execution_order


def test_tokens_of_one_tensor_stand_together_and_the_order_is_that_of_the_operations(tmp_path: Path) -> None:
    empty_tree(tmp_path, "0_7/10/0_A/after/outtensor0.bin", "0_7/2/1_B/after/outtensor0.bin", "0_7/10/1_B/after/outtensor0.bin")
    assert keys(tmp_path) == [
        ("", "0_A/after/outtensor0", "10"),
        ("", "1_B/after/outtensor0", "2"),
        ("", "1_B/after/outtensor0", "10"),
    ]


def test_without_numbers_the_order_is_not_known(tmp_path: Path) -> None:
    assert not loaded(empty_tree(tmp_path, "tensors/LinearRunner/0_MatMulKernel/outtensor0.bin")).is_in_execution_order


def test_two_files_of_one_tensor_are_both_there(tmp_path: Path) -> None:
    empty_tree(tmp_path, "0_7/0/0_A/after/outtensor0.bin", "0_7/0/0_A/after/outtensor0_y.bin")
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == [
        "0_A/after/outtensor0",
        "0_A/after/outtensor0_y",
    ]
    assert dump.warnings == [
        f"{tmp_path}: of several tensors of one number in a directory, each keeps its name: 0_7/0/0_A/after/outtensor0"
    ]


def test_of_two_tensors_of_one_number_none_takes_the_place_of_the_only_one_of_the_other_side(tmp_path: Path) -> None:
    empty_tree(tmp_path / "g", "5_6/0/0_foo/intensor0_k.bin", "5_6/0/0_foo/intensor0_q.bin", "5_6/1/0_foo/intensor0_q.bin")
    empty_tree(tmp_path / "t", "7_8/0/0_foo/intensor0_q.bin", "7_8/1/0_foo/intensor0_q.bin")
    assert set(keys(tmp_path / "g")) & set(keys(tmp_path / "t")) == {("", "0_foo/intensor0", "1")}


def test_two_files_of_one_name_have_the_same_names_in_two_runs(tmp_path: Path) -> None:
    for run in ("5_6", "7_8"):
        empty_tree(tmp_path / run, f"{run}/0/0_A/outtensor0.bin", f"{run}/0/0_A/outtensor0.npy")
    assert keys(tmp_path / "5_6") == keys(tmp_path / "7_8")
    assert [key[1] for key in keys(tmp_path / "5_6")] == ["0_A/outtensor0", "0_A/outtensor0 (outtensor0.npy)"]


def test_what_lies_beside_the_tensors_is_left_out_and_counted(tmp_path: Path) -> None:
    empty_tree(
        tmp_path,
        "msit_dump/tensors/0_7/0/0_A/after/outtensor0.bin",
        "msit_dump/tensors/0_7/0/0_A/kernel_tilingdata.bin",
        "msit_dump/tensors/0_7/0/0_A/before/0123456789abcdef0123456789abcdef",
        "msit_dump/tensors/0_7/0/0_A/before/0123456789abcdef0123456789abcdef.bin",
        "msit_dump/layer/0_7/layer.json",
        "msit_dump/model/0_7/model.json",
        "msit_dump/cpu_profiling/0_7/a.txt",
    )
    dump = loaded(tmp_path)
    assert len(dump.tensors) == 1 and dump.warnings == []
    assert dump.left_out == {"raw tiling data": 1, "marker files named by an md5": 2, "files of no kind that holds tensors": 3}


def test_linked_duplicates_are_tensors_like_others(tmp_path: Path) -> None:
    write_tree(tmp_path, {"0_7/0/0_A/after/outtensor0.bin": np.ones(3, np.float32)})
    (tmp_path / "0_7/0/1_B/before").mkdir(parents=True)
    (tmp_path / "0_7/0/1_B/before/intensor0.bin").symlink_to(tmp_path / "0_7/0/0_A/after/outtensor0.bin")
    assert keys(tmp_path) == [("", "0_A/after/outtensor0", "0"), ("", "1_B/before/intensor0", "0")]


STATISTIC_HEAD = (
    "Device and PID,Execution Count,Op Name,Op Type,Op Id,Input/Output,Index,Dtype,Format,Shape,Max,Min,Mean,Norm,Tensor Path\n"
)
STATISTIC_LINE = "0_71,3,Model/Layer,Layer,0_1,output,0,bf16,nd,2x3,1.500000,-1.000000,0.250000,2.000000,N/A\n"


def statistics(root: Path, content: str) -> Path:
    return write_tree(root, {"data/0_71/3/statistic.csv": content.encode()})


def test_statistics_without_tensors_have_the_names_of_tensors(tmp_path: Path) -> None:
    statistics(tmp_path / "s", STATISTIC_HEAD + STATISTIC_LINE + STATISTIC_LINE.replace("output", "input"))
    empty_tree(tmp_path / "t", "data/0_72/3/0_Model/1_Layer/before/intensor0.bin", "data/0_72/3/0_Model/1_Layer/after/outtensor0.bin")
    assert keys(tmp_path / "s") == keys(tmp_path / "t")
    dump = loaded(tmp_path / "s")
    assert dump.layout == "atb" and dump.is_in_execution_order
    assert dump.tensors[1].written_path == "data/0_71/3/statistic.csv:0_Model/1_Layer/after/outtensor0"


def test_a_tensor_that_is_there_counts_more_than_its_statistics(tmp_path: Path) -> None:
    statistics(tmp_path, STATISTIC_HEAD + STATISTIC_LINE)
    empty_tree(tmp_path, "data/0_71/3/0_Model/1_Layer/after/outtensor0.bin")
    assert [tensor.written_path for tensor in loaded(tmp_path).tensors] == ["data/0_71/3/0_Model/1_Layer/after/outtensor0.bin"]


@pytest.mark.parametrize("place", [".", "data", "data/0_71", "data/0_71/3"])
def test_a_tensor_and_its_statistics_are_one_whichever_directory_is_named(tmp_path: Path, place: str) -> None:
    statistics(tmp_path, STATISTIC_HEAD + STATISTIC_LINE)
    empty_tree(tmp_path, "data/0_71/3/0_Model/1_Layer/after/outtensor0.bin")
    token = "" if place.endswith("/3") else "3"
    assert keys(tmp_path / place) == [("", "0_Model/1_Layer/after/outtensor0", token)]


@pytest.mark.parametrize("levels", [64, 65, 5000])
def test_an_operation_of_many_levels_is_no_line_of_statistics(tmp_path: Path, levels: int) -> None:
    name, number = "/".join(["M"] * levels), "_".join(["0"] * levels)
    statistics(tmp_path, STATISTIC_HEAD + STATISTIC_LINE + STATISTIC_LINE.replace("Model/Layer", name).replace("0_1", number))
    dump = loaded(tmp_path)
    assert len(dump.tensors) == (2 if levels == 64 else 1)
    assert len(dump.warnings) == (0 if levels == 64 else 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0_71,3,Model,Layer,0_1,output,0,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,3,Model/../x,x,0_1_2,output,0,bf16,nd,2x3,1,1,1,1,N/A", ""),
        ("0_71,3,Model/Layer,Layer,0_1,sideways,0,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,x,Model/Layer,Layer,0_1,output,0,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,3,Model/Layer,Layer,0_1,output,-1,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,\u00b3,Model/Layer,Layer,0_1,output,0,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,3,Model/Layer,Layer,0_\u00b9,output,0,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,3,Model/Layer,Layer,0_1,output,\u0662,bf16,nd,2x3,1,1,1,1,N/A", "line 2"),
        ("0_71,3", "line 2"),
    ],
)
def test_lines_that_are_no_statistics_are_warned_of(tmp_path: Path, line: str, message: str) -> None:
    statistics(tmp_path, STATISTIC_HEAD + line + "\n" + STATISTIC_LINE)
    dump = loaded(tmp_path)
    expected = (
        [f"{tmp_path}: data/0_71/3/statistic.csv: lines that are no statistics of a tensor were ignored: {message}"] if message else []
    )
    assert dump.warnings == expected
    assert "0_Model/1_Layer/after/outtensor0" in [tensor.key.data_id for tensor in dump.tensors]


def test_a_csv_of_other_columns_is_not_used(tmp_path: Path) -> None:
    statistics(tmp_path, "a,b\n1,2\n")
    empty_tree(tmp_path, "data/0_71/3/0_A/after/outtensor0.bin")
    (warning,) = loaded(tmp_path).warnings
    assert warning.startswith(f"{tmp_path}: data/0_71/3/statistic.csv: not used: expected the columns Execution Count, Op Name")


@pytest.mark.parametrize(
    ("fields", "shape", "numbers"),
    [
        ("bf16,nd,2x3,1.5,-1,N/A,2", (2, 3), {"max": 1.5, "min": -1.0, "l2norm": 2.0}),
        ("float,nd,2,1_0,1e999,nan,(1.0,2.0)", (2,), {}),
        ("float,nd,N/A,1,1,1,1", (), {"max": 1.0, "min": 1.0, "mean": 1.0, "l2norm": 1.0}),
        ("odd,nd,,inf,-inf,,", (), {"max": float("inf"), "min": float("-inf")}),
    ],
)
def test_what_a_line_states(tmp_path: Path, fields: str, shape: tuple[int, ...], numbers: dict[str, float]) -> None:
    line = f"0_71,3,Model/Layer,Layer,0_1,output,0,{fields},N/A\n"
    if "(" in fields:
        line = line.replace("nan,(1.0,2.0)", 'N/A,"(1.0,2.0)"')
    (found,) = scan_batch([tensor.path for tensor in loaded(statistics(tmp_path, STATISTIC_HEAD + line)).tensors], ScanOptions())
    assert isinstance(found, NoDataError)
    assert (found.shape, found.statistics, found.decimals) == (shape, numbers, 6)


@pytest.mark.parametrize("shape", ["2x\u00b3", "abc", "-2", "2x", "x", "2x-3", "x".join(["1"] * 65), "2.0", "1" * 19])
def test_a_shape_that_none_can_have_is_an_error_of_its_row(tmp_path: Path, shape: str) -> None:
    line = STATISTIC_LINE.replace("2x3", shape)
    (found,) = scan_batch([tensor.path for tensor in loaded(statistics(tmp_path, STATISTIC_HEAD + line)).tensors], ScanOptions())
    assert isinstance(found, TensorError) and not isinstance(found, NoDataError)
    assert found.code == "E_BAD_DIMS" and found.detail.startswith("shape '") and found.detail.endswith("each from 0 to 2^63-1")


def test_lines_that_stand_twice_have_a_row_each(tmp_path: Path) -> None:
    dump = loaded(statistics(tmp_path, STATISTIC_HEAD + STATISTIC_LINE * 3))
    name = "0_Model/1_Layer/after/outtensor0"
    assert [tensor.key.data_id for tensor in dump.tensors] == [name, f"{name} (statistic.csv)", f"{name} (statistic.csv)#2"]


def test_lines_that_stand_ten_thousand_times_take_no_longer_than_others(tmp_path: Path) -> None:
    statistics(tmp_path, STATISTIC_HEAD + STATISTIC_LINE * 10_000)
    began = time.process_time()
    dump = loaded(tmp_path)
    assert time.process_time() - began < 3
    assert dump.tensors[-1].key.data_id == "0_Model/1_Layer/after/outtensor0 (statistic.csv)#9999"
    assert sum(len(tensor.key.data_id) for tensor in dump.tensors) < 1_000_000
