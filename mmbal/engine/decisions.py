"""What the model of a run decides on the splits of its store, and the figures of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from mmbal.data.store.loader import Loader
from mmbal.data.store.store import Store
from mmbal.decision import Rule, cross_fit, fit_rule
from mmbal.decision.fitting import cross_ruled
from mmbal.decision.fused import with_rule
from mmbal.engine.config import TrainConfig
from mmbal.engine.distributed import Processes
from mmbal.engine.evaluate import alone, collect, summarise
from mmbal.engine.features import CachedFeatures
from mmbal.methods.base import Method
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.runs import SPLITS
from mmbal.version import __version__

FOLDS = 5  # of the cross-fitted validation figures of a fusion with a rule
BRIEF_FOLDS = 3  # of those after each epoch, which only pick the best epoch
Figures = dict[str, dict[str, float]]  # split -> figure -> value


def loader_of(
    config: TrainConfig, store: Store, split: str, device: torch.device, processes: Processes | None = None
) -> Loader:
    """Batches of a split; with ``processes``, which share them, those of training: shuffled and augmented."""
    training = processes is not None
    mine = processes or Processes()
    return Loader(
        store,
        split,
        config.batch_size,
        shuffle=training,
        augment=training and config.augment,
        seed=config.seed,
        modalities=config.modalities,
        device=device,
        rank=mine.rank,
        world=mine.world,
    )


@dataclass(frozen=True)
class Decisions:
    """The decisions of a model as it is now; every process takes part in each of them."""

    model: MultimodalClassifier
    method: Method
    config: TrainConfig
    store: Store
    device: torch.device
    processes: Processes
    features: CachedFeatures | None

    def on(self, split: str, brief: bool = False) -> Predictions:
        """The model's decisions on a split as they are, before any fitted rule."""
        meta = {
            "producer": f"mmbal {__version__}",
            "dataset": self.store.name,
            "store": self.store.hash,
            "method": self.config.method.name,
            "fusion": self.config.fusion.name,
            "seed": self.config.seed,
        }
        if self.model.fusion.rule is not None:
            meta["rule"] = self.model.fusion.rule  # it decides, so the sum before it is not stated as the decision
        loader = loader_of(self.config, self.store, split, self.device)
        loader.features = self.features
        return collect(
            self.model,
            self.method,
            loader,
            self.device,
            meta=meta,
            brief=brief,
            exchange=not brief,
            processes=self.processes,
        )

    def splits(self) -> tuple[str, ...]:
        """The splits that are decided on: validation, and test where the store has one."""
        return tuple(split for split in SPLITS if split in self.store.splits())

    def figures(self) -> tuple[Figures, dict[str, float]]:
        """Figures on the validation split, with ``optimistic`` on the test split too; the accuracy of each modality alone.

        With a fusion that has a rule, the rule is fitted on the validation split, whose own figures are cross-fitted.
        """
        rule = self.model.fusion.rule
        brief = rule is None or rules.get(rule).source == "logits"
        found = {split: self.on(split, brief) for split in (self.splits() if self.config.optimistic else ("val",))}
        # The first process decides for all, so that all stop early, or none, whatever their processors.
        of_first = (_judged(found, rule), alone(found["val"])) if self.processes.first else None
        figures, apart = self.processes.agree(of_first)
        return figures, apart

    def final(self) -> tuple[dict[str, Predictions], Rule | None]:
        """The decisions by split, each of which runs through the model once, and the rule where the fusion has one.

        The rule is fitted on the validation split, and decides there cross-fitted; of several processes, in the first alone.
        """
        found = {split: self.on(split) for split in self.splits()}
        name = self.model.fusion.rule
        if name is None or not self.processes.first:
            return found, None
        rule = fit_rule(found["val"], name)
        decided = {split: with_rule(p, rule, name) for split, p in found.items() if split != "val"}
        return {"val": cross_ruled(found["val"], name, FOLDS), **decided}, rule


def _judged(found: Mapping[str, Predictions], rule: str | None) -> Figures:
    """The figures of decisions by split, under a rule where there is one."""
    if rule is None:
        return {split: summarise(p) for split, p in found.items()}
    decided = {"val": cross_fit(found["val"], rule, folds=BRIEF_FOLDS)}
    if "test" in found:
        decided["test"] = fit_rule(found["val"], rule).apply(found["test"])
    return {split: summarise(replace(p, fused=decided[split])) for split, p in found.items()}
