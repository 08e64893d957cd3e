"""Balanced set: train on samples drawn so that each modality is preferred as often, and by as much, as any other.

Xia, Zhao, Pang, Zhang and Hu, "Balanced Audiovisual Dataset for Imbalance Analysis", 2023, arXiv 2302.10912.

    c_m = p_m[y] of unimodal models,   m* = argmax_m c_m,   d = c_m* - mean_{m != m*} c_m
    a sample of cell (m*, bin of d), which holds n samples, is drawn with probability proportional to n^(-strength)

Deviations: the paper builds a new data set whose discrepancy d = c_a - c_v is uniform, to analyse methods on; as a method
we draw such a set from the training rows at each epoch, with repeats. Its confidences are of trained unimodal networks;
here they are cross-fitted (a confidence of its own training rows is near 1 in every modality), by linear heads on the
inputs, so that no network is trained K times. For M > 2 the cells are as above, which for M = 2 are the paper's bins.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from mmbal.config import Config
from mmbal.data.store.balanced import unimodal_confidences
from mmbal.maths.discrepancy import discrepancy, uniform_draw
from mmbal.maths.groups import members
from mmbal.methods.base import Method, Run
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import methods


@methods.register(
    family="resampling",
    year=2023,
    paper="2302.10912",
    status="with stated deviations",
    off={"strength": 0.0},
)
class BalancedSet(Method):
    """Draws the rows of each epoch uniformly over the cells of preferred modality and discrepancy."""

    at_least = 2

    class Config(Config):
        strength: float = Field(
            1.0, ge=0, le=1, description="1 makes the discrepancy uniform, 0 leaves the rows as they are"
        )
        bins: int = Field(5, ge=1, description="parts of the discrepancy d for each preferred modality")
        repeats: int = Field(5, ge=1, description="most copies of a sample in an epoch")
        folds: int = Field(5, ge=2, description="folds of the cross-fitted confidences")
        by_class: bool = Field(True, description="draw within each class, so that the class prior stays")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.cells: np.ndarray | None = None

    def setup(self, run: Run) -> None:
        if self.config.strength == 0:
            return
        store, rows = run.train.store, run.train.split_rows
        # A function of the store alone, so a resumed run finds the same cells.
        confidence = unimodal_confidences(store, rows, self.model.modalities, self.config.folds)
        found = discrepancy(confidence, {m: store.present[m][rows] for m in confidence})
        self.cells = found.cells(self.config.bins)
        self.preferred = {m: float((found.preferred == i).mean()) for i, m in enumerate(found.modalities)}

    def sampler(self, run: Run) -> np.ndarray | None:
        if self.cells is None:
            return None
        rows = run.train.split_rows
        labels = run.train.store.labels[rows] if self.config.by_class else np.zeros(len(rows), dtype=np.int64)
        random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        drawn = []
        for _, own in members(labels):
            picked = uniform_draw(self.cells[own], random, strength=self.config.strength, repeats=self.config.repeats)
            drawn.append(own[picked])
        chosen = np.concatenate(drawn)
        for i, m in enumerate(sorted(self.model.modalities)):
            run.log(f"preferred_before/{m}", self.preferred[m])
            run.log(f"preferred_drawn/{m}", float((self.cells[chosen] // self.config.bins == i).mean()))
        return rows[chosen]
