"""Fusions: the features of all modalities to one decision, and each modality's part in it.

Additive fusions (concat, sum, adaptive) state exactly what each modality adds to the fused logits. The others are
evaluated once per coalition of modalities, on the same features, with the rest set to zero.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmbal.config import Config, validate
from mmbal.errors import ConfigError
from mmbal.models.whole_batch import mean_over
from mmbal.registry import fusions


@dataclass(frozen=True)
class Output:
    """A model's output for a batch of B samples.

    ``features[m] (B, D_m)``, ``logits[m] (B, C)`` (the decision of m alone), ``fused (B, C)``; ``contribution[m] (B, C)``
    is m's additive part of ``fused``, or None where the fusion is not additive; ``inputs[m]`` is what the fusion was
    given (features, or tokens ``(B, T, D_m)``); ``present[m] (B,)`` is false where m is missing; ``weights[m] (B,)`` is
    how much a gate gives m in each sample, where there is one.
    """

    features: dict[str, Tensor]
    logits: dict[str, Tensor]
    fused: Tensor
    contribution: dict[str, Tensor] | None
    present: dict[str, Tensor]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def joined(cls, outputs: Sequence[Output]) -> Output:
        """The outputs for several batches as that for all their samples, without gradients; a single one as it is."""
        first = outputs[0]
        if len(outputs) == 1:
            return first

        def column(name: str) -> dict[str, Tensor]:
            parts = [getattr(output, name) for output in outputs]
            return {m: torch.cat([part[m].detach() for part in parts]) for m in parts[0]}

        return cls(
            features=column("features"),
            logits=column("logits"),
            fused=torch.cat([output.fused.detach() for output in outputs]),
            contribution=None if first.contribution is None else column("contribution"),
            present=column("present"),
            inputs=column("inputs"),
            weights=column("weights"),
        )

    def with_contributions(self, parts: Mapping[str, Tensor]) -> Output:
        """The same features under another additive rule: a modality's own decision is also its contribution to the sum."""
        return replace(self, logits=dict(parts), contribution=dict(parts), fused=total(parts), weights={})

    def stacked(self) -> tuple[Tensor, Tensor]:
        """What decision rules take: logits ``(B, M, C)`` and presence ``(B, M)`` as 0 and 1, in the order of the names."""
        names = sorted(self.logits)
        logits = torch.stack([self.logits[m] for m in names], dim=1).float()
        return logits, torch.stack([self.present[m] for m in names], dim=1).to(logits.dtype)

    def weighted(self, weights: Tensor) -> Output:
        """The sum of the modalities' own logits under weights ``(B, M)``, in the order of the names."""
        each = dict(zip(sorted(self.logits), weights.unbind(dim=1), strict=True))
        parts = {m: w[:, None] * self.logits[m] for m, w in each.items()}
        return replace(self, contribution=parts, fused=total(parts), weights=each)

    def averaged(self) -> Output:
        """The mean of the modalities' own logits, over those that a sample has."""
        _, present = self.stacked()
        return self.weighted(present / present.sum(dim=1, keepdim=True).clamp(min=1))

    def with_fused(self, fused: Tensor) -> Output:
        """The same single-modality decisions under a rule that is not a sum."""
        return replace(self, fused=fused, contribution=None, weights={})


def total(parts: Mapping[str, Tensor]) -> Tensor:
    """Sum over modalities, always in the order of their names, so that the order given changes no bit."""
    return torch.stack([parts[m] for m in sorted(parts)]).sum(dim=0)


