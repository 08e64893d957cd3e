"""Modality dropout: repeat each batch with a modality replaced by noise, faded or removed.

Chumachenko, Iosifidis and Gabbouj, "Self-attention fusion for audiovisual emotion recognition with incomplete data",
ICPR 2022, arXiv 2201.11095.

    noise:     batch = x  +  for each m: x with x_m ~ N(0, 1)
    softhard:  batch = x  +  (c_1 x_1, ..., c_M x_M)  +  for each m: x without x_m
    c ~ uniform on sum_m c_m = 1, for each sample       (M = 2: c_1 ~ U(0, 1), c_2 = 1 - c_1)

The rows are repeated in `on_batch`, before the encoders: labels are repeated with them, so any fusion and loss apply;
and an encoder also learns from empty and noisy inputs, which a change of features would not allow. The cost is
a batch (1 + M) or (2 + M) times as large. A removed modality is marked as missing, as in the diagnosis.

Deviations: the paper has M = 2 and draws c in hundredths. Copies that change nothing, or that leave a sample with noise
or nothing alone (it had only one modality), are left out. Token ids fade by dropping words, kept with chance c_m; their
noise is drawn evenly from the vocabulary. `share` is ours: the chance that a batch is repeated at all.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.modality_dropout import faded, simplex
from mmbal.models.draws import named_generator, uniform_by_row
from mmbal.models.fusion import total
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def replaced(batch: Batch, values: dict[str, Tensor], rows: Tensor, absent: str | None = None) -> Batch:
    """The ``rows`` (bool) of a batch with some inputs replaced, and the modality ``absent``, if any, marked as missing."""
    inputs = {m: values.get(m, x)[rows] for m, x in batch.inputs.items()}
    present = {m: p[rows] & (m != absent) for m, p in batch.present.items()}
    return Batch(inputs, batch.labels[rows], batch.index[rows], present)


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches as one."""
    first = batches[0]
    return Batch(
        {m: torch.cat([b.inputs[m] for b in batches]) for m in first.inputs},
        torch.cat([b.labels for b in batches]),
        torch.cat([b.index for b in batches]),
        {m: torch.cat([b.present[m] for b in batches]) for m in first.present},
    )


@methods.register(
    family="modality dropout",
    year=2022,
    paper="2201.11095",
    status="with stated deviations",
    off={"share": 0.0},
)
class ModalityDropout(Method):
    """Learns every sample also as it would look with a modality missing."""

    at_least = 2

    class Config(Config):
        augmentation: Literal["softhard", "noise"] = Field("softhard", description="what replaces a modality")
        share: float = Field(1.0, ge=0, le=1, description="chance that a batch is augmented; 1 in the paper")

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        copies = {"whole": batch}
        if float(torch.rand((), generator=named_generator(f"dropout.{run.step}"))) < self.config.share:
            copies |= self.copies(batch, run)
        self.sizes = {name: len(copy) for name, copy in copies.items()}
        return joined(list(copies.values()))

    def copies(self, batch: Batch, run: Run) -> dict[str, Batch]:
        """The batch faded, and without each modality; of the samples that have several."""
        several, found = total({m: p.long() for m, p in batch.present.items()}) > 1, {}
        soft = self.config.augmentation == "softhard"
        if soft:
            rows = len(run.train.store)
            shares = simplex({m: uniform_by_row(f"fade.{m}.{run.step}", batch.index, rows) for m in batch.inputs})
            values = {m: faded(x, shares[m], self.thresholds(m, x, run)) for m, x in batch.inputs.items()}
            found["faded"] = replaced(batch, values, several)
        for m, x in batch.inputs.items():
            value = torch.zeros_like(x) if soft else self.noise(m, x, batch, run)
            found[f"without/{m}"] = replaced(batch, {m: value}, batch.present[m] & several, absent=m if soft else None)
        return found

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        right = (output.fused.argmax(dim=1) == batch.labels).float().split(list(self.sizes.values()))
        for name, part in zip(self.sizes, right, strict=True):
            if len(part):
                run.log(f"accuracy_{name}", part.mean())
        return super().losses(output, batch, phase, run)

    def thresholds(self, m: str, values: Tensor, run: Run) -> Tensor:
        """Uniform numbers for the entries of one sample of m, the same for every sample of the batch."""
        return torch.rand(values.shape[1:], generator=named_generator(f"words.{m}.{run.step}")).to(values.device)

    def noise(self, m: str, values: Tensor, batch: Batch, run: Run) -> Tensor:
        """Random inputs of m without information, drawn row by row, so that processes that share a batch agree."""
        drawn = torch.empty(values.shape, dtype=values.dtype)
        for position, row in enumerate(batch.index.tolist()):
            chance = named_generator(f"noise.{m}.{run.step}.{row}")
            if values.is_floating_point():
                drawn[position] = torch.randn(values.shape[1:], generator=chance)
            else:
                vocabulary = int(run.train.specs[m].preprocessing["vocabulary"])
                drawn[position] = torch.randint(1, vocabulary, values.shape[1:], generator=chance)
        return drawn.to(values.device)
