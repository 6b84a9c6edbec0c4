"""A run that was ended goes on where it stopped: the same report to the byte, nothing compared twice, nothing taken that has changed."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from interrupted_runs import SERIAL, Sides, interrupted, report, run, stop_after
from noted import Notes
from tries import tries

from fastcmp import surroundings
from fastcmp.errors import OutputError
from fastcmp.options import Rule, ScanOptions
from fastcmp.pairing import pair
from fastcmp.progress import Silent
from fastcmp.results import resume
from fastcmp.results.journal import Journal, JournalWriter, next_journal_path
from fastcmp.results.saved import load_saved
from fastcmp.sources import Dump, load
from fastcmp.verdict import Rules

sys.path.insert(0, str(Path(__file__).parent.parent / "sources"))
from layout_makers import alias_bytes, write_tree

PAIRS = 40

pytestmark = pytest.mark.usefixtures("small_tasks")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """Forty pairs of six tokens or so: most close, some far, one that only golden has, one whose target is missing."""
    documents = []
    for number, role in enumerate(("golden", "acl")):
        random = np.random.default_rng(1)
        folder = tmp_path / role
        folder.mkdir()
        named: dict[str, dict[str, str]] = {}
        for place in range(PAIRS):
            values = random.standard_normal((3, 65)).astype(np.float32)
            values *= 1 + np.float32(number * (1e-6 if place % 5 else 0.1))
            path = folder / f"{place}.npy"
            np.save(path, values)
            named.setdefault(f"op{place // 6}", {})[str(place % 6)] = f"./{path.name}"
        if role == "golden":
            named["alone"] = {"0": "./0.npy"}
        named["missing"] = {"0": "./0.npy" if role == "golden" else "./nowhere.npy"}
        (folder / "metadata.json").write_text(json.dumps(named))
        documents.append(folder / "metadata.json")
    return documents[0], documents[1]


@pytest.mark.parametrize("executor", ["serial", "local", "threads"])
def test_it_goes_on_and_the_report_is_the_same_bytes(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int], executor: str
) -> None:
    run(sides, tmp_path / "undisturbed")
    counted.clear()
    ended = interrupted(monkeypatch, sides, tmp_path / "r")
    done = [row for row in counted if row < PAIRS]
    assert 0 < len(done) < PAIRS
    assert ended.said[-1] == f"{len(done)} of {PAIRS + 2} rows are kept; the same command goes on from there"
    counted.clear()
    notes = Notes()
    result = run(sides, tmp_path / "r", notes, executor=executor)
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")
    assert notes.said == [f"going on where an earlier run stopped: {len(done)} of {PAIRS + 2} rows are done"]
    if executor == "serial":
        assert not set(counted) & set(done) and len(counted) == PAIRS + 1 - len(done)
    totals = json.loads((tmp_path / "r" / "run.json").read_text())["totals"]
    assert totals["resumed"] == len(done) and 0 < totals["resumed_bytes"] < totals["bytes"]
    undisturbed = json.loads((tmp_path / "undisturbed" / "run.json").read_text())["totals"]
    assert totals["bytes"] == undisturbed["bytes"] and undisturbed["resumed"] == 0
    assert result.first_divergence is not None and result.first_divergence.name == "token 0, data_id op0"


def test_a_run_may_be_ended_again_and_again(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    run(sides, tmp_path / "undisturbed")
    counted.clear()
    for _ in range(3):
        interrupted(monkeypatch, sides, tmp_path / "r", 2)
    assert len(list((tmp_path / "r").glob("journal-*"))) == 3
    run(sides, tmp_path / "r")
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")
    assert sorted(row for row in counted if row < PAIRS) == list(range(PAIRS))  # each once, through four runs


def test_everything_was_done_when_it_ended(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    run(sides, tmp_path / "undisturbed")

    def full_disk(*arguments: Any, **options: Any) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OutputError):
        patch.setattr("fastcmp.comparison.write_report", full_disk)
        run(sides, tmp_path / "r")
    counted.clear()
    run(sides, tmp_path / "r")
    assert [row for row in counted if row < PAIRS] == []
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


def rewritten(sides: Sides) -> None:
    path = sides[1].parent / "0.npy"
    np.save(path, np.load(path) * np.float32(3))  # of the same size


def touched(sides: Sides) -> None:
    os.utime(sides[0].parent / "0.npy", ns=(1, 1))


def replaced(sides: Sides) -> None:
    path = sides[0].parent / "0.npy"
    state = path.stat()
    path.rename(path.with_suffix(".old"))
    np.save(path, np.load(path.with_suffix(".old")) * np.float32(2))
    os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))  # same name, size and time


def removed(sides: Sides) -> None:
    (sides[1].parent / "0.npy").unlink()


def renamed(sides: Sides) -> None:
    sides[1].write_text(sides[1].read_text().replace("./0.npy", "././0.npy"))


def another_dtype(sides: Sides) -> None:
    (sides[0].parent / "dtypes.json").write_text(json.dumps({"op0": {"0": "bfloat16"}}))


@pytest.mark.parametrize("change", [rewritten, touched, replaced, removed, renamed, another_dtype], ids=lambda change: change.__name__)
def test_what_has_changed_is_compared_again_and_named(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int], change: Callable[[Sides], None]
) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r", 2)
    done = {row for row in counted if row < PAIRS}
    assert 0 in done
    change(sides)
    counted.clear()
    notes = Notes()
    run(sides, tmp_path / "r", notes)
    assert set(counted) & done == {0}
    assert notes.said == [
        f"going on where an earlier run stopped: {len(done) - 1} of {PAIRS + 2} rows are done; 1 were, but have changed since"
    ]
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_rows_that_stand_elsewhere_now_are_found(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r", 3)
    done = len([row for row in counted if row < PAIRS])
    for document in sides:
        document.write_text(json.dumps({"new": {"0": "./1.npy"}} | json.loads(document.read_text())))
    notes = Notes()
    run(sides, tmp_path / "r", notes)
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")
    assert notes.said == [f"going on where an earlier run stopped: {done} of {PAIRS + 3} rows are done"]


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": ("cosine_similarity >= 0.99999999999",)}, {"allow_unpaired": "both"}, {"workers": 1}, {"csv_raw": True}, {"parquet": True},
        {"rules": (Rule(match=("op[0-3]",), thresholds=("mismatch_count == 0",)),)}, {"stall_s": 60.0}, {"include": ("op[0-3]", "alone")}, {"exclude": ("op1",)},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_what_decides_no_number_lets_a_run_go_on(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r")
    result = run(sides, tmp_path / "r", **changes)
    assert result.totals.resumed > 0
    run(sides, tmp_path / "new", **changes)
    assert report(tmp_path / "r") == report(tmp_path / "new")


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"kl": "all"}, "it had kl none, now all;"),
        ({"relative_floor": 0.5}, "it had relative_floor 1.1920928955078125e-07, now 0.5;"),
        ({"compat_euclid": "legacy"}, "it had compat_euclid sqrt, now legacy;"),
        ({"scale": 2.0}, "it had scale none, now 2.0;"),
        ({"mask_fill": True}, "it had mask_fill False, now True;"),
        ({"scan": ScanOptions(multi_record="last", format_policy="flat")}, "it had multi_record error, now last, format_policy strict, now flat;"),
        ({"scan": ScanOptions(roots=("/",))}, 'it had root none, now ["/"];'),
    ],
    ids=["kl", "floor", "euclid", "scale", "mask", "scan", "root"],
)  # fmt: skip
def test_what_decides_numbers_makes_it_start_over_and_go_back(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], remark: str
) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r", 2)
    notes = interrupted(monkeypatch, sides, tmp_path / "r", 4, **changes)
    assert remark in notes.said[0]
    # The first run's rows are still there for who returns to its options, and the other run's for who returns to those.
    back = Notes()
    undo = stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(sides, tmp_path / "r", back)
    undo()
    assert "going on where an earlier run stopped" in back.said[0] and "left results here that do not fit" in back.said[1]
    result = run(sides, tmp_path / "r", **changes)
    assert result.totals.resumed > 0
    run(sides, tmp_path / "new", **changes)
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_tensors_that_a_file_lists_stay_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a run that was ended, too, and what is said of them before it is over."""
    names = [f"layers.{layer}.{operation}" for layer in range(10) for operation in ("norm", "attn", "mlp")]
    tensors = {name: np.full((3, 65), 1 + place, np.float32) for place, name in enumerate(names)}
    np.savez(tmp_path / "g.npz", **tensors)
    tensors["layers.5.norm"] = tensors["layers.5.attn"] = tensors["layers.5.norm"] + 1
    np.savez(tmp_path / "t.npz", **dict(sorted(tensors.items())))
    sides = tmp_path / "g.npz", tmp_path / "t.npz"
    interrupted(monkeypatch, sides, tmp_path / "r")
    assert load_saved(str(tmp_path / "r")).run_order == "file"
    result = run(sides, tmp_path / "r")
    assert 0 < result.totals.resumed < len(names)
    assert result.table.column("data_id").to_pylist() == names
    assert result.run_order == load_saved(str(tmp_path / "r")).run_order == "file"
    assert result.first_divergence is not None and result.first_divergence.data_id == "layers.5.norm"
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_what_a_run_that_was_ended_says_of_its_order_is_what_it_says_in_the_end(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = tmp_path / "hooked" / "g", tmp_path / "hooked" / "t"
    for root in hooked:
        write_tree(root, {f"71/0/model_layers_{layer}_mlp_output.npy": np.full((3, 65), layer, np.float32) for layer in range(12)})
    for name, both, run_order in (("m", sides, "computed"), ("h", hooked, "name")):
        interrupted(monkeypatch, both, tmp_path / name)
        assert load_saved(str(tmp_path / name)).run_order == run_order
        with monkeypatch.context() as patch:
            patch.setattr(Dump, "run_order", "file")  # which is no reason to start over
            assert run(both, tmp_path / name).totals.resumed
        assert run(both, tmp_path / f"{name}-new").run_order == run_order


def test_another_version_starts_over(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r")
    monkeypatch.setattr(resume, "package_version", lambda package: "99")
    notes = Notes()
    assert run(sides, tmp_path / "r", notes).totals.resumed == 0
    assert ", now 99" in notes.said[0]


def test_another_cpu_starts_over(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = surroundings.cpu_kind()
    interrupted(monkeypatch, sides, tmp_path / "r")
    notes = Notes()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(resume, "cpu_kind", lambda: "x86_64-0badcafe")
        interrupted(elsewhere, sides, tmp_path / "other")
        assert run(sides, tmp_path / "r", notes).totals.resumed == 0
    assert f"it had cpu {mine}, now x86_64-0badcafe;" in notes.said[0]
    assert run(sides, tmp_path / "other").totals.resumed == 0, "nor are rows from there taken here"


def test_other_dumps_start_over(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r")
    notes = Notes()
    assert run((sides[0], sides[0]), tmp_path / "r", notes).totals.resumed == 0
    assert f"it had target {sides[1]}, now {sides[0]};" in notes.said[0]


def test_fresh_takes_nothing(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r")
    notes = Notes()
    assert run(sides, tmp_path / "r", notes, fresh=True).totals.resumed == 0
    assert notes.said == []
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_an_error_is_tried_again(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    path = sides[1].parent / "1.npy"
    content = path.read_bytes()
    path.write_bytes(b"not yet")
    interrupted(monkeypatch, sides, tmp_path / "r", 2)
    assert 1 in counted
    path.write_bytes(content)
    run(sides, tmp_path / "r")
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_damage_costs_what_follows_it_and_is_named(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(sides, tmp_path / "undisturbed")
    monkeypatch.setattr("fastcmp.comparison._WRITE_ROWS", 1)
    interrupted(monkeypatch, sides, tmp_path / "r", 3)
    journal = tmp_path / "r" / "journal-000.arrows"
    whole = bytearray(journal.read_bytes())
    place = whole.rindex(b"./0.npy") if b"./0.npy" in whole else len(whole) // 2
    last = whole.rindex(b"float32")
    assert last > place
    whole[last] ^= 1
    journal.write_bytes(whole)
    (tmp_path / "r" / "journal-001.arrows").write_bytes(b"nothing of ours")
    notes = Notes()
    result = run(sides, tmp_path / "r", notes)
    assert 0 < result.totals.resumed < PAIRS
    assert f"{journal}: damaged; what follows the damage is compared again" in notes.said
    assert any("journal-001.arrows: not a journal" in remark for remark in notes.said)
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


def test_names_that_look_the_same_in_a_report_are_not_taken_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a report shows a lone surrogate as ``\\ud800``, which another name may be as it stands."""
    names = ["a\ud800", "a\\ud800", "plain"]
    documents = []
    for role, factor in (("golden", 1), ("acl", 1 + 1e-6)):
        folder = tmp_path / role
        folder.mkdir()
        for number in range(3):
            np.save(folder / f"{number}.npy", np.full(8, (number + 1) * factor, np.float32))
        (folder / "metadata.json").write_text(json.dumps({name: {"0": f"./{number}.npy"} for number, name in enumerate(names)}))
        documents.append(folder / "metadata.json")
    both = documents[0], documents[1]
    run(both, tmp_path / "undisturbed")
    monkeypatch.setattr("fastcmp.plan.BATCH_COUNT", 1)
    interrupted(monkeypatch, both, tmp_path / "r", 2)
    for document in both:  # the rows stand elsewhere, so that they must be found by name
        document.write_text(json.dumps(dict(reversed(json.loads(document.read_text()).items()))))
    run(both, tmp_path / "r")
    run(both, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def journal_of_a_killed_run(monkeypatch: pytest.MonkeyPatch, sides: Sides, output: Path) -> Path:
    monkeypatch.setattr("fastcmp.comparison._WRITE_ROWS", 1)
    interrupted(monkeypatch, sides, output, 3)
    return output / "journal-000.arrows"


def recovered_table(sides: Sides, output: Path) -> dict[int, dict[str, Any]]:
    """What a run would take from the journals in ``output``, row by row."""
    options = replace(SERIAL, output=str(output))
    dumps = load(str(sides[0]), "golden", options), load(str(sides[1]), "target", options)
    facts = resume.deciding_facts(dumps[0].path, dumps[1].path, options)
    found = resume.recover(str(output), facts, pair(*dumps, options), Rules.from_options(options))
    rows = {row.pop("row"): row for batch in found.batches for row in batch.to_pylist()}
    assert rows.keys() == found.rows
    return rows


def cut_anywhere(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    truth = dict(enumerate(run(sides, tmp_path / "undisturbed").table.to_pylist()))
    journal = journal_of_a_killed_run(monkeypatch, sides, tmp_path / "r")
    whole = journal.read_bytes()
    counts = []
    for end in (*range(0, len(whole), step), len(whole)):
        journal.write_bytes(whole[:end])
        found = recovered_table(sides, tmp_path / "r")
        assert found.items() <= truth.items(), end
        counts.append(len(found))
    assert counts == sorted(counts) and counts[0] == 0 and len(set(counts)) > 3


def test_a_journal_that_is_cut_gives_rows_of_the_report_or_none(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_anywhere(sides, tmp_path, monkeypatch, 997)


def test_a_key_that_stands_twice_in_a_batch_is_taken_once(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(sides, tmp_path / "undisturbed")
    journal = Journal(str(journal_of_a_killed_run(monkeypatch, sides, tmp_path / "r")))
    entry = next(one for one in journal if one.batch.column("cmp_flag")[0].as_py())
    twice = entry.batch.slice(0, 1).take(pa.array([0, 0]))
    twice = twice.set_column(0, twice.schema.field(0), pa.array([PAIRS + 1, PAIRS - 1], pa.int64()))
    with JournalWriter(next_journal_path(str(tmp_path / "r")), journal.facts) as writer:
        writer.append(0, twice, np.repeat(entry.inputs[:1], 2, axis=0), entry.named_as[:1] * 2)
    keys = list(zip(*(load_saved(str(tmp_path / "r")).table.column(name).to_pylist() for name in ("data_id", "token_id")), strict=True))
    assert len(set(keys)) == len(keys)
    assert run(sides, tmp_path / "r").totals.resumed > 0
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_journal_that_is_cut_nearly_anywhere_gives_rows_of_the_report_or_none(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_anywhere(sides, tmp_path, monkeypatch, tries("CUT_STEP", 7))


def test_bits_that_flip_in_a_journal_change_no_report(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = dict(enumerate(run(sides, tmp_path / "undisturbed").table.to_pylist()))
    journal = journal_of_a_killed_run(monkeypatch, sides, tmp_path / "r")
    whole = journal.read_bytes()
    chance = random.Random(11)
    everything = len(recovered_table(sides, tmp_path / "r"))
    fewer = 0
    for _ in range(tries("FLIPS", 150)):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        journal.write_bytes(damaged)
        found = recovered_table(sides, tmp_path / "r")
        assert found.items() <= truth.items()
        fewer += len(found) < everything
    assert fewer > 50


def test_a_second_run_is_refused_while_one_goes_on(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, sides, tmp_path / "r")

    class Second(Silent):
        refused = ""

        def note(self, remark: str) -> None:
            with pytest.raises(OutputError, match=f"locked by pid {os.getpid()}") as refusal:
                run(sides, tmp_path / "r")
            self.refused = str(refusal.value)

    second = Second()
    run(sides, tmp_path / "r", second)
    assert second.refused
    run(sides, tmp_path / "new")
    assert report(tmp_path / "r") == report(tmp_path / "new")


def test_rows_of_files_that_name_another_one_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree: dict[str, np.ndarray | bytes] = {"data/0_71/3/0_Model/after/outtensor0.bin": values}
    for number in range(1, 20):
        tree[f"data/0_71/3/{number}_Op/before/intensor0.bin"] = alias_bytes(values, "0_outtensor0.bin")
    sides = write_tree(tmp_path / "g", tree), write_tree(tmp_path / "t", tree)
    interrupted(monkeypatch, sides, tmp_path / "r")
    notes = Notes()
    result = run(sides, tmp_path / "r", notes)
    assert result.totals.resumed > 4
    assert f"going on where an earlier run stopped: {result.totals.resumed} of 20 rows are done" in notes.said
    run(sides, tmp_path / "undisturbed")
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")
