"""One comparison on its way: dumps to pairs, sums to metrics and verdicts, rows to the journal, and the report at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.engine.abilities import ReadsElsewhere
from fastcmp.engine.delivery import join_results
from fastcmp.engine.run import compare_pairs
from fastcmp.metric_functions import parse_metrics
from fastcmp.metrics import finish
from fastcmp.options import ROLES, CompareOptions
from fastcmp.outcome import TaskResult
from fastcmp.pairing import Alone, Pair
from fastcmp.progress import Progress
from fastcmp.result import Result
from fastcmp.results.findings import find_blind_spots, find_first_divergence
from fastcmp.results.found_rows import FoundRows
from fastcmp.results.journal import JournalWriter, next_journal_path, remove_journals
from fastcmp.results.output_dir import OutputDirectory
from fastcmp.results.page_file import remove_earlier_page
from fastcmp.results.report_files import report_table, run_facts, write_report
from fastcmp.results.resume import Recovered, deciding_facts, input_words, journal_facts, named_as, recover
from fastcmp.results.schema import ROW_COLUMN
from fastcmp.results.stated_rows import stated_remark
from fastcmp.results.stated_sides import stated_sides
from fastcmp.results.table import compared_positions, record_batch, unpaired_result
from fastcmp.results.totals import count
from fastcmp.sources import Dump, TensorKey
from fastcmp.verdict import FAIL, Rules

# A batch takes 3 ms and some microseconds a row: large pairs, one to a task, wait for each other half a second, by the next limit. More
# small ones than this gain nothing, for their sums (600 bytes each) no longer fit into the cache.
_WRITE_ROWS: Final = 4096
# A killed run loses no more than what came within so many seconds.
_WRITE_EVERY_S: Final = 0.5
# In the place of a pair whose row is written.
_DONE: Final = Pair(-1, TensorKey("", "", ""), None, None, "", -1)


class Comparison:
    """One comparison on its way: pairs in, journal and report out.

    A pair is let go of when its row is written: a million of them are a gigabyte. It helps where the caller holds none of them either.
    """

    def __init__(
        self,
        dumps: tuple[Dump, Dump],
        pairs: list[Pair],
        rules: Rules,
        options: CompareOptions,
        output: OutputDirectory,
        progress: Progress,
    ) -> None:
        self.rules, self.options, self.output, self.progress = rules, options, output, progress
        self.dumps = replace(dumps[0], tensors=[]), replace(dumps[1], tensors=[])
        self.pairs = list(pairs)
        names = [one.key.data_id for dump in dumps for one in dump.tensors] if rules.by_name.ask_for_names else []
        self.remarks = rules.remarks(names)
        self.execution_orders = np.fromiter((pair.execution_order for pair in pairs), np.int64, len(pairs))
        self.custom = tuple(metric.name for metric in parse_metrics(options.metrics))
        self.found = FoundRows()
        self.waiting: list[TaskResult] = []
        self.waiting_rows = 0
        self.wrote_at = time.monotonic()
        self.bytes_compared = 0
        self.pairs_done = self.total_pairs = self.failed = self.kept = 0
        self.worst: tuple[float, str] = (0.0, "")

    def run(self, executor: Executor, on_plan: Callable[[], None] | None = None) -> Result:
        """Do it all: tasks to ``executor``, rows to the journal, the report at the end; ``on_plan`` is called before the first task."""
        started = time.perf_counter()
        elsewhere = executor if isinstance(executor, ReadsElsewhere) else None
        facts = deciding_facts(self.dumps[0].path, self.dumps[1].path, self.options, cpu=elsewhere.cpu if elsewhere else "")
        self.alone = Alone(self.pairs)
        if self.options.fresh:
            remove_journals(self.output.path)
        words_of, scan = (elsewhere.input_words if elsewhere else None) or input_words, self.options.scan
        self._go_on_from(recover(self.output.path, facts, self.pairs, self.rules, lambda pair: words_of(pair, scan)))
        try:
            self._compare_rest(facts, executor, on_plan)
        except BaseException:
            self._say_what_is_kept()
            raise
        table = report_table(self.found.drain(), len(self.pairs), self.custom)
        elapsed_s, recovered = time.perf_counter() - started, self.recovered
        totals = count(table, self.bytes_compared, elapsed_s, resumed=len(recovered.rows), resumed_bytes=recovered.bytes)
        run_order = self.dumps[0].run_order
        warnings = (*self.dumps[0].warnings, *self.dumps[1].warnings, *self.remarks, *stated_remark(table))
        more = {"warnings": list(warnings), "order_is_known": run_order == "computed", "run_order": run_order, "metrics": facts["metrics"]}
        more["layouts"] = {role: {"layout": dump.layout, "evidence": dump.evidence} for role, dump in zip(ROLES, self.dumps, strict=True)}
        write_report(
            self.output,
            table,
            run_facts(self.dumps[0].path, self.dumps[1].path, self.options, totals, **more),
            csv_raw=self.options.csv_raw,
            parquet=self.options.parquet,
            columns=self.options.columns,
        )
        remove_journals(self.output.path)
        warnings = (*warnings, *remove_earlier_page(self.output))
        first = find_first_divergence(table, self.execution_orders)
        blind_spots = find_blind_spots(table, self.execution_orders, first)
        return Result(table, totals, first, blind_spots, run_order, self.options.output, warnings)

    def run_some(self, executor: Executor, rows: Collection[int], journal: JournalWriter) -> None:
        """Only the pairs of these rows, to ``journal`` and no further: a later `run` in the same directory takes them over."""
        self.journal = journal
        self._let_go(row for row in range(len(self.pairs)) if row not in rows)
        try:
            compare_pairs(self.pairs, self.options, executor, on_result=self._take)
        finally:
            self._write()

    def _go_on_from(self, recovered: Recovered) -> None:
        self.recovered = recovered
        self.bytes_compared += recovered.bytes
        self.pairs_done += len(recovered.rows)
        for batch in recovered.batches:
            self._note_worst(batch)
            self.found.add(batch)
        recovered.batches.clear()
        self._let_go(recovered.rows)

    def _compare_rest(self, facts: dict[str, Any], executor: Executor, on_plan: Callable[[], None] | None) -> None:
        said = journal_facts(facts, self.dumps[0].run_order)
        with JournalWriter(next_journal_path(self.output.path), said) as self.journal, contextlib.ExitStack() as stack:
            stack.callback(self.progress.stop)  # also where the disk is full: a bar that stays hides the cursor
            stack.callback(self._write)
            self._compare(executor, on_plan)
            self._write()
            self.progress.advance(self.bytes_compared, self.pairs_done, self.failed, self.worst[1])

    def _say_what_is_kept(self) -> None:
        """After a run that ended early: how much of it the next one need not do again."""
        kept = len(self.recovered.rows) + self.kept
        if kept:
            self.progress.note(f"{kept} of {len(self.pairs)} rows are kept; the same command goes on from there")

    def _compare(self, executor: Executor, on_plan: Callable[[], None] | None) -> None:
        def started(total_bytes: int) -> None:
            if on_plan is not None:
                on_plan()
            self.progress.start(total_bytes, self.total_pairs)
            for role, dump in zip(ROLES, self.dumps, strict=True):
                if dump.kind == "tree":
                    self.progress.note(f"{role} is read as {dump.layout}: {dump.evidence}")
            for remark in self.recovered.remarks:
                self.progress.note(remark)

        self._take_alone()
        compare_pairs(
            self.pairs,
            self.options,
            executor,
            on_plan=started,
            on_result=self._take,
            on_progress=self._advanced,
        )

    def _take_alone(self) -> None:
        """The rows of the tensors that only one side has."""
        rows = [pair.row for pair in self.pairs if pair is not _DONE and (pair.golden is None or pair.target is None)]
        self.total_pairs = len(self.pairs) - len(rows)
        for start in range(0, len(rows), _WRITE_ROWS):
            self._take(unpaired_result([self.pairs[row] for row in rows[start : start + _WRITE_ROWS]], task=-1, alone=self.alone))

    def _let_go(self, rows: Iterable[int]) -> None:
        """What is done is no pair any more: a place without sides, in which there is no work."""
        for row in rows:
            self.pairs[row] = _DONE

    def _advanced(self, bytes_done: int) -> None:
        if time.monotonic() - self.wrote_at > _WRITE_EVERY_S:
            self._write()
        self.progress.advance(bytes_done, self.pairs_done, self.failed, self.worst[1])

    def _take(self, result: TaskResult) -> None:
        self.waiting.append(result)
        self.waiting_rows += len(result.rows)
        is_due = time.monotonic() - self.wrote_at > _WRITE_EVERY_S
        if is_due or self.waiting_rows >= _WRITE_ROWS:
            self._write()

    def _write(self) -> None:
        """Sums to metrics, metrics to verdicts, all of them to the journal."""
        self.wrote_at = time.monotonic()
        if not self.waiting:
            return
        result = join_results(self.waiting)
        self.waiting, self.waiting_rows = [], 0
        batch = record_batch(result, self.pairs, self._metrics(result), self.rules, self.custom)
        stated = stated_sides(result)
        self.journal.append(result.task, batch, result.inputs, [named_as(self.pairs[row]) for row in result.rows], stated)
        self.kept += batch.column("cmp_flag").true_count + len(stated)
        self.found.add(batch)
        self.bytes_compared += result.bytes_compared
        self.pairs_done += len(result.rows) - result.error_codes.count("E_UNPAIRED")
        self._note_worst(batch)
        self._let_go(result.rows)

    def _metrics(self, result: TaskResult) -> dict[str, Any]:
        compared = compared_positions(result)
        if not compared or result.sums is None:
            return {}
        golden, target = [result.golden[i] for i in compared], [result.target[i] for i in compared]
        return finish(
            result.sums,
            [side.dtype for side in golden],
            [side.dtype for side in target],
            [side.shape or () for side in golden],
            [side.shape or () for side in target],
            self.options,
        )

    def _note_worst(self, batch: pa.RecordBatch) -> None:
        """Count what failed so far and remember the worst of it, for whoever watches."""
        has_failed = pc.and_(pc.equal(batch.column("verdict"), FAIL), batch.column("cmp_flag"))
        if not has_failed.true_count:
            return
        self.failed += has_failed.true_count
        distances = pc.if_else(has_failed, batch.column("relative_euclidean_distance"), None)
        distance = pc.max(distances).as_py()
        if distance is not None and distance > self.worst[0]:
            row = batch.column(ROW_COLUMN)[pc.index(distances, distance).as_py()].as_py()
            key = self.pairs[row].key
            token = f" at token {key.token_id}" if key.token_id else ""
            self.worst = distance, f"{key.data_id}{token}: {distance:.3g}"
