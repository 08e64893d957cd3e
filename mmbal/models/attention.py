"""Attention between the token sequences of modalities, and the three fusions of audio and video built on it, for M >= 2.

Chumachenko, Iosifidis and Gabbouj, "Self-attention fusion for audiovisual emotion recognition with incomplete data",
ICPR 2022, arXiv 2201.11095. Tokens X_m (B, T_m, D_m) are an encoder's frames, spectrogram columns, cells or words; S_m
is the second stage of m's branch, a convolution over time; the T_m need not be equal. With pool the mean over tokens::

    A_nm = softmax((X_m Q)(X_n K)^T / sqrt(d))             queries of m, keys of n
    B_nm = Z + MLP(norm(Z)),  Z = A_nm (X_n V) O           what m reads in n

    lt, late transformer:          H_m = B_nm of S_n(X_n) and S_m(X_m)
    it, intermediate transformer:  H_m = S_m(X_m + B_nm)
    ia, intermediate attention:    H_m = S_m(g_m * X_m),   g_m[j] = sum_i A_mn[i, j] T_m / T_n
    o = sum_m pool(H_m) W_m^T + b

Deviations: B_nm and g_m are means over all other modalities n that the sample has (the paper has two modalities). The
factor T_m / T_n, one where lengths are equal, keeps the mean gate at one. Stages, norms and blocks have no biases and
empty tokens (all zeros: padding, or a missing modality) are no keys, so a missing modality adds exactly nothing;
in lt, where only values of the others reach H_m, its queries then take their plain mean.
The paper's branches are convolutional networks of their own; here encoders are the first stage, S_m the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.errors import ConfigError
from mmbal.models.fusion import Fusion, linear, named_seed, total
from mmbal.registry import fusions

ABOUT: dict[str, Any] = {
    "additive": False,
    "family": "attention",
    "year": 2022,
    "paper": "2201.11095",
    "status": "with stated deviations",
}


def filled(tokens: Tensor) -> Tensor:
    """Which of the tokens ``(B, T, D)`` are more than padding: ``(B, T)`` bool."""
    return (tokens != 0).any(dim=-1)


class AttentionMap(nn.Module):
    """``softmax(Q K^T / sqrt(d))`` of queries ``(B, T, D)`` on the keys ``(B, U, E)`` that are filled: ``(B, H, T, U)``."""

    def __init__(self, of_queries: int, of_keys: int, dim: int, heads: int, name: str) -> None:
        super().__init__()
        self.heads = heads
        self.query = linear(of_queries, dim, f"{name}.query", bias=False)
        self.key = linear(of_keys, dim, f"{name}.key", bias=False)

    def map(self, queries: Tensor, keys: Tensor) -> Tensor:
        q, k = self.split(self.query(queries)), self.split(self.key(keys))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        empty = ~filled(keys)[:, None, None, :]
        # Not -inf: without any key the softmax would be NaN. An even one is right, since all values are zero.
        return scores.masked_fill(empty, torch.finfo(scores.dtype).min).softmax(dim=-1)

    def split(self, values: Tensor) -> Tensor:
        """``(B, T, d)`` to ``(B, H, T, d / H)``."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class CrossAttention(AttentionMap):
    """What queries ``(B, T, D)`` read in other tokens ``(B, U, E)``: ``(B, T, outputs)``, zero where those are empty."""

    def __init__(self, of_queries: int, of_keys: int, dim: int, heads: int, outputs: int, name: str) -> None:
        super().__init__(of_queries, of_keys, dim, heads, name)
        self.value = linear(of_keys, dim, f"{name}.value", bias=False)
        self.out = linear(dim, outputs, f"{name}.out", bias=False)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.read(self.map(queries, keys), keys)

    def read(self, attention: Tensor, keys: Tensor) -> Tensor:
        """What a map ``(B, H, T, U)`` reads in the tokens."""
        return self.out((attention @ self.split(self.value(keys))).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block in which one sequence reads another; zero where the other is empty."""

    def __init__(self, of_queries: int, of_keys: int, dim: int, heads: int, outputs: int, name: str) -> None:
        super().__init__()
        self.norm_queries = nn.LayerNorm(of_queries, bias=False)
        self.norm_keys = nn.LayerNorm(of_keys, bias=False)
        self.attention = CrossAttention(of_queries, of_keys, dim, heads, outputs, name)
        self.mlp = nn.Sequential(
            nn.LayerNorm(outputs, bias=False),
            linear(outputs, 2 * outputs, f"{name}.in", bias=False),
            nn.GELU(),
            linear(2 * outputs, outputs, f"{name}.up", bias=False),
        )

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.read(self.map(queries, keys), keys)

    def map(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The attention of the queries on the keys: ``(B, H, T, U)``."""
        return self.attention.map(self.norm_queries(queries), self.norm_keys(keys))

    def read(self, attention: Tensor, keys: Tensor) -> Tensor:
        """What a map reads in the keys, ``(B, T, outputs)``."""
        read = self.attention.read(attention, self.norm_keys(keys))
        return read + self.mlp(read)


class Stage(nn.Module):
    """The second stage of a branch: a convolution over three neighbouring tokens, ``(B, T, D)`` to ``(B, T, dim)``."""

    def __init__(self, inputs: int, dim: int, name: str) -> None:
        super().__init__()
        with named_seed(name):
            self.convolution = nn.Conv1d(inputs, dim, kernel_size=3, padding=1, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.convolution(tokens.transpose(1, 2)).transpose(1, 2).relu()


def pairs(modalities: Mapping[str, int], build: Callable[[str, str], nn.Module]) -> nn.ModuleDict:
    """``build(m, n)`` for every modality m and every other n, as ``pairs[m][n]``."""
    return nn.ModuleDict({m: nn.ModuleDict({n: build(m, n) for n in modalities if n != m}) for m in modalities})


class _AttentionFusion(Fusion):
    """Base of the three fusions: the branches' second stages, pooling and the linear decision."""

    takes = "tokens"
    at_least = 2

    class Config(Config):
        dim: int = Field(64, ge=1, description="width of attention and of the second stages")
        heads: int = Field(1, ge=1, description="attention heads; dim must be a multiple")

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        if config.dim % config.heads:
            raise ConfigError(f"fusion.dim ({config.dim}) is not a multiple of fusion.heads ({config.heads}).")
        self.stage = nn.ModuleDict({m: Stage(width, config.dim, f"stage.{m}") for m, width in dims.items()})
        self.out = nn.ModuleDict({m: linear(config.dim, classes, f"out.{m}", bias=False) for m in dims})
        self.bias = nn.Parameter(torch.zeros(classes))

    def streams(self, tokens: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's tokens ``(B, T_m, dim)`` after attention to those of the others, which ``gates`` holds."""
        raise TypeError(f"{type(self).__name__} defines no streams")

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.gated_head(inputs, self.gates(inputs))

    def gated_head(self, inputs: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> Tensor:
        return total({m: self.out[m](h.mean(dim=1)) for m, h in self.streams(inputs, gates).items()}) + self.bias

    def stages(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.stage[m](x) for m, x in tokens.items()}


class _TransformerFusion(_AttentionFusion):
    """Base of lt and it: transformer blocks from every modality to every other."""

    read: nn.ModuleDict

    def build(self, widths: Mapping[str, int]) -> nn.ModuleDict:
        """The blocks by which tokens of the given widths read one another."""
        dim, heads = self.config.dim, self.config.heads
        return pairs(
            widths, lambda m, n: Block(widths[m], widths[n], dim, heads, outputs=widths[m], name=f"read.{m}.{n}")
        )

    def reading(self, tokens: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tokens that read one another."""
        return tokens

    def gates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        tokens = self.reading(inputs)
        return {
            f"{m}.{n}": cast(Block, block).map(tokens[m], tokens[n])
            for m in tokens
            for n, block in cast(nn.ModuleDict, self.read[m]).items()
        }

    def exchange(self, tokens: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each modality reads in the others that are there, on average."""
        there = {m: filled(x).any(dim=1).to(x.dtype)[:, None, None] for m, x in tokens.items()}
        found = {}
        for m in tokens:
            blocks = cast(nn.ModuleDict, self.read[m]).items()
            others = {n: cast(Block, block).read(gates[f"{m}.{n}"], tokens[n]) for n, block in blocks}
            found[m] = total(others) / total({n: there[n] for n in others}).clamp(min=1)
        return found


@fusions.register("attention_lt", **ABOUT)
class LateTransformer(_TransformerFusion):
    """Late transformer: after both stages, each modality's tokens are queries and the others' are keys and values.

    ``H_m = mean_n B_nm`` of the second stages' tokens; Chumachenko et al., ICPR 2022, arXiv 2201.11095.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        self.read = self.build(dict.fromkeys(dims, config.dim))

    def reading(self, tokens: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return self.stages(tokens)

    def streams(self, tokens: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.exchange(self.stages(tokens), gates)


@fusions.register("attention_it", **ABOUT)
class IntermediateTransformer(_TransformerFusion):
    """Intermediate transformer: between the stages, each modality adds to its tokens what it reads in the others.

    ``H_m = S_m(X_m + mean_n B_nm)``; Chumachenko et al., ICPR 2022, arXiv 2201.11095.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        self.read = self.build(dims)

    def streams(self, tokens: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        read = self.exchange(tokens, gates)
        return self.stages({m: x + read[m] * filled(x).unsqueeze(-1) for m, x in tokens.items()})


@fusions.register("attention_ia", **ABOUT)
class IntermediateAttention(_AttentionFusion):
    """Intermediate attention: the attention that a token receives from the others opens or closes it; no values flow.

    ``H_m = S_m(g_m * X_m)``, with the mean over n of ``g_m[j] = sum_i A_mn[i, j] T_m / T_n``; Chumachenko et al., ICPR
    2022, arXiv 2201.11095.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        self.asked_by = pairs(
            dims, lambda m, n: AttentionMap(dims[n], dims[m], config.dim, config.heads, name=f"gate.{m}.{n}")
        )

    def gate(self, m: str, tokens: Mapping[str, Tensor]) -> Tensor:
        """``g_m (B, T_m)``: one on average; a missing modality attends evenly, which leaves all gates at one."""
        gates = {}
        for n, attention in cast(nn.ModuleDict, self.asked_by[m]).items():
            received = cast(AttentionMap, attention).map(tokens[n], tokens[m]).mean(dim=(1, 2))
            gates[n] = received * filled(tokens[m]).sum(dim=1, keepdim=True)
        return total(gates) / len(gates)

    def gates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.gate(m, inputs) for m in inputs}

    def streams(self, tokens: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.stages({m: gates[m].unsqueeze(-1) * x for m, x in tokens.items()})
