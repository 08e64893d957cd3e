"""Checkpoints as the two-ResNet-18 repositories write them, made here with torchvision's ResNet under their names."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34

from mmbal.data.store.loader import Batch
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import ConfigError, UsageError
from mmbal.models.adapters import adapt, import_checkpoint
from mmbal.models.layouts import LAYOUTS as TABLE
from mmbal.registry import methods

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
    assert got.head.fusion == case.split(",")[0]
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
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("fusion")], "no head that mmbal knows. Its parts"),
        (
            lambda s: s.update({"fusion_module.fc_out.weight": torch.ones(CLASSES, 700)}),
            "MLA, BalanceBenchmark, but 'fusion_module.fc_out.weight' has shape (5, 700), expected (5, 1024).",
        ),
        (
            lambda s: s.pop("fusion_module.fc_out.bias"),
            "of OGM-GE, PMR, DGL, MLA, BalanceBenchmark, but 'fc_out.bias' is",
        ),
        (lambda s: s.update({"mmtm_layers.fc.weight": torch.ones(1)}), "but 'mmtm_layers.fc.weight' is no part of it"),
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


# --- The layouts of the field, by the key names that the repositories' own code gives ---


@cache
def encoder(channels: int) -> dict[str, Tensor]:
    return backbone(channels).state_dict()


def net(prefix: str, channels: int) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": value for key, value in encoder(channels).items()}


def dense(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, Tensor]:
    found = {f"{name}.weight": torch.randn(outputs, inputs) / inputs**0.5}
    return found | ({f"{name}.bias": torch.randn(outputs)} if bias else {})


def apply(s, name, z):
    bias = s.get(f"{name}.bias")
    return z @ s[f"{name}.weight"].T + (0 if bias is None else bias)


def by_entropy(a, b):
    """Weights exp(max H - H_m) / sum, for each sample."""
    entropies = [-(o.softmax(1) * o.log_softmax(1)).sum(1, keepdim=True) for o in (a, b)]
    w = [torch.exp(torch.maximum(*entropies) - h) for h in entropies]
    return (w[0] * a + w[1] * b) / (w[0] + w[1])


def boosted(s, z, first, more):
    heads = [first, *sorted({key.rpartition(".")[0] for key in s if key.startswith(more)})]
    return sum(apply(s, "fc_out", apply(s, name, z).relu()) for name in heads)


def two(s, x, y, names):
    return apply(s, names[0], x) + apply(s, names[1], y)


def cat(s, x, y, name):
    return apply(s, name, torch.cat([x, y], 1))


def film(s, x, y):
    gamma, beta = apply(s, "fusion_module.fc", x).chunk(2, dim=1)
    return apply(s, "fusion_module.fc_out", gamma * y + beta)


def gated(s, x, y, names):
    return apply(s, names[2], apply(s, names[0], x).sigmoid() * apply(s, names[1], y))


OGM = ("audio_net", "visual_net")
IN_BENCH = ("modality_encoder.audio", "modality_encoder.visual")
NESTED = ("audio_encoder.audio_net", "video_encoder.video_net")
BML = ("encoder_1", "encoder_2")
FUSED = "fusion_module"
LAYOUTS = {  # repository -> encoders, the other parameters, the decision of the repository's code, keys without a use
    "OGM-GE concat": (OGM, dense(f"{FUSED}.fc_out", 1024, 5), lambda s, x, y: cat(s, x, y, f"{FUSED}.fc_out"), ()),
    "OGM-GE sum": (
        OGM, dense(f"{FUSED}.fc_x", 512, 5) | dense(f"{FUSED}.fc_y", 512, 5),
        lambda s, x, y: two(s, x, y, (f"{FUSED}.fc_x", f"{FUSED}.fc_y")), (),
    ),
    "PMR film": (OGM, dense(f"{FUSED}.fc", 512, 1024) | dense(f"{FUSED}.fc_out", 512, 5), film, ()),
    "PMR gated": (
        OGM, dense(f"{FUSED}.fc_x", 512, 512) | dense(f"{FUSED}.fc_y", 512, 512) | dense(f"{FUSED}.fc_out", 512, 5),
        lambda s, x, y: gated(s, x, y, (f"{FUSED}.fc_x", f"{FUSED}.fc_y", f"{FUSED}.fc_out")), (),
    ),
    "DGL concat": (
        OGM, dense(f"{FUSED}.fc_out", 1024, 5) | dense(f"{FUSED}.fc_auxi", 1024, 5),
        lambda s, x, y: cat(s, x, y, f"{FUSED}.fc_out"), (f"{FUSED}.fc_auxi",),
    ),
    "BML concat": (BML, dense("fusion_model.fxy", 1024, 5), lambda s, x, y: cat(s, x, y, "fusion_model.fxy"), ()),
    "BML sum": (
        BML, dense("fusion_model.fx", 512, 5) | dense("fusion_model.fy", 512, 5),
        lambda s, x, y: two(s, x, y, ("fusion_model.fx", "fusion_model.fy")), (),
    ),
    "BML gated": (
        BML, dense("fusion_model.fx", 512, 512) | dense("fusion_model.fy", 512, 512) | dense("fusion_model.f_out", 512, 5),
        lambda s, x, y: gated(s, x, y, ("fusion_model.fx", "fusion_model.fy", "fusion_model.f_out")), (),
    ),
    "MMPareto": (
        OGM, dense("head", 1024, 5) | dense("head_audio", 512, 5) | dense("head_video", 512, 5),
        lambda s, x, y: cat(s, x, y, "head"), ("head_audio", "head_video"),
    ),
    "MLA": (OGM, dense(f"{FUSED}.fc_out", 512, 5), lambda s, x, y: two(s, x, y, (f"{FUSED}.fc_out",) * 2) / 2, ()),
    "ReconBoost": (
        ("model_audio.audio_net", "model_visual.visual_net"),
        dense("model_audio.fc", 512, 5) | dense("model_visual.fc", 512, 5),
        lambda s, x, y: two(s, x, y, ("model_audio.fc", "model_visual.fc")), (),
    ),
    "LFM": (
        NESTED, dense("cls_a", 512, 5) | dense("cls_v", 512, 5), lambda s, x, y: two(s, x, y, ("cls_a", "cls_v")), ()
    ),
    "AUG": (
        NESTED,
        dense("embedding_a.0", 512, 256) | dense("embedding_v.0", 512, 256) | dense("fc_out", 256, 5)
        | dense("additional_layers_v.0", 512, 256) | dense("additional_layers_v.1", 512, 256),
        lambda s, x, y: 0.4 * boosted(s, x, "embedding_a.0", "additional_layers_a.")
        + 0.6 * boosted(s, y, "embedding_v.0", "additional_layers_v."), (),
    ),
    "MCR": (
        ("enc_0.audio_net", "enc_1.visual_net"),
        dense("fc_0_lin", 512, 5, bias=False) | dense("fc_1_lin", 512, 5, bias=False) | {"bias_lin": torch.randn(5)}
        | dense("enc_0.aclassifier", 512, 5) | dense("enc_1.vclassifier.0", 512, 5),
        lambda s, x, y: two(s, x, y, ("fc_0_lin", "fc_1_lin")) + s["bias_lin"], ("enc_0.aclassifier", "enc_1.vclassifier.0"),
    ),
    "BalanceBenchmark": (
        IN_BENCH, dense(f"{FUSED}.fc_out", 1024, 5), lambda s, x, y: cat(s, x, y, f"{FUSED}.fc_out"), ()
    ),
    "BalanceBenchmark (AMCo)": (
        IN_BENCH, dense(f"{FUSED}.fc_out", 1024, 5) | dense("linear_star", 5, 5),
        lambda s, x, y: apply(s, "linear_star", cat(s, x, y, f"{FUSED}.fc_out")), (),
    ),
    "BalanceBenchmark (MLA)": (
        IN_BENCH, dense(f"{FUSED}.fc_out", 512, 5),
        lambda s, x, y: by_entropy(apply(s, f"{FUSED}.fc_out", x), apply(s, f"{FUSED}.fc_out", y)), (),
    ),
    "BalanceBenchmark (ReconBoost)": (
        IN_BENCH, dense(f"{FUSED}.fc_out", 512, 5) | {"boost_rate": torch.tensor(0.3)},
        lambda s, x, y: 0.3 * two(s, x, y, (f"{FUSED}.fc_out",) * 2), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_each_repository_decides_as_its_own_code(case):
    """The decision of mmbal is that of the repository's formula, also where the classes are put in another order."""
    names, others, decide, beside = LAYOUTS[case]
    state = net(names[0], 1) | net(names[1], 3) | others
    order = [3, 0, 4, 1, 2]
    got = adapt(state, SPECS, lambda layout, classes: order)
    assert case.split()[0] in " ".join(got.layout.repositories).replace("BML_TPAMI2024", "BML")
    assert {key.rpartition(".")[0] for key in got.unused} == set(beside)
    assert got.classes == CLASSES

    cls = methods.get(got.head.method)
    method = cls(got.model, cls.Config(**got.head.method_options))
    method.load_state_dict(method.state_dict() | got.head.method_state)
    for prefix, m in zip(names, SPECS, strict=True):
        assert torch.equal(got.model.encoders[m].net[0][0].weight, state[f"{prefix}.conv1.weight"])
    x, y = torch.randn(4, 512), torch.randn(4, 512)
    present = {m: torch.ones(4, dtype=torch.bool) for m in SPECS}
    with torch.no_grad():
        fused = method.fuse(got.model.decide({"audio": x, "video": y}, present)).fused
        assert torch.allclose(fused, decide(state, x, y)[:, order], atol=1e-4)


