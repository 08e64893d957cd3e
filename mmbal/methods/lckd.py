"""LCKD: for each class the modality that knows it best is elected as teacher, and the others are drawn to its features.

Wang, Ma, Zhang, Zhang, Avery, Hull and Carneiro, "Learnable Cross-modal Knowledge Distillation for Multi-modal Learning with
Missing Modality", MICCAI 2023, arXiv 2310.01035.

    t(c) = the modality m with the largest Dice score of class c, 2 TP / (2 TP + FP + FN), alone on the validation split
    L    = CE(o, y) + alpha sum_n mean_i mean_d |z_n,i - z_t,i|,   t = t(y_i) != n         z_t is a constant
    a missing modality's feature is the mean of those that the sample has, in training and in tests
    from epoch `starts` on, teachers teach, and each modality of a sample is dropped in a step with chance r

Deviations: the paper segments brain scans with one encoder for all modalities; its tasks are three regions, ours the
classes. The public code lets every elected modality teach every sample (`teachers = all`). Features of different widths
are first mapped to one, and a mean is mapped back; fusions of tokens get no mean. The code trains with all modalities first,
and then keeps 1 to M - 1 of them a batch; here r is a chance by sample. Its first teacher is modality 0, until the first
election; here nobody teaches before. An election takes one pass over the validation split, never the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import kept_at_random
from mmbal.models.fusion import linear, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.outputs import joined
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def dice_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """The Dice score ``(C,)`` of each class, of decisions ``(N, C)`` on labels ``(N,)``; 0 for a class without rows."""
    classes = logits.shape[1]
    said, true = (torch.nn.functional.one_hot(x, classes).double() for x in (logits.argmax(dim=1), labels))
    return 2 * (said * true).sum(dim=0) / (said.sum(dim=0) + true.sum(dim=0)).clamp(min=1)


def elected(scores: Tensor, known: Tensor) -> Tensor:
    """The teacher ``(C,)`` of each class, of scores ``(M, C)``; where a class is not ``known (C,)``, the best on average."""
    mean = (scores * known).sum(dim=1, keepdim=True)
    return torch.where(known, scores, mean).argmax(dim=0)


def teaches(teachers: Tensor, labels: Tensor, many: int, everyone: bool) -> Tensor:
    """Who of ``many`` teaches each sample ``(M, B)``: its class's teacher, or everyone who is a teacher ``(C,)``."""
    numbers = torch.arange(many, device=labels.device)[:, None]
    if everyone:
        return (numbers == teachers).any(dim=1, keepdim=True).expand(-1, len(labels))
    return numbers == teachers[labels]


def distillation(student: Tensor, teachers: Tensor, rows: Tensor) -> Tensor:
    """``sum_t mean_d |z_n - z_t|`` by sample ``(B,)`` of ``z_n (B, D)``, constants ``z_t (M, B, D)``, at ``rows (M, B)``."""
    return ((student - teachers.detach()).abs().mean(dim=-1) * rows).sum(dim=0)


def mean_feature(features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """The mean ``(B, D)`` of the features ``(B, D)`` that each row has; zero where it has none."""
    there = {m: present[m].to(z.dtype)[:, None] for m, z in features.items()}
    return total({m: there[m] * z for m, z in features.items()}) / total(there).clamp(min=1)


@methods.register(
    family="distillation",
    year=2023,
    paper="2310.01035",
    status="with stated deviations",
    off={"strength": 0.0, "drop": 0.0, "fill": False},
)
class LCKD(Method):
    """Distils the features of each class's best modality, and fills in what is missing."""

    at_least = 2

    teachers: Tensor  # (C,): the teacher of each class, a number in the order of names; -1 before the first election

    class Config(Config):
        strength: float = Field(
            0.1, ge=0, le=10, description="alpha: weight of the distillation; 0.1 in the public code"
        )
        drop: float = Field(0.25, ge=0, lt=1, description="r: chance that a modality of a sample is dropped in a step")
        fill: bool = Field(True, description="the mean of the others stands for a missing modality")
        teachers: Literal["class", "all"] = Field(
            "class", description="who teaches: the class's teacher, or all elected"
        )
        starts: int = Field(1, ge=0, description="first epoch of teaching and dropping")
        every: int = Field(1, ge=1, description="epochs between elections")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        dims = model.fusion.dims
        width, mapped = max(dims.values()), len(set(dims.values())) > 1
        self.map = nn.ModuleDict({m: linear(d, width, f"lckd.{m}", bias=False) for m, d in dims.items() if mapped})
        self.back = nn.ModuleDict(
            {m: linear(width, d, f"lckd.back.{m}", bias=False) for m, d in dims.items() if mapped}
        )
        self.register_buffer("teachers", torch.full((model.fusion.classes,), -1))

    def on_epoch_start(self, run: Run) -> None:
        config = self.config
        if config.strength == 0 or run.epoch < config.starts or (run.epoch - config.starts) % config.every:
            return
        output, labels = joined(run.evaluate(run.validation))
        scores = [dice_scores(output.logits[m][output.present[m]], labels[output.present[m]]) for m in self.names]
        known = torch.bincount(labels, minlength=len(self.teachers)) > 0
        self.teachers.copy_(elected(torch.stack(scores), known))

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        if self.config.drop == 0 or run.epoch < self.config.starts:
            return batch
        rows = len(run.train.store)
        return replace(
            batch, present=kept_at_random(batch.present, self.config.drop, f"lckd.{run.step}", batch.index, rows)
        )

    def mapped(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features of one width."""
        return {m: self.map[m](z) if self.map else z for m, z in features.items()}

    def fuse(self, output: Output) -> Output:
        whole = all(bool(p.all()) for p in output.present.values())
        if whole or not self.config.fill or self.model.fusion.takes == "tokens":
            return output
        mean = mean_feature(self.mapped(output.inputs), output.present)
        inputs = {
            m: torch.where(output.present[m][:, None], z, self.back[m](mean) if self.back else mean)
            for m, z in output.inputs.items()
        }
        decided = self.model.decide(inputs, output.present)
        return replace(decided, features=output.features, inputs=output.inputs)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found, strength = super().losses(output, batch, phase, run), self.config.strength
        if strength == 0 or run.epoch < self.config.starts:
            return found
        features = self.mapped(output.features)
        given = torch.stack([features[m] for m in self.names])
        present = torch.stack([output.present[m] for m in self.names])
        teaching = teaches(self.teachers, batch.labels, len(self.names), self.config.teachers == "all") & present
        for k, n in enumerate(self.names):
            run.log(f"teaches/{n}", (self.teachers == k).float().mean())
            rows = teaching & present[k]
            rows[k] = False
            apart = distillation(features[n], given, rows)
            found[f"distil/{n}"] = strength * mean_over(apart, rows.any(dim=0))
        return found