@contextmanager
def named_seed(name: str) -> Iterator[None]:
    """Random numbers that depend on the global seed and ``name`` alone: a part starts the same beside any others."""
    seed = (torch.initial_seed() + zlib.crc32(name.encode())) % 2**63
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def linear(inputs: int, outputs: int, name: str, bias: bool = True) -> nn.Linear:
    """A linear layer with Xavier-normal weights from the seed and ``name``, and a bias of zero."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    with named_seed(name):
        nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Fusion(nn.Module):
    """Base of the fusions; a subclass implements :meth:`head` (fused logits of given features)."""

    Config: ClassVar[type[Config]] = Config
    takes: ClassVar[str] = "features"  # or "tokens"
    at_least: ClassVar[int] = 1  # modalities without which the fusion has nothing to do
    rule: str | None = None  # the decision rule refitted on the calibration split at each evaluation

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        """Raises ConfigError where there are fewer modalities than the fusion needs."""
        super().__init__()
        if len(dims) < self.at_least:
            raise ConfigError(
                f"The fusion '{fusions.name_of(type(self))}' needs at least {self.at_least} modalities; the model has "
                f"{len(dims)}.",
                "Use --fusion concat for a single modality.",
            )
        self.dims = dict(dims)
        self.classes = classes
        self.config = config

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Fused logits ``(B, C)`` of features ``(B, D_m)`` (or tokens), zeros where a modality is missing."""
        raise TypeError(f"{type(self).__name__} defines no head")

    def gates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the fusion multiplies by in each sample, ``(B, ...)`` each under a name of its own; nothing by default.

        A fusion with gates decides by those of other samples in :meth:`gated_head`, so that what they add can be measured.
        """
        return {}

    def gated_head(self, inputs: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> Tensor:
        """Fused logits ``(B, C)`` by given gates; with those of :meth:`gates`, the same as :meth:`head`."""
        raise TypeError(f"{type(self).__name__} has no gates")

    def sample_weights(self, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How much the gates give a modality in each sample, ``(B,)``, where one number says it."""
        return {}

    def decide(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Output:
        """The decision and each modality's own, from features or tokens, zero where a modality is missing."""
        alone = {m: self.head({n: v if n == m else torch.zeros_like(v) for n, v in inputs.items()}) for m in inputs}
        return self._output(inputs, present, alone, self.head(inputs), None)

    def losses(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The loss that plain training of this fusion minimises: cross-entropy of the fused logits."""
        return {"fused": cross_entropy(output.fused, labels)}

    def _output(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        logits: dict[str, Tensor],
        fused: Tensor,
        contribution: dict[str, Tensor] | None,
    ) -> Output:
        pooled = {m: v.mean(dim=1) if v.dim() == 3 else v for m, v in inputs.items()}
        return Output(pooled, logits, fused, contribution, dict(present), dict(inputs))


class LinearFusion(Fusion):
    """Fusions whose logits are a sum of linear parts, one for each modality."""

    def weight(self, m: str) -> Tensor:
        """Decision weights W_m ``(C, D_m)``."""
        raise TypeError(f"{type(self).__name__} defines no weights")

    def bias(self, m: str) -> Tensor:
        """The share of the bias ``(C,)`` that counts as m's."""
        raise TypeError(f"{type(self).__name__} defines no bias")

    def part(self, m: str, features: Tensor) -> Tensor:
        """``z_m W_m^T`` plus m's share of the bias: ``(B, C)``."""
        return features @ self.weight(m).T + self.bias(m)

    def decide(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Output:
        parts = {m: self.part(m, z) for m, z in inputs.items()}
        return self._output(inputs, present, parts, total(parts), parts)

    def head(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return total({m: self.part(m, z) for m, z in inputs.items()})


@fusions.register("concat", additive=True)
class ConcatFusion(LinearFusion):
    """One linear layer on the concatenated features; each modality's part carries b/M (the convention of OGM-GE)."""

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        # Blocks of one Xavier-normal matrix, each drawn from its own seed, so the order of modalities does not matter.
        deviation = (2 / (sum(dims.values()) + classes)) ** 0.5
        self.weights = nn.ParameterDict()
        for m, dim in dims.items():
            with named_seed(f"fusion.{m}"):
                self.weights[m] = nn.Parameter(torch.randn(classes, dim) * deviation)
        self.shared_bias = nn.Parameter(torch.zeros(classes))

    def weight(self, m: str) -> Tensor:
        return self.weights[m]

    def bias(self, m: str) -> Tensor:
        return self.shared_bias / len(self.dims)


@fusions.register("sum", additive=True)
class SumFusion(LinearFusion):
    """A linear head for each modality, logits summed; joint training keeps the heads' biases equal, hence at b/M."""

    def __init__(self, dims: Mapping[str, int], classes: int, config: Any) -> None:
        super().__init__(dims, classes, config)
        self.heads = nn.ModuleDict({m: linear(dim, classes, f"fusion.{m}") for m, dim in dims.items()})

    def weight(self, m: str) -> Tensor:
        return cast(nn.Linear, self.heads[m]).weight

    def bias(self, m: str) -> Tensor:
        return cast(nn.Linear, self.heads[m]).bias


@fusions.register("adaptive", additive=False)
class AdaptiveFusion(SumFusion):
    """Late fusion: every branch has its own head and loss; the decision rule is fitted on the calibration split.

    The training loss never sees the rule, and the rule never sees a training row; until it is fitted the logits are
    summed. See mmbal/decision for the rules and arXiv 2510.14411 for why weights belong to the decision layer.
    """

    class Config(Config):
        rule: str = Field("adaptive", description="decision rule, refitted on the calibration split at each evaluation")

    def __init__(self, dims: Mapping[str, int], classes: int, config: AdaptiveFusion.Config) -> None:
        super().__init__(dims, classes, config)
        self.rule = config.rule

    def losses(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        return {m: masked_cross_entropy(o, labels, output.present[m]) for m, o in output.logits.items()}


def build_fusion(name: str, options: dict[str, object], dims: Mapping[str, int], classes: int) -> Fusion:
    """The fusion ``name`` over features of the given widths; raises ConfigError or UsageError where it can't be."""
    cls = fusions.get(name)
    return cls(dims, classes, validate(cls.Config, options, f"fusion {name}"))


def masked_cross_entropy(logits: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Mean cross-entropy over the rows of the whole batch that have the modality; see :func:`mean_over`."""
    return mean_over(cross_entropy(logits, labels, reduction="none"), present)
