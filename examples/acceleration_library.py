"""What a vendor's acceleration library is to the demo: it has the attention outputs, and Python never saves them.

The library is the stand-in that `make demo` builds (cpp/tests/standin), as the real one needs its hardware. It is called by ctypes and
offers every tensor that passes through it; fastcmp's preload library saves those that `dump_data` has registered.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

STANDIN = Path(__file__).resolve().parent.parent / "build/standin/standin/libacltransformer_standin_abi1.so"
RUNNER = b"SelfAttentionRunner"
NODE = 1
FORMAT_ND = 2
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 27}


class AccelerationLibrary:
    """A model in the acceleration library, of which only the attention operations are used."""

    def __init__(self) -> None:
        if not STANDIN.is_file():
            raise SystemExit(f"{STANDIN}: not there; `make demo` builds this stand-in for an acceleration library")
        self._library = ctypes.CDLL(str(STANDIN))
        self._library.standin_model_create.restype = ctypes.c_void_p
        self._execute = self._library.standin_execute_op
        self._execute.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int),  # model, layer, runner, node
            *(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64),  # token, data, nbytes
            *(ctypes.c_int, ctypes.c_int, ctypes.c_char_p),  # format, dtype, dims
        ]
        self._model = self._library.standin_model_create(0, b"LlamaModelTorch", b"LlamaLayerRunner", 0)

    @staticmethod
    def output_path(layer: int) -> str:
        """Where the library puts the output of a layer's attention, below the directory of the token."""
        return f"0_LlamaModelTorch/{layer}_LlamaLayerRunner/{NODE}_{RUNNER.decode()}/after/outTensor0.bin"

    def attention(self, layer: int, token_id: int, output: torch.Tensor) -> None:
        """The attention of one layer, executed: here the output is at hand, and the operation only passes it on."""
        values = output.detach().cpu().contiguous()
        dims = ",".join(map(str, values.shape)).encode()
        error = self._execute(
            self._model, layer, RUNNER, NODE, token_id, values.data_ptr(), values.nbytes, FORMAT_ND, DTYPES[values.dtype], dims
        )
        if error:
            raise OSError(error, f"the acceleration library refused the attention of layer {layer} at token {token_id}")


def is_preloaded() -> bool:
    """True in a program that was started by `fastcmp run`."""
    return hasattr(ctypes.CDLL(None), "fastcmp_preload_follow")
