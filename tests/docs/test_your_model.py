"""docs/your-model.md, executed as it is written: its Python, its CSV, its commands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from terminal import ok
from torch import nn
from torchvision.models import resnet18

from mmbal.data.store.store import ModalitySpec, seal
from mmbal.predictions.readers import predictions_from_csv

PAGE = Path(__file__).parents[2] / "docs" / "your-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio, self.video = nn.Linear(4, 2), nn.Linear(5, 2)

    def forward(self, x, y):
        a, v = self.audio(x), self.video(y)
        return a, v, a + v


def data(n: int = 120) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, n)
    side = 2.0 * label[:, None] - 1
    return {
        "audio": (side + random.normal(size=(n, 4))).astype(np.float32),
        "video": (0.3 * side + random.normal(size=(n, 5))).astype(np.float32),
        "label": label,
        "split": np.where(np.arange(n) % 2, "val", "test"),
    }


def write_scores(path: Path, found: dict[str, np.ndarray]) -> None:
    lines = ["id,label,split,audio:no,audio:yes,video:no,video:yes"]
    for i, label in enumerate(found["label"]):
        p, q = (1 / (1 + np.exp(-found[m][i].sum())) for m in ("audio", "video"))
        lines.append(f"{i},{['no', 'yes'][label]},{found['split'][i]},{1 - p},{p},{1 - q},{q}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_checkpoint(path: Path) -> None:
    state = {}
    for prefix, channels in (("audio_net", 1), ("visual_net", 3)):
        net = resnet18(weights=None)
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        net.fc = nn.Identity()
        state |= {f"module.{prefix}.{key}": value for key, value in net.state_dict().items()}
    head = nn.Linear(1024, 2)
    state |= {"module.fusion_module.fc_out.weight": head.weight, "module.fusion_module.fc_out.bias": head.bias}
    torch.save({"model": state}, path)


def write_clips(folder: Path, n: int = 60) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    np.save(folder / "audio.npy", random.normal(size=(n, 1, 32, 32)).astype(np.float16))
    np.save(folder / "video.npy", random.integers(0, 255, (n, 1, 3, 32, 32)).astype(np.uint8))
    specs = {
        "audio": ModalitySpec(kind="spectrogram", shape=(1, 32, 32), preprocessing={"mean": [0.0], "std": [1.0]}),
        "video": ModalitySpec(
            kind="frames", shape=(1, 3, 32, 32), preprocessing={"mean": [127.0] * 3, "std": [64.0] * 3}
        ),
    }
    rows = {
        "labels": random.integers(0, 2, n),
        "split": np.array(["train", "val", "test"])[np.arange(n) % 3],
        "ids": np.arange(n).astype(str),
        "present_audio": np.ones(n, bool),
        "present_video": np.ones(n, bool),
    }
    seal(folder, name="clips", classes=("no", "yes"), modalities=specs, rows=rows, meta={})


def test_the_csv_of_the_page_is_read(tmp_path):
    (text,) = [code for kind, code in BLOCKS if kind == "csv"]
    (tmp_path / "page.csv").write_text(text, encoding="utf-8")
    found = predictions_from_csv(tmp_path / "page.csv")
    assert found.classes == ("no", "yes")
    assert found.present["video"].tolist() == [True, True, False]


def test_every_block_of_the_page_runs_in_its_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    found = data()
    write_scores(tmp_path / "scores.csv", found)
    write_checkpoint(tmp_path / "best_model.pth")
    write_clips(tmp_path / "stores" / "clips")
    tensors = [torch.from_numpy(found[key]) for key in ("audio", "video", "label")]
    yours = {
        "model": Mine(),
        "loader": list(zip(*(t.split(64) for t in tensors), strict=True)),
        **found,
        "weight": np.random.default_rng(1).normal(size=(2, 9)),
        "bias": np.zeros(2),
        "audio_score": found["audio"].sum(axis=1),
        "video_score": found["video"].sum(axis=1),
        "table": np.concatenate([found["audio"], found["video"]], axis=1),
        "trees": HistGradientBoostingClassifier(max_iter=5),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    for model in (yours["trees"], yours["pipeline"]):
        model.fit(yours["table"], found["label"])
    ran = 0
    for kind, code in BLOCKS:
        if kind == "python":
            exec(compile(code, str(PAGE), "exec"), yours)
        elif kind == "bash":
            for line in code.splitlines():
                program, *arguments = line.split()
                assert program == "mmbal"
                ok(*arguments)
                ran += 1
    assert ran == 10
    for name in ("mine.npz", "mine.html", "scores.npz", "features.predictions.npz", "runs/theirs/checkpoint.pt"):
        assert (tmp_path / name).is_file(), name


@pytest.mark.parametrize("word", ["bash", "python", "csv"])
def test_the_page_has_each_kind_of_block(word):
    assert any(kind == word for kind, _ in BLOCKS)
