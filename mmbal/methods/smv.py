"""SMV: compute each modality's value for each sample, and train again on the modalities of low value alone.

Wei, Feng, Wang and Hu, "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", CVPR 2024, arXiv 2309.06255.

    v_i(S) = |S| where the decision of sample i by the modalities S alone is right, else 0
    phi_im = exact Shapley value of m in v_i          M = 2: (v_i(m) + v_i(all) - v_i(other)) / 2
    level = sample:     copies of i by m alone: 0 where phi_im >= 1;  1 above .4;  2 above -.1;  else 3
    level = modality:   one copy with chance f(2/3 alpha (max_k phi_k - phi_m)), phi_m the mean over a part of the samples
    L = mean over samples and copies of CE(decision, y)

Deviations: a copy is in the same step as its sample, where the public code draws it in another batch of a longer epoch;
the decision by m alone needs no further pass through an encoder. Values are those of the model in evaluation mode on the
training rows as the epoch begins, from epoch `warm_up` on (5 of 60 in the public code: a twelfth of the epochs if not
set). The paper has M = 2 for the sample level: for M > 2 a copy keeps m and drops all others, and phi = 1 is still a fair
share of v = M. A missing modality gets no copies.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.shapley import shapley_values
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import uniform_by_row
from mmbal.models.multimodal import Output
from mmbal.predictions.format import subsets_of
from mmbal.registry import methods


def contributions(right: Mapping[tuple[str, ...], Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """``phi_m (N,)`` of whether each coalition's decision is right ``(N,)``; the empty one counts as wrong."""
    value = {members: len(members) * found.float() for members, found in right.items() if members}
    return shapley_values({(): torch.zeros_like(next(iter(value.values())))} | value, names)


def copies(phi: Tensor) -> Tensor:
    """How often a sample is shown again by a modality of contribution ``phi (...)`` alone: 0 to 3."""
    return (phi < 1).long() + (phi <= 0.4).long() + (phi <= -0.1).long()


def chance(phi: Mapping[str, float], alpha: float, shape: str = "linear") -> dict[str, float]:
    """Chance, by modality, that a sample is shown again by it alone, from the mean contributions."""
    best = max(phi.values())
    form = {"linear": lambda x: x, "tanh": math.tanh, "power": lambda x: x**1.5}[shape]
    return {m: min(1.0, form(2 / 3 * alpha * (best - value))) for m, value in phi.items()}


@methods.register(
    family="resampling",
    year=2024,
    paper="2309.06255",
    status="with stated deviations",
    off={"most": 0},
)
class SMV(Method):
    """Trains more on samples by modalities that contribute little to their decision."""

    at_least = 2

    counts: Tensor

    class Config(Config):
        level: Literal["sample", "modality"] = Field(
            "sample", description="what is valued: samples, or whole modalities"
        )
        most: int = Field(3, ge=0, le=3, description="most copies of a sample by one modality; 0 none")
        alpha: float = Field(1.0, ge=0, description="alpha: how the chance grows with the gap (level: modality)")
        shape: Literal["linear", "tanh", "power"] = Field(
            "linear", description="f: form of the chance (level: modality)"
        )
        part: float = Field(0.2, gt=0, le=1, description="part of the samples that is valued (level: modality)")
        warm_up: int | None = Field(None, ge=0, description="epochs without copies; a twelfth of all if not set")

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        self.counts = torch.zeros(len(self.model.modalities), len(run.train.store), device=run.device)  # copies, by row
        warm_up = run.epochs // 12 if self.config.warm_up is None else self.config.warm_up
        if self.config.most > 0 and run.epoch >= warm_up:
            names = self.model.modalities
            phi = torch.zeros_like(self.counts)
            for output, batch in run.evaluate(run.train, run.epoch):
                right = {}
                for members in subsets_of(names)[1:]:
                    decision = self.model.without(output, set(names) - set(members)).fused
                    right[members] = decision.argmax(dim=1) == batch.labels
                found = contributions(right, names)
                for k, m in enumerate(names):
                    phi[k, batch.index] = found[m]
            self.counts = self.planned(run.sum(phi), run)

    def planned(self, phi: Tensor, run: Run) -> Tensor:
        """The copies ``(M, N)`` of contributions ``(M, N)``, both by row of the store; zero where m is missing."""
        names, store = self.model.modalities, run.train.store
        rows = torch.from_numpy(run.train.split_rows).to(run.device)
        there = torch.stack([torch.from_numpy(store.present[m]).to(run.device) for m in names])
        for k, m in enumerate(names):
            run.log(f"contribution/{m}", phi[k, rows].mean())
        if self.config.level == "sample":
            return (copies(phi).clamp(max=self.config.most) * there).float()
        drawn = uniform_by_row(f"smv.part.{run.step}", rows, len(store)) < self.config.part
        part = rows[drawn] if bool(drawn.any()) else rows
        chances = chance(
            {m: float(phi[k, part].mean()) for k, m in enumerate(names)}, self.config.alpha, self.config.shape
        )
        every = torch.arange(len(store), device=run.device)
        again = [uniform_by_row(f"smv.{m}.{run.step}", every, len(store)) < chances[m] for m in names]
        return (torch.stack(again) * there).float()

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        counts = self.counts[:, batch.index]
        *some, rows = run.sum(torch.cat([counts.sum(dim=1), counts.new_tensor([len(batch)])]))
        added = torch.stack(some).sum()
        run.log("copies", added / rows)
        found = super().losses(output, batch, phase, run)
        if added == 0:
            return found
        # A mean over rows and copies of all processes, whose gradients are averaged by their rows alone.
        share = rows / (rows + added)
        found = {name: share * loss for name, loss in found.items()}
        for k, m in enumerate(self.model.modalities):
            if bool(some[k]):
                alone = self.model.without(output, set(self.model.modalities) - {m}).fused
                again = (counts[k] * cross_entropy(alone, batch.labels, reduction="none")).sum()
                found[f"again/{m}"] = share * again / len(batch)
        return found
