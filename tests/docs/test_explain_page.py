"""docs/explain.md, executed as it is written, with a small model in the place of the reader's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from terminal import ok
from torch import nn

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
MODULE = "def predict(batch):\n    return batch['audio'][:, :2] + 0.2 * batch['video'][:, :2]\n"


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio, self.video, self.fusion = nn.Linear(4, 6), nn.Linear(5, 6), nn.Bilinear(6, 6, 2)

    def forward(self, x, y):
        return self.fusion(self.audio(x), self.video(y))


def test_every_block_of_the_page_runs_in_its_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 80)
    side = np.array([[1.0, -1.0], [-1.0, 1.0]])[label]
    audio = torch.from_numpy(np.concatenate([side, side], axis=1) + random.normal(size=(80, 4))).float()
    video = torch.from_numpy(random.normal(size=(80, 5))).float()
    split = np.where(np.arange(80) % 2, "val", "test")
    Path("my_model.py").write_text(MODULE)
    np.savez("test.npz", audio=audio.numpy(), video=video.numpy(), label=label, split=split)
    batches = [{"audio": audio[k::4], "video": video[k::4], "label": torch.from_numpy(label)[k::4]} for k in range(4)]
    model = Mine()
    yours = {"model": model, "net": model, "audio": audio, "video": video, "labels": label, "split": split}
    yours |= {"validation": batches, "train": lambda net: net.train()}
    for kind, code in BLOCKS:
        if kind == "python":
            exec(compile(code, str(PAGE), "exec"), yours)
        else:
            for line in code.splitlines():
                program, *arguments = line.split()
                assert program == "mmbal"
                ok(*arguments)
    assert yours["log_probabilities"].shape == (80, 2)
    for name in ("mine.npz", "explained.npz", "monitored/predictions.npz", "monitored/diagnosis.json"):
        assert Path(name).is_file(), name
