"""The saved states of a run: of the best epoch, after the last one, within one, and where a number was not finite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import load_state, pack, read_checkpoint
from mmbal.engine.config import TrainConfig
from mmbal.files import write_tensors
from mmbal.methods.base import Method
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.runs import CHECKPOINT, FAILED, LAST, WITHIN

State = dict[str, Any]  # of the loop


@dataclass(frozen=True)
class States:
    """What a run saves of its model and method, and goes on from."""

    model: MultimodalClassifier
    method: Method
    config: TrainConfig
    store: Store

    def after_epoch(self, folder: Path, state: State, best: bool) -> None:
        """Save the state after an epoch, and the model where it is the best so far."""
        content = self._content(state["epoch"])
        if best:
            write_tensors(folder / CHECKPOINT, content)
        # The last, since it says how far the run has come: what a kill leaves of the others is written again.
        write_tensors(folder / LAST, content | {"training": state})
        (folder / WITHIN).unlink(missing_ok=True)

    def within_epoch(self, folder: Path, state: State) -> None:
        """Save the state within an epoch; that after the epoch before it stays."""
        write_tensors(folder / WITHIN, self._content(state["epoch"]) | {"training": state})

    def failed(self, folder: Path, epochs: int, rows: Tensor | None) -> Path:
        """Save the model as it is where a number was not finite, with the rows of the store; the file."""
        write_tensors(folder / FAILED, self._content(epochs) | ({} if rows is None else {"rows": rows}))
        return folder / FAILED

    def latest(self, folder: Path) -> State | None:
        """The state to go on from, within an epoch where that is saved; model and method get theirs."""
        file = folder / LAST
        if (folder / WITHIN).is_file():
            found = read_checkpoint(folder / WITHIN)
            done = read_checkpoint(file)["epoch"] if file.is_file() else 0
            # With another number of epochs the stages and the learning rates are others, so the epoch begins anew.
            if found["epoch"] == done and found["config"]["epochs"] == self.config.epochs:
                file = folder / WITHIN
        if not file.is_file():
            return None
        state: State = load_state(file, self.model, self.method)["training"]
        return state

    def of_the_best(self, folder: Path) -> None:
        """Give model and method the state of the best epoch."""
        load_state(folder / CHECKPOINT, self.model, self.method)

    def _content(self, epochs: int) -> State:
        return pack(self.model, self.method, self.config, self.store, epochs)
