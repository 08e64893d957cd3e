"""G-Blend: weigh the fused and the modalities' own losses by how much each generalises and how little it overfits.

Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020, arXiv 1905.12681.

    L   = sum_k w_k CE(o_k, y)                      k: the fused decision and each modality's own
    G_k = V_k(before) - V_k(after)                  generalisation: what the validation loss fell by
    O_k = (V_k - T_k)(after) - (V_k - T_k)(before)  overfitting: what the gap to the training loss grew by
    w_k = G_k / O_k^2 / sum_j G_j / O_j^2           anew after each super-epoch

Deviations: the paper trains a copy of the model for each k in a super-epoch to measure G and O; here they are those of the
run itself, which costs one pass over both splits a super-epoch. Losses are means over samples in evaluation mode, and
"before" is the state before the super-epoch; a public benchmark sums over batches of splits of different length and starts
after the first epoch. Where a validation loss grew (G < 0) that benchmark takes |G|; here the weight is 0, and if all grew
the weights stay. An |O| below `floor` counts as `floor`, since no overfitting would take all the weight. Own decisions are
the fusion's on one modality, as in the benchmark; the paper's have heads of their own. At first all weights are equal.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch, Loader
from mmbal.maths.confidence import mean_cross_entropy
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import masked_cross_entropy, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.outputs import joined
from mmbal.registry import methods


def blending_weights(before: Tensor, after: Tensor, floor: float = 1e-3) -> Tensor | None:
    """``w (K,)``, which sum to 1, of training and validation losses ``(2, K)`` before and after; None if none fell."""
    gain = (before[1] - after[1]).clamp(min=0)
    overfitting = ((after[1] - after[0]) - (before[1] - before[0])).abs().clamp(min=floor)
    weights = gain / overfitting**2
    return weights / weights.sum() if weights.sum() > 0 else None


@methods.register(
    family="loss weighting",
    year=2020,
    paper="1905.12681",
    status="with stated deviations",
    off={"super_epoch": 0},
)
class GBlend(Method):
    """Weighs the losses by their ratio of generalisation to squared overfitting."""

    at_least = 2

    class Config(Config):
        super_epoch: int = Field(5, ge=0, description="epochs between measurements; 0: the fused loss alone")
        floor: float = Field(1e-3, gt=0, description="smallest |O| (nats)")

    weights: Tensor  # w (1 + M,): the fused one, then modalities by name
    measured: Tensor  # training and validation losses at the last measurement (2, 1 + M); NaN at first

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        many = 1 + len(self.names)
        self.register_buffer("weights", torch.full((many,), 1 / many))
        self.register_buffer("measured", torch.full((2, many), torch.nan))

    def on_epoch_start(self, run: Run) -> None:
        every = self.config.super_epoch
        if every and run.epoch % every == 0:
            now = torch.stack([self.measure(run.train, run, shared=True), self.measure(run.validation, run)])
            weights = None if run.epoch == 0 else blending_weights(self.measured, now, self.config.floor)
            if weights is not None:
                self.weights.copy_(weights)
            self.measured.copy_(now)

    def measure(self, loader: Loader, run: Run, shared: bool = False) -> Tensor:
        """Mean losses ``(1 + M,)`` on a split, which the processes share or each have whole."""
        output, labels = joined(run.evaluate(loader))
        logits = {f"own/{m}": o for m, o in output.logits.items()} | {"fused": output.fused}
        present = {f"own/{m}": p for m, p in output.present.items()} | {
            "fused": torch.ones_like(labels, dtype=torch.bool)
        }
        found = mean_cross_entropy(logits, labels, present, run.sum if shared else lambda value: value)
        return torch.tensor([found.get(k, 0.0) for k in ("fused", *(f"own/{m}" for m in self.names))]).to(self.weights)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.config.super_epoch == 0:
            return found
        fused, *own = self.weights.tolist()
        run.log("weight", fused)
        weighted = {"fused": fused * total(found)}
        for m, weight in zip(self.names, own, strict=True):
            run.log(f"weight/{m}", weight)
            weighted[f"own/{m}"] = weight * masked_cross_entropy(output.logits[m], batch.labels, output.present[m])
        return weighted
