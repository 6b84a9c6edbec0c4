"""`dump_data`, and what one process keeps between its calls."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fastcmp.dump.counters import Counters, log_info, log_warning
from fastcmp.dump.directory import DumpDirectory, claim
from fastcmp.dump.limit import ByteLimit
from fastcmp.dump.low_level import HandOver, LowLevel, checked_tensor_path
from fastcmp.dump.not_saved import NotSaved, shown
from fastcmp.dump.settings import read_settings
from fastcmp.dump.stall import Stalled, StallGuard, Ticket
from fastcmp.dump_layout import (
    ANY_TOKEN,
    ROLE_OF_SOURCE,
    JournalEntry,
    JournalHeader,
    id_text,
    source_directory_name,
)
from fastcmp.errors import DumpError

if TYPE_CHECKING:
    from fastcmp.dump.side import Side
    from fastcmp.dump.values import Storable


def dump_data(data_src: str, data_id: object, data_val: object = None, tensor_path: str | None = None, token_id: object = 0) -> None:
    """Save a tensor of the running model, or note where the acceleration library will, for `fastcmp compare`.

    The tensor is on disk, whole, when the call returns. Nothing is raised into the caller unless ``FASTCMP_STRICT=1``: what cannot be
    saved is counted (`dump_counters`), its cause is logged once, and the exit of the process says how much it was.

    Parameters
    ----------
    data_src : {"golden", "acl"}
        The reference, or the run that is judged against it.
    data_id : int or str
        The name that both runs give this tensor. 7 and "7" are one name; any text is allowed.
    data_val : torch.Tensor, ndarray, or an object with ``__dlpack__`` or ``__array__``, optional
        High-level: the tensor. On any device, with or without grad, any strides. Plain numbers and lists are not tensors.
    tensor_path : str, optional
        Low-level: the path of a ``.bin`` below the token's directory of the acceleration library,
        ``{model}/{layer}/{op}/after/outTensor0.bin``. Ignored where ``data_val`` is given. A ``*`` stands for a number, ``*_Layer``: each
        file that matches is a tensor of its own, ``{data_id}[{number}]``.
    token_id : int or str
        The step of the generation. A key (data_id, token_id) that is dumped again replaces the tensor that it had. With a
        ``tensor_path`` it may be ``"*"``: every token.

    Raises
    ------
    DumpError
        If nothing was saved and ``FASTCMP_STRICT`` is set.
    """
    session = _session
    if session is None or session.pid != os.getpid():
        session = _open_session()
    if not session.settings.is_on:
        return
    try:
        session.dump(data_src, data_id, data_val, tensor_path, token_id)
    except NotSaved as problem:
        session.counters.add(problem.counter)
        if session.settings.is_strict:
            raise DumpError(f"dump_data: {problem.text}") from problem.__cause__
        session.counters.warn_once(problem.cause, f"dump_data: {problem.text}; counted from now on")
    except Exception as error:  # the promise to the host: whatever it is, its forward pass goes on
        session.counters.add("write_failed")
        text = shown(error)
        if session.settings.is_strict:
            raise DumpError(f"dump_data: {text}") from error
        session.counters.warn_once(f"unexpected {type(error).__name__}", f"dump_data: {text}; counted from now on")


def dump_counters() -> dict[str, int]:
    """What `dump_data` did in this process; the names are those of `fastcmp.dump.counters.Counters`."""
    session = _session
    if session is None or session.pid != os.getpid():
        return Counters().snapshot()
    return session.numbers()


def current_session() -> Session:
    """The session of this process, opened if need be."""
    session = _session
    return _open_session() if session is None or session.pid != os.getpid() else session


class Session:
    """What one process dumps.

    Parameters
    ----------
    base : str
        The dump directory if an earlier session, of the process that this one was forked from, had settled on one.
    """

    def __init__(self, base: str = "") -> None:
        self.pid = os.getpid()
        self.base = base
        self.settings = read_settings(os.environ)
        self.counters = Counters()
        self._guard = StallGuard(self.settings.max_stall_s)
        self._limit = ByteLimit(self.settings.limit_bytes)
        self._lock = threading.RLock()
        self._directory: DumpDirectory | None = None
        self._sides: dict[str, Side] = {}
        self._low_level = LowLevel(self.pid)
        for problem in self.settings.problems:
            self.counters.warn_once(problem, problem)
        if self.settings.is_on:
            # Here rather than at the first tensor: a fork cannot come between (`_before_fork`). A module that another thread was importing
            # when a child was forked stays locked in the child for ever. A numpy that cannot be imported is told at the first tensor.
            with contextlib.suppress(Exception):
                importlib.import_module("fastcmp.dump.side")

    def dump(self, data_src: object, data_id: object, value: object, tensor_path: object, token_id: object) -> None:
        """One `dump_data` call; raises `NotSaved` where nothing was saved."""
        data_name, token_name = id_text(data_id), id_text(token_id)
        where = f"data_id {shown(data_name)}, token_id {shown(token_name)}"
        if token_name == ANY_TOKEN and value is not None:
            text = "is a token of that name; a star stands for every token only where there is a tensor_path and no data_val"
            self.counters.warn_once("star token", f"dump_data: {where}: {text}")
        try:
            # Before anything can refuse the call: without a list the library would save whatever its environment selects.
            refusal = self._hand_over(where) if value is None and tensor_path is not None and not self._low_level.is_open else ""
            try:
                self._dump(data_src, data_name, token_name, value, tensor_path, where)
            except Exception:
                if refusal:
                    self.counters.add("list_refused")
                    self.counters.warn_once("list refused", f"dump_data: {refusal}")
                raise
        except Stalled as error:
            text = f"{where}: {error}; skipped, see FASTCMP_MAX_STALL_S"
            raise NotSaved("stalled", "stalled", text) from error
        except OSError as error:
            raise NotSaved("write_failed", f"OSError {error.errno}", f"{where}: {error} in {self.base or 'the dump directory'}") from error
        if refusal:
            raise NotSaved("list_refused", "list refused", refusal)

    def _dump(self, data_src: object, data_id: str, token_id: str, value: object, tensor_path: object, where: str) -> None:
        if not isinstance(data_src, str) or data_src not in ROLE_OF_SOURCE:
            expected = " or ".join(map(repr, ROLE_OF_SOURCE))
            raise NotSaved("unknown_source", "unknown source", f"data_src: found {shown(data_src)}, expected {expected}")
        if not self.settings.tokens.admits(token_id) and (token_id != ANY_TOKEN or value is not None):
            self.counters.add("skipped")
        elif value is not None:
            self._dump_value(data_src, data_id, token_id, value, where)
            if tensor_path is not None:
                self.counters.warn_once("both", f"dump_data: {where}: found data_val and tensor_path; data_val is saved")
        elif tensor_path is not None:
            self._dump_path(data_src, data_id, token_id, tensor_path, where)
        else:
            raise NotSaved("unsupported_value", "no value", f"{where}: found neither data_val nor tensor_path, expected one of them")

    def _dump_value(self, data_src: str, data_id: str, token_id: str, value: object, where: str) -> None:
        from fastcmp.dump.values import storable

        if self._limit.is_reached:
            self.counters.add("over_limit")
            return
        try:
            tensor = storable(value)
        except Exception as error:
            cause = f"value {type(value).__module__}.{type(value).__qualname__} {type(error).__name__}"
            raise NotSaved("unsupported_value", cause, f"{where}: {error}") from error
        nbytes = tensor.array.nbytes
        if not self._limit.take(nbytes):
            # Not an error, and nothing to raise under FASTCMP_STRICT: the user asked for it.
            self.counters.add("over_limit")
            text = f"FASTCMP_DUMP_LIMIT: {where} would pass {self._limit.limit} bytes: it is not saved, nor is any tensor after it"
            self.counters.warn_once("over limit", f"dump_data: {text}")
            return
        try:
            self._guard.run(lambda ticket: self._store(data_src, data_id, token_id, tensor, ticket), nbytes)
        except BaseException:
            self._limit.give_back(nbytes)
            raise

    def _store(self, data_src: str, data_id: str, token_id: str, tensor: Storable, ticket: Ticket | None) -> None:
        side = self._side(data_src)
        place = side.place(data_id, token_id)
        temporary = side.write(place, tensor)
        try:
            if ticket is not None and not ticket.commit():
                side.remove(temporary)
                return
            # Renamed and registered in one go, so that of two threads with one key the same one is last in both places.
            with self._held():
                side.publish(temporary, place)
                is_new = self._register(side, JournalEntry(data_id, token_id, place.written_path, tensor.dtype, tensor.stored))
        except BaseException:
            side.remove(temporary)
            raise
        self.counters.add_saved(tensor.array.nbytes)
        if not is_new:
            self._replaced(data_id, token_id)

    def _dump_path(self, data_src: str, data_id: str, token_id: str, tensor_path: object, where: str) -> None:
        path = checked_tensor_path(tensor_path, where)
        if "{" in path or "}" in path:
            text = f"{where}: tensor_path: found a brace in {shown(path)}; was the f of f'...' forgotten? It is taken as it stands"
            self.counters.warn_once("brace", f"dump_data: {text}; '*' would stand for every layer")
        self._guard.run(lambda ticket: self._store_path(data_src, data_id, token_id, path, ticket), 0)

    def _store_path(self, data_src: str, data_id: str, token_id: str, path: str, ticket: Ticket | None) -> None:
        if ticket is not None and not ticket.commit():
            return
        side = self._side(data_src)
        with self._held():
            # The library may look right after this call, so its list comes first.
            nbytes, written_path = self._low_level.append(token_id, path)
            self.counters.add("bookkeeping_bytes", nbytes)
            is_new = self._register(side, JournalEntry(data_id, token_id, written_path))
        self.counters.add("registered")
        if not is_new:
            self._replaced(data_id, token_id)

    def _hand_over(self, where: str) -> str:
        """Make the list, and let the preload library, if there is one, save what it names; why it will not, or ""."""
        opened: list[HandOver] = []
        self._guard.run(lambda ticket: opened.extend(self._open_list(ticket)), 0)
        if not opened:
            return ""  # another thread was first
        if opened[0].status is None:
            self.counters.warn_once("no library", f"dump_data: {where}: {opened[0].warning()}")
        return opened[0].refusal()

    def _open_list(self, ticket: Ticket | None) -> list[HandOver]:
        if ticket is not None and not ticket.commit():
            return []
        with self._held():
            return [] if self._low_level.is_open else [self._low_level.open(self._claimed())]

    def _register(self, side: Side, entry: JournalEntry) -> bool:
        """Enter a tensor; True if its key is new."""
        is_new = side.register(entry)
        try:
            side.compact_if_due()
        except OSError as error:
            self._metadata_failed(error)
        return is_new

    def _replaced(self, data_id: str, token_id: str) -> None:
        # Without the lock: a log handler may dump as well, or wait for a thread that does.
        self.counters.add("replaced")
        where = f"data_id {shown(data_id)}, token_id {shown(token_id)}"
        text = f"dump_data: {where} was dumped again and replaces the earlier tensor; is token_id passed?"
        self.counters.warn_once("replaced", text)

    def _metadata_failed(self, error: OSError) -> None:
        self.counters.add("metadata_failed")
        text = f"metadata.json: {error}; no tensor is lost, the journal beside it has them"
        self.counters.warn_once(f"metadata {error.errno}", f"dump_data: {text}")

    def _side(self, data_src: str) -> Side:
        side = self._sides.get(data_src)
        if side is None:
            from fastcmp.dump.side import Side

            is_new = False
            with self._held():
                side = self._sides.get(data_src)
                if side is None:
                    cwd = _working_directory()
                    side = Side(self._claimed(), data_src, JournalHeader(self.pid, self.settings.rank, cwd, data_src))
                    self._sides[data_src] = side
                    is_new = True
            if is_new:  # without the lock, as in `_replaced`
                log_info(f"dump_data: {data_src} tensors go to {self.base}/{self._claimed().name}/{source_directory_name(data_src)}")
        return side

    def _claimed(self) -> DumpDirectory:
        if self._directory is None:
            self.base = self.base or os.path.abspath(self.settings.dump_directory or os.curdir)
            self._directory = claim(self.base, self.pid)
        return self._directory

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=min(self._guard.limit_s, threading.TIMEOUT_MAX)):
            raise Stalled("another thread's write has not come back")
        try:
            yield
        finally:
            self._lock.release()

    def numbers(self) -> dict[str, int]:
        """The counters, with what the sides have written."""
        numbers = self.counters.snapshot()
        for side in list(self._sides.values()):
            numbers["bookkeeping_bytes"] += side.bookkeeping_bytes
            numbers["compactions"] += side.compaction_count
        return numbers

    def finish(self) -> None:
        """Bring every metadata.json up to date and say what was not saved; for the end of the process."""
        try:
            if not self._guard.is_stuck:
                with self._held():
                    for side in self._sides.values():
                        if side.has_news:
                            side.compact()
        except OSError as error:
            self._metadata_failed(error)
        except Stalled:
            pass  # the journal has all entries
        self._low_level.finish()
        summary = self.counters.summary()
        if summary:
            log_warning(summary)

    def close_descriptors(self) -> None:
        """Close what a forked child inherited; the locks stay with the parent."""
        descriptors = self._low_level.descriptors
        if self._directory is not None:
            descriptors += [self._directory.descriptor, self._directory.lock]
        for side in self._sides.values():
            descriptors += side.descriptors
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


_session: Session | None = None
_opening = threading.Lock()


def _open_session() -> Session:
    """The session of this process. A child process has its own, in the dump directory of its parent."""
    global _session
    with _opening:
        if _session is not None and _session.pid == os.getpid():
            return _session
        is_first = _session is None and not _inherited_base
        _session = Session(_session.base if _session is not None else _inherited_base)
        if is_first:
            atexit.register(_finish)
        _finish_with_multiprocessing()
        return _session


def _finish() -> None:
    if _session is not None and _session.pid == os.getpid():
        _session.finish()


def _finish_with_multiprocessing() -> None:
    """A child of `multiprocessing` ends without atexit, but runs the finalizers of that module."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _finish, exitpriority=0)


_inherited_base = ""


_is_held_for_fork = False
# A fork waits for a session that is being opened, that is for the imports of its first call; not for ever.
_MAX_FORK_WAIT_S: Final = 10.0


def _before_fork() -> None:
    global _is_held_for_fork
    _is_held_for_fork = _opening.acquire(timeout=_MAX_FORK_WAIT_S)


def _after_fork_in_parent() -> None:
    if _is_held_for_fork:
        _opening.release()


def _after_fork_in_child() -> None:
    """Its own locks, its own directory, and none of the parent's descriptors."""
    global _session, _opening, _inherited_base
    _opening = threading.Lock()
    if _session is not None:
        _inherited_base = _session.base
        _session.close_descriptors()
        _session = None


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
