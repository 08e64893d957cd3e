"""A class token that reads the tokens of all modalities by attention: the fusion that RollingQ is about.

Ni, Wei, Liu, Chen, Peng, Lin and Hu, "RollingQ: Reviving the Cooperation Dynamics in Multimodal Transformer", ICML 2025,
arXiv 2506.11465. With tokens x of any modality m, mapped to one width by P_m, and the learned class token c::

    q = R W_q c,   keys W_k x and W_k c,   values W_v x and W_v c
    o = W W_o sum_tokens softmax(q . key / sqrt d) value + b

Deviations: one head, as in the public code, without its dropout. Empty tokens (all zeros: padding, or a missing modality)
are no keys. The rotation R is the identity until the method `rollingq` turns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.models.attention import filled
from mmbal.models.fusion import Fusion, linear, named_seed
from mmbal.registry import fusions


@fusions.register(
    "class_token",
    additive=False,
    gives={"class_token"},
    family="attention",
    year=2025,
    paper="2506.11465",
    status="with stated deviations",
)
class ClassTokenFusion(Fusion):
    """Attention of one learned query to all modalities' tokens.

    ``o = W W_o sum softmax(q . k / sqrt d) v + b``; Ni et al., ICML 2025, arXiv 2506.11465.
    """

    takes = "tokens"
    rotation: Tensor

    class Config(Config):
        dim: int = Field(64, ge=2, description="d: width of tokens, keys and values")

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        dim = config.dim
        self.map = nn.ModuleDict({m: linear(d, dim, f"map.{m}", bias=False) for m, d in dims.items()})
        with named_seed("token"):
            self.token = nn.Parameter(torch.randn(dim) * 0.02)
        self.ask = linear(dim, dim, "ask")
        self.key = linear(dim, dim, "key")
        self.value = linear(dim, dim, "value")
        self.read = linear(dim, dim, "read")
        self.out = linear(dim, classes, "out")
        self.register_buffer("rotation", torch.eye(dim))

    def query(self) -> Tensor:
        """``q (d,)``: the class token's query, rotated."""
        return self.rotation @ self.ask(self.token)

    def mean_keys(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean key ``(B, d)`` of each modality's tokens ``(B, T, D_m)``; zero where it has none."""
        found = {}
        for m, tokens in inputs.items():
            there = filled(tokens)[:, :, None]
            found[m] = (self.key(self.map[m](tokens)) * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        return found

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        names = sorted(inputs)
        rows = len(inputs[names[0]])
        tokens = torch.cat([self.token.expand(rows, 1, -1), *(self.map[m](inputs[m]) for m in names)], dim=1)
        there = torch.cat([filled(inputs[m]) for m in names], dim=1)
        there = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)  # the class token reads itself too
        scores = self.key(tokens) @ self.query() / self.config.dim**0.5
        weights = scores.masked_fill(~there, -torch.inf).softmax(dim=1)
        return self.out(self.read((weights[:, None] @ self.value(tokens)).squeeze(1)))
