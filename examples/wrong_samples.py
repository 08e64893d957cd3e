"""Finds labels and files that were exchanged on purpose, on the digits that come with mmbal.

    python examples/wrong_samples.py

3 % of the labels are replaced by another digit, and 3 % of the spoken files are exchanged among each other. Linear heads,
cross-fitted, decide from sound and picture. The table says how many of the samples that
`mmbal diagnose --suspects` lists are wrong (precision), and how many of the wrong ones it lists (recall), over five draws.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmbal.diagnosis import diagnose, predictions_from_features
from mmbal.embedded import path
from mmbal.files import read_npz

SHARE = 0.03
DRAWS = 5


def features() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Means of 4 x 4 cells of the pictures and of the spectrograms, and the digits."""
    arrays = read_npz(path("avmnist_fsdd_dev.npz"))

    def blocks(name: str, size: int) -> np.ndarray:
        x = arrays[name].astype(float)
        n, height, width = x.shape
        return x.reshape(n, height // size, size, width // size, size).mean(axis=(2, 4)).reshape(n, -1)

    return {"audio": blocks("audio_logmel", 4), "image": blocks("image", 4)}, arrays["label"].astype(int)


def spoiled(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Features and labels with the faults, and which rows have a wrong label and which a wrong sound."""
    rng = np.random.default_rng(seed)
    data, labels = features()
    n = len(labels)
    chosen = rng.permutation(n)[: 2 * round(SHARE * n)]
    wrong_label, wrong_file = chosen[::2], chosen[1::2]
    labels[wrong_label] = (labels[wrong_label] + rng.integers(1, 10, len(wrong_label))) % 10
    data["audio"][wrong_file] = data["audio"][np.roll(wrong_file, 1)]
    return data, labels, wrong_label, wrong_file


def main() -> None:
    print(f"{'':>8} {'listed':>7} {'wrong':>6} {'precision':>10} {'recall':>7}")
    total = {what: np.zeros(3) for what in ("label", "audio", "image")}
    for seed in range(DRAWS):
        data, labels, wrong_label, wrong_file = spoiled(seed)
        decided = replace(predictions_from_features(data, labels), features={})  # no probes are needed here
        found = diagnose(decided, rule="temperature", bootstrap=100).suspects
        truth = {"label": wrong_label, "audio": wrong_file, "image": np.array([], dtype=int)}
        for what, rows in truth.items():
            listed = {int(one.id) for one in found.rows if one.suspect == what}
            total[what] += len(listed), len(rows), len(listed & set(rows.tolist()))
    for what, (listed, wrong, hits) in total.items():
        precision, recall = (f"{100 * hits / k:.0f} %" if k else "-" for k in (listed, wrong))
        print(f"{what:>8} {listed:>7.0f} {wrong:>6.0f} {precision:>10} {recall:>7}")


if __name__ == "__main__":
    main()
