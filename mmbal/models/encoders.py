"""Encoders: one modality's inputs to a sequence of tokens, whose mean is the feature that the fusion takes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.models import resnet18

from mmbal.config import Config, validate
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError
from mmbal.files import read_tensors
from mmbal.registry import encoders

SMALL_SIDE = (
    64  # below this side (pixels or bins) a ResNet-18 has reduced its maps to a point long before its last stage
)


class Encoder(nn.Module):
    """One modality's encoder; a subclass sets ``dim`` and ``stages`` and implements :meth:`tokens`."""

    Config: ClassVar[type[Config]] = Config
    memory: ClassVar[torch.memory_format] = torch.preserve_format  # of the weights of convolutions
    dim: int
    stages: list[nn.Module]

    def __init__(self, spec: ModalitySpec, config: Any) -> None:
        super().__init__()
        self.kind = spec.kind

    def tokens(self, inputs: Tensor) -> Tensor:
        """Inputs of the modality (shape as its kind says) to ``(B, T, D)``: frames, spectrogram columns, cells, words."""
        raise TypeError(f"{type(self).__name__} defines no tokens")

    def forward(self, inputs: Tensor) -> Tensor:
        """The feature ``(B, D)``: the mean over tokens."""
        return self.tokens(inputs).mean(dim=1)


def build_encoder(spec: ModalitySpec, name: str, options: dict[str, object]) -> Encoder:
    """The encoder ``name`` for a modality; raises ConfigError where it can't take that kind of input."""
    entry = encoders.entry(name)
    if spec.kind not in entry.about.kinds:
        fitting = [e.name for e in encoders if spec.kind in e.about.kinds]
        raise ConfigError(f"The encoder '{name}' can't take {spec.kind}.", f"Encoders that can: {', '.join(fitting)}.")
    built: Encoder = entry.cls(spec, validate(entry.cls.Config, options, f"encoder {name}"))
    return built.to(memory_format=built.memory)


def default_encoder(spec: ModalitySpec) -> str:
    """The usual encoder for a kind of input: ResNet-18 for media, a small CNN where the side is below 64."""
    if spec.kind in ("spectrogram", "image", "frames"):
        return "resnet18" if min(spec.shape[-2:]) >= SMALL_SIDE else "cnn"
    return "text" if spec.kind == "text" else "mlp"


class _Convolutional(Encoder):
    """Base of the encoders of maps: frames are folded into the batch, maps become tokens.

    Weights and maps are in memory with their channels last, as convolutions read them fastest.
    """

    memory = torch.channels_last

    def maps(self, inputs: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, D, h, w)``."""
        inputs = inputs.contiguous(memory_format=self.memory)
        for stage in self.stages:
            inputs = stage(inputs)
        return inputs

    def tokens(self, inputs: Tensor) -> Tensor:
        if self.kind == "frames":
            batch, time = inputs.shape[:2]
            return self.maps(inputs.flatten(0, 1)).mean(dim=(2, 3)).unflatten(0, (batch, time))
        maps = self.maps(inputs)
        return maps.mean(dim=2).transpose(1, 2) if self.kind == "spectrogram" else maps.flatten(2).transpose(1, 2)


def _channels(spec: ModalitySpec) -> int:
    return spec.shape[-3]


@encoders.register("resnet18", kinds={"spectrogram", "image", "frames"})
class ResNet18(_Convolutional):
    """torchvision's ResNet-18 without its classifier: D = 512; He, Zhang, Ren and Sun, CVPR 2016."""

    class Config(Config):
        weights: Path | None = Field(None, description="state dict of torchvision's resnet18, a local file")

    dim = 512

    def __init__(self, spec: ModalitySpec, config: ResNet18.Config) -> None:
        super().__init__(spec, config)
        net = resnet18(weights=None)
        if config.weights is not None:
            net.load_state_dict(read_weights(config.weights))
        channels = _channels(spec)
        if channels != 3:
            stem = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
            if config.weights is not None:
                # A grey input is the mean of three equal colours, so it meets the sum of the colour filters.
                stem.weight.data = net.conv1.weight.data.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels
            net.conv1 = stem
        stem_stage = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.net = nn.ModuleList([stem_stage, net.layer1, net.layer2, net.layer3, net.layer4])
        self.stages = list(self.net)


@encoders.register("cnn", kinds={"spectrogram", "image", "frames"})
class SmallCNN(_Convolutional):
    """Three blocks of convolution, batch norm, ReLU and pooling: for small inputs and machines without a GPU."""

    class Config(Config):
        width: int = Field(16, ge=1, description="channels of the first block; doubled in each further one")

    def __init__(self, spec: ModalitySpec, config: SmallCNN.Config) -> None:
        super().__init__(spec, config)
        widths = [_channels(spec), config.width, 2 * config.width, 4 * config.width]
        self.net = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            )
            for before, after in pairwise(widths)
        )
        self.stages = list(self.net)
        self.dim = widths[-1]


@encoders.register("mlp", kinds={"features", "sequence", "spectrogram", "image", "frames"})
class MLP(Encoder):
    """A multi-layer perceptron: on each step of a sequence, on everything else flattened, which gives one token."""

    class Config(Config):
        hidden: int = Field(128, ge=1, description="width of the hidden layers")
        dim: int = Field(64, ge=1, description="D: width of the feature")
        layers: int = Field(2, ge=1, description="number of linear layers")
        dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each layer but the first")

    def __init__(self, spec: ModalitySpec, config: MLP.Config) -> None:
        super().__init__(spec, config)
        inputs = spec.shape[-1] if spec.kind == "sequence" else int(torch.tensor(spec.shape).prod())
        widths = [inputs, *[config.hidden] * (config.layers - 1), config.dim]
        self.net = nn.ModuleList(
            nn.Sequential(nn.Dropout(config.dropout if depth else 0.0), nn.Linear(before, after), nn.ReLU())
            for depth, (before, after) in enumerate(pairwise(widths))
        )
        self.stages = list(self.net)
        self.dim = config.dim

    def tokens(self, inputs: Tensor) -> Tensor:
        values = inputs if self.kind == "sequence" else inputs.flatten(1).unsqueeze(1)
        for stage in self.stages:
            values = stage(values)
        return values


@encoders.register("text", kinds={"text"})
class TextCNN(Encoder):
    """Embedded token ids and one convolution over three neighbours; id 0 is padding and gets no weight; D = dim."""

    class Config(Config):
        dim: int = Field(64, ge=1, description="D: width of embedding and feature")

    def __init__(self, spec: ModalitySpec, config: TextCNN.Config) -> None:
        super().__init__(spec, config)
        self.embedding = nn.Embedding(int(spec.preprocessing["vocabulary"]), config.dim, padding_idx=0)
        self.convolution = nn.Conv1d(config.dim, config.dim, kernel_size=3, padding=1)
        self.stages = [self.embedding, self.convolution]
        self.dim = config.dim

    def tokens(self, inputs: Tensor) -> Tensor:
        words = (inputs != 0).unsqueeze(-1)
        values = self.convolution(self.embedding(inputs).transpose(1, 2)).transpose(1, 2).relu() * words
        # The mean over tokens must be the mean over words, whatever the padding.
        return values * (inputs.shape[1] / words.sum(dim=1, keepdim=True).clamp(min=1))


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict of tensors from a local file; raises ConfigError where it is missing, damaged or not plain tensors."""
    values = read_tensors(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no state dict.")
    return values
