"""One transformer on the tokens of all modalities: the head of late fusion.

Rheude, Eils and Wild, "Fusion or Confusion? Multimodal Complexity Is Not All You Need", 2025, arXiv 2512.22991 (SimBaMM).
With tokens x of any modality m, mapped to one width by P_m, and a learned class token c::

    H = transformer([c, P_1 x_1, ..., P_M x_M]),   o = W H_c + b

Attention is computed between the tokens that are there: empty tokens (all zeros: padding, or a missing modality) are no
keys. `tokens = pooled` gives the transformer one token for each modality, the mean.

Deviations: the read-out by a class token, the pre-norm layers and their sizes are ours. There is no dropout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.errors import ConfigError
from mmbal.models.attention import filled
from mmbal.models.fusion import Fusion, linear, named_seed
from mmbal.registry import fusions


@fusions.register(additive=False, family="late fusion", year=2025, paper="2512.22991", status="with stated deviations")
class LateTransformerFusion(Fusion):
    """A transformer on the tokens, or on the pooled features, of all modalities.

    ``o = W transformer([c, P_m x_m])_c + b``; Rheude, Eils and Wild, 2025, arXiv 2512.22991.
    """

    takes = "tokens"

    class Config(Config):
        dim: int = Field(64, ge=2, description="d: width of the tokens in the transformer")
        layers: int = Field(1, ge=1, description="transformer layers")
        heads: int = Field(4, ge=1, description="attention heads; dim must be a multiple")
        tokens: Literal["pooled", "all"] = Field("pooled", description="one token for each modality, or all of them")

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        if config.dim % config.heads:
            raise ConfigError(f"fusion.dim ({config.dim}) is not a multiple of fusion.heads ({config.heads}).")
        self.map = nn.ModuleDict({m: linear(d, config.dim, f"map.{m}") for m, d in dims.items()})
        with named_seed("transformer"):
            self.token = nn.Parameter(torch.randn(config.dim) * 0.02)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    config.dim, config.heads, 2 * config.dim, dropout=0.0, batch_first=True, norm_first=True
                )
                for _ in range(config.layers)
            )
        self.norm = nn.LayerNorm(config.dim)
        self.out = linear(config.dim, classes, "out")

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        given = {m: x.mean(dim=1, keepdim=True) if self.config.tokens == "pooled" else x for m, x in inputs.items()}
        names = sorted(given)
        rows = len(given[names[0]])
        tokens = torch.cat([self.token.expand(rows, 1, -1), *(self.map[m](given[m]) for m in names)], dim=1)
        empty = torch.cat([~filled(given[m]) for m in names], dim=1)
        empty = torch.cat([torch.zeros_like(empty[:, :1]), empty], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=empty)
        return self.out(self.norm(tokens[:, 0]))
