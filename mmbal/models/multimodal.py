"""The multimodal classifier: encoders of M >= 1 modalities and a fusion, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmbal.data.store.batch import Batch, Encoded
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError
from mmbal.models.encoders import Encoder, build_encoder
from mmbal.models.fusion import Fusion, Output, build_fusion, named_seed

__all__ = ["MultimodalClassifier", "Output", "build_model"]


class MultimodalClassifier(nn.Module):
    """``encoders[m]`` gives modality m's feature, ``fusion`` the decision; encoders run once a batch.

    Modalities are kept in the order of their names, so the order in which they were given changes nothing.
    """

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({m: encoders[m] for m in sorted(encoders)})
        self.fusion = fusion

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.encoders)

    def encode(
        self, batch: Batch, train: Collection[str] | None = None, run: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """What the fusion takes of each modality: features ``(B, D_m)`` or tokens ``(B, T, D_m)``.

        Rows without the modality are zero. Encoders outside ``train`` (default: all) give no gradient; those outside
        ``run`` (default: all) do not run, and give zeros, one token each.
        """
        features, known = {}, batch.features
        for m, encoder in self.encoders.items():
            if run is not None and m not in run:
                width = cast(Encoder, encoder).dim
                shape = (1, width) if self.fusion.takes == "tokens" else (width,)
                features[m] = torch.zeros(len(batch), *shape, device=batch.labels.device)
                continue
            learns = train is None or m in train
            with nullcontext() if learns else torch.no_grad():
                value = known[m] if m in known else self.read(m, batch)
            features[m] = mask_absent(value if learns else value.detach(), batch.present[m])
        return features

    def read(self, m: str, batch: Batch) -> Tensor:
        """What the encoder of m makes of its inputs, as the fusion takes it."""
        encoder = cast(Encoder, self.encoders[m])
        value: Tensor = encoder.tokens(batch.inputs[m]) if self.fusion.takes == "tokens" else encoder(batch.inputs[m])
        return value

    def encoded(self, batch: Batch) -> Batch:
        """The same batch with its features, so that all phases of a method share one run of the encoders."""
        made = {m: batch.features[m] if m in batch.features else self.read(m, batch) for m in self.modalities}
        return replace(batch, encoded=Encoded(batch.inputs, made))

    def decide(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Output:
        """The fusion's decision on given features; see :class:`Output`."""
        return self.fusion.decide(features, present)

    def without(self, output: Output, absent: Collection[str]) -> Output:
        """The decision on the same features with the modalities in ``absent`` removed."""
        inputs = {m: torch.zeros_like(v) if m in absent else v for m, v in output.inputs.items()}
        present = {m: torch.zeros_like(p) if m in absent else p for m, p in output.present.items()}
        return self.decide(inputs, present)

    def forward(self, batch: Batch) -> Output:
        return self.decide(self.encode(batch), batch.present)


def mask_absent(value: Tensor, present: Tensor) -> Tensor:
    """``value`` with the rows zeroed where ``present`` is false."""
    return value if bool(present.all()) else value * present.view(-1, *[1] * (value.dim() - 1))


def build_model(
    specs: Mapping[str, ModalitySpec],
    classes: int,
    encoders: Mapping[str, tuple[str, dict[str, Any]]],
    fusion: tuple[str, dict[str, Any]],
) -> MultimodalClassifier:
    """A classifier from names and options, initialised from the global seed, whatever the order of the modalities."""
    built: dict[str, Encoder] = {}
    for m, spec in sorted(specs.items()):
        if "." in m or not m:
            raise ConfigError(f"'{m}' can't name a modality: it must be non-empty and without dots.")
        with named_seed(f"encoder.{m}"):
            built[m] = build_encoder(spec, *encoders[m])
    with named_seed("fusion"):
        return MultimodalClassifier(built, build_fusion(*fusion, {m: e.dim for m, e in built.items()}, classes))
