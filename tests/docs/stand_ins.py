"""Small models, a checkpoint and a store in the place of the reader's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torchvision.models import resnet18

from mmbal.data.store.store import ModalitySpec, seal

Names = dict[str, Any]


class Late(nn.Module):
    """Decides by the sum of two linear heads, and gives all three."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.video = nn.Linear(4, 2), nn.Linear(5, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, v = self.audio(x), self.video(y)
        return a, v, a + v


class Bilinear(nn.Module):
    """Has no part for each modality."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.video, self.fusion = nn.Linear(4, 6), nn.Linear(5, 6), nn.Bilinear(6, 6, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fusion(self.audio(x), self.video(y))


def features(n: int = 120) -> Names:
    """Features of two modalities of two classes; the audio tells more."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    side = 2.0 * label[:, None] - 1
    return {
        "audio": (side + rng.normal(size=(n, 4))).astype(np.float32),
        "video": (0.3 * side + rng.normal(size=(n, 5))).astype(np.float32),
        "label": label,
        "split": np.where(np.arange(n) % 2, "val", "test"),
    }


def late_model(found: Names) -> Names:
    """The names of docs/your-model.md."""
    torch.manual_seed(0)
    tensors = [torch.from_numpy(found[key]) for key in ("audio", "video", "label")]
    table = np.concatenate([found["audio"], found["video"]], axis=1)
    return found | {
        "model": Late(),
        "loader": list(zip(*(t.split(64) for t in tensors), strict=True)),
        "weight": np.random.default_rng(1).normal(size=(2, 9)),
        "bias": np.zeros(2),
        "audio_score": found["audio"].sum(axis=1),
        "video_score": found["video"].sum(axis=1),
        "table": table,
        "trees": HistGradientBoostingClassifier(max_iter=5).fit(table, found["label"]),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(table, found["label"]),
    }


def black_box(found: Names) -> Names:
    """The names of docs/explain.md."""
    torch.manual_seed(0)
    model, label = Bilinear(), found["label"]
    audio, video = (torch.from_numpy(found[m]) for m in ("audio", "video"))
    batches = [{"audio": audio[k::4], "video": video[k::4], "label": torch.from_numpy(label)[k::4]} for k in range(4)]
    return {
        "model": model,
        "net": model,
        "audio": audio,
        "video": video,
        "labels": label,
        "split": found["split"],
        "validation": batches,
        "train": lambda net: net.train(),
    }


def write_scores(path: Path, found: Names) -> None:
    lines = ["id,label,split,audio:no,audio:yes,video:no,video:yes"]
    for i, label in enumerate(found["label"]):
        p, q = (1 / (1 + np.exp(-found[m][i].sum())) for m in ("audio", "video"))
        lines.append(f"{i},{['no', 'yes'][label]},{found['split'][i]},{1 - p},{p},{1 - q},{q}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_checkpoint(path: Path) -> None:
    """Two ResNet-18 and a linear head, named as in the code of OGM-GE."""
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
    """A store of small spectrograms and pictures, for that checkpoint."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(folder / "audio.npy", rng.normal(size=(n, 1, 32, 32)).astype(np.float16))
    np.save(folder / "video.npy", rng.integers(0, 255, (n, 1, 3, 32, 32)).astype(np.uint8))
    audio = {"mean": [0.0], "std": [1.0]}
    video = {"mean": [127.0] * 3, "std": [64.0] * 3}
    specs = {
        "audio": ModalitySpec(kind="spectrogram", shape=(1, 32, 32), preprocessing=audio),
        "video": ModalitySpec(kind="frames", shape=(1, 3, 32, 32), preprocessing=video),
    }
    rows = {
        "labels": rng.integers(0, 2, n),
        "split": np.array(["train", "val", "test"])[np.arange(n) % 3],
        "ids": np.arange(n).astype(str),
        "present_audio": np.ones(n, bool),
        "present_video": np.ones(n, bool),
    }
    seal(folder, name="clips", classes=("no", "yes"), modalities=specs, rows=rows, meta={})
