"""MSES: stop each modality's encoder separately, at the epoch where its own validation loss was lowest.

Fujimori, Endo, Kawai and Mochizuki, "Modality-Specific Learning Rate Control for Multimodal Classification", ACPR 2019,
openreview.net/forum?id=On2HBy27Y5a.

    L    = CE(o, y) + lambda sum_m CE(o_m, y)
    v_m(t) = CE(o_m, y) on the validation split before epoch t,   s_m(t) = smoothing v_m(t-1) + (1 - smoothing) v_m(t)
    encoder m stops when s_m has not got lower for `patience` epochs: it returns to where s_m = min, its learning rate is 0

The fusion and the other encoders go on.

Deviations: the modality's own classifier is the fusion's decision on it alone, as in a public code; the paper has a
separate one. That code (of AGM) loads the whole model as it was, other modalities included, and sets gradients to zero, so
that weight decay and momentum still move the stopped encoder; here only encoder m returns, and its learning rate is 0. It
stops on the test split, by `smoothing = 0.6` of the epoch before, with a patience of 80 epochs, and ends the run once every
encoder has stopped; here the fusion learns on. A learning rate of 0 leaves an encoder's batch statistics running.
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import mean_cross_entropy
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.outputs import joined
from mmbal.registry import methods


def progress(
    loss: Tensor, last: Tensor, lowest: Tensor, since: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The lowest smoothed loss so far and the epochs since then, after one more epoch; each ``(M,)``.

    ``last`` is the loss of the epoch before, NaN at first; ``lowest`` starts at infinity and ``since`` at 0. A loss of NaN
    (not measured) changes neither.
    """
    value = torch.where(last.isnan(), loss, smoothing * last + (1 - smoothing) * loss)
    better = value < lowest
    since = torch.where(better, 0, torch.where(loss.isnan(), since, since + 1))
    return torch.where(better, value, lowest), since


@methods.register(
    family="learning rates",
    year=2019,
    paper="openreview.net/forum?id=On2HBy27Y5a",
    status="with stated deviations",
    off={"own": 0.0, "patience": None},
)
class MSES(Method):
    """Freezes each encoder at its own best epoch."""

    at_least = 2

    class Config(Config):
        own: float = Field(1.0, ge=0, description="lambda: weight of the modalities' own losses; 0 in a public code")
        patience: int | None = Field(5, ge=1, description="epochs without a lower loss before a stop; none: never")
        smoothing: float = Field(0.0, ge=0, lt=1, description="share of the loss before; 0.6 in a public code")

    last: Tensor  # v_m(t-1) (M,), modalities by name
    lowest: Tensor  # (M,)
    since: Tensor  # epochs since the lowest (M,)
    stopped: Tensor  # (M,) bool

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        for name, start in {"last": torch.nan, "lowest": torch.inf, "since": 0, "stopped": False}.items():
            self.register_buffer(name, torch.full((len(self.names),), start))
        if self.config.patience is not None:
            self.best = copy.deepcopy(model.encoders).requires_grad_(False)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.own)

    def on_epoch_start(self, run: Run) -> None:
        if self.config.patience is None:
            return
        output, labels = joined(run.evaluate(run.validation))
        found = mean_cross_entropy(output.logits, labels, output.present)
        loss = torch.tensor([found.get(m, torch.nan) for m in self.names], device=self.last.device)
        lowest, since = progress(loss, self.last, self.lowest, self.since, self.config.smoothing)
        for place, m in enumerate(self.names):
            encoder, best = self.model.encoders[m], self.best[m]
            if not self.stopped[place] and lowest[place] < self.lowest[place]:
                best.load_state_dict(encoder.state_dict())
            elif not self.stopped[place] and since[place] >= self.config.patience:
                encoder.load_state_dict(best.state_dict())
                self.stopped[place] = True
            run.log(f"stopped/{m}", float(self.stopped[place]))
            if self.stopped[place]:
                run.scale_learning_rate(f"encoders.{m}", 0.0)
        self.last.copy_(loss)
        self.lowest.copy_(lowest)
        self.since.copy_(since)
