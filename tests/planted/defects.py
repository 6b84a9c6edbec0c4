"""Eight ways to be wrong, and where each is: what an analysis of two dumps of `tiny_llama` must find.

``make_dumps(directory, name)`` writes both sides and returns their metadata.json; golden is float32 and has no defect.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_llama import HEAD_SIZE, HEADS, PROMPT, TOKENS, TinyLlama, make_model
from torch import nn

from fastcmp.dump import dump_model
from fastcmp.dump import session as session_module


@dataclass(frozen=True)
class Defect:
    """One planted defect.

    Attributes
    ----------
    name : str
    data_id : str
        The output that is wrong first; "" where nothing is planted.
    token : int
        The first token where it is; it lasts from there on, to ``last_token`` where that is given.
    plant : callable
        Makes a model wrong.
    last_token : int or None
    layers : tuple of int
        The layers that have it.
    """

    name: str
    data_id: str
    token: int
    plant: Callable[[TinyLlama], None]
    last_token: int | None = None
    layers: tuple[int, ...] = ()

    def covers(self, token: int) -> bool:
        """True for a token where the model is wrong."""
        return self.token <= token and (self.last_token is None or token <= self.last_token)


def _set_epsilon(model: TinyLlama) -> None:
    model.model.layers[3].input_layernorm.epsilon = 1.0


def _skip_residual(model: TinyLlama) -> None:
    _replace_output(model.model.layers[2].mlp_add, lambda inputs, output: inputs[1])


def _transpose_weight(model: TinyLlama) -> None:
    weight = model.model.layers[4].self_attn.o_proj.weight
    weight.data = weight.data.T.contiguous()


def _shift_positions(model: TinyLlama) -> None:
    for layer in model.model.layers:
        layer.self_attn.rotary_q.shift = layer.self_attn.rotary_k.shift = 1


def _zero_head(model: TinyLlama) -> None:
    def zeroed(inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        heads = output.clone().view(len(output), HEADS, HEAD_SIZE)
        heads[:, 2] = 0
        return heads.view_as(output)

    _replace_output(model.model.layers[1].self_attn.attention, zeroed)


def _saturate(model: TinyLlama) -> None:
    # The scale was calibrated for values half as large as they come.
    def saturated(inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        scale = output.float().abs().max() / 2 / 127
        return ((output.float() / scale).round().clamp(-128, 127) * scale).to(output.dtype)

    _replace_output(model.model.layers[5].mlp.up_proj, saturated)


def _plant_nan(model: TinyLlama) -> None:
    def spoiled(inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 5] = torch.nan
        return output

    _replace_output(model.model.layers[6].mlp.down_proj, spoiled)


def _nothing(model: TinyLlama) -> None:
    pass


def _replace_output(module: nn.Module, change: Callable[[tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]) -> None:
    """Hooks run in the order they came, so this one must come before those of the dump."""
    module.register_forward_hook(lambda module, inputs, output: change(inputs, output))


DEFECTS: tuple[Defect, ...] = (
    Defect("wrong epsilon", "model.layers.3.input_layernorm", 0, _set_epsilon, layers=(3,)),
    Defect("skipped residual", "model.layers.2.mlp_add", 2, _skip_residual, last_token=2, layers=(2,)),
    Defect("transposed weight", "model.layers.4.self_attn.o_proj", 0, _transpose_weight, layers=(4,)),
    Defect("wrong RoPE position", "model.layers.0.self_attn.rotary_q", 3, _shift_positions, layers=tuple(range(8))),
    Defect("zeroed head", "model.layers.1.self_attn.attention", 0, _zero_head, layers=(1,)),
    Defect("int8 saturation", "model.layers.5.mlp.up_proj", 4, _saturate, last_token=4, layers=(5,)),
    Defect("NaN in a channel", "model.layers.6.mlp.down_proj", 2, _plant_nan, layers=(6,)),
    Defect("rounding only", "", 0, _nothing),
)
BY_NAME = {defect.name: defect for defect in DEFECTS}


def make_dumps(
    directory: Path, name: str, dtype: torch.dtype = torch.bfloat16, *, feed_golden: bool = True, what: str = "both"
) -> tuple[Path, Path]:
    """Golden's and the target's metadata.json below ``directory``; the target runs in ``dtype`` with the named defect.

    Parameters
    ----------
    directory : Path
    name : str
        One of `BY_NAME`.
    dtype : torch.dtype
        float32 shows the pattern of a defect without any rounding beside it.
    feed_golden : bool
        False: the target takes the tokens that it chose itself.
    what : {"both", "outputs", "inputs"}
        What is dumped of each operation.
    """
    golden, chosen = run_side(directory / "golden", "golden", torch.float32, BY_NAME["rounding only"], None, what)
    target, _ = run_side(directory / "target", "acl", dtype, BY_NAME[name], chosen if feed_golden else None, what)
    return golden, target


def run_side(
    directory: Path, data_src: str, dtype: torch.dtype, defect: Defect, feed: list[int] | None, what: str = "both"
) -> tuple[Path, list[int]]:
    """One side's metadata.json, and the tokens that it chose; it is fed those of ``feed`` in place of them."""
    directory.mkdir(parents=True)
    kept = os.environ.get("FASTCMP_DUMP_DIR")
    os.environ["FASTCMP_DUMP_DIR"] = str(directory)
    _forget_session()
    try:
        chosen = generate(data_src, dtype, defect, feed, what)
    finally:
        _forget_session()
        os.environ.pop("FASTCMP_DUMP_DIR")
        if kept is not None:
            os.environ["FASTCMP_DUMP_DIR"] = kept
    (metadata,) = directory.glob(f"*_cmp_dump_data/{data_src}_tensor/metadata.json")
    return metadata, chosen


def generate(data_src: str, dtype: torch.dtype, defect: Defect, feed: list[int] | None, what: str) -> list[int]:
    """Run `TOKENS` forward passes, each dumped; the tokens that were chosen."""
    sound, wrong = make_model(dtype), make_model(dtype)
    defect.plant(wrong)
    inputs, chosen, seen = torch.tensor(PROMPT), [], 0
    with torch.inference_mode():
        for token in range(TOKENS):
            model, other = (wrong, sound) if defect.covers(token) else (sound, wrong)
            with dump_model(model, data_src, what=what, token_id=token):
                chosen.append(int(model(inputs, torch.arange(seen, seen + len(inputs)))))
            for one, follower in zip(model.model.layers, other.model.layers, strict=True):
                follower.self_attn.cache = one.self_attn.cache  # of whichever ran last
            seen += len(inputs)
            inputs = torch.tensor([chosen[-1] if feed is None else feed[token]])
    return chosen


def _forget_session() -> None:
    """End the session of this process as a fork would, so that the next call opens one anew."""
    if session_module._session is not None:
        session_module._session.close_descriptors()
    session_module._session = None
    session_module._inherited_base = ""
