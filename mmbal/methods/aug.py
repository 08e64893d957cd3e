"""AUG: give the modality that decides worse one more classifier, boosted on the errors of its earlier ones.

Jiang, Huang and Yang, "Rethinking Multimodal Learning from the Perspective of Mitigating Classification Ability
Disproportion", NeurIPS 2025, arXiv 2502.20120. Head j of modality m is o_mj = V relu(U_mj z_m), V shared by all heads.

    L_m = CE(r, o_mn) + CE(y, sum_{j<=n} o_mj) + CE(y, sum_{j<n} o_mj);   L_m = CE(y, o_m1) while there is one head
    r   = y (1 - lambda sum_{j<n} softmax(o_mj)[y])                        what the earlier heads leave to learn
    s_m = mean_i softmax(sum_j o_mj)[y_i];   every t_N epochs, m gets one more head if  max_{k != m} s_k - sigma s_m > tau

Deviations: r is kept at or above zero (below, its loss has no minimum). s_m is of the ensemble, as in the public code: the
paper sums the heads' probabilities, which grow with their number. That code subtracts the earlier ensemble's softmax once
(`residual = ensemble`, lambda 0.5), compares s_k / s_m with 1 + tau (`rule = ratio`) and weighs the decision by hand
(`weights = {audio: 0.4, video: 0.6}`); its added heads never reach the optimiser, here all do, from the start. It steps one
modality after the other, here one step serves all; they share V alone. t_N is a tenth of the epochs, as there. The heads
decide in the fusion's place, on the features that it is given. A missing modality contributes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError, did_you_mean
from mmbal.maths.confidence import true_class_confidence, true_class_probability
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import linear, masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def residual(earlier: Tensor, labels: Tensor, shrinkage: float, kind: str = "heads") -> Tensor:
    """``r[y]``, what is left of the true class ``(B,)`` after the earlier heads' logits ``(J, B, C)``; constant."""
    voices = earlier.sum(0, keepdim=True) if kind == "ensemble" else earlier
    said = torch.stack([true_class_probability(o, labels) for o in voices]).sum(0)
    return (1 - shrinkage * said).clamp(min=0)


def behind(scores: Mapping[str, float], sigma: float, tau: float, rule: str = "difference") -> list[str]:
    """The modalities that are to get one more head."""
    ahead = {m: max((score for name, score in scores.items() if name != m), default=0.0) for m in scores}
    if rule == "ratio":
        return [m for m in sorted(scores) if ahead[m] > (1 + tau) * scores[m]]
    return [m for m in sorted(scores) if ahead[m] - sigma * scores[m] > tau]


@methods.register(family="boosting", year=2025, paper="2502.20120", status="with stated deviations", off=None)
class AUG(Method):
    """Decides by growing ensembles of heads, one ensemble a modality."""

    at_least = 2

    active: Tensor

    class Config(Config):
        shrinkage: float = Field(0.33, ge=0, le=1, description="lambda: how much earlier heads take off the target")
        sigma: float = Field(1.0, gt=0, description="sigma: weight of a modality's own score in the comparison")
        tau: float = Field(0.01, ge=0, description="tau: how far behind a modality must be")
        every: int | None = Field(None, ge=1, description="t_N: epochs between comparisons; a tenth of all if not set")
        heads: int = Field(10, ge=1, description="most heads a modality can have")
        width: int = Field(256, ge=1, description="width of a head's hidden layer")
        residual: Literal["heads", "ensemble"] = Field("heads", description="what is taken off: paper's or code's")
        rule: Literal["difference", "ratio"] = Field("difference", description="comparison: the paper's or the code's")
        weights: dict[str, float] = Field({}, description="decision weight by modality; 1 where not given")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        for m in self.config.weights:
            if m not in model.modalities:
                raise ConfigError(f"aug.weights: there is no modality '{m}'.", did_you_mean(m, model.modalities))
        heads, width = range(self.config.heads), self.config.width
        self.hidden = nn.ModuleDict(
            {m: nn.ModuleList(linear(d, width, f"aug.{m}.{j}") for j in heads) for m, d in model.fusion.dims.items()}
        )
        self.last = linear(width, model.fusion.classes, "aug.last")
        self.names = sorted(model.modalities)
        self.register_buffer("active", torch.ones(len(self.names), dtype=torch.long))  # heads in use

    def heads(self, m: str, features: Tensor) -> Tensor:
        """Logits ``(J, B, C)`` of the heads of m that are in use."""
        layers = cast(nn.ModuleList, self.hidden[m])[: int(self.active[self.names.index(m)])]
        return torch.stack([self.last(layer(features).relu()) for layer in layers])

    def fuse(self, output: Output) -> Output:
        said = {m: self.heads(m, z).sum(0) * output.present[m][:, None] for m, z in output.features.items()}
        weighted = {m: self.config.weights.get(m, 1.0) * o for m, o in said.items()}
        return replace(output.with_contributions(weighted), logits=said)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        for m, score in true_class_confidence(output.logits, batch.labels, output.present, run.sum).items():
            run.log(f"confidence/{m}", score)
        losses = {}
        for m in phase.modalities:
            labels, present = batch.labels, output.present[m]
            each = self.heads(m, output.features[m])
            earlier, newest = each[:-1], each[-1]
            losses[f"ensemble/{m}"] = masked_cross_entropy(output.logits[m], labels, present)
            if len(earlier):
                left = residual(earlier, labels, self.config.shrinkage, self.config.residual)
                losses[f"earlier/{m}"] = masked_cross_entropy(earlier.sum(0), labels, present)
                surprise = left * cross_entropy(newest, labels, reduction="none")
                losses[f"residual/{m}"] = mean_over(surprise, present)
        return losses

    def on_epoch_end(self, run: Run) -> None:
        every = self.config.every or max(1, run.epochs // 10)
        if (run.epoch + 1) % every == 0:
            logged = {m: run.records.get(f"confidence/{m}") for m in self.names}
            scores = {m: sum(values) / len(values) for m, values in logged.items() if values}
            for m in behind(scores, self.config.sigma, self.config.tau, self.config.rule):
                self.active[self.names.index(m)] += 1
            self.active.clamp_(max=self.config.heads)
        for m, count in zip(self.names, self.active.tolist(), strict=True):
            run.log(f"heads/{m}", count)
