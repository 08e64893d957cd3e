"""The monitor as a callback of PyTorch Lightning (extra ``lightning``): figures go to the trainer's own loggers.

from mmbal.explain.lightning import MonitorCallback

Trainer(callbacks=[MonitorCallback(model.fusion, ["audio", "video"], labels="label", out="monitored")])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbal.errors import UsageError
from mmbal.explain.monitor import Monitor
from mmbal.predictions.columns import ALIASES

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise UsageError(
        "The callback needs PyTorch Lightning, which is not installed.", "pip install 'mmbal[lightning]'"
    ) from error


class MonitorCallback(Callback):
    """Watches the validation and test passes of a Lightning trainer; the arguments are those of :class:`Monitor`.

    ``labels``: the key or position of the labels in a batch, or a function of the batch; by default the usual keys, else
    the last entry. At the end of ``fit``, predictions.npz and diagnosis.json are written to ``out``. With several processes
    each watches its own share, and the first one writes.
    """

    def __init__(
        self,
        fusion: Any,
        modalities: Sequence[str] | Mapping[str, int] | None = None,
        *,
        labels: str | int | Callable[[Any], Any] | None = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        self.monitor = Monitor(fusion, modalities, out=out, **options)
        self.labels = labels
        self.diagnosis: Any = None

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.monitor.batch(labels_in(batch, self.labels))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.monitor.batch(labels_in(batch, self.labels))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            self.monitor.forget()
            return
        pl_module.log_dict(self.monitor.epoch("val"))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log_dict(self.monitor.epoch("test"))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.diagnosis = self.monitor.finish()


def labels_in(batch: Any, where: str | int | Callable[[Any], Any] | None) -> Any:
    """The labels of a batch; raises UsageError where they are not found."""
    if callable(where):
        return where(batch)
    if where is not None:
        return batch[where]
    if isinstance(batch, Mapping):
        key = next((key for key in ALIASES["labels"] if key in batch), None)
        if key is None:
            raise UsageError(
                f"The batch has no labels (keys: {', '.join(map(str, batch))}).", "Name them with labels=."
            )
        return batch[key]
    return batch[-1]
