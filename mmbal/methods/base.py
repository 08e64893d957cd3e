"""The contract of a training method: a few hooks of one loop that knows no method by name.

In each epoch of each stage the loop does::

    on_epoch_start
    for batch of the rows of sampler:                     batch = on_batch(batch)
        for phase of phases:                              zero_grad
            features = on_features(encode(batch))         encoders outside the phase give no gradient
            output = fuse(decide(features))
            losses -> backward -> (gradients averaged over processes) -> on_gradients -> step
    on_epoch_end

At each step every part that learns is in training mode, and every frozen part in evaluation mode; a hook that needs
another mode restores it (:func:`mmbal.models.modes.evaluating`), as :meth:`Run.evaluate` does.

The decision in evaluation is ``predict(decide(encode(batch)))``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch, Loader
from mmbal.errors import ConfigError
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


@dataclass(frozen=True)
class Stage:
    """A part of the training with its own optimiser; ``train`` names the parts that learn (None: all).

    Parts: ``encoders``, ``encoders.<modality>``, ``fusion``, ``method``.
    """

    name: str
    epochs: int
    train: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Phase:
    """One optimiser step on a batch; only the encoders of ``modalities`` get gradients in it.

    Where ``alone``, no other encoder runs at all, and the features of all other modalities are zero.
    """

    modalities: tuple[str, ...]
    alone: bool = False


@dataclass
class Run:
    """What a method may see of a training run; there is no test loader here."""

    model: MultimodalClassifier
    train: Loader
    validation: Loader
    device: torch.device
    epochs: int
    optimiser: torch.optim.Optimizer | None = None
    stage: Stage | None = None
    epoch: int = 0  # counted over all stages
    step: int = 0  # optimiser steps taken
    records: dict[str, list[float]] = field(default_factory=dict)
    share: float = 1.0  # of the batch, or of what is logged between batches, that is this process's
    shares: dict[str, list[float]] = field(default_factory=dict)  # one for each record
    reduce: Callable[[Tensor], Tensor] = lambda value: value

    def log(self, name: str, value: float | Tensor) -> None:
        """Record a figure; the epoch's mean goes to metrics.jsonl under ``name`` (for a modality: ``name/modality``)."""
        self.records.setdefault(name, []).append(float(value.detach() if isinstance(value, Tensor) else value))
        self.shares.setdefault(name, []).append(self.share)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes of a tensor that each computed on its share of the batch."""
        return self.reduce(value.detach().clone())

    def scale_learning_rate(self, part: str, factor: float) -> None:
        """Multiply the learning rate of a part, such as ``encoders.audio``, in this epoch; call in ``on_epoch_start``."""
        for group in self.optimiser.param_groups if self.optimiser else ():
            if group.get("part") == part:
                group["lr"] *= factor

    def evaluate(self, loader: Loader, epoch: int = 0) -> list[tuple[Output, Batch]]:
        """The model's outputs on a loader, in evaluation mode, without gradients; for methods that look at data."""
        with evaluating(self.model), torch.no_grad():
            return [(self.model(batch), batch) for batch in (b.to(self.device) for b in loader.epoch(epoch))]


class Method(nn.Module):
    """Base of all methods: joint training. Extra heads, teachers and averages are sub-modules or buffers."""

    Config: ClassVar[type[Config]] = Config
    at_least: ClassVar[int] = 1  # modalities without which the method has nothing to do
    accumulates: ClassVar[bool] = True  # whether several batches give the gradient of all their samples, part by part
    summed: ClassVar[tuple[str, ...]] = ()  # attributes to which each process adds those of its samples, in an epoch
    model: MultimodalClassifier

    def __init__(self, model: MultimodalClassifier, config: Any = None) -> None:
        """Raises ConfigError where the model has fewer modalities than the method needs."""
        super().__init__()
        have = len(model.modalities)
        if have < self.at_least:
            raise ConfigError(
                f"The method '{methods.name_of(type(self))}' needs at least {self.at_least} modalities; the model has "
                f"{have}.",
                "Use --method joint for a single modality.",
            )
        self.__dict__["model"] = model  # known, but not owned: its state is saved once, with the model
        self.config: Any = config if config is not None else type(self).Config()

    def setup(self, run: Run) -> None:
        """Build heads and teachers, before the optimiser is made and a checkpoint's state is loaded."""

    def stages(self, epochs: int) -> list[Stage]:
        """The training's parts, whose epochs sum to ``epochs``."""
        return [Stage("train", epochs)]

    def sampler(self, run: Run) -> np.ndarray | Sequence[np.ndarray] | None:
        """Rows of the store to train on in this epoch (repeats allowed); None: each training row once.

        Of several arrays, the batches of one come after those of the other, and no batch has rows of two.
        """
        return None

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        """The batch to train on (mix-up, modality dropout)."""
        return batch

    def on_epoch_start(self, run: Run) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """After the last batch of an epoch."""

    def phases(self, run: Run) -> Sequence[Phase]:
        """The optimiser steps taken on each batch."""
        return [Phase(self.model.modalities)]

    def on_features(self, features: dict[str, Tensor], batch: Batch, run: Run) -> dict[str, Tensor]:
        """Change features ``(B, D_m)`` (tokens ``(B, T, D_m)`` for fusions that take them) in training only."""
        return features

    def fuse(self, output: Output) -> Output:
        """The decision rule, the same in the loss and in the test."""
        return output

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        """Named losses, summed by :meth:`backward`; by default those of the fusion."""
        return self.model.fusion.losses(output, batch.labels)

    def backward(self, losses: Mapping[str, Tensor], run: Run) -> None:
        """Leave the gradients of the losses in the parameters."""
        torch.stack([losses[name] for name in sorted(losses)]).sum().backward()

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        """Change gradients in place, once they are averaged over processes."""

    def predict(self, output: Output) -> Output:
        """The decision at test time, where it differs from the one in the loss."""
        return self.fuse(output)


def parts(model: MultimodalClassifier, method: Method) -> dict[str, nn.Module]:
    """The addressable parts of a training: ``encoders.<m>``, ``fusion``, ``method``."""
    return {f"encoders.{m}": e for m, e in model.encoders.items()} | {"fusion": model.fusion, "method": method}


def own_losses(output: Output, labels: Tensor, weight: float) -> dict[str, Tensor]:
    """Cross-entropies of the modalities' own decisions times ``weight``, by ``own/<modality>``; none where it is 0."""
    if weight == 0:
        return {}
    own = {m: masked_cross_entropy(o, labels, output.present[m]) for m, o in output.logits.items()}
    return {f"own/{m}": weight * loss for m, loss in own.items()}


def share_of(rows: Tensor, run: Run) -> Tensor:
    """What a mean over the chosen ``rows (N,)`` of this process is multiplied by, to be its share of that of all processes.

    Gradients are averaged by the samples of the batch, of which processes have chosen unlike numbers. It is 1 in a single
    process, and 0 where none is chosen.
    """
    mine = rows.sum().float()
    return mine / run.sum(mine).clamp(min=1) / run.share


def scale_gradients(module: nn.Module, factor: float) -> None:
    """Multiply the gradients of a module's parameters in place."""
    for parameter in module.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def chosen(names: Collection[str], selected: Collection[str] | None) -> set[str]:
    """The parts that ``selected`` names (``encoders`` means all of them); all of ``names`` for None."""
    if selected is None:
        return set(names)
    return {n for n in names if n in selected or n.split(".")[0] in selected}
