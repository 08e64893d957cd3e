"""Fusions in which one modality conditions the others: FiLM and gating. Neither is additive."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config as Settings
from mmbal.errors import ConfigError
from mmbal.models.fusion import Fusion, linear, total
from mmbal.registry import fusions


class ConditionedFusion(Fusion):
    """Base of FiLM and gating: one modality conditions all others."""

    at_least = 2

    class Config(Settings):  # mypy takes a base of the same name for a cycle here
        by: str | None = Field(
            None, description="the modality that conditions the others; the first by name if not set"
        )

    def __init__(self, dims: Mapping[str, int], classes: int, config: ConditionedFusion.Config) -> None:
        super().__init__(dims, classes, config)
        self.by = config.by or min(dims)
        if self.by not in dims:
            raise ConfigError(f"fusion.by: there is no modality '{self.by}'.", f"There are: {', '.join(sorted(dims))}.")
        self.others = sorted(set(dims) - {self.by})


@fusions.register("film", additive=False)
class FiLMFusion(ConditionedFusion):
    """Feature-wise linear modulation: one modality scales and shifts the features of the others.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, arXiv 1709.07871:
    ``o = b + sum_j F_j (gamma_j(z_by) * z_j + beta_j(z_by))``. With two modalities this is the form of the OGM-GE
    code (one sum term); for more, every other modality has its own term.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, config: ConditionedFusion.Config) -> None:
        super().__init__(dims, classes, config)
        of = dims[self.by]
        self.film = nn.ModuleDict({m: linear(of, 2 * dims[m], f"film.{m}") for m in self.others})
        self.out = nn.ModuleDict({m: linear(dims[m], classes, f"out.{m}", bias=False) for m in self.others})
        self.bias = nn.Parameter(torch.zeros(classes))

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        parts = {}
        for m in self.others:
            gamma, beta = self.film[m](inputs[self.by]).chunk(2, dim=-1)
            parts[m] = self.out[m](gamma * inputs[m] + beta)
        return total(parts) + self.bias


@fusions.register("gated", additive=False)
class GatedFusion(ConditionedFusion):
    """Gated fusion: a sigmoid of one modality's projection opens and closes the projections of the others.

    Kiela, Grave, Joulin and Mikolov, "Efficient Large-Scale Multi-Modal Classification", AAAI 2018, arXiv 1802.02892:
    ``o = b + sum_j F (sigmoid(U_by z_by) * U_j z_j)``; with two modalities the form of the OGM-GE code.
    """

    class Config(ConditionedFusion.Config):
        dim: int = Field(512, ge=1, description="width of the projections")

    def __init__(self, dims: Mapping[str, int], classes: int, config: GatedFusion.Config) -> None:
        super().__init__(dims, classes, config)
        self.project = nn.ModuleDict({m: linear(dim, config.dim, f"project.{m}") for m, dim in dims.items()})
        self.out = linear(config.dim, classes, "out")

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.gated_head(inputs, self.gates(inputs))

    def gates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {self.by: self.project[self.by](inputs[self.by]).sigmoid()}

    def gated_head(self, inputs: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> Tensor:
        return self.out(gates[self.by] * total({m: self.project[m](inputs[m]) for m in self.others}))

    def sample_weights(self, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict.fromkeys(self.others, gates[self.by].mean(dim=1))
