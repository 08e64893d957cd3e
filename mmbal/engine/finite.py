"""A number that is not finite ends the training in a sentence: what it is, in which batch, of which samples and modality."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from mmbal.data.store.loader import Batch, Loader
from mmbal.errors import DataError
from mmbal.methods.base import Run
from mmbal.models.multimodal import Output
from mmbal.text import some

REMEDY = "Lower the learning rate (--set optimiser.lr=...), or clip gradients (--set optimiser.clip=1)."
AT_INPUT = "Look at these samples with `mmbal doctor STORE`, and prepare the store again without them."


class NotFinite(DataError):
    """NaN or infinity in an input, a loss or a gradient; ``rows`` are those of the batch that have it, where known."""

    def __init__(self, what: str, origin: tuple[str, Tensor | None] = ("", None), hint: str = REMEDY) -> None:
        super().__init__(f"{what}.", hint)
        self.what = what
        self.origin, self.rows = origin

    def at(self, run: Run, number: int, batch: Batch) -> DataError:
        """The same failure with its place: epoch, batch, samples."""
        index = batch.index.cpu()
        rows = index if self.rows is None else index[self.rows.cpu()]
        ids = some(run.train.store.ids[rows.numpy()].tolist())
        found = NotFinite(
            f"{self.what} in batch {number} of epoch {run.epoch + 1}{self.origin and ': '}{self.origin} "
            f"(samples {ids})",
            hint=self.hint,
        )
        found.rows = rows
        return found


def require_finite(values: Mapping[str, Tensor], kind: str) -> None:
    """Raise NotFinite where a modality's tensor ``(B, ...)`` has NaN or infinity.

    A sum is finite only where all its numbers are, and takes a tenth of the time of looking at each. Where it is not, each
    is looked at, since finite numbers may add up to more than their type holds.
    """
    floating = {m: x.detach() for m, x in values.items() if x.is_floating_point()}
    if floating and not bool(torch.isfinite(torch.stack([x.sum().float() for x in floating.values()])).all()):
        for m, x in floating.items():
            if (rows := _bad_rows(x)).any():
                raise NotFinite(f"The {kind} of '{m}' has NaN or infinity", ("", rows), AT_INPUT)


def require_finite_decisions(output: Output, batch: Batch, loader: Loader) -> None:
    """Raise NotFinite where a modality's decision on a batch of a loader has NaN or infinity."""
    if bool(torch.stack([torch.isfinite(x).all() for x in (output.fused, *output.logits.values())]).all()):
        return
    for m, x in [*batch.inputs.items(), *output.logits.items(), ("", output.fused)]:
        if x.is_floating_point() and (rows := _bad_rows(x)).any():
            ids = some(loader.store.ids[batch.index[rows].cpu().numpy()].tolist())
            what = "input" if x is batch.inputs.get(m) else "decision"
            whose = f"of '{m}' " if m else ""
            raise NotFinite(
                f"The {what} {whose}has NaN or infinity on the split '{loader.split}' (samples {ids})",
                hint=AT_INPUT if what == "input" else REMEDY,
            )


def origin(output: Output) -> tuple[str, Tensor | None]:
    """Where a loss that is not finite comes from: the first modality whose features or logits are not, and the rows."""
    for kind, values in (("features", output.features), ("logits", output.logits)):
        for m, x in values.items():
            if (rows := _bad_rows(x)).any():
                return f"the {kind} of '{m}' have NaN or infinity", rows
    return "", None


def require_finite_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Raise NotFinite where the gradient of a part has NaN or infinity; the part names the modality."""
    gradients = {
        str(group["part"]): [p.grad for p in group["params"] if p.grad is not None] for group in optimiser.param_groups
    }
    found = {part: given for part, given in gradients.items() if given}
    if found and not bool(torch.isfinite(get_total_norm([g for given in found.values() for g in given]))):
        for part, given in found.items():
            if not all(bool(torch.isfinite(g).all()) for g in given):
                what = f"encoder of '{m}'" if (m := part.removeprefix("encoders.")) != part else part
                raise NotFinite(f"The gradient of the {what} has NaN or infinity")


def _bad_rows(x: Tensor) -> Tensor:
    """``(B,)``: whether a row has NaN or infinity."""
    return ~torch.isfinite(x.detach()).flatten(1).all(dim=1)
