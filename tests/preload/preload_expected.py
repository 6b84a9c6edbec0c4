"""What the stand-in model computes, which tensors an environment selects, and the bytes of a `.bin`: all of it told a second time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

MODEL, LAYER = "StandinModelTorch", "StandinLayerRunner"
RUNNERS = ("NormOpsRunner", "SelfAttentionRunner", "LinearOpsRunner")


def bin_bytes(format_: object, dtype: object, dims: str, payload: bytes) -> bytes:
    """The grammar of the format, word by word; without a payload only the description."""
    size = len(payload)
    data = f"$Object.data=0,{size}\n" if size else ""
    header = (
        f"$Version=1.0\n$Object.Count={int(size > 0)}\n$Object.Length={size}\nformat={format_}\ndtype={dtype}\ndims={dims}\n{data}$End=1\n"
    )
    return header.encode() + payload


@dataclass(frozen=True)
class Offer:
    """One tensor that the stand-in hands over."""

    token: int
    ids: tuple[int, ...]
    operation: str
    when: str
    part: str
    payload: bytes = field(repr=False)

    def tail(self, *, legacy: bool = False) -> str:
        names = (f"{number}_{name}" for number, name in zip(self.ids, (MODEL, LAYER, self.operation), strict=False))
        stem = {"in": "inTensor0", "out": "outTensor0"}[self.part] if legacy else f"{self.part}tensor0"
        return f"{self.token}/{'/'.join(names)}/{self.when}/{stem}.bin"

    @property
    def contents(self) -> bytes:
        return bin_bytes(2, 0, f"1,{len(self.payload) // 4}", self.payload)


def offers(*, threads: int = 1, first_token: int = 0, tokens: int = 1, layers: int = 1, nbytes: int = 16) -> Iterator[Offer]:
    """All that `standin_run` could save, inputs and outputs, before and after each operation."""
    positions = np.arange(nbytes // 4)
    for thread in range(threads):
        buffers = [np.zeros(nbytes // 4, np.float32) for _ in RUNNERS]
        for token in range(first_token, first_token + tokens):
            hidden = ((_seed(thread, token, 0, 0) + positions) & 255).astype(np.float32)
            for layer in range(layers):
                whole = (thread, layer)
                yield from _both(token, whole, LAYER, "before", hidden, buffers[-1])
                value = hidden
                for node, runner in enumerate(RUNNERS):
                    ids = (thread, layer, node)
                    yield from _both(token, ids, runner, "before", value, buffers[node])
                    added = ((_seed(thread, token, layer, node) + positions) & 255).astype(np.float32)
                    buffers[node] = np.float32(0.5) * value + added
                    yield from _both(token, ids, runner, "after", value, buffers[node])
                    value = buffers[node]
                yield from _both(token, whole, LAYER, "after", hidden, value)
                hidden = value


def _both(token: int, ids: tuple[int, ...], name: str, when: str, source: np.ndarray, result: np.ndarray) -> Iterator[Offer]:
    yield Offer(token, ids, name, when, "in", source.tobytes())
    yield Offer(token, ids, name, when, "out", result.tobytes())


def _seed(thread: int, token: int, layer: int, node: int) -> int:
    return ((thread * 7 + token) * 5 + layer) * 3 + node


# --- what the environment of a probe selects ---------------------------------------------------------------------------------------------


def is_selected(offer: Offer, environment: Mapping[str, str], device: str = "0") -> str:
    """ "data", "description" or "": what a modern library is made to save under ``environment``, by the variables of either era."""
    if environment.get("ATB_SAVE_TENSOR"):
        return _is_selected_by_atb(offer, environment, device)
    if environment.get("ACLTRANSFORMER_SAVE_TENSOR") == "1":
        return "data" if _is_selected_by_acltransformer(offer, environment) else ""
    return ""


def _words(text: str, separator: str = ",") -> list[str]:
    return [word.strip() for word in text.split(separator) if word.strip()]


def _is_selected_by_atb(offer: Offer, environment: Mapping[str, str], device: str) -> str:
    def value(name: str) -> str:
        return environment.get(name, "")

    what = {"1": "data", "2": "description"}.get(value("ATB_SAVE_TENSOR"), "")
    if _words(value("ATB_DUMP_TYPE"), "|") and "tensor" not in _words(value("ATB_DUMP_TYPE"), "|"):
        return ""
    if not _is_round(offer.token, value("ATB_SAVE_TENSOR_RANGE")) or not _is_operation(offer, environment):
        return ""
    parts = {"0": {"in"}, "1": {"out"}, "2": {"in", "out"}}.get(value("ATB_SAVE_TENSOR_PART"), set())
    times = {"0": {"before"}, "2": {"before", "after"}}.get(value("ATB_SAVE_TENSOR_TIME"), {"after"})
    if value("ATB_SAVE_TENSOR_IN_BEFORE_OUT_AFTER") == "1":
        times = {"before"} if offer.part == "in" else {"after"}
    devices = _words(value("ATB_DEVICE_ID"))
    if offer.part not in parts or offer.when not in times or (devices and device not in devices):
        return ""
    return what


def _is_round(token: int, text: str) -> bool:
    if text.strip().lower() == "all":
        return True
    words = [int(word) if re.fullmatch("[0-9]+", word) and int(word) < 1 << 64 else None for word in _words(text)]
    pairs = zip(words[::2], words[1::2], strict=False)
    return any(first <= token <= last for first, last in pairs if first is not None and last is not None)


def _is_operation(offer: Offer, environment: Mapping[str, str]) -> bool:
    wanted, prefixes = _words(environment.get("ATB_SAVE_TENSOR_IDS", "")), _words(environment.get("ATB_SAVE_TENSOR_RUNNER", ""))
    if not wanted and not prefixes:
        return True
    own = "_".join(map(str, offer.ids))
    has_children = environment.get("ATB_SAVE_CHILD", "0") not in ("", "0")
    by_id = own in wanted or (has_children and any(own.startswith(f"{one}_") for one in wanted))
    return by_id or any(offer.operation.lower().startswith(prefix.lower()) for prefix in prefixes)


def _is_selected_by_acltransformer(offer: Offer, environment: Mapping[str, str]) -> bool:
    rounds = atoll(environment.get("ACLTRANSFORMER_SAVE_TENSOR_MAX") or "1")
    prefixes = _words(environment.get("ACLTRANSFORMER_SAVE_TENSOR_RUNNER", ""))
    return offer.when == "after" and offer.token < rounds and (not prefixes or any(map(offer.operation.startswith, prefixes)))


def atoll(text: str) -> int:
    """C's: leading blanks, a sign, the digits that follow; 0 where there are none."""
    stripped = text.lstrip()
    sign, digits = (stripped[:1], stripped[1:]) if stripped[:1] in ("-", "+") else ("", stripped)
    count = next((index for index, letter in enumerate(digits) if letter not in "0123456789"), len(digits))
    return int(f"{sign}{digits[:count]}") if count else 0
