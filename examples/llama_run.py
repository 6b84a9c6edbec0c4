"""Run one side of the demo: a small random Llama that generates with a KV cache and dumps every layer of every token.

    python llama_run.py golden --tokens tokens.json
        float32; chooses the tokens and writes them down
    fastcmp run -- python llama_run.py acl --tokens tokens.json
        bfloat16; is fed golden's tokens, has one defect planted; its attention runs in an acceleration library

The dump goes to ``{pid}_cmp_dump_data/`` in the working directory, as `dump_data` always does. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from acceleration_library import AccelerationLibrary, is_preloaded
from msquickcmp.pta_acl_cmp.compare import dump_data
from planted import DEFECT, Defect
from transformers import LlamaConfig, LlamaForCausalLM

PROMPT = (11, 42, 7, 301)
GENERATED_TOKENS = 8
# Weights of this spread make a random MLP matter as much as a trained one does. With the usual 0.02 a dead MLP hardly moves the output.
CONFIG = LlamaConfig(
    vocab_size=512,
    hidden_size=256,
    intermediate_size=704,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=4,
    max_position_embeddings=128,
    initializer_range=0.04,
    rms_norm_eps=1e-5,
)
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("golden", "acl"))
    parser.add_argument("--tokens", type=Path, required=True)
    arguments = parser.parse_args()

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(CONFIG).eval()
    if arguments.side == "golden":
        chosen = generate(model, GoldenDump(model), feed=None, defect=None)
        arguments.tokens.write_text(json.dumps(chosen), encoding="utf-8")
    else:
        model = model.to(torch.bfloat16)
        generate(model, TargetDump(model), feed=json.loads(arguments.tokens.read_text(encoding="utf-8")), defect=DEFECT)


def generate(model: LlamaForCausalLM, dump: GoldenDump, *, feed: list[int] | None, defect: Defect | None) -> list[int]:
    """Generate with a KV cache: token 0 is the prompt, each later one a single position.

    With ``feed`` the given tokens are taken in place of the chosen ones: a target that chose its own would soon
    run on another text, where every tensor differs and none of them tells why.
    """
    inputs = torch.tensor([PROMPT])
    # transformers 5 calls it cache, earlier ones past_key_values.
    cache_name = "cache" if "cache" in signature(LlamaForCausalLM.forward).parameters else "past_key_values"
    cache: Any = None
    chosen: list[int] = []
    with torch.inference_mode():
        for token_id in range(GENERATED_TOKENS):
            if defect is not None and token_id == defect.token:
                model.model.layers[defect.layer].post_attention_layernorm.variance_epsilon = defect.epsilon
            dump.begin_token(token_id)
            output = model(input_ids=inputs, use_cache=True, **{cache_name: cache})
            cache = output[cache_name]
            chosen.append(int(output.logits[0, -1].argmax()))
            inputs = torch.tensor([[chosen[-1] if feed is None else feed[token_id]]])
    return chosen


def dumped_modules(model: LlamaForCausalLM) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules whose outputs are compared, by readable name, in the order they run."""
    yield "embed_tokens", model.model.embed_tokens
    for index, layer in enumerate(model.model.layers):
        for part in ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"):
            yield f"layers.{index}.{part}", getattr(layer, part)
        yield f"layers.{index}", layer
    yield "norm", model.model.norm
    yield "lm_head", model.lm_head


class GoldenDump:
    """Dumps what every module returns, straight from memory."""

    data_src = "golden"

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.token_id = 0
        for data_id, module in dumped_modules(model):
            module.register_forward_hook(self._hook(data_id))

    def begin_token(self, token_id: int) -> None:
        """Everything dumped from here on belongs to ``token_id``."""
        self.token_id = token_id

    def save(self, data_id: str, value: torch.Tensor) -> None:
        """Save one output under its name."""
        dump_data(self.data_src, data_id, value, token_id=self.token_id)

    def _hook(self, data_id: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            self.save(data_id, output[0] if isinstance(output, tuple) else output)

        return hook


class TargetDump(GoldenDump):
    """As golden's, but attention outputs are never saved from Python: the acceleration library has them.

    `dump_data` is told their paths beforehand, and the preload library saves what the acceleration library offers under them.
    """

    data_src = "acl"

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__(model)
        if not is_preloaded():
            print("llama_run: nobody saves the attention outputs; start it by `fastcmp run -- python llama_run.py acl`", file=sys.stderr)
        self.library = AccelerationLibrary()
        self.attention_layers = {f"layers.{index}.self_attn": index for index in range(model.config.num_hidden_layers)}
        for data_id, layer in self.attention_layers.items():
            dump_data(self.data_src, data_id, tensor_path=self.library.output_path(layer), token_id="*")

    def save(self, data_id: str, value: torch.Tensor) -> None:
        if data_id in self.attention_layers:
            self.library.attention(self.attention_layers[data_id], self.token_id, value)
        else:
            super().save(data_id, value)


if __name__ == "__main__":
    main()
