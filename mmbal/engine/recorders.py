"""Recorders: what a run may record while it trains (`record: [heavy_tails]`), without changing the training.

The loop calls them as :class:`Recorder` states; their figures by epoch go to metrics.jsonl, their summary to
a file of their own in the run folder, and their state to last.pt, so that a resumed run records as one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mmbal.errors import DataError
from mmbal.maths.tails import TailIndex, hill
from mmbal.methods.base import Run
from mmbal.registry import recorders
from mmbal.runs import TAILS

DEPENDENT_STEPS = 25  # momentum makes neighbouring steps alike; beyond so many of them they count as independent


class Recorder:
    """Base of the recorders; one must draw no random number and change no tensor of the run."""

    file: ClassVar[str]  # the summary's name in the run folder

    def on_epoch_start(self, run: Run) -> None:
        """Before the first batch of an epoch."""

    def after_backward(self, run: Run) -> None:
        """Gradients are averaged over processes, and the method has not changed them yet."""

    def after_step(self, run: Run) -> None:
        """After each optimiser step."""

    def on_epoch_end(self, run: Run) -> None:
        """After the last batch of an epoch; figures go to ``run.log``."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which :meth:`load` goes on."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""

    def summary(self) -> dict[str, Any]:
        """What was found, as JSON values."""
        return {}


@recorders.register("heavy_tails")
class HeavyTails(Recorder):
    """Tail indices, by modality, of the norms of gradient noise, updates and weights of its encoder.

    Noise is (g_t - g_{t-1}) / sqrt(2): two batches in a row have nearly the same full gradient, which cancels, and
    independent noise. Norms drift with the learning rate and with progress, so each epoch's are divided by their
    median before all epochs are pooled: a tail index knows no scale, but a changing scale would look like a tail.
    Source: Hodgkinson and Mahoney, ICML 2021, arXiv 2006.06293; the estimator is :func:`mmbal.maths.tails.hill`.
    """

    file = TAILS
    KINDS = ("gradient_noise", "update_norm", "weight_norm")

    def __init__(self) -> None:
        self.epochs: dict[str, list[Tensor]] = {}  # "kind/modality" -> the norms of each epoch
        self._norms: dict[str, list[Tensor]] = {}
        self._gradient: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._moved: list[str] = []

    def on_epoch_start(self, run: Run) -> None:
        self._norms, self._gradient = {}, {}
        self._weights = {m: _weights(run, m) for m in run.model.modalities}

    def after_backward(self, run: Run) -> None:
        self._moved = []
        for m, encoder in run.model.encoders.items():
            parts = [p.grad.flatten() for p in encoder.parameters() if p.grad is not None]
            if not parts:
                continue
            self._moved.append(m)
            gradient = torch.cat(parts)
            before = self._gradient.get(m)
            if before is not None and before.shape == gradient.shape:
                self._keep("gradient_noise", m, (gradient - before).norm() / 2**0.5)
            self._gradient[m] = gradient

    def after_step(self, run: Run) -> None:
        for m in self._moved:
            weights = _weights(run, m)
            self._keep("update_norm", m, (weights - self._weights[m]).norm())
            self._keep("weight_norm", m, weights.norm())
            self._weights[m] = weights

    def _keep(self, kind: str, m: str, norm: Tensor) -> None:
        self._norms.setdefault(f"{kind}/{m}", []).append(norm)

    def on_epoch_end(self, run: Run) -> None:
        for name, norms in self._norms.items():
            epoch = torch.stack(norms).cpu()
            self.epochs.setdefault(name, []).append(epoch)
            run.log(name, epoch.median())
        self._norms, self._gradient, self._weights = {}, {}, {}

    def state(self) -> dict[str, Any]:
        within = {"norms": self._norms, "gradient": self._gradient, "weights": self._weights}  # empty between epochs
        return {"epochs": {name: list(epochs) for name, epochs in self.epochs.items()}, **within}

    def load(self, state: dict[str, Any]) -> None:
        self.epochs = {name: list(epochs) for name, epochs in state["epochs"].items()}
        self._norms = {name: list(norms) for name, norms in state.get("norms", {}).items()}
        self._gradient = dict(state.get("gradient", {}))
        self._weights = dict(state.get("weights", {}))

    def summary(self) -> dict[str, Any]:
        """``{kind: {modality: tail index | {"not_computed": reason}}}``; see docs/heavy-tails.md."""
        found: dict[str, Any] = {"format": 1, **{kind: {} for kind in self.KINDS}}
        for name, epochs in self.epochs.items():
            kind, m = name.split("/", 1)
            try:
                found[kind][m] = pooled_tail(epochs).model_dump()
            except DataError as error:
                found[kind][m] = {"not_computed": error.message}
        return found


def pooled_tail(epochs: Sequence[Tensor]) -> TailIndex:
    """The tail index of norms whose scale differs from epoch to epoch; raises DataError where there is none."""
    scaled = np.concatenate([(norms / norms.median().clamp(min=1e-30)).double().numpy() for norms in epochs])
    return hill(scaled[scaled > 0], block=DEPENDENT_STEPS)


def _weights(run: Run, m: str) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.encoders[m].parameters()])


def build_recorders(names: Sequence[str]) -> dict[str, Recorder]:
    """The recorders called ``names``; raises UsageError with the nearest names for an unknown one."""
    return {name: recorders.get(name)() for name in names}
