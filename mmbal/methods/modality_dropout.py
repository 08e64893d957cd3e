"""Modality dropout: each batch is repeated with a modality replaced by noise, faint or gone, so that none can be leant on.

Chumachenko, Iosifidis and Gabbouj, "Self-attention fusion for audiovisual emotion recognition with incomplete data",
ICPR 2022, arXiv 2201.11095.

    noise:     batch = x  +  for each m: x with x_m ~ N(0, 1)
    softhard:  batch = x  +  (c_1 x_1, ..., c_M x_M)  +  for each m: x without x_m
    c ~ uniform on sum_m c_m = 1, for each sample       (M = 2: c_1 ~ U(0, 1), c_2 = 1 - c_1)

The rows are repeated in `on_batch`, before the encoders: labels are repeated with them, so any fusion and loss apply;
and an encoder learns what its own silence and noise look like, which changed features could not teach it. The price is
a batch (1 + M) or (2 + M) times as large. A modality that is gone is marked absent, which is just what diagnosis does
when it evaluates with a modality missing.

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
from mmbal.data.loader import Batch
from mmbal.methods.base import Method, Run, require_modalities
from mmbal.models.fusion import named_seed, total
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import methods


def faded(values: Tensor, share: Tensor, thresholds: Tensor) -> Tensor:
    """``c x`` for inputs ``(B, ...)`` and c ``(B,)``; token ids are kept where their ``thresholds`` are below c."""
    share = share.view(-1, *[1] * (values.dim() - 1))
    return values * share if values.is_floating_point() else values * (thresholds < share)


def simplex(draws: dict[str, Tensor]) -> dict[str, Tensor]:
    """Uniform numbers in (0, 1), one for each modality and sample, to a uniform point with ``sum_m c_m = 1``."""
    exponential = {m: -u.log() for m, u in draws.items()}
    return {m: e / total(exponential) for m, e in exponential.items()}


def replaced(batch: Batch, values: dict[str, Tensor], rows: Tensor, absent: str | None = None) -> Batch:
    """The ``rows`` (bool) of a batch with some inputs replaced, and one modality marked absent where it is named."""
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
    needs=set(),
    status="with stated deviations",
    off={"share": 0.0},
)
class ModalityDropout(Method):
    """Learns every sample also as it would look with a modality missing."""

    class Config(Config):
        augmentation: Literal["softhard", "noise"] = Field("softhard", description="what replaces a modality")
        share: float = Field(1.0, ge=0, le=1, description="chance that a batch is augmented; 1 in the paper")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        require_modalities(self)

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        with named_seed(f"dropout.{run.step}"):
            if float(torch.rand(())) >= self.config.share:
                return batch
        count = total({m: p.long() for m, p in batch.present.items()})
        copies = [batch]
        if self.config.augmentation == "softhard":
            shares = simplex({m: self.draw(f"fade.{m}", batch, run) for m in batch.inputs})
            values = {m: faded(x, shares[m], self.thresholds(m, x, run)) for m, x in batch.inputs.items()}
            copies.append(replaced(batch, values, count > 1))
        for m, x in batch.inputs.items():
            rows = batch.present[m] & (count > 1)
            if self.config.augmentation == "softhard":
                copies.append(replaced(batch, {m: torch.zeros_like(x)}, rows, absent=m))
            else:
                copies.append(replaced(batch, {m: self.noise(m, x, batch, run)}, rows))
        return joined(copies)

    def draw(self, name: str, batch: Batch, run: Run) -> Tensor:
        """A uniform number ``(B,)`` for each sample, by row of the store, so that processes that share a batch agree."""
        with named_seed(f"{name}.{run.step}"):
            numbers = torch.rand(len(run.train.store)).clamp(min=1e-7)
        return numbers[batch.index.cpu()].to(batch.index.device)

    def thresholds(self, m: str, values: Tensor, run: Run) -> Tensor:
        """Uniform numbers for the entries of one sample of m, the same for every sample of the batch."""
        with named_seed(f"words.{m}.{run.step}"):
            return torch.rand(values.shape[1:]).to(values.device)

    def noise(self, m: str, values: Tensor, batch: Batch, run: Run) -> Tensor:
        """Inputs of m that say nothing, drawn row by row for the same reason."""
        drawn = torch.empty(values.shape, dtype=values.dtype)
        for position, row in enumerate(batch.index.tolist()):
            with named_seed(f"noise.{m}.{run.step}.{row}"):
                if values.is_floating_point():
                    drawn[position] = torch.randn(values.shape[1:])
                else:
                    vocabulary = int(run.train.specs[m].preprocessing["vocabulary"])
                    drawn[position] = torch.randint(1, vocabulary, values.shape[1:])
        return drawn.to(values.device)
