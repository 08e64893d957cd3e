"""The embedded spoken and written digits as two tables of numbers, and small networks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mmbal.data.prepare import embedded_store
from mmbal.data.store.store import Store

CLASSES = 10


def digits(split: str, most: int = 400) -> TensorDataset:
    """``audio (N, 1024)``, ``image (N, 784)`` and labels, about unit variance."""
    store = Store.open(embedded_store())
    rows = store.rows(split)[:: max(1, len(store.rows(split)) // most)]
    audio = torch.from_numpy((np.asarray(store.arrays["audio"][rows], np.float32).reshape(len(rows), -1) + 4) / 4)
    image = torch.from_numpy((np.asarray(store.arrays["image"][rows], np.float32).reshape(len(rows), -1) - 32) / 77)
    return TensorDataset(audio, image, torch.from_numpy(store.labels[rows]).long())


class Encoders(nn.Module):
    """A small encoder for each modality."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(1024, width), nn.ReLU())
        self.image = nn.Sequential(nn.Linear(784, width), nn.ReLU())


class Concatenated(Encoders):
    """A linear head on concatenated features."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(32, CLASSES)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.image(image)], dim=1))


class Summed(Encoders):
    """The sum of two heads' logits."""

    def __init__(self) -> None:
        super().__init__()
        self.of_audio, self.of_image = nn.Linear(16, CLASSES), nn.Linear(16, CLASSES)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        return self.of_audio(self.audio(audio)) + self.of_image(self.image(image))


class FiLM(nn.Module):
    """One modality scales and shifts the features of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.film, self.out = nn.Linear(16, 32), nn.Linear(16, CLASSES)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        gamma, beta = self.film(audio).chunk(2, dim=1)
        return self.out(gamma * image + beta)


class Modulated(Encoders):
    """FiLM fusion."""

    def __init__(self) -> None:
        super().__init__()
        self.fusion = FiLM()

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        return self.fusion(self.audio(audio), self.image(image))
