"""From a foreign checkpoint to a run folder that the other commands take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mmbal.data.store.store import ModalitySpec, seal
from mmbal.engine.checkpoint import load_model
from mmbal.engine.importing import import_run
from mmbal.errors import ConfigError, UsageError
from mmbal.report.pages import renew_pages
from mmbal.report.training import imported
from mmbal.runs import find_predictions


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = {
        "labels": np.arange(12) % 3,
        "split": np.repeat(["train", "val", "test"], 4),
        "ids": np.arange(12).astype(str),
        "present_audio": np.ones(12, bool),
        "present_video": np.ones(12, bool),
    }
    np.save(folder / "audio.npy", random.normal(size=(12, 1, 32, 32)).astype(np.float16))
    np.save(folder / "video.npy", random.integers(0, 255, (12, 2, 3, 32, 32)).astype(np.uint8))
    specs = {
        "audio": ModalitySpec(kind="spectrogram", shape=(1, 32, 32), preprocessing={"mean": [0.0], "std": [1.0]}),
        "video": ModalitySpec(
            kind="frames", shape=(2, 3, 32, 32), preprocessing={"mean": [127.0] * 3, "std": [64.0] * 3}
        ),
    }
    seal(folder, name="clips", classes=("x", "y", "z"), modalities=specs, rows=rows, meta={})
    return folder


def state(classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    found = {}
    for prefix, channels in (("audio_net", 1), ("visual_net", 3)):
        net = resnet18(weights=None)
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        net.fc = nn.Identity()
        found |= {f"module.{prefix}.{key}": value for key, value in net.state_dict().items()}
    head = nn.Linear(1024, classes)
    return found | {"module.fusion_module.fc_out.weight": head.weight, "module.fusion_module.fc_out.bias": head.bias}


def test_its_inputs_are_normalised_as_where_it_was_trained(tmp_path, store):
    """The same network sees other pictures, and the run keeps how."""
    torch.save(state(3), tmp_path / "best.pth")
    found = {}
    for name, ways in (("own", {}), ("theirs", {"video": "imagenet"})):
        run = import_run(tmp_path / "best.pth", store, out=tmp_path / name, device="cpu", normalise=ways)
        assert load_model(run.folder).config.normalise == ways
        found[name] = find_predictions(run.folder)
    assert np.allclose(found["own"].logits["audio"], found["theirs"].logits["audio"], atol=1e-5)
    assert not np.allclose(found["own"].logits["video"], found["theirs"].logits["video"], atol=1e-2)


def test_a_checkpoint_becomes_a_run(tmp_path, store):
    torch.save({"model": state(3), "epoch": 9}, tmp_path / "best.pth")
    result = import_run(tmp_path / "best.pth", store, out=tmp_path / "run", device="cpu")
    found = find_predictions(result.folder)
    assert found.splits() == {"val": 4, "test": 4}
    assert found.meta["method"] == "imported"
    assert "seed" not in found.meta
    assert np.allclose(sum(found.contribution.values()), found.fused, atol=1e-4)
    test = found.select("test")
    assert result.summary["test"]["accuracy"] == np.mean(test.fused.argmax(1) == test.labels)
    with pytest.raises(UsageError, match="each class of the store"):
        import_run(tmp_path / "best.pth", store, order=("z", "x"))
    theirs = import_run(tmp_path / "best.pth", store, out=tmp_path / "theirs", device="cpu", order=("z", "x", "y"))
    assert theirs.order == ("z", "x", "y")
    assert np.allclose(find_predictions(theirs.folder).fused, found.fused[:, [1, 2, 0]], atol=1e-5)
    again = load_model(result.folder)
    assert again.classes == ("x", "y", "z")
    assert [page.name for page in renew_pages(result.folder)] == ["diagnosis.json", "report.html"]
    weight = again.model.state_dict()["fusion.weights.audio"]
    assert torch.equal(weight, state(3)["module.fusion_module.fc_out.weight"][:, :512])


def test_other_classes_are_refused(tmp_path, store):
    torch.save(state(5), tmp_path / "best.pth")
    with pytest.raises(ConfigError, match="5 classes"):
        import_run(tmp_path / "best.pth", store, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_shared_head_decides_as_the_method_that_it_is_of(tmp_path, store):
    """MLA's code: the mean of both modalities' decisions through one head; the run keeps that, and says it."""
    given = state(3)
    head = given["module.fusion_module.fc_out.weight"]
    given["module.fusion_module.fc_out.weight"] = head[:, :512].clone()
    torch.save({"model": given}, tmp_path / "mla.pth")
    result = import_run(tmp_path / "mla.pth", store, out=tmp_path / "run", device="cpu")
    found = find_predictions(result.folder)
    assert np.allclose(found.fused, (found.logits["audio"] + found.logits["video"]) / 2, atol=1e-5)
    assert not found.weights  # the same in every sample: no gate
    again = load_model(result.folder)
    assert again.config.method.name == "mla"
    assert torch.equal(again.method.head.weight, given["module.fusion_module.fc_out.weight"])
    table, _ = imported(result)
    assert "as in mla, weights: audio 0.5, video 0.5" in str(table)
