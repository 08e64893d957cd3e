"""MODS: compress every modality to a few nodes, choose the primary one by sample, and let it read the others.

After Yang et al., "Improving Multimodal Sentiment Analysis via Modality Optimization and Dynamic Primary Modality
Selection", AAAI 2026, arXiv 2511.06328: our instantiation, since lengths and widths are not public and the paper regresses
sentiment from text, audio and video. For tokens X_m (B, T_m, D_m) of M >= 2 modalities::

    compression:  U_ij = X_i W_j,  r_ij = softmax_j b_ij,  N_j = sum_i r_ij U_ij / sum_i r_ij,  b_ij += U_ij . tanh N_j
                  H = norm(N + ReLU(D^-1/2 E D^-1/2 N W)),  E = sigmoid(Q Q^T / sqrt(d)),  Q = N V,  D = diag(E 1)
    selection:    h_m = attention-pooled H_m,  w = softmax_m MLP(h_1, ..., h_M),  H_m <- w_m H_m
    interaction:  for the primary p, in every layer:  H_p <- H_p + SA(H_p) + mean_a CA(H_p, H_a)
                                          and, but in the last:  H_a <- H_a + CA(H_a, H_p)
    fusion:       f = norm(sum_p w_p pool(H_p of the layers with p primary)),  o = W f + b

The hard choice p = argmax w has no gradient, so every modality takes the part of the primary and the answers are weighed
by w, in training and test alike; argmax w is reported. Sequences shorter than the number of nodes keep their length.
A missing modality is no candidate, and adds nothing, since no layer before the decision has a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.errors import ConfigError
from mmbal.models.attention import Block, filled
from mmbal.models.fusion import Fusion, Output, linear, named_seed, total
from mmbal.registry import fusions

ABOUT: dict[str, Any] = {
    "additive": False,
    "gives": {"selector"},
    "family": "fusion",
    "year": 2026,
    "paper": "2511.06328",
    "status": "our instantiation",
}


@dataclass(frozen=True)
class Reading:
    """What MODS makes of B samples: ``fused (B, d)``, ``own[m] (B, d)`` and ``weight[m] (B,)``, summing to one over m."""

    fused: Tensor
    own: dict[str, Tensor]
    weight: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Selection(Output):
    """An output that also says what it was read from."""

    reading: Reading


def route(capsules: Tensor, there: Tensor, rounds: int) -> Tensor:
    """Dynamic routing of capsules ``(B, T, K, d)`` of the tokens that are ``there (B, T)`` to nodes ``(B, K, d)``."""
    agreement = capsules.new_zeros(capsules.shape[:3])
    nodes = capsules.new_zeros(())
    for _ in range(rounds):
        share = agreement.softmax(dim=2) * there[:, :, None]
        share = share / share.sum(dim=1, keepdim=True).clamp(min=1e-9)
        nodes = torch.einsum("btk,btkd->bkd", share, capsules)
        agreement = agreement + torch.einsum("btkd,bkd->btk", capsules, nodes.tanh())
    return nodes


def normalised_adjacency(edges: Tensor) -> Tensor:
    """``D^-1/2 E D^-1/2`` of positive, symmetric edges ``(B, K, K)``."""
    scale = edges.sum(dim=-1).rsqrt()
    return scale[:, :, None] * edges * scale[:, None, :]


class Compressor(nn.Module):
    """Tokens ``(B, T, D)`` to at most K nodes ``(B, K, d)``, which then exchange what they hold."""

    def __init__(self, inputs: int, dim: int, nodes: int, rounds: int, name: str) -> None:
        super().__init__()
        self.rounds = rounds
        with named_seed(f"{name}.capsules"):
            self.capsules = nn.Parameter(torch.randn(nodes, inputs, dim) * (2 / (inputs + dim)) ** 0.5)
        self.edge = linear(dim, dim, f"{name}.edge", bias=False)
        self.graph = linear(dim, dim, f"{name}.graph", bias=False)
        self.norm = nn.LayerNorm(dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        capsules = torch.einsum("btd,kde->btke", tokens, self.capsules[: tokens.shape[1]])
        nodes = route(capsules, filled(tokens).to(tokens.dtype), self.rounds)
        query = self.edge(nodes)
        edges = (query @ query.transpose(1, 2) / query.shape[-1] ** 0.5).sigmoid()
        return self.norm(nodes + (normalised_adjacency(edges) @ self.graph(nodes)).relu())


class Selector(nn.Module):
    """Weights over the modalities that are there, from their attention-pooled sequences."""

    def __init__(self, modalities: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.ask = nn.ModuleDict({m: linear(dim, 1, f"ask.{m}", bias=False) for m in modalities})
        self.hidden = nn.ModuleDict({m: linear(dim, dim, f"hidden.{m}", bias=False) for m in modalities})
        self.score = nn.ModuleDict({m: linear(dim, 1, f"score.{m}") for m in modalities})

    def forward(self, sequences: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Pooled sequences ``(B, d)`` and weights ``(B,)``."""
        pooled = {m: (self.ask[m](h).softmax(dim=1) * h).sum(dim=1) for m, h in sequences.items()}
        hidden = total({m: self.hidden[m](h) for m, h in pooled.items()}).relu()
        names = sorted(pooled)
        scores = torch.cat([self.score[m](hidden) for m in names], dim=1)
        absent = torch.stack([~filled(sequences[m]).any(dim=1) for m in names], dim=1)
        weights = scores.masked_fill(absent, torch.finfo(scores.dtype).min).softmax(dim=1)
        return pooled, dict(zip(names, weights.unbind(dim=1), strict=True))


