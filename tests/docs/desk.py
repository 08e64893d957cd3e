"""What lies on the reader's desk: the files and the names that a page takes for granted, small and quickly made."""

from __future__ import annotations

import pickle
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stand_ins
from conftest import write_store
from PIL import Image
from terminal import ok

from mmbal.predictions.synthetic import GaussianWorld

Names = dict[str, Any]
TONES = {"happy": 900, "sad": 300}  # Hz
MODULE = "def predict(batch):\n    return batch['audio'][:, :2] + 0.2 * batch['video'][:, :2]\n"


@dataclass(frozen=True)
class Prepared:
    """Made once for all pages; a page gets copies."""

    folder: Path


def prepare(folder: Path) -> Prepared:
    world = GaussianWorld(
        ["ANG", "HAP", "SAD"], ["audio", "video"], [[2.0, 1.0, 1.5], [1.0, 1.5, 1.0]], dominance=[3.0, 1.0]
    )
    world.sample(300, seed=0).save(folder / "predictions.npz")
    world.sample(300, seed=1).save(folder / "other.npz")
    write_store(folder / "STORE", {"audio": 6, "video": 4})
    train = ["train", "--data", folder / "STORE", "--epochs", 2]
    ok(*train, "--out", folder / "RUN")
    ok(*train, "--lr", 0.1, "--out", folder / "B")
    return Prepared(folder)


def lay(page: str, prepared: Prepared) -> Names:
    """Lay out what ``page`` needs in the folder at hand; returns the names that its Python blocks may use."""
    for path in ("predictions.npz", "STORE", "RUN"):
        copy(prepared, path)
    desk = DESKS.get(page)
    return (desk(prepared) if desk else None) or {}


def copy(prepared: Prepared, name: str, to: str | None = None) -> None:
    source, target = prepared.folder / name, Path(to or name)
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def write_features(path: Path) -> Names:
    found = stand_ins.features() | {"split": np.array(["train", "val", "test"])[np.arange(120) % 3]}
    np.savez(path, **found)
    return found


def write_recordings(folder: Path) -> None:
    """A folder for each class with a short tone and a grey picture for each sample; names show who spoke."""
    rng = np.random.default_rng(0)
    for label, hertz in TONES.items():
        (folder / label).mkdir(parents=True)
        for k in range(20):
            stem = folder / label / f"{label}_{['anna', 'ben', 'carl', 'dora', 'emil'][k % 5]}_{k}"
            sound = 8000 * np.sin(2 * np.pi * hertz * np.arange(6400) / 16000) + rng.normal(0, 500, 6400)
            with wave.open(f"{stem}.wav", "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(sound.astype("<i2").tobytes())
            Image.fromarray(rng.integers(0, 255, (48, 48), dtype=np.uint8)).save(f"{stem}.png")


def _readme(prepared: Prepared) -> Names:
    write_recordings(Path("clips"))
    copy(prepared, "other.npz")
    Path("mmbal.yaml").write_text("gates:\n  - {name: balanced, fail_if: index > 0.5}\n")
    p = GaussianWorld(["no", "yes"], ["audio", "video"], [[1.5, 1.0], [1.0, 1.5]]).sample(200, seed=0)
    names = {"labels": p.labels, "split": p.split, "fused_logits": p.fused}
    names |= {f"{m}_logits": p.logits[m] for m in p.modalities}
    names |= {f"{m}_part": p.contribution[m] for m in p.modalities}
    return names | {
        "audio": p.logits["audio"],
        "video": p.logits["video"],
        "predict": lambda batch: sum(batch.values()),
    }


def _ci(prepared: Prepared) -> None:
    copy(prepared, "RUN", "runs/model")
    ok("diagnose", "runs/model", "--out", "diagnosis.json")
    Path("main").mkdir()
    Path("diagnosis.json").rename("main/diagnosis.json")


def _data(prepared: Prepared) -> None:
    write_recordings(Path("clips"))
    features = write_features(Path("features.npz"))
    rows = {"annotations": np.array(["Negative", "Positive"])[features["label"]], "text": features["video"]}
    rows |= {"audio": features["audio"], "vision": features["video"]}
    parts = {
        name: {key: array[at] for key, array in rows.items()}
        for name, at in {"train": slice(0, 60), "valid": slice(60, 90), "test": slice(90, 120)}.items()
    }
    Path("mosi.pkl").write_bytes(pickle.dumps({"label": features["label"], "audio": features["audio"]}))
    Path("mmsa.pkl").write_bytes(pickle.dumps(parts))


def _decision_layer(prepared: Prepared) -> Names:
    import torch

    from mmbal.models.multimodal import Output

    rng = torch.Generator().manual_seed(0)
    logits = {m: torch.randn(8, 3, generator=rng) for m in ("audio", "video")}
    output = Output(features={}, logits=logits, fused=sum(logits.values()), contribution=None, present={})
    return {"batch": None, "model": lambda batch: output}


def _diagnosis(prepared: Prepared) -> None:
    write_features(Path("features.npz"))
    copy(prepared, "predictions.npz", "test.npz")
    copy(prepared, "other.npz", "production.npz")
    copy(prepared, "RUN", "A")
    copy(prepared, "B")


def _checklist(prepared: Prepared) -> None:
    copy(prepared, "RUN", "runs/study/toy/joint-s0")
    copy(prepared, "B", "runs/study/toy/fast-s0")


def _explain(prepared: Prepared) -> Names:
    found = stand_ins.features(80)
    Path("my_model.py").write_text(MODULE)
    np.savez("test.npz", **found)
    return stand_ins.black_box(found)


def _your_model(prepared: Prepared) -> Names:
    found = stand_ins.features()
    stand_ins.write_scores(Path("scores.csv"), found)
    stand_ins.write_checkpoint(Path("best_model.pth"))
    stand_ins.write_clips(Path("stores/clips"))
    return stand_ins.late_model(found)


def _read_a_report(prepared: Prepared) -> None:
    copy(prepared, "RUN", "A")
    copy(prepared, "B")


def _tutorial_clips(prepared: Prepared) -> None:
    write_recordings(Path("clips"))


def _tutorial_ci(prepared: Prepared) -> None:
    copy(prepared, "predictions.npz", "mine.npz")


def _training(prepared: Prepared) -> None:
    copy(prepared, "STORE", "S")


DESKS: dict[str, Callable[[Prepared], Names | None]] = {
    "README": _readme,
    "checklist": _checklist,
    "ci": _ci,
    "data": _data,
    "decision-layer": _decision_layer,
    "diagnosis": _diagnosis,
    "explain": _explain,
    "choose-a-method": _training,
    "read-a-report": _read_a_report,
    "training": _training,
    "tutorial-ci": _tutorial_ci,
    "tutorial-clips": _tutorial_clips,
    "your-model": _your_model,
}
