"""How learning rate and batch size move the tail of each modality's gradient noise, on any store.

    python examples/heavy_tails.py STORE [--steps 1000] [--lr 0.003 0.03 0.1] [--batch 8 32 128] [--seeds 2]

Trains joint models with the recorder `heavy_tails` and prints one line a setting; figures in docs/heavy-tails.md.
Training has the same number of steps in every setting, so that no index rests on fewer norms than another.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np

from mmbal.data.store.store import Store
from mmbal.diagnosis.sections.tails import read_tails
from mmbal.engine.config import OptimiserConfig, TrainConfig
from mmbal.engine.train import train
from mmbal.maths.tails import TailIndex


def pooled(tails: list[TailIndex]) -> str:
    """The mean of several seeds' log indices with its interval, as text."""
    centre = float(np.mean([math.log(t.value) for t in tails]))
    half = 1.96 * math.sqrt(sum(t.spread**2 for t in tails)) / len(tails)
    return f"{math.exp(centre):5.1f} [{math.exp(centre - half):.1f}, {math.exp(centre + half):.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, nargs="+", default=[0.003, 0.03, 0.1])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kind", choices=["gradient_noise", "update_norm", "weight_norm"], default="gradient_noise")
    given = parser.parse_args()
    store = Store.open(given.store)
    rows = store.splits()["train"]
    print(f"{store.name}: {given.kind}, tail index by modality, {given.steps} steps, {given.seeds} seeds")
    print("lr       batch  " + "".join(f"{m:<22}" for m in sorted(store.modalities)) + "accuracy")
    for batch in given.batch:
        for lr in given.lr:
            found: dict[str, list[TailIndex]] = {}
            right = []
            for seed in range(given.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    config = TrainConfig(
                        data=str(given.store),
                        epochs=max(2, round(given.steps * batch / rows)),
                        batch_size=batch,
                        optimiser=OptimiserConfig(lr=lr, momentum=0.0, schedule="constant"),
                        record=("heavy_tails",),
                        seed=seed,
                    )
                    result = train(config, out=Path(folder) / "run")
                    tails = read_tails(result.folder)
                    assert tails is not None
                    for m, tail in getattr(tails, given.kind).items():
                        found.setdefault(m, []).append(tail)
                    right.append(json.loads((result.folder / "summary.json").read_text())["test"]["accuracy"])
            figures = "".join(f"{pooled(found[m]):<22}" for m in sorted(found))
            print(f"{lr:<8g} {batch:<6} {figures}{100 * np.mean(right):.1f} %", flush=True)


if __name__ == "__main__":
    main()
