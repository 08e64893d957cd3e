"""Modality dropout: repeat each batch with a modality replaced by noise, faded or removed.

Chumachenko, Iosifidis and Gabbouj, "Self-attention fusion for audiovisual emotion recognition with incomplete data",
ICPR 2022, arXiv 2201.11095.

    noise:     batch = x  +  for each m: x with x_m ~ N(0, 1)
    softhard:  batch = x  +  (c_1 x_1, ..., c_M x_M)  +  for each m: x without x_m
    c ~ uniform on sum_m c_m = 1, for each sample       (M = 2: c_1 ~ U(0, 1), c_2 = 1 - c_1)

Each input is encoded once, and once as it is faded, or as noise. The rows above are made of these features, since an encoder
sees one modality alone: twice the rows of joint training, where the rows above are 1 + M or 2 + M times as many. A removed
modality is marked as missing, as in the diagnosis: its feature is zero, and is not encoded.

Deviations: the paper has M = 2 and draws c in hundredths. Copies that change nothing, or that leave a sample with noise
or nothing alone (it had only one modality), are left out. Token ids fade by dropping words, kept with chance c_m; their
noise is drawn evenly from the vocabulary. `share` is ours: the chance that a batch is repeated at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, share_of
from mmbal.methods.parts.modality_dropout import faded, simplex
from mmbal.models.draws import named_generator, uniform_by_row
from mmbal.models.fusion import total
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods


@dataclass(frozen=True)
class Copy:
    """Some samples of a batch as they are decided: features, who is there, and their ``rows (B,)`` (bool) in the batch."""

    inputs: dict[str, Tensor]
    present: dict[str, Tensor]
    rows: Tensor


def without(whole: Mapping[str, Tensor], present: Mapping[str, Tensor], m: str, noise: Tensor | None = None) -> Copy:
    """The samples that have m and more, of features ``(B, ...)``, with m removed or with its features from ``noise``."""
    rows = present[m] & several(present)
    inputs = {n: z[rows] for n, z in whole.items()}
    inputs[m] = torch.zeros_like(inputs[m]) if noise is None else noise[rows]
    return Copy(inputs, {n: p[rows] & (n != m or noise is not None) for n, p in present.items()}, rows)


def several(present: Mapping[str, Tensor]) -> Tensor:
    """Which samples ``(B,)`` have more than one modality."""
    return total({m: p.long() for m, p in present.items()}) > 1


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
    executed = False  # whether the batch is repeated

    class Config(Config):
        augmentation: Literal["softhard", "noise"] = Field("softhard", description="what replaces a modality")
        share: float = Field(1.0, ge=0, le=1, description="chance that a batch is augmented; 1 in the paper")

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        draw = float(torch.rand((), generator=named_generator(f"dropout.{run.step}")))
        self.executed = draw < self.config.share
        if not self.executed:
            return batch
        whole = WholeBatch(batch.index, len(run.train.store), run.sum)
        if self.config.augmentation == "noise":
            inputs = {m: self.noise(m, x, whole, run) for m, x in batch.inputs.items()}
        else:
            rows = len(run.train.store)
            shares = simplex({m: uniform_by_row(f"fade.{m}.{run.step}", batch.index, rows) for m in batch.inputs})
            inputs = {m: faded(x, shares[m], self.thresholds(m, x, run)) for m, x in batch.inputs.items()}
        return Batch.joined([batch, replace(batch, inputs=inputs)])

    def copies(self, output: Output) -> dict[str, Copy]:
        """The samples of the batch as they are, faded, and without each modality."""
        half = len(output.fused) // 2
        present = {m: p[:half] for m, p in output.present.items()}
        whole, changed = ({m: z[part] for m, z in output.inputs.items()} for part in (slice(half), slice(half, None)))
        found = {"whole": Copy(whole, present, torch.ones(half, dtype=torch.bool, device=output.fused.device))}
        soft, rows = self.config.augmentation == "softhard", several(present)
        if soft:
            found["faded"] = Copy(
                {m: z[rows] for m, z in changed.items()}, {m: p[rows] for m, p in present.items()}, rows
            )
        return found | {f"without/{m}": without(whole, present, m, None if soft else changed[m]) for m in present}

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        if not self.executed:
            return super().losses(output, batch, phase, run)
        copies = self.copies(output)
        names = list(output.inputs)
        inputs = {m: torch.cat([copy.inputs[m] for copy in copies.values()]) for m in names}
        present = {m: torch.cat([copy.present[m] for copy in copies.values()]) for m in names}
        labels = torch.cat([batch.labels[: len(copy.rows)][copy.rows] for copy in copies.values()])
        decided = self.model.decide(inputs, present)
        right = (decided.fused.argmax(dim=1) == labels).float()
        parts = right.split([int(copy.rows.sum()) for copy in copies.values()])
        sizes = run.sum(torch.tensor([float(len(part)) for part in parts], device=run.device)).tolist()
        for name, part, size in zip(copies, parts, sizes, strict=True):
            if size:
                run.log(f"accuracy_{name}", part.sum() / (size * run.share))
        # The mean over all copies, of which processes have not as many for each sample.
        weight = share_of(torch.ones_like(labels), run)
        return {name: weight * loss for name, loss in self.model.fusion.losses(decided, labels).items()}

    def thresholds(self, m: str, values: Tensor, run: Run) -> Tensor:
        """Uniform numbers for the entries of one sample of m, the same for every sample of the batch."""
        return torch.rand(values.shape[1:], generator=named_generator(f"words.{m}.{run.step}")).to(values.device)

    def noise(self, m: str, values: Tensor, whole: WholeBatch, run: Run) -> Tensor:
        """Random inputs of m without information, drawn for the whole batch, of which a process takes its rows."""
        chance, shape = named_generator(f"noise.{m}.{run.step}"), (len(whole), *values.shape[1:])
        if values.is_floating_point():
            drawn = torch.randn(shape, generator=chance)
        else:
            vocabulary = int(run.train.specs[m].preprocessing["vocabulary"])
            drawn = torch.randint(1, vocabulary, shape, generator=chance)
        return drawn[whole.place.cpu()].to(values)
