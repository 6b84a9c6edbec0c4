"""Write a tensor as the acceleration library does: a short text header, then the raw bytes.

The library's own writer needs its hardware; this one writes the same file on any machine. The library puts it at
``$ACLTRANSFORMER_HOME_PATH/tensors/thread_{pid}/{token_id}/{tensor_path}``, where `dump_data(..., tensor_path=...)` expects it.
"""

from __future__ import annotations

from pathlib import Path

import torch

FORMAT_ND = 2
ACL_DTYPES = {torch.float32: 0, torch.float16: 1, torch.int8: 2, torch.int32: 3, torch.int64: 9, torch.bool: 12, torch.bfloat16: 27}


def write_acl_tensor(path: Path, tensor: torch.Tensor) -> None:
    """Write ``tensor`` to ``path``, directories included.

    Parameters
    ----------
    path : Path
        Ends in ``.bin`` by custom.
    tensor : torch.Tensor
        On any device, of any layout; a dtype of `ACL_DTYPES`.
    """
    values = tensor.detach().cpu().contiguous()
    payload = values.flatten().view(torch.uint8).numpy().tobytes()
    header = (
        "$Version=1.0\n"
        "$Object.Count=1\n"
        f"$Object.Length={len(payload)}\n"
        f"format={FORMAT_ND}\n"
        f"dtype={ACL_DTYPES[tensor.dtype]}\n"
        f"dims={','.join(map(str, tensor.shape))}\n"
        f"$Object.data=0,{len(payload)}\n"
        "$End=1\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode("ascii") + payload)