def test_a_bilinear_head_is_not_taken_for_film_or_for_a_shared_head():
    """DGL's `film` is a product of all pairs of features, which mmbal has not."""
    head = {f"{FUSED}.fc.weight": torch.zeros(1).expand(512, 512 * 512), f"{FUSED}.fc.bias": torch.zeros(512)}
    state = net(OGM[0], 1) | net(OGM[1], 3) | head | dense(f"{FUSED}.fc_out", 512, 5)
    with pytest.raises(ConfigError, match=r"'fusion_module.fc.bias' is no part of it"):
        adapt(state, SPECS)


def test_two_state_dicts_in_a_file_and_the_best_of_two_epochs(tmp_path):
    names, others, *_ = LAYOUTS["ReconBoost"]
    state = net(names[0], 1) | net(names[1], 3) | others
    sides = {
        side: {k.removeprefix(f"{side}."): v for k, v in state.items() if k.startswith(side)}
        for side in ("model_audio", "model_visual")
    }
    torch.save({"saved_stage": 3, "acc": 0.6, **sides}, tmp_path / "uni.pth")
    assert import_checkpoint(tmp_path / "uni.pth", SPECS).encoders == {"audio": f"{names[0]}.", "video": f"{names[1]}."}
    last = {key: value + 1 for key, value in state.items()}
    torch.save({"model_state_dict": last, "best_model_state_dict": state}, tmp_path / "last.pth")
    got = import_checkpoint(tmp_path / "last.pth", SPECS)
    assert torch.equal(got.model.fusion.heads["audio"].bias, state["model_audio.fc.bias"])


def test_the_order_of_the_classes_is_the_repository_s():
    by_head = {names: layout for layout in TABLE for names in layout.repositories}
    assert by_head["MMPareto"].order("cremad", ["NEU", "HAP", "SAD", "FEA", "DIS", "ANG"])[0] == "ANG"
    assert by_head["LFM"].order("cremad", ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"])[:2] == ("NEU", "HAP")
    assert by_head["LFM"].order("clips", ["a", "b"]) is None
