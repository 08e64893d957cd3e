"""Data Remixing: train on each sample only by its least confident modality, one modality after the other.

Ma, Chen and Deng, "Improving Multimodal Learning Balance and Sufficiency through Data Remixing", ICML 2025, arXiv
2506.11550. Anew in each epoch after the warm-up, with u the uniform distribution:

    m_i = argmin_m KL(softmax(o_im), u)                 sample i joins the subset of its least confident modality
    batches of one subset after the other; the features of all modalities but m_i are zero:  L = CE(o, y) + gamma CE(o_m, y)
    warm-up:  L = CE(o, y) + beta sum_m CE(o_m, y)

Deviations: subsets take turns to come first (in the public code that of video always does), in the order of the names, for
any M; the code has two and six classes written into its KL. A row is judged by the modalities that it has, and a subset
of one row is left out of the epoch, since batch normalisation needs several rows. The warm-up is a sixth of the epochs if
not set: 10 of 60 in the public code.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def confidence(logits: Tensor) -> Tensor:
    """``KL(softmax(o), u) (B,)``, in nats (the public code: bits), of logits ``(B, C)``: log C less the entropy."""
    log_p = logits.log_softmax(dim=1)
    return (log_p.exp() * log_p).sum(dim=1) + torch.tensor(float(logits.shape[1])).log()


def least_confident(logits: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """The position ``(B,)``, in the order of the names, of the least confident modality that the row has."""
    names = sorted(logits)
    sure = [confidence(logits[m]).masked_fill(~present[m], torch.inf) for m in names]
    return torch.stack(sure).argmin(dim=0)


@methods.register(
    family="resampling",
    year=2025,
    paper="2506.11550",
    status="with stated deviations",
    off={"remix": False, "beta": 0.0},
)
class Remix(Method):
    """Trains on one modality of each sample, the least confident one, in batches of one modality."""

    at_least = 2

    chosen: Tensor | None

    class Config(Config):
        remix: bool = Field(True, description="split the samples into subsets by modality after the warm-up")
        gamma: float = Field(1.0, ge=0, description="gamma: weight of the own loss of the subset's modality")
        beta: float = Field(0.5, ge=0, description="beta: weight of the own losses in the warm-up")
        warm_up: int | None = Field(None, ge=0, description="epochs before remixing; a sixth of all if not set")

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        self.chosen = None  # the position of the modality that each row of the store is learned from
        warm_up = run.epochs // 6 if self.config.warm_up is None else self.config.warm_up
        if self.config.remix and run.epoch >= warm_up:
            chosen = torch.zeros(len(run.train.store), dtype=torch.long, device=run.device)
            for output, batch in run.evaluate(run.train, run.epoch):
                chosen[batch.index] = least_confident(output.logits, output.present)
            self.chosen = run.sum(chosen)

    def sampler(self, run: Run) -> np.ndarray | Sequence[np.ndarray] | None:
        if self.chosen is None:
            return None
        rows, count = run.train.split_rows, len(self.model.modalities)
        of = self.chosen[torch.from_numpy(rows).to(self.chosen.device)].cpu().numpy()
        for k, m in enumerate(self.model.modalities):
            run.log(f"subset/{m}", float((of == k).mean()))
        groups = [rows[of == (run.epoch + k) % count] for k in range(count)]
        return [group for group in groups if len(group) > 1]

    def on_features(self, features: dict[str, Tensor], batch: Batch, run: Run) -> dict[str, Tensor]:
        if self.chosen is None:
            return features
        of = self.chosen[batch.index]
        return {m: z * (of == k).view(-1, *[1] * (z.dim() - 1)) for k, (m, z) in enumerate(sorted(features.items()))}

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.chosen is None:
            return found | own_losses(output, batch.labels, self.config.beta)
        of = self.chosen[batch.index]
        for k, m in enumerate(self.model.modalities):
            there = output.present[m] & (of == k)
            if self.config.gamma > 0 and bool((of == k).any()):  # a batch is of one subset, in every process
                found[f"own/{m}"] = self.config.gamma * masked_cross_entropy(output.logits[m], batch.labels, there)
        return found
