"""For programs of the tests: the stand-in acceleration library, called by ctypes as a Python model calls the real one."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

ND = 2


class Model:
    """`0_Model/{layer}_Layer/{node}_{runner}` in the library at ``path``; ``flow`` is one of standin.h."""

    def __init__(self, path: str = "", *, flow: int = 0, mode: int = os.RTLD_LOCAL | os.RTLD_LAZY) -> None:
        self._library = ctypes.CDLL(path or os.environ["STANDIN"], mode)
        self._library.standin_model_create.restype = ctypes.c_void_p
        self._library.standin_model_add_op.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
        self._execute = self._library.standin_execute_op
        self._execute.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int),
            *(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_char_p),
        ]
        self._model = self._library.standin_model_create(0, b"Model", b"Layer", flow)
        assert self._model, "the library does not have this flow"

    def add(self, layer: int, node: int, runner: str = "Norm", inputs: int = 1) -> None:
        error = self._library.standin_model_add_op(self._model, layer, runner.encode(), node, inputs)
        assert error == 0, os.strerror(error)

    def execute(
        self, layer: int, node: int, token: int, data: Any, *, runner: str = "Norm", nbytes: int = -1, dtype: int = 0, dims: str = ""
    ) -> None:
        """``data``: bytes, an address, or None."""
        size = len(data) if nbytes < 0 else nbytes
        where = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p) if isinstance(data, bytes) else data
        error = self._execute(self._model, layer, runner.encode(), node, token, where, size, ND, dtype, dims.encode())
        assert error == 0, os.strerror(error)


def run_library(*, tokens: int = 1, layers: int = 1, nbytes: int = 64, threads: int = 1, first_token: int = 0) -> None:
    """The stand-in's own model, as its hosts run it."""
    ctypes.CDLL(os.environ["STANDIN"]).standin_run(threads, first_token, tokens, layers, ctypes.c_uint64(nbytes), 0, None, None)


def follow(allow_list: str, run_directory: str | None = None) -> int:
    encoded = None if run_directory is None else os.fsencode(run_directory)
    return ctypes.CDLL(None).fastcmp_preload_follow(os.fsencode(allow_list), encoded)


def drain(seconds: float = 60.0) -> int:
    return ctypes.CDLL(None).fastcmp_preload_drain(ctypes.c_double(seconds))


def status() -> dict[str, Any]:
    return _json(ctypes.CDLL(None).fastcmp_preload_status)


def environment() -> dict[str, Any]:
    return _json(ctypes.CDLL(None).fastcmp_preload_environment)


def _json(function: Any) -> dict[str, Any]:
    function.restype, function.argtypes = ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_size_t]
    buffer = ctypes.create_string_buffer(function(None, 0) + 1000)
    function(buffer, len(buffer))
    return json.loads(buffer.value)