@fusions.register("mods", **ABOUT)
class MODSFusion(Fusion):
    """Dynamic primary modality selection over the modalities' token sequences."""

    takes = "tokens"
    at_least = 2

    class Config(Config):
        dim: int = Field(64, ge=1, description="d: width of nodes and attention")
        nodes: int = Field(8, ge=1, description="K: nodes to which a longer sequence is compressed")
        rounds: int = Field(3, ge=1, description="rounds of dynamic routing")
        layers: int = Field(2, ge=1, description="layers of cross-attention around the primary modality")
        heads: int = Field(1, ge=1, description="attention heads; dim must be a multiple")

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        if config.dim % config.heads:
            raise ConfigError(f"fusion.dim ({config.dim}) is not a multiple of fusion.heads ({config.heads}).")
        dim = config.dim
        self.compress = nn.ModuleDict(
            {m: Compressor(width, dim, config.nodes, config.rounds, f"compress.{m}") for m, width in dims.items()}
        )
        self.select = Selector(dims, dim)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    m: nn.ModuleDict({n: Block(dim, dim, dim, config.heads, dim, f"{layer}.{m}.{n}") for n in dims})
                    for m in dims
                }
            )
            for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(dim, bias=False)
        self.out = linear(dim, classes, "out")

    def read(self, inputs: Mapping[str, Tensor], weight: Mapping[str, Tensor] | None = None) -> Reading:
        """Compression, selection and interaction of tokens (or features, each then a single token).

        ``weight[m] (B,)`` stands in for what is selected.
        """
        tokens = {m: x if x.dim() == 3 else x.unsqueeze(1) for m, x in inputs.items()}
        sequences = {m: self.compress[m](x) for m, x in tokens.items()}
        own, selected = self.select(sequences)
        weight = selected if weight is None else dict(weight)
        scaled = {m: weight[m][:, None, None] * h for m, h in sequences.items()}
        answers = {p: weight[p][:, None] * self.centred(p, scaled).mean(dim=1) for p in scaled}
        return Reading(self.norm(total(answers)), own, weight)

    def centred(self, primary: str, sequences: Mapping[str, Tensor]) -> Tensor:
        """The primary modality's sequence once it has read itself and the others, layer by layer."""
        state = dict(sequences)
        # less the primary itself; where that is missing its weight is 0, and so is the result of this sequence
        others = torch.stack([filled(h).any(dim=1) for h in sequences.values()]).sum(dim=0) - 1
        for layer in self.layers:
            blocks = cast(nn.ModuleDict, cast(nn.ModuleDict, layer)[primary])
            read = {m: blocks[m](state[primary], h) for m, h in state.items()}
            state[primary] = state[primary] + read.pop(primary)
            if read:
                state[primary] = state[primary] + total(read) / others.clamp(min=1)[:, None, None]
            if layer is not self.layers[-1]:
                for m in read:
                    answer = cast(nn.ModuleDict, cast(nn.ModuleDict, layer)[m])[primary](state[m], state[primary])
                    # A missing modality stays zero, or the primary would read its own output.
                    state[m] = state[m] + answer * filled(state[m]).unsqueeze(-1)
        return state[primary]

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.out(self.read(inputs).fused)

    def gates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.read(inputs).weight

    def gated_head(self, inputs: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> Tensor:
        return self.out(self.read(inputs, gates).fused)

    def sample_weights(self, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(gates)

    def decide(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Selection:
        reading = self.read(inputs)
        # A missing modality adds nothing, so the only candidate needs none of the others.
        alone = {m: self.head({m: x}) for m, x in inputs.items()}
        output = self._output(inputs, present, alone, self.out(reading.fused), None)
        return Selection(**vars(output), reading=reading)


@fusions.register("mods_light", **ABOUT)
class MODSLightFusion(MODSFusion):
    """Dynamic primary modality selection on pooled features, with one node for each modality."""

    takes = "features"
