"""Encoders: weights from a local file, grey inputs, padding, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError, UsageError
from mmbal.models.encoders import build_encoder, default_encoder


def spec(kind, shape, **preprocessing):
    return ModalitySpec(kind=kind, shape=shape, preprocessing=preprocessing)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save(resnet18(weights=None).state_dict(), path)
    return path


def test_resnet_is_torchvisions(weights: Path):
    encoder = build_encoder(spec("image", (3, 64, 64)), "resnet18", {"weights": str(weights)}).eval()
    net = resnet18(weights=None)
    net.load_state_dict(torch.load(weights, weights_only=True))
    net.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    assert torch.allclose(encoder(x), net.eval()(x), atol=1e-4)


def test_a_grey_input_meets_the_sum_of_the_colour_filters(weights: Path):
    grey = build_encoder(spec("spectrogram", (1, 64, 64)), "resnet18", {"weights": str(weights)}).eval()
    colour = build_encoder(spec("image", (3, 64, 64)), "resnet18", {"weights": str(weights)}).eval()
    x = torch.randn(2, 1, 64, 64)
    assert torch.allclose(grey(x), colour(x.repeat(1, 3, 1, 1)), atol=1e-4)


def test_frames_are_averaged_over_time(weights: Path):
    frames = build_encoder(spec("frames", (3, 3, 64, 64)), "resnet18", {"weights": str(weights)}).eval()
    image = build_encoder(spec("image", (3, 64, 64)), "resnet18", {"weights": str(weights)}).eval()
    x = torch.randn(2, 3, 3, 64, 64)
    by_hand = (image(x[:, 0]) + image(x[:, 1]) + image(x[:, 2])) / 3
    assert torch.allclose(frames(x), by_hand, atol=1e-4)


def test_padding_says_nothing():
    encoder = build_encoder(spec("text", (6,), vocabulary=10), "text", {}).eval()
    short = torch.tensor([[3, 4, 0, 0, 0, 0]])
    words = encoder.convolution(encoder.embedding(short).transpose(1, 2)).transpose(1, 2).relu()
    assert torch.allclose(encoder(short), words[:, :2].mean(dim=1), atol=1e-6)
    assert torch.isfinite(encoder(torch.zeros(1, 6, dtype=torch.long))).all()


def test_defaults_follow_kind_and_size():
    assert default_encoder(spec("frames", (3, 3, 224, 224))) == "resnet18"
    assert default_encoder(spec("spectrogram", (1, 32, 100))) == "cnn"
    assert default_encoder(spec("features", (7,))) == "mlp"
    assert default_encoder(spec("text", (7,))) == "text"


def test_what_can_not_be_built_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"can.t take features"):
        build_encoder(spec("features", (7,)), "resnet18", {})
    with pytest.raises(ConfigError, match="widht"):
        build_encoder(spec("image", (3, 8, 8)), "cnn", {"widht": 3})
    with pytest.raises(UsageError, match="no file"):
        build_encoder(spec("image", (3, 8, 8)), "resnet18", {"weights": str(tmp_path / "absent.pt")})
