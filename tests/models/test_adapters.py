"""Checkpoints as the two-ResNet-18 repositories write them, made here with torchvision's ResNet under their names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34

from mmbal.data.store.loader import Batch
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError, UsageError
from mmbal.models.adapters import import_checkpoint

SPECS = {
    "audio": ModalitySpec(kind="spectrogram", shape=(1, 64, 64)),
    "video": ModalitySpec(kind="frames", shape=(2, 3, 64, 64)),
}
CLASSES = 5


def backbone(channels: int, build=resnet18) -> nn.Module:
    net = build(weights=None)
    net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    net.fc = nn.Identity()
    return net.eval()


class Theirs(nn.Module):
    """The field's classifier: two backbones, frames folded and averaged, and a head given as layers by name."""

    def __init__(self, names: tuple[str, str], holder: str, layers: dict[str, nn.Linear]) -> None:
        super().__init__()
        self.names, self.holder = names, holder
        self.add_module(names[0], backbone(1))
        self.add_module(names[1], backbone(3))
        if holder:
            self.add_module(holder, nn.ModuleDict(layers))
        else:
            for name, layer in layers.items():
                self.add_module(name, layer)

    def features(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        frames = getattr(self, self.names[1])(video.flatten(0, 1)).unflatten(0, video.shape[:2])
        return getattr(self, self.names[0])(audio), frames.mean(1)


def layer(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs)


CASES = {
    "concat": (
        ("audio_net", "visual_net"), "fusion_module", {"fc_out": layer(1024, CLASSES)},
        lambda h, x, y: h["fc_out"](torch.cat([x, y], 1)),
    ),
    "concat, TPAMI names": (
        ("encoder_1", "encoder_2"), "fusion_model", {"fxy": layer(1024, CLASSES)},
        lambda h, x, y: h["fxy"](torch.cat([x, y], 1)),
    ),
    "concat, heads of one modality beside it": (
        ("audio_net", "visual_net"), "",
        {"head": layer(1024, CLASSES), "head_audio": layer(512, CLASSES), "head_video": layer(512, CLASSES)},
        lambda h, x, y: h["head"](torch.cat([x, y], 1)),
    ),
    "sum": (
        ("audio_net", "visual_net"), "fusion_module", {"fc_x": layer(512, CLASSES), "fc_y": layer(512, CLASSES)},
        lambda h, x, y: h["fc_x"](x) + h["fc_y"](y),
    ),
    "film": (
        ("audio_net", "visual_net"), "fusion_module", {"fc": layer(512, 1024), "fc_out": layer(512, CLASSES)},
        lambda h, x, y: h["fc_out"](h["fc"](x)[:, :512] * y + h["fc"](x)[:, 512:]),
    ),
    "gated": (
        ("audio_net", "visual_net"), "fusion_module",
        {"fc_x": layer(512, 300), "fc_y": layer(512, 300), "fc_out": layer(300, CLASSES)},
        lambda h, x, y: h["fc_out"](torch.sigmoid(h["fc_x"](x)) * h["fc_y"](y)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_imported_model_decides_as_the_original(case, tmp_path):
    names, holder, layers, decide = CASES[case]
    theirs = Theirs(names, holder, layers)
    path = tmp_path / "best.pth"
    state = nn.DataParallel(theirs).state_dict()
    assert all(key.startswith("module.") for key in state)
    torch.save({"saved_epoch": 7, "acc": 0.5, "model": state}, path)

    got = import_checkpoint(path, SPECS)
    audio, video = torch.randn(3, 1, 64, 64), torch.randn(3, 2, 3, 64, 64)
    present = {m: torch.ones(3, dtype=torch.bool) for m in SPECS}
    batch = Batch(
        inputs={"audio": audio, "video": video}, labels=torch.zeros(3).long(), index=torch.arange(3), present=present
    )
    with torch.no_grad():
        x, y = theirs.features(audio, video)
        output = got.model.eval()(batch)
        assert torch.allclose(output.fused, decide(layers, x, y), atol=1e-4)
    assert got.fusion == case.split(",")[0]
    assert got.classes == CLASSES
    assert list(got.encoders) == ["audio", "video"]
    unused = {key for key in theirs.state_dict() if key.startswith(("head_audio", "head_video"))}
    assert set(got.unused) == unused


def save(tmp_path, change):
    state = Theirs(("audio_net", "visual_net"), "fusion_module", {"fc_out": layer(1024, CLASSES)}).state_dict()
    change(state)
    path = tmp_path / "model.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("audio_net.layer3.0.bn1.weight"), "encoders.audio.net.3.0.bn1.weight"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("visual")], "1 ResNet encoders"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("fusion")], "no head"),
        (lambda s: s.update({"fusion_module.fc_out.weight": torch.ones(CLASSES, 700)}), "fc_out.weight"),
        (lambda s: s.update({"audio_net.layer1.2.conv1.weight": torch.ones(1)}), "audio_net.layer1.2.conv1.weight"),
        (lambda s: s.update({"audio_net.conv1.weight": torch.ones(64, 3, 7, 7)}), "same modality"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, says):
    with pytest.raises(ConfigError, match=r"model\.pth") as caught:
        import_checkpoint(save(tmp_path, change), SPECS)
    assert says in caught.value.message


def test_a_deeper_resnet_is_not_taken_for_a_resnet18(tmp_path):
    state = Theirs(("audio_net", "visual_net"), "fusion_module", {"fc_out": layer(1024, CLASSES)}).state_dict()
    deep = {f"audio_net.{key}": value for key, value in backbone(1, resnet34).state_dict().items()}
    torch.save({**state, **deep}, tmp_path / "deep.pth")
    with pytest.raises(ConfigError, match="not belong to a ResNet-18"):
        import_checkpoint(tmp_path / "deep.pth", SPECS)


def test_a_pickled_model_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "object.pth")
    with pytest.raises(ConfigError, match="never unpickles"):
        import_checkpoint(tmp_path / "object.pth")
    with pytest.raises(UsageError):
        import_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("before", "middle"),
    [("module.module.", ""), ("", "module."), ("_orig_mod.module.", ""), ("model.", ""), ("net.module.", "_orig_mod.")],
)
def test_what_wrappers_add_to_the_names_is_left_out(tmp_path, before, middle):
    head = layer(1024, CLASSES)
    nets = {"audio_net": backbone(1), "visual_net": backbone(3)}
    state = {f"{before}{name}.{middle}{k}": v for name, net in nets.items() for k, v in net.state_dict().items()}
    state |= {f"{before}fusion_module.{middle}fc_out.{k}": v for k, v in head.state_dict().items()}
    torch.save(state, tmp_path / "best.pth")
    got = import_checkpoint(tmp_path / "best.pth", SPECS)
    assert got.encoders == {"audio": "audio_net.", "video": "visual_net."}
    assert torch.equal(torch.cat([got.model.fusion.weights[m] for m in SPECS], dim=1), head.weight)
    assert got.unused == []


def test_names_that_become_the_same_are_refused(tmp_path):
    state = {f"{prefix}audio_net.{k}": v for prefix in ("", "module.") for k, v in backbone(1).state_dict().items()}
    torch.save(state, tmp_path / "best.pth")
    with pytest.raises(ConfigError, match="two keys have the same name"):
        import_checkpoint(tmp_path / "best.pth", SPECS)
