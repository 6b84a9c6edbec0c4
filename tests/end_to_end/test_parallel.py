"""Dumps of several ranks against a whole one: every kind of merge, inference, and what contradicts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastcmp
from fastcmp.errors import UsageError
from fastcmp.options import ParallelSide

RNG = np.random.default_rng(7)


def dumped(directory: Path, tensors: dict[str, dict[str, np.ndarray]]) -> Path:
    """One process: {data_id: {token_id: values}}."""
    directory.mkdir(parents=True)
    metadata: dict[str, dict[str, str]] = {}
    for data_id, tokens in tensors.items():
        for token_id, values in tokens.items():
            name = f"{data_id}_{token_id}.npy"
            np.save(directory / name, values)
            metadata.setdefault(data_id, {})[token_id] = f"./{name}"
    (directory / "metadata.json").write_text(json.dumps(metadata))
    return directory


def by_rank(directory: Path, ranks: list[dict[str, dict[str, np.ndarray]]]) -> Path:
    for rank, tensors in enumerate(ranks):
        dumped(directory / f"rank{rank}", tensors)
    return directory


def tp_dump(tmp_path: Path, count: int = 4) -> tuple[Path, Path]:
    """A layer under tensor parallelism as it is: columns, rows, partial sums, replicas, padded vocabulary; two tokens."""
    golden: dict[str, dict[str, np.ndarray]] = {}
    ranks: list[dict[str, dict[str, np.ndarray]]] = [{} for _ in range(count)]
    for token in ("0", "1"):
        x = RNG.standard_normal((2, 3, 16)).astype(np.float32)
        q = RNG.standard_normal((2, 3, 8, 5)).astype(np.float32)
        summands = RNG.standard_normal((count, 2, 3, 16)).astype(np.float32)
        logits = RNG.standard_normal((2, 3, 30)).astype(np.float32)
        padded = np.concatenate([logits, np.full((2, 3, 2), -1, np.float32)], -1)
        whole = {"norm": x, "q": q, "o_proj": summands.astype(np.float64).sum(0).astype(np.float32), "logits": logits}
        for name, values in whole.items():
            golden.setdefault(name, {})[token] = values
        for rank in range(count):
            for name, values in {
                "norm": x, "q": np.array_split(q, count, 2)[rank], "o_proj": summands[rank], "logits": np.array_split(padded, count, 2)[rank],
            }.items():  # fmt: skip
                ranks[rank].setdefault(name, {})[token] = values
    return dumped(tmp_path / "golden", golden), by_rank(tmp_path / "target", ranks)


DIMS = {"norm": "b s d # tp:replicated", "q": "b s h[tp] w", "o_proj": "b s d # tp:partial", "logits": "b s v[tp]=30"}
PARALLEL = """
[target]
ranks = "tp=4"
[target.dims]
"*" = "b s d # tp:replicated"
q = "b s h[tp] w"
"o_*" = "b s d # tp:partial"
logits = "b s v[tp]=30"
"""


def rows_of(result: fastcmp.result.Result) -> dict[tuple[str, str], dict[str, object]]:
    return {(row["data_id"], row["token_id"]): row for row in result.to_arrow().to_pylist()}


def test_a_tensor_parallel_dump_equals_its_golden_to_the_bit(tmp_path: Path) -> None:
    golden, target = tp_dump(tmp_path)
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=4", DIMS))
    rows = rows_of(result)
    assert result.exit_code == 0 and len(rows) == 8
    assert all(row["mismatch_count"] == 0 and row["rank"] in ("", None) for row in rows.values()), rows
    assert rows["q", "0"]["notes"] == "W_MERGED: tp along h (axis 2); dims 'b s h[tp] w'"
    assert rows["q", "1"]["acl_data_path"] == "./q_1.npy (ranks 0-3)" and rows["q", "1"]["acl_shape"] == "(2, 3, 8, 5)"


@pytest.mark.parametrize("fault", ["q", "o_proj", "norm", "logits"])
def test_a_fault_on_one_rank_is_found(tmp_path: Path, fault: str) -> None:
    golden, target = tp_dump(tmp_path)
    path = target / "rank2" / f"{fault}_1.npy"
    values = np.load(path)
    values[(0, 1, *([0] * (values.ndim - 2)))] += 1
    np.save(path, values)
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=4", DIMS))
    bad = {key for key, row in rows_of(result).items() if row["verdict"] != "pass"}
    assert bad == {(fault, "1")}
    row = rows_of(result)[fault, "1"]
    if fault == "norm":
        assert str(row["cmp_fail_reason"]).endswith("[E_REPLICAS]") and result.exit_code == 2
    elif fault == "q":
        assert row["max_absolute_error_index"] == "(0, 1, 4, 0)" and result.exit_code == 1


def test_what_shapes_say_in_one_way_only_is_inferred_and_shown(tmp_path: Path) -> None:
    golden, target = tp_dump(tmp_path)
    for path in [*golden.glob("o_proj*"), *target.glob("*/o_proj*")]:
        np.save(path, np.ones((2, 3, 16), np.float32))
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=4"))
    inferred = "target: inferred from shapes, in the order of the ranks"
    assert f"{inferred}: 'd0 d1 d2[tp] d3' for 1 name (q)" in result.warnings
    assert f"{inferred}: 'd0 d1 d2 # tp:replicated' for 2 names (norm, o_proj)" in result.warnings
    (none,) = [warning for warning in result.warnings if "no notation" in warning]
    assert none == "target: no notation for 1 name (logits): no axis along which its parts make up (2, 3, 30)"
    rows = rows_of(result)
    assert str(rows["q", "0"]["notes"]).endswith("dims 'd0 d1 d2[tp] d3', inferred from shapes")
    assert rows["q", "0"]["verdict"] == "pass" and "[E_SHARDS]" in str(rows["logits", "0"]["cmp_fail_reason"])
    assert "ranks 0, 1, 2, 3 hold (2, 3, 8)" in str(rows["logits", "0"]["cmp_fail_reason"])


def test_shapes_are_inferred_before_a_map_and_a_notation_goes_with_one(tmp_path: Path) -> None:
    values = RNG.standard_normal((3, 8)).astype(np.float32)
    golden = dumped(tmp_path / "golden", {"x": {"0": values}})
    target = by_rank(tmp_path / "target", [{"layer.x": {"0": part}} for part in np.split(values, 2, 1)])
    names = tmp_path / "names.map"
    names.write_text("x -> layer.x\n")
    none = (
        "target: no notation for 1 name (layer.x): the other side has no tensor of that name and token to infer it from "
        "(--map comes later); give it a notation"
    )
    options: dict[str, Any] = {"output": str(tmp_path / "out"), "executor": "serial"}
    with pytest.raises(UsageError) as refused:
        fastcmp.compare(golden, target, **options, target_parallel=ParallelSide("tp=2"))
    assert f"; {none}" in str(refused.value) and str(refused.value).count("target: ") == 1
    result = fastcmp.compare(golden, target, **options, maps=(str(names),), target_parallel=ParallelSide("tp=2"))
    assert none in result.warnings and result.exit_code == 2
    said = ParallelSide("tp=2", (("layer.*", "s d[tp]"),))
    assert fastcmp.compare(golden, target, **options, maps=(str(names),), target_parallel=said).exit_code == 0


def test_summands_that_look_like_replicas_are_refused_not_guessed(tmp_path: Path) -> None:
    golden, target = tp_dump(tmp_path)
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=4"))
    assert str(rows_of(result)["o_proj", "0"]["cmp_fail_reason"]).endswith("[E_REPLICAS]")


def test_a_different_number_of_ranks_on_both_sides(tmp_path: Path) -> None:
    whole = RNG.standard_normal((3, 8, 12)).astype(np.float32)
    golden = by_rank(tmp_path / "golden", [{"x": {"0": part}} for part in np.split(whole, 2, 1)])
    target = by_rank(tmp_path / "target", [{"x": {"0": part.transpose(1, 0, 2)}} for part in np.split(whole, 3, 2)])
    sides = {"golden_parallel": ParallelSide("tp=2", {"x": "s h[tp] d"}), "target_parallel": ParallelSide("cp=3", {"x": "h s d[cp]"})}
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", **sides)
    assert result.ok and rows_of(result)["x", "0"]["mismatch_count"] == 0


def test_pipeline_stages_hold_names_of_their_own(tmp_path: Path) -> None:
    x, y = RNG.standard_normal((2, 4, 6)).astype(np.float32)
    golden = dumped(tmp_path / "golden", {"layers.0": {"0": x}, "layers.1": {"0": y}})
    ranks = [{"layers.0": {"0": part}} for part in np.split(x, 2, 1)] + [{"layers.1": {"0": part}} for part in np.split(y, 2, 1)]
    target = by_rank(tmp_path / "target", ranks)
    side = ParallelSide("pp=2 tp=2", {"layers.*": "t d[tp]"})
    assert fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=side).ok


def test_every_executor_gives_the_same_bytes(tmp_path: Path) -> None:
    golden, target = tp_dump(tmp_path)
    reports = []
    for executor in ("serial", "threads", "local"):
        out = tmp_path / executor
        fastcmp.compare(golden, target, output=str(out), executor=executor, workers=2, target_parallel=ParallelSide("tp=4", DIMS))
        reports.append((out / "cmp_report.csv").read_bytes())
    assert reports[0] == reports[1] == reports[2]


def test_a_tensor_in_ranges_is_the_same_as_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_into_pieces: Callable[[int], None]
) -> None:
    cut_into_pieces(64 * 1024)
    whole = RNG.standard_normal((64, 3000)).astype(np.float32)
    golden = dumped(tmp_path / "golden", {"x": {"0": whole}})
    target = by_rank(tmp_path / "target", [{"x": {"0": part * np.float32(1.001)}} for part in np.split(whole, 4, 1)])
    reports = []
    for split in (2**40, 100_000):
        monkeypatch.setattr("fastcmp.plan.SPLIT_BYTES", split)
        out = tmp_path / str(split)
        fastcmp.compare(golden, target, output=str(out), executor="threads", workers=3, target_parallel=ParallelSide("tp=4"))
        reports.append((out / "cmp_report.csv").read_bytes())
    assert reports[0] == reports[1]


def plain(directory: Path, files: dict[str, np.ndarray]) -> Path:
    for name, values in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(directory / name, values)
    return directory


W = RNG.standard_normal((4, 6)).astype(np.float32)


def compared(tmp_path: Path, golden: dict[str, np.ndarray], target: dict[str, np.ndarray], **sides: object) -> fastcmp.result.Result:
    dumps = plain(tmp_path / "golden", golden), plain(tmp_path / "target", target)
    return fastcmp.compare(*dumps, output=str(tmp_path / "out"), executor="serial", **sides)


@pytest.mark.parametrize("other", ["rank_0/x.npy", "rank00/x.npy", "RANK0/x.npy"])
def test_one_tensor_twice_on_a_rank_is_refused(tmp_path: Path, other: str) -> None:
    target = {"rank0/x.npy": W[:, :3], other: W[:, :3] + 5, "rank1/x.npy": W[:, 3:]}
    with pytest.raises(UsageError, match=r"x\.npy and .*x\.npy are both x of rank 0; rename or move one of them"):
        compared(tmp_path, {"x.npy": W}, target, target_parallel=ParallelSide("tp=2"))


def test_a_file_beside_the_rank_directories_is_named(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W[:, :3], "rank1/x.npy": W[:, 3:], "stray.npy": W}
    with pytest.raises(UsageError, match=r"stray\.npy is in no rank directory, others are; move it away"):
        compared(tmp_path, {"x.npy": W}, target, target_parallel=ParallelSide("tp=2"))


def test_a_tensor_that_one_rank_lost_is_not_taken_for_one_of_one_rank(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W[:, :3], "rank1/x.npy": W[:, 3:], "rank0/n.npy": W}
    result = compared(tmp_path, {"x.npy": W, "n.npy": W}, target, target_parallel=ParallelSide("tp=2"))
    row = rows_of(result)["n", ""]
    assert row["verdict"] == "error" and "only rank 0 holds it, other names are on every rank of tp; was it lost" in str(
        row["cmp_fail_reason"]
    )


def test_a_tensor_that_one_rank_holds_on_purpose(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W[:, :3], "rank1/x.npy": W[:, 3:], "rank0/n.npy": W}
    side = ParallelSide("tp=2", {"n": "s d # tp:first"})
    assert compared(tmp_path, {"x.npy": W, "n.npy": W}, target, target_parallel=side).ok


def test_every_token_is_inferred_by_its_own_shapes(tmp_path: Path) -> None:
    golden = dumped(tmp_path / "golden", {"x": {"0": W, "1": W[:1], "2": W.T.copy()}, "y": {"1": W}})
    parts = [{"0": W[:2], "1": W[:1], "2": W.T[:, :2].copy()}, {"0": W[2:], "1": W[:1], "2": W.T[:, 2:].copy()}]
    target = by_rank(tmp_path / "target", [{"x": part, "y": {"1": W}} for part in parts])
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("sp=2"))
    assert result.ok, result.to_arrow().to_pylist()


def test_a_golden_notation_beside_an_inferred_target(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W[:, :3], "rank1/x.npy": W[:, 3:]}
    sides = {"golden_parallel": ParallelSide(dims={"*": "b s"}), "target_parallel": ParallelSide("tp=2")}
    assert compared(tmp_path, {"x.npy": W}, target, **sides).ok
    sides = {"golden_parallel": ParallelSide("tp=2"), "target_parallel": ParallelSide(dims={"*": "b s"})}
    assert compared(tmp_path / "2", target, {"x.npy": W}, **sides).ok


def test_a_golden_of_one_rank_directory_meets_a_merged_target(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W[:, :3], "rank1/x.npy": W[:, 3:]}
    assert compared(tmp_path, {"rank0/x.npy": W}, target, target_parallel=ParallelSide("tp=2")).ok


def test_ranks_that_were_of_several_dtypes_are_refused(tmp_path: Path) -> None:
    golden = dumped(tmp_path / "golden", {"x": {"0": W}})
    target = by_rank(tmp_path / "target", [{"x": {"0": W[:, :3]}}, {"x": {"0": W[:, 3:]}}])
    (target / "rank0" / "dtypes.json").write_text('{"x": {"0": "bfloat16"}}')
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=2"))
    assert "its ranks were of several dtypes: as it is stored, bfloat16" in str(rows_of(result)["x", "0"]["cmp_fail_reason"])


def test_a_shape_that_does_not_fit_shows_what_was_put_together(tmp_path: Path) -> None:
    target = {"rank0/x.npy": W, "rank1/x.npy": W}
    result = compared(tmp_path, {"x.npy": W}, target, target_parallel=ParallelSide("tp=2", {"x": "s d[tp]"}))
    row = rows_of(result)["x", ""]
    assert "[E_SHAPE]" in str(row["cmp_fail_reason"]) and str(row["notes"]).startswith("W_MERGED: tp along d (axis 1)")


def test_a_glob_that_matches_nothing_is_said_to(tmp_path: Path) -> None:
    result = compared(tmp_path, {"x.npy": W}, {"x.npy": W}, target_parallel=ParallelSide(dims={"logit": "b s=3"}))
    assert "target: globs of --parallel that match no data_id: logit" in result.warnings


@pytest.mark.parametrize("dims", ["abc", ["ab", "cd"], {"q": 5}, {5: "b s"}, 7])
def test_what_is_no_notation_in_python_is_refused(tmp_path: Path, dims: object) -> None:
    with pytest.raises(UsageError):
        compared(tmp_path, {"x.npy": W}, {"x.npy": W}, target_parallel=ParallelSide("tp=2", dims))
    with pytest.raises(UsageError):
        compared(tmp_path, {"x.npy": W}, {"x.npy": W}, target_parallel=ParallelSide())


def test_another_notation_makes_another_row(tmp_path: Path) -> None:
    from fastcmp.options import CompareOptions
    from fastcmp.pairing import pair
    from fastcmp.parallel.loading import load_dumps
    from fastcmp.results.resume import named_as

    golden, target = tp_dump(tmp_path)
    said = set()
    for dims in ("b s d # tp:replicated", "b s d # tp:first", "b s d[tp]"):
        options = CompareOptions(target_parallel=ParallelSide("tp=4", {**DIMS, "norm": dims}))
        said.add(named_as(pair(*load_dumps(str(golden), str(target), options), options)[0]))
    assert len(said) == 3


def test_the_command_takes_a_file_and_show_finds_the_pair_again(tmp_path: Path) -> None:
    def fastcmp_command(*arguments: str) -> str:
        command = [sys.executable, "-m", "fastcmp", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tp_dump(tmp_path)
    (tmp_path / "p.toml").write_text(PARALLEL)
    fastcmp_command("golden", "target", "-o", "out", "--parallel", "p.toml", "-q")
    (tmp_path / "p.toml").unlink()  # the report knows
    told = fastcmp_command("show", "out", "q", "1")
    assert "cannot be read again" not in told and "all 240 elements are equal" in told, told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says nothing"),
        ("[other]\nranks = 'tp=2'", "expected the tables [golden] and [target], got 'other'"),
        ("target = 1", "[target]: expected a table"),
        ("[target]\nrank = 'tp=2'", "[target]: 'rank': expected ranks and dims"),
        ("[target]\nranks = 4", '[target]: ranks: expected a text such as "dp=2 tp=4", got 4'),
        ("[target]\nranks = 'tp'", "[target]: ranks: 'tp': expected a way to divide and its ranks, such as tp=4"),
        ("[target]\nranks = 'tp=2 tp=2'", "[target]: ranks: 'tp=2 tp=2': expected ways to divide, each once, such as 'dp=2 tp=4'"),
        ("[target]\nranks = 'tp=9999999'", "[target]: ranks: 'tp=9999999': more than 1048576 ranks"),
        ("[target]\nranks = 'tp=2'\ndims = ['a']", '[target]: dims: expected a table of texts, such as "*.q_proj.*" = "b s h[tp]"'),
        (
            "[target]\nranks = 'tp=2'\ndims = {q = 'b s['}",
            "[target]: 'q': dims 'b s[': 's[': expected a name, such as h, h[tp], s[cp:zigzag] or v[tp]=32000",
        ),
        ("[target]\nranks = 'tp=2'\ndims = {q = 's[ep]'}", "[target]: 'q': dims 's[ep]' speaks of ep, ranks of tp"),
        ("[target]\ndims = {q = 's[ep]'}", "[target]: 'q': dims 's[ep]' speaks of ep, ranks of no way, for ranks is not given"),
        ("[target]", '[target]: says nothing; expected ranks, such as "tp=4"'),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    from fastcmp.parallel.parallel_file import load_parallel

    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        load_parallel(str(tmp_path / "p.toml"))
    assert str(error.value) == f"{tmp_path}/p.toml: {message}"


def test_ranks_that_the_dump_does_not_have_are_refused(tmp_path: Path) -> None:
    golden, target = tp_dump(tmp_path)
    with pytest.raises(UsageError, match=r"ranks = 'tp=8' speaks of ranks 0 to 7, but .*target has 0, 1, 2, 3; say which ranks there are"):
        fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=8"))


def test_a_single_rank_may_be_viewed_too(tmp_path: Path) -> None:
    x = RNG.standard_normal((3, 4, 6)).astype(np.float32)
    golden = dumped(tmp_path / "golden", {"x": {"0": x}, "y": {"0": x}})
    target = dumped(tmp_path / "target", {"x": {"0": x[:1].transpose(1, 0, 2)}, "y": {"0": x}})
    sides = {"golden_parallel": ParallelSide("", {"x": "b=1 s d"}), "target_parallel": ParallelSide("", {"x": "s b d"})}
    result = fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial", **sides)
    assert result.ok and [row["data_id"] for row in result.to_arrow().to_pylist()] == ["x", "y"]


def test_watching_refuses_what_it_cannot_put_together(tmp_path: Path) -> None:
    from fastcmp.options import CompareOptions
    from fastcmp.watching import watch

    with pytest.raises(UsageError, match="--watch: ranks that share tensors cannot be put together while they are written"):
        watch("g", "t", options=CompareOptions(target_parallel=ParallelSide("tp=2")))


def test_a_row_holds_until_the_file_of_a_rank_changes(tmp_path: Path) -> None:
    from fastcmp.options import CompareOptions
    from fastcmp.pairing import pair
    from fastcmp.parallel.loading import load_dumps
    from fastcmp.results.resume import input_words

    golden, target = tp_dump(tmp_path)
    options = CompareOptions(target_parallel=ParallelSide("tp=4", DIMS))
    (first, *_) = pair(*load_dumps(str(golden), str(target), options), options)
    before = input_words(first)
    assert before is not None and before == input_words(first)
    np.save(target / "rank3" / "norm_0.npy", np.zeros(3))
    assert input_words(first) != before
    (target / "rank3" / "norm_0.npy").unlink()
    assert input_words(first) is None


def test_ranks_of_a_plain_directory_are_those_of_its_directories(tmp_path: Path) -> None:
    whole = RNG.standard_normal((3, 8)).astype(np.float32)
    (tmp_path / "golden" / "step0").mkdir(parents=True)
    np.save(tmp_path / "golden" / "step0" / "x.npy", whole)
    for rank, part in enumerate(np.split(whole, 2, 1)):
        (tmp_path / "target" / "step0" / f"rank{rank}").mkdir(parents=True)
        np.save(tmp_path / "target" / "step0" / f"rank{rank}" / "x.npy", part)
    sides = tmp_path / "golden", tmp_path / "target"
    result = fastcmp.compare(*sides, output=str(tmp_path / "out"), executor="serial", target_parallel=ParallelSide("tp=2"))
    assert result.ok and list(rows_of(result)) == [("step0/x", "")]


@pytest.mark.parametrize("kind", ["metadata", "plain"])
@pytest.mark.parametrize("is_swapped", [False, True], ids=["target", "golden"])
def test_several_ranks_beside_one_or_none_point_to_parallel(tmp_path: Path, kind: str, is_swapped: bool) -> None:
    whole, target = tp_dump(tmp_path)
    dumped(tmp_path / "one" / "rank0", {"norm": {"0": np.ones((2, 3, 16), np.float32)}, "other": {"0": np.ones(1)}})
    if kind == "plain":
        for path in tmp_path.rglob("metadata.json"):
            path.unlink()
    side, other = ("golden", "target") if is_swapped else ("target", "golden")

    def compared(golden: Path, **options: Any) -> fastcmp.result.Result:
        sides = (target, golden) if is_swapped else (golden, target)
        return fastcmp.compare(*sides, output=str(tmp_path / "out"), executor="serial", **options)

    advice = 'how: ranks = "tp=4"; see docs/parallel.md'
    with pytest.raises(UsageError, match=f"{side} has 4 ranks, {other} none: .*a table .{side}. {advice}"):
        compared(whole)
    told = [warning for warning in compared(tmp_path / "one").warnings if "--parallel" in warning]
    assert len(told) == 1 and told[0].startswith(f"{side} has 4 ranks, {other} one: ") and told[0].endswith(f"[{side}] {advice}")
    # Who says that the other ranks may stand alone, or how they share tensors, knows.
    assert not any("--parallel" in warning for warning in compared(tmp_path / "one", allow_unpaired=side).warnings)
    done = compared(whole, **{f"{side}_parallel": ParallelSide("tp=4", DIMS)})
    assert done.totals.passed and not any("--parallel FILE" in warning for warning in done.warnings)


def test_as_many_ranks_on_both_sides_point_nowhere(tmp_path: Path) -> None:
    ranks = [{"a": {"0": np.ones(2)}, f"only{rank}": {"0": np.ones(2)}} for rank in range(2)]
    golden, target = by_rank(tmp_path / "g", ranks), by_rank(tmp_path / "t", ranks[::-1])
    assert fastcmp.compare(golden, target, output=str(tmp_path / "out"), executor="serial").warnings == ()
