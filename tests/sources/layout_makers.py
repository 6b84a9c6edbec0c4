"""Trees as the tools write them, made by hand from what their source says: names, files and JSON; no tool is needed to make one.

`tests/end_to_end/test_layouts.py` makes those of msprobe and of the low-level probes by their own writers, where they are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HEADER = "$Version=1.0\n$Object.Count={count}\n$Object.Length={length}\nformat=2\ndtype={dtype}\ndims={dims}\n{more}$End=1\n"
CODES = {"float32": 0, "float16": 1, "int32": 3, "int64": 9}


def bin_bytes(values: np.ndarray) -> bytes:
    """A `.bin` file of the probes, with data."""
    payload = np.ascontiguousarray(values).tobytes()
    return _header(values, len(payload), f"$Object.data=0,{len(payload)}\n") + payload


def alias_bytes(values: np.ndarray, named: str) -> bytes:
    """A `.bin` file that names another tensor."""
    return _header(values, 0, f"data={named}\n")


def statistics_bytes(values: np.ndarray) -> bytes:
    """A `.bin` file with statistics, as std::to_string prints them."""
    numbers = {
        "max": values.max(),
        "min": values.min(),
        "mean": values.mean(),
        "l2norm": np.sqrt(np.square(values, dtype=np.float64).sum()),
    }
    return _header(values, 0, "".join(f"{name}={value:.6f}\n" for name, value in numbers.items()))


def _header(values: np.ndarray, length: int, more: str) -> bytes:
    dims = ",".join(map(str, values.shape))
    return HEADER.format(count=int("$Object" in more), length=length, dtype=CODES[values.dtype.name], dims=dims, more=more).encode()


def write_tree(root: Path, tensors: Mapping[str, np.ndarray | bytes]) -> Path:
    """Files by their relative paths: bytes as they are, arrays as their extension says."""
    for name, content in tensors.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".bin":
            path.write_bytes(bin_bytes(content))
        else:
            np.save(path, content)
    return root


def empty_tree(root: Path, *names: str) -> Path:
    """Files without a byte: enough where only names are looked at."""
    return write_tree(root, dict.fromkeys(names, b""))


def leaf(values: np.ndarray | None, *, shape: Sequence[int] = (), dtype: str = "float32", **more: Any) -> dict[str, Any]:
    """What dump.json says about one tensor."""
    described: dict[str, Any] = {"type": "torch.Tensor", "dtype": f"torch.{dtype}", "shape": list(shape)}
    if values is not None:
        numbers = values.astype(np.float64)
        described |= {"dtype": f"torch.{values.dtype.name}", "shape": list(values.shape)}
        described |= {"Max": numbers.max(), "Min": numbers.min(), "Mean": numbers.mean(), "Norm": float(np.sqrt(np.square(numbers).sum()))}
    return {**described, "requires_grad": False, **more}


def call(inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), **keywords: Any) -> dict[str, Any]:
    """One call of dump.json."""
    return {"input_args": list(inputs), "input_kwargs": keywords, "output": list(outputs)}


def dump_json(data: Mapping[str, Any], *, task: str = "tensor", level: str = "L1") -> dict[str, Any]:
    """A dump.json, in the order of its keys."""
    return {
        "task": task,
        "level": level,
        "framework": "pytorch",
        "dump_data_dir": None if task == "statistics" else "/d",
        "data": dict(data),
    }


def write_msprobe(
    place: Path, document: Any, tensors: Mapping[str, np.ndarray] | None = None, construct: Mapping[str, Any] | None = None
) -> None:
    """The directory of one rank in one step."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "dump.json").write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    (place / "stack.json").write_text("{}")
    if construct is not None:
        (place / "construct.json").write_text(json.dumps(construct))
    write_tree(place, {f"dump_tensor_data/{name}": values for name, values in (tensors or {}).items()})
