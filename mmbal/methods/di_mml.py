"""DI-MML: train each modality alone, let it learn from the others where only they are good, and combine them at the end.

Fan, Xu, Wang, Liu and Guo, "Detached and Interactive Multimodal Learning", ACM MM 2024, arXiv 2407.19514. First stage, with
one classifier H that all share and one of its own for each:

    L = sum_m [ CE(H_m z_m, y) + beta CE(H z_m, y) ] + sum_{m != k} contrast(m, k)     contrast after a warm-up
    contrast(m, k) = -mean_i log [ exp(z_im . z_ik / t) / sum_j exp(z_im . z_jk / t) ]
                     over the units U_k - U_m, z_k constant
    U_m: the units whose nearest class mean, unit by unit, is that of the truth more often than on average

Second stage: encoders and heads are frozen, the fusion learns. The decision is sum_j w_j o_j over the modalities and the
fusion, with w = softmax_j(max_c softmax(o_j)[c] / T).

Deviations: features of different widths are first mapped to one width, which the shared classifier presupposes. For M > 2
the contrast is the mean over the other modalities. The units are found once, from the training rows in evaluation mode,
as the warm-up ends (20 epochs in the public code; a fifth of the first stage if not set). Rows without m take no part in
m's terms. The stages share the epochs. No option makes this joint training: the encoders never see the fused loss.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.prototypes import class_means
from mmbal.methods.base import Method, Phase, Run, Stage
from mmbal.models.fusion import linear, masked_cross_entropy, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods


def unit_hits(features: Tensor, means: Tensor, labels: Tensor) -> Tensor:
    """Whether, unit by unit, the nearest of the class means ``(C, D)`` is the truth's: ``(B, D)`` of features ``(B, D)``."""
    return (features[:, None, :] - means[None]).abs().argmin(dim=1) == labels[:, None]


def contrast(features: Tensor, others: Tensor, units: Tensor, temperature: float) -> Tensor:
    """The contrast ``(N,)`` of each row's features with its own among all rows' of another modality, on ``units (D,)``."""
    similarity = (features * units) @ others.detach().T / temperature
    return similarity.logsumexp(dim=1) - similarity.diagonal()


def confidence_weights(logits: Tensor, present: Tensor, temperature: float) -> Tensor:
    """``w (B, J)``, summing to one over the decisions that are ``present (B, J)``, of logits ``(B, J, C)``."""
    sure = logits.softmax(dim=-1).amax(dim=-1) / temperature
    return sure.masked_fill(~present, torch.finfo(sure.dtype).min).softmax(dim=1) * present


@methods.register(
    family="alternating",
    year=2024,
    paper="2407.19514",
    needs={"additive"},
    status="with stated deviations",
    off=None,
)
class DIMML(Method):
    """Trains modalities apart with a shared classifier and a contrast between them, then the fusion on frozen features."""

    at_least = 2

    units: Tensor

    class Config(Config):
        beta: float = Field(1.0, ge=0, description="beta: weight of the shared classifier's loss")
        contrast: float = Field(1.0, ge=0, description="weight of the contrast; 1 in the paper, 0 none")
        t: float = Field(1.0, gt=0, description="t: temperature of the contrast")
        temperature: float = Field(1.0, gt=0, description="T: temperature of the decision's weights")
        fusion: float = Field(0.2, gt=0, lt=1, description="share of the epochs in which the fusion learns")
        warm_up: int | None = Field(None, ge=0, description="epochs without contrast; a fifth of the stage if not set")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dims, classes = model.fusion.dims, model.fusion.classes
        width = max(dims.values())
        self.map = nn.ModuleDict(
            {m: linear(d, width, f"di_mml.{m}", bias=False) for m, d in dims.items() if len(set(dims.values())) > 1}
        )
        self.own = nn.ModuleDict({m: linear(width, classes, f"di_mml.own.{m}") for m in dims})
        self.shared = linear(width, classes, "di_mml.shared")
        self.register_buffer("units", torch.zeros(len(dims), width, dtype=torch.bool))  # U_m

    def stages(self, epochs: int) -> list[Stage]:
        last = min(epochs - 1, max(1, round(self.config.fusion * epochs)))
        return [
            Stage("modalities", epochs - last, ("encoders", "method")),
            *([Stage("fusion", last, ("fusion",))] if last else []),
        ]

    def features(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features of all modalities in one width ``(B, D)``."""
        return {m: self.map[m](z) if m in self.map else z for m, z in features.items()}

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        assert run.stage is not None
        warm_up = run.stage.epochs // 5 if self.config.warm_up is None else self.config.warm_up
        if run.stage.name != "modalities" or run.epoch != warm_up or self.config.contrast == 0:
            return
        found = [
            (self.features(output.features), batch.labels, batch.present)
            for output, batch in run.evaluate(run.train, run.epoch)
        ]
        labels = torch.cat([y for _, y, _ in found])
        for k, m in enumerate(self.model.modalities):
            z, there = torch.cat([z[m] for z, _, _ in found]), torch.cat([p[m] for _, _, p in found])
            means, _ = class_means(z, labels, there, self.model.fusion.classes, run.sum)
            hits = run.sum((unit_hits(z, means, labels) * there[:, None]).sum(dim=0).double())
            self.units[k] = hits > hits.mean()
            run.log(f"units/{m}", self.units[k].float().mean())

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        if run.stage is not None and run.stage.name == "fusion":
            return super().losses(output, batch, phase, run)
        found, names = {}, self.model.modalities
        features = self.features(output.features)
        for m, z in features.items():
            found[f"own/{m}"] = masked_cross_entropy(self.own[m](z), batch.labels, output.present[m])
            if self.config.beta > 0:
                shared = masked_cross_entropy(self.shared(z), batch.labels, output.present[m])
                found[f"shared/{m}"] = self.config.beta * shared
        if bool(self.units.any()):
            whole = WholeBatch(batch.index, len(run.train.store), run.sum)
            mine = {m: whole.gather(features[m].float()) for m in names}
            there = {m: whole.gather(output.present[m]) for m in names}
            for i, m in enumerate(names):
                terms = []
                for k in (n for n in range(len(names)) if n != i):
                    both, units = there[m] & there[names[k]], self.units[k] & ~self.units[i]
                    if bool(both.any()) and bool(units.any()):
                        terms.append(contrast(mine[m][both], mine[names[k]][both], units, self.config.t).mean())
                if terms:
                    found[f"contrast/{m}"] = self.config.contrast * torch.stack(terms).sum() / (len(names) - 1)
        return found

    def predict(self, output: Output) -> Output:
        names = self.model.modalities
        own = {m: self.own[m](z) for m, z in self.features(output.features).items()}
        logits = torch.stack([*(own[m] for m in names), output.fused], dim=1)
        there = torch.stack([*(output.present[m] for m in names), torch.ones_like(output.present[names[0]])], dim=1)
        *weights, fused = confidence_weights(logits.float(), there, self.config.temperature)[..., None].unbind(dim=1)
        assert output.contribution is not None
        parts = {m: w * own[m] + fused * output.contribution[m] for m, w in zip(names, weights, strict=True)}
        return replace(output, logits=own, contribution=parts, fused=total(parts))
