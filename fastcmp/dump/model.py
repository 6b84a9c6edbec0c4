"""`dump_model`: a torch model that dumps itself, by hooks that can be taken off again.

The hooks return at once where torch traces instead of computing (torch.compile, torch.export, torch.jit.trace): what is compiled stays what
it was. They never change an input or an output, and raise nothing into the forward pass unless ``FASTCMP_STRICT=1``.
"""

from __future__ import annotations

import abc
import fnmatch
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from fastcmp.dump.session import current_session, dump_data
from fastcmp.dump_layout import ROLE_OF_SOURCE, id_text
from fastcmp.errors import DumpError, UsageError

ROOT_NAME: Final = "root"
"""What the model itself is called; torch gives it no name."""

_WHAT: Final = ("outputs", "inputs", "both")
_COMPILED: Final = "_orig_mod"  # what torch.compile calls the module that it wraps
_MAX_SHOWN: Final = 5


def dump_model(
    model: Any,
    data_src: str,
    *,
    names: str | Sequence[str] = "*",
    what: str = "outputs",
    token_id: object = None,
    prefix: str = "",
) -> ModelDump:
    """Dump what the modules of a torch model return, or are given, at every call from now on.

    >>> with fastcmp.dump_model(model, "golden", names="*.mlp"):  # doctest: +SKIP
    ...     model.generate(**inputs)

    The data_id of an output is ``{prefix}{name}`` with the module's name in the model (``model.layers.3.mlp``; the model itself is
    ``root``), of an input ``{prefix}{name}.input``. Of a tuple, list or dict the first tensor has that name, a further one
    ``{name}[1]`` or ``{name}[key]``; a keyword argument is ``{name}.input[keyword]``. Containers inside of them (KV caches) are left out. A
    module that is called again under the same token (or another of the same name) is ``{name}#2``, ``{name}#3`` ..., so that nothing is
    replaced.

    Parameters
    ----------
    model : torch.nn.Module
    data_src : {"golden", "acl"}
    names : str or sequence of str
        Globs of module names, ``*`` any text, dots included, ``[01]`` one of these characters. A module under several names goes by its
        first.
    what : {"outputs", "inputs", "both"}
        Inputs are dumped as they are before the module runs.
    token_id : int, str or callable, optional
        The token of what is dumped; or a callable without arguments that returns it, asked at each call of the model. By default the calls
        of the model are counted: 0 is the prefill. What runs before the first call belongs to the token of the first.
    prefix : str

    Returns
    -------
    ModelDump
        Its `remove`, or the end of a ``with``, takes every hook off. With ``FASTCMP_DUMP=0`` it has none, and no argument is looked at.

    Raises
    ------
    UsageError
        A ValueError: an argument that cannot be used. Not a failure of the dump, but of the line that the user has just written, so it
        is told where that stands and before any forward pass.
    """
    if not current_session().settings.is_on:
        return ModelDump()
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise UsageError(f"dump_model: model: found a {type(model).__name__}, expected a torch.nn.Module")
    if data_src not in ROLE_OF_SOURCE:
        raise UsageError(f"dump_model: data_src: found {data_src!r}, expected {' or '.join(map(repr, ROLE_OF_SOURCE))}")
    if what not in _WHAT:
        raise UsageError(f"dump_model: what: found {what!r}, expected {', '.join(map(repr, _WHAT))}")
    if not isinstance(prefix, str):
        raise UsageError(f"dump_model: prefix: found a {type(prefix).__name__}, expected text")
    state = _State(torch, data_src, prefix, token_id)
    chosen, unreachable = _chosen(model, _globs(names))
    dump = ModelDump(state)
    try:
        unreachable += dump.attach(model, chosen, what)
    except BaseException:
        dump.remove()
        raise
    if unreachable:
        shown = _listing(unreachable)
        text = (
            f"dump_model: {len(unreachable)} modules are compiled or scripted and call no hooks: {shown}; dump the model as it was before"
        )
        current_session().counters.warn_once(text, text)
    return dump


