"""A Llama of eight layers with random weights that generates with a KV cache; every operation is a module, so that each one is dumped.

The modules carry the names of transformers' Llama, with modules of their own for what is a plain function there: rotation, attention,
activation, the two additions. It takes well under a second for six tokens.
"""

from __future__ import annotations

import torch
from torch import nn

LAYERS = 8
HEADS = 4
HEAD_SIZE = 16
HIDDEN = HEADS * HEAD_SIZE
INTERMEDIATE = 176
VOCABULARY = 200
EPSILON = 1e-5
TOKENS = 6
PROMPT = (11, 42, 7, 101)
SEED = 3


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(HIDDEN))
        self.epsilon = EPSILON

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


class Rotary(nn.Module):
    """Turns each head by the positions; ``shift`` is added to them, and should be 0."""

    shift = 0

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        frequencies = 10000.0 ** (-torch.arange(0, HEAD_SIZE, 2) / HEAD_SIZE)
        angles = (positions + self.shift)[:, None, None] * frequencies
        cosine, sine = (turned.repeat(1, 1, 2).to(x.dtype) for turned in (angles.cos(), angles.sin()))
        heads = x.view(len(x), HEADS, HEAD_SIZE)
        first, second = heads.chunk(2, dim=-1)
        return (heads * cosine + torch.cat((-second, first), dim=-1) * sine).view_as(x)


class Attention(nn.Module):
    """Softmax attention of the new positions over all that the cache has, causal."""

    def forward(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        q, k, v = (side.view(len(side), HEADS, HEAD_SIZE).transpose(0, 1) for side in (query, keys, values))
        scores = (q @ k.transpose(1, 2)) * HEAD_SIZE**-0.5
        future = torch.ones(len(query), len(keys), dtype=torch.bool).triu(len(keys) - len(query) + 1)
        weights = torch.softmax(scores.float().masked_fill(future, -torch.inf), dim=-1).to(query.dtype)
        return (weights @ v).transpose(0, 1).reshape(query.shape)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(4))
        self.rotary_q, self.rotary_k = Rotary(), Rotary()
        self.attention = Attention()
        self.cache: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        query, keys, values = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        query, keys = self.rotary_q(query, positions), self.rotary_k(keys, positions)
        if self.cache is not None:
            keys, values = torch.cat((self.cache[0], keys)), torch.cat((self.cache[1], values))
        self.cache = keys, values
        return self.o_proj(self.attention(query, keys, values))


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(HIDDEN, INTERMEDIATE, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(INTERMEDIATE, HIDDEN, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Add(nn.Module):
    """A residual connection: what came in, and what was made of it."""

    def forward(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return residual + x


class DecoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn, self.attention_add = RMSNorm(), SelfAttention(), Add()
        self.post_attention_layernorm, self.mlp, self.mlp_add = RMSNorm(), MLP(), Add()

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        x = self.attention_add(x, self.self_attn(self.input_layernorm(x), positions))
        return self.mlp_add(x, self.mlp(self.post_attention_layernorm(x)))


class Sampler(nn.Module):
    """The greedy choice of the next token."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[-1:].argmax(-1)


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(LAYERS))
        self.norm = RMSNorm()

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, positions)
        return self.norm(x)


class TinyLlama(nn.Module):
    """``forward`` takes the new token ids and their positions and returns the chosen next id."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Body()
        self.lm_head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
        self.sampler = Sampler()

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.sampler(self.lm_head(self.model(input_ids, positions)))


def make_model(dtype: torch.dtype = torch.float32) -> TinyLlama:
    """The same weights each time, rounded to ``dtype``."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(SEED)
    model = TinyLlama().eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            # Weights of this spread make every operation matter, as trained ones do: with less, what one does drowns in the residual.
            nn.init.normal_(parameter, std=1.0 if parameter.shape == (VOCABULARY, HIDDEN) else parameter.shape[1] ** -0.5)
    torch.set_rng_state(generator_state)
    return model.to(dtype)
