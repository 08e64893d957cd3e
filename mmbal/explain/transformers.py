"""The monitor as a callback of Hugging Face's Trainer (extra ``transformers``): figures go to the trainer's own log.

from mmbal.explain.transformers import MonitorCallback

trainer = Trainer(model, arguments, ...)
trainer.add_callback(MonitorCallback(trainer, model.fusion, ["text", "image"], out="monitored"))
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbal.errors import UsageError
from mmbal.explain.monitor import Monitor

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:
    raise UsageError(
        "The callback needs transformers, which is not installed.", "pip install 'mmbal[transformers]'"
    ) from error


class MonitorCallback(TrainerCallback):
    """Watches the evaluation passes of a Trainer; the arguments after ``trainer`` are those of :class:`Monitor`.

    ``labels``: the name of the labels among the arguments of the model. At the end of training, predictions.npz and
    diagnosis.json are written to ``out``. With several processes each watches its own share, and the first one writes.
    """

    def __init__(
        self,
        trainer: Any,
        fusion: Any,
        modalities: Sequence[str] | Mapping[str, int] | None = None,
        *,
        labels: str = "labels",
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        self.monitor = Monitor(fusion, modalities, out=out, **options)
        self.trainer, self.labels = trainer, labels
        self.diagnosis: Any = None
        self._latest: Any = None
        self._names = list(inspect.signature(trainer.model.forward).parameters)
        self._hook = trainer.model.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training:
            self._latest = {**dict(zip(self._names, args, strict=False)), **kwargs}.get(self.labels)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._latest is None:
            raise UsageError(
                f"The model gets no '{self.labels}' when it is evaluated.", "Name its labels with labels=."
            )
        self.monitor.batch(self._latest)
        self._latest = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.log(self.monitor.epoch("val"))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hook.remove()
        if state.is_world_process_zero:
            self.diagnosis = self.monitor.finish()
