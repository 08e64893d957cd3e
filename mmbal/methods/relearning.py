"""Re-learning: at intervals, move each encoder back towards its start; the worse its features generalise, the further.

Wei, Li, Feng and Hu, "Diagnosing and Re-learning for Balanced Multimodal Learning", ECCV 2024, arXiv 2407.09705.

    P_m(split) = purity of the C clusters that k-means finds in the features of m, scaled to [-1, 1] by column
    g_m        = |P_m(train) - P_m(val)|                        how much m has memorised
    beta_m     = tanh(lambda g_m)
    theta_m   <- beta_m theta_m(0) + (1 - beta_m) theta_m       encoder m, every E epochs, `times` times

Purity: every cluster counts its most frequent class; the share of samples that are so counted right.

Deviations: none in the formula. theta(0) is the encoder as this training found it, which is a pretrained one where a run
starts from one. The optimiser's state is kept, as in the public code. Batch statistics are not moved. k-means is
scikit-learn's with ten starts and a fixed seed; a split with fewer samples than classes gets as many clusters as samples.
Only samples that have the modality count. Features of the training split are in evaluation mode.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Loader
from mmbal.methods.base import Method, Run
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.models.outputs import joined
from mmbal.registry import methods


def purity(clusters: Tensor, labels: Tensor) -> float:
    """Share of the samples ``(N,)`` whose class is the most frequent one of their cluster."""
    counts = torch.zeros(int(clusters.max()) + 1, int(labels.max()) + 1, dtype=torch.long)
    counts.index_put_((clusters, labels), torch.ones_like(labels), accumulate=True)
    return int(counts.max(dim=1).values.sum()) / len(labels)


def feature_purity(features: Tensor, labels: Tensor, classes: int) -> float:
    """Purity of k-means on features ``(N, D)``, each column of which is scaled to [-1, 1]."""
    low, high = features.amin(dim=0), features.amax(dim=0)
    scaled = 2 * (features - low) / torch.where(high > low, high - low, 1) - 1
    found = KMeans(min(classes, len(labels)), n_init=10, random_state=0).fit_predict(scaled.numpy().astype(np.float64))
    return purity(torch.from_numpy(found).long(), labels)


def by_row(values: Tensor, index: Tensor, rows: int, total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of the store that some process has ``(N,)``, in order, and their ``values``; a row of several has their mean."""
    table = torch.zeros(rows, values.shape[1] + 1, device=values.device)
    table.index_add_(0, index, torch.cat([values, torch.ones_like(values[:, :1])], dim=1))
    table = total(table).cpu()
    known = table[:, -1].nonzero()[:, 0]
    return known, table[known, :-1] / table[known, -1:]


def reset_strength(train: float, validation: float, strength: float) -> float:
    """``beta_m`` of the purities on two splits."""
    return math.tanh(strength * abs(train - validation))


@torch.no_grad()
def move_back(module: nn.Module, start: nn.Module, beta: float) -> None:
    """Move a module's parameters towards those of ``start``: all the way for ``beta`` 1."""
    for parameter, first in zip(module.parameters(), start.parameters(), strict=True):
        parameter.lerp_(first, beta)


@methods.register(family="re-initialisation", year=2024, paper="2407.09705", status="exact", off={"times": 0})
class Relearning(Method):
    """Moves encoders back towards their start by how much they have memorised."""

    at_least = 2

    class Config(Config):
        strength: float = Field(3.0, ge=0, description="lambda: how fast beta grows with the gap of purities")
        every: int = Field(20, ge=1, description="E: epochs between re-initialisations (a public benchmark: 15)")
        times: int = Field(3, ge=0, description="how many there are; 0: none (a public benchmark: 2)")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        if self.config.times:
            self.start = copy.deepcopy(model.encoders).requires_grad_(False)

    def setup(self, run: Run) -> None:
        if self.config.times:
            self.start.load_state_dict(self.model.encoders.state_dict())  # those of a run to start from, if any

    def on_epoch_start(self, run: Run) -> None:
        number, rest = divmod(run.epoch, self.config.every)
        if rest or not 0 < number <= self.config.times:
            return
        train, validation = self.purities(run.train, run), self.purities(run.validation, run)
        for m in self.model.modalities:
            if m in train and m in validation:
                beta = reset_strength(train[m], validation[m], self.config.strength)
                run.log(f"purity_gap/{m}", abs(train[m] - validation[m]))
                run.log(f"reset/{m}", beta)
                move_back(self.model.encoders[m], self.start[m], beta)

    def purities(self, loader: Loader, run: Run) -> dict[str, float]:
        """``P_m`` on a split, of the modalities that it has; the same in every process."""
        outputs = run.evaluate(loader)
        output, _ = joined(outputs)
        index = torch.cat([batch.index for _, batch in outputs])
        found = {}
        for m, features in output.features.items():
            there = output.present[m]
            rows, values = by_row(features[there].float(), index[there], len(loader.store), run.sum)
            if len(rows):
                labels = torch.from_numpy(loader.store.labels[rows.numpy()].astype(np.int64))
                found[m] = feature_purity(values, labels, self.model.fusion.classes)
        return found
