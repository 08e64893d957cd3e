"""Five black boxes, one for each modality, whose log-probabilities are added: asked and mended. About 20 s on two cores.

    python examples/explain_black_boxes.py

The data come with scikit-learn: pictures of digits, cut into five bands. A classifier of another kind reads each band.
Some of them are far too confident, so the plain sum is not the best decision layer.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import mmbal

BANDS = {
    "top": (0, 2),
    "upper": (2, 3),
    "middle": (3, 5),
    "lower": (5, 6),
    "bottom": (6, 8),
}  # rows of the 8 x 8 pictures
FLOOR = 1e-4  # the least probability that a black box is believed


def main() -> None:
    given = load_digits()
    bands = {m: given.images[:, a:b].reshape(len(given.images), -1) / 16 for m, (a, b) in BANDS.items()}
    split = np.array(["train", "train", "val", "test"])[np.arange(len(given.target)) % 4]

    boxes = {
        "top": KNeighborsClassifier(5),
        "upper": GaussianNB(var_smoothing=1e-2),
        "middle": RandomForestClassifier(30, random_state=0),
        "lower": DecisionTreeClassifier(random_state=0),
        "bottom": LogisticRegression(max_iter=500),
    }
    train = split == "train"
    for m, box in boxes.items():
        box.fit(bands[m][train], given.target[train])

    def predict(batch: dict[str, np.ndarray], present: tuple[str, ...] = tuple(BANDS)) -> np.ndarray:
        """The sum over the boxes that may speak: the model's own mask."""
        found = np.zeros((len(batch["top"]), 10))
        for m in present:
            found += np.log(np.maximum(boxes[m].predict_proba(batch[m]), FLOOR))
        return found

    held_out = {m: band[~train] for m, band in bands.items()}
    found = mmbal.explain(
        predict, held_out, given.target[~train], split=split[~train], baseline="mask", scores="logits"
    )
    diagnosis = mmbal.diagnose(found)
    print(*diagnosis.verdict, sep="\n")
    for pair, told in diagnosis.interaction.items():
        print(f"{pair}: {told.kind['log_likelihood'] or 'no clear interaction'}, {told.log_likelihood.value:+.2f} nats")

    rule = mmbal.fit_rule(found.select("calibration"), "adaptive")
    mended = mmbal.explain.Mended(predict, rule, baseline="mask", scores="logits")
    test = {m: band[split == "test"] for m, band in bands.items()}
    truth = given.target[split == "test"]
    for name, scores in {"as it is": predict(test), "with the fitted rule": mended(test)}.items():
        print(f"{name}: {np.mean(scores.argmax(axis=1) == truth):.1%} of the test samples are right")


if __name__ == "__main__":
    main()