class ModelDump:
    """The hooks of one `dump_model`; a context manager that removes them at its end.

    Attributes
    ----------
    names : tuple of str
        The modules that are dumped.
    """

    def __init__(self, state: _State | None = None) -> None:
        self.names: tuple[str, ...] = ()
        self._state = state
        self._handles: list[Any] = []

    def attach(self, model: Any, modules: list[tuple[str, Any]], what: str) -> list[str]:
        """Put the hooks on; the modules that have none to give. Called once, by `dump_model`."""
        assert self._state is not None
        unreachable = []
        hooked = []
        for name, module in modules:
            try:
                if what != "outputs":
                    hook = _InputHook(self._state, name)
                    self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
                if what != "inputs":
                    self._handles.append(module.register_forward_hook(_OutputHook(self._state, name)))
                hooked.append(name)
            except RuntimeError:  # a scripted module
                unreachable.append(name)
        if hooked:
            # Before the hooks above, or the inputs of the model itself would belong to the token before.
            self._handles.append(model.register_forward_pre_hook(_TokenHook(self._state, ROOT_NAME), prepend=True))
        self.names = tuple(hooked)
        return unreachable

    def remove(self) -> None:
        """Take every hook off. More than once is fine."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> ModelDump:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        had_hooks = bool(self._handles)
        self.remove()
        if had_hooks and kind is None and self._state is not None and not self._state.was_called:
            text = "dump_model: no module was called, so nothing was dumped; what runs inside torch.compile or a CUDA graph calls no hooks"
            current_session().counters.warn_once(text, text)


# --- which modules ---------------------------------------------------------------------------------------------------------------------


def _named_modules(model: Any) -> tuple[list[tuple[str, Any]], list[str]]:
    """Modules with their names, the model itself as `ROOT_NAME`; and the names of those that run inside of something compiled."""
    reachable: list[tuple[str, Any]] = []
    compiled: list[str] = []
    inside: set[str] = set()
    for name, module in model.named_modules():
        above, _, own = name.rpartition(".")
        is_inside = (above in inside and bool(name)) or own == _COMPILED or getattr(module, "_compiled_call_impl", None) is not None
        if is_inside:
            inside.add(name)
        shown = ".".join(part for part in name.split(".") if part != _COMPILED) or ROOT_NAME
        if not is_inside:
            reachable.append((shown, module))
        elif own != _COMPILED:
            compiled.append(shown)
    return reachable, compiled


def _globs(names: Any) -> list[str]:
    globs = [names] if isinstance(names, str) else list(names) if isinstance(names, list | tuple | set | frozenset) else []
    if not globs or not all(isinstance(glob, str) for glob in globs):
        raise UsageError(f"dump_model: names: found {names!r}, expected a glob or a sequence of globs")
    return globs


def _chosen(model: Any, globs: list[str]) -> tuple[list[tuple[str, Any]], list[str]]:
    reachable, compiled = _named_modules(model)
    every_name = [*(name for name, _ in reachable), *compiled]
    for glob in globs:
        if not any(fnmatch.fnmatchcase(name, glob) for name in every_name):
            shown = _listing(every_name)
            raise UsageError(f"dump_model: names: found {glob!r}, which is no module of this model; it has {shown}")

    def is_chosen(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, glob) for glob in globs)

    return [(name, module) for name, module in reachable if is_chosen(name)], list(filter(is_chosen, compiled))


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"{', '.join(names[:_MAX_SHOWN])}{more}"


# --- while it runs ---------------------------------------------------------------------------------------------------------------------


class _State:
    """What the hooks of one `dump_model` share. Without locks, since a fork must not leave one held: calls in several threads at once
    are dumped whole, only their tokens and numbers may be one another's."""

    def __init__(self, torch: Any, data_src: str, prefix: str, token_id: object) -> None:
        self.tensor_type = torch.Tensor
        self.is_compiling: Callable[[], bool] = getattr(getattr(torch, "compiler", None), "is_compiling", None) or _never
        self.is_tracing: Callable[[], bool] = torch.jit.is_tracing
        self.was_called = False
        self._data_src = data_src
        self._prefix = prefix
        self._token_id = token_id
        self._call_count = 0
        self._token: str | None = None
        self._times: dict[str, int] = {}
        self._times_token: str | None = None

    def begin(self) -> None:
        """The model is called: its next token."""
        self._token = None  # what there is no token for is not dumped under the one before
        if self._token_id is None:
            self._token = str(self._call_count)
            self._call_count += 1
        else:
            self._token = id_text(self._token_id() if callable(self._token_id) else self._token_id)
        if self._token != self._times_token:
            self._times, self._times_token = {}, self._token

    def save(self, name: str, kind: str, tensors: Iterator[tuple[str, Any]]) -> None:
        """Dump what one call of a module was given or returned."""
        if self._token is None:
            self.begin()
            self._call_count = 0  # the model itself was not called yet
        time = self._times[name + kind] = self._times.get(name + kind, 0) + 1
        data_id = f"{self._prefix}{name}{f'#{time}' if time > 1 else ''}{kind}"
        for label, tensor in tensors:
            dump_data(self._data_src, data_id + label, tensor, token_id=self._token)

    def labelled(self, value: Any) -> Iterator[tuple[str, Any]]:
        """The tensors of an output, each with what its name has behind the module's."""
        if isinstance(value, self.tensor_type):
            yield "", value
            return
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, tuple | list) else ()
        is_first = True
        for key, one in pairs:
            if isinstance(one, self.tensor_type):
                yield "" if is_first else f"[{key}]", one
                is_first = False


class _Hook(abc.ABC):
    """A hook of torch; `run` is its work, done where torch computes and not where it traces."""

    def __init__(self, state: _State, name: str) -> None:
        self._state = state
        self._name = name

    def __call__(self, module: Any, *arguments: Any) -> None:
        state = self._state
        if state.is_compiling() or state.is_tracing():
            return
        state.was_called = True
        try:
            self.run(state, *arguments)
        except DumpError:  # FASTCMP_STRICT asked for it
            raise
        except Exception as error:
            _failed(self._name, error)

    @abc.abstractmethod
    def run(self, state: _State, *arguments: Any) -> None: ...

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        # A copy of the model, or one that was pickled, dumps nothing.
        return _idle_hook, ()


class _TokenHook(_Hook):
    def run(self, state: _State, *arguments: Any) -> None:
        state.begin()


class _InputHook(_Hook):
    def run(self, state: _State, *arguments: Any) -> None:
        positional, keywords = arguments
        named = ((f"[{key}]", value) for key, value in keywords.items() if isinstance(value, state.tensor_type))
        state.save(self._name, ".input", (pair for pairs in (state.labelled(positional), named) for pair in pairs))


class _OutputHook(_Hook):
    def run(self, state: _State, *arguments: Any) -> None:
        _, output = arguments
        state.save(self._name, "", state.labelled(output))


def _failed(name: str, error: Exception) -> None:
    session = current_session()
    session.counters.add("hook_failed")
    text = f"dump_model: {name}: {type(error).__name__}: {str(error)[:200]}"
    if session.settings.is_strict:
        raise DumpError(text) from error
    session.counters.warn_once(f"hook {type(error).__name__}", f"{text}; not dumped, counted from now on")


def _never() -> bool:
    return False


def _idle_hook() -> Callable[..., None]:
    return _do_nothing


def _do_nothing(*arguments: object) -> None:
    """The hook of a copied model."""
