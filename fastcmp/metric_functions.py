"""Metrics of the user's own: which functions the command line names, and what comes of calling them.

Only what the user named is ever executed; nothing that a dump says is.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.machinery import SourceFileLoader
from typing import Any, Final, NamedTuple

from fastcmp.errors import UsageError

MOST_METRICS: Final = 100
_MOST_SAID: Final = 200
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]{0,63}")

MetricFunction = Callable[[Any, Any], Any]


class MetricSpec(NamedTuple):
    """A function and where it stands; ``path`` is absolute."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def parse_metrics(texts: Sequence[str]) -> tuple[MetricSpec, ...]:
    """What ``--metric file.py:name`` says, each.

    Raises
    ------
    UsageError
        If one is no such text, or two functions have one name.
    """
    if len(texts) > MOST_METRICS:
        raise UsageError(f"--metric: {len(texts)} of them, expected at most {MOST_METRICS}")
    specs: dict[str, MetricSpec] = {}
    for text in texts:
        path, _, name = text.rpartition(":")
        if not path or "\0" in path or not _NAME.fullmatch(name):
            raise UsageError(f"--metric {text!r}: expected FILE.py:NAME, a Python file and a function in it")
        if name in specs:
            raise UsageError(f"--metric {text!r}: a metric is called {name!r} already; give the function another name")
        specs[name] = MetricSpec(os.path.abspath(path), name)
    return tuple(specs.values())


def digests(specs: Sequence[MetricSpec]) -> dict[str, str]:
    """The name of each metric, and what tells one version of its code from another: its file, and the modules beside it that it has loaded.

    `load_function` must have been called for them.
    """
    return {spec.name: _digest(spec.path) for spec in specs}


def _digest(path: str) -> str:
    beside = os.path.join(os.path.dirname(os.path.realpath(path)), "")
    files = {os.path.realpath(path)}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and os.path.realpath(file).startswith(beside) and not _is_installed(file):
            files.add(os.path.realpath(file))
    digest = hashlib.sha256()
    for name in sorted(files):
        with open(name, "rb") as source:
            digest.update(hashlib.sha256(source.read()).digest())
    return digest.hexdigest()[:16]


def _is_installed(file: str) -> bool:
    """Of Python itself, or of a package whose version stands for it."""
    return os.path.realpath(file).startswith(_installed_places())


@functools.cache
def _installed_places() -> tuple[str, ...]:
    return tuple({os.path.join(os.path.realpath(place), "") for place in sysconfig.get_paths().values()})


class _Loader(SourceFileLoader):
    """Leaves no ``__pycache__`` beside the user's file."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def _module(path: str) -> Any:
    """A file as a module of its own, as it is now; `UsageError` if it cannot be one."""
    if not os.path.isfile(path):
        raise UsageError(f"{path}: no such file; name a Python file")
    status = os.stat(path)
    return _imported(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=MOST_METRICS)
def _imported(path: str, state: tuple[int, ...]) -> Any:
    name = f"_fastcmp_metrics_{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look for the module of what they are made in
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{path}: cannot be imported: {_said(error)}") from error
    return module


def load_function(spec: MetricSpec) -> MetricFunction:
    """The function of a metric.

    Raises
    ------
    UsageError
        If the file cannot be imported, has no function of that name, or one that does not take two arrays.
    """
    where = f"--metric {spec}"
    try:
        module = _module(spec.path)
    except UsageError as error:
        raise UsageError(f"--metric {error}") from error
    function = getattr(module, spec.name, None)
    if function is None:
        close = get_close_matches(spec.name, [name for name, value in vars(module).items() if inspect.isfunction(value)], n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UsageError(f"{where}: the file has no function of that name{hint}")
    if not callable(function) or isinstance(function, type):
        raise UsageError(f"{where}: is a {type(function).__name__}, expected a function of two arrays")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"{where}: is a coroutine or a generator, expected a function that returns a number")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it is seen when it is called
        return function
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise UsageError(f"{where}: {spec.name}{signature} cannot be called with two arrays, expected (golden, target)") from error
    return function


def call(spec: MetricSpec, golden: Any, target: Any) -> tuple[float | None, str]:
    """What a metric makes of two arrays: a number and "", or None and what went wrong."""
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            value = load_function(spec)(golden, target)
        number = np.asarray(value)
        if number.ndim == 0 and number.dtype.kind in "biuf":
            return float(number), ""
        shape = f" of shape {number.shape}" if isinstance(value, np.ndarray) else ""
        return None, f"metric {spec.name}: returned {type(value).__name__}{shape}, expected a number"
    except (Exception, SystemExit) as error:
        return None, f"metric {spec.name}: raised {_said(error)}"


def _said(error: BaseException) -> str:
    """An exception on one line that is not too long for a cell."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 3]}..."
