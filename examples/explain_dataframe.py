"""A scikit-learn pipeline on a DataFrame with two groups of columns, asked as it is. About 10 s on two cores.

    python examples/explain_dataframe.py

Needs `pip install pandas`. The data come with scikit-learn: cells of breast tumours, measured by their size and by their
shape and texture. What stands in for an absent group is its mean, and the values of the most similar patients.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mmbal

SIZE = ("radius", "perimeter", "area")


def main() -> None:
    given = load_breast_cancer(as_frame=True)
    frame, label = given.data, given.target_names[given.target]
    size = [name for name in frame.columns if any(word in name for word in SIZE)]
    groups = {"size": size, "shape": [name for name in frame.columns if name not in size]}
    split = np.array(["train", "val", "test", "val", "test"])[np.arange(len(frame)) % 5]

    train = split == "train"
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=30, random_state=0))
    model.fit(frame[train], label[train])

    found = mmbal.explain(
        model,
        frame[~train],
        label[~train],
        modalities=groups,
        split=split[~train],
        baseline=["mean", "conditional"],
    )
    diagnosis = mmbal.diagnose(found)
    print(*diagnosis.verdict, sep="\n")
    for pair, told in diagnosis.interaction.items():
        print(f"{pair}: {told.kind['log_likelihood'] or 'no clear interaction'}, {told.log_likelihood.value:+.2f} nats")

    # the decision layer, put back: an absent group is replaced by its mean among the training samples
    means = frame[train].mean()

    def without(batch, absent):
        columns = [name for m in absent for name in groups[m]]
        return batch.assign(**{name: means[name] for name in columns})

    found = mmbal.explain(model, frame[~train], label[~train], modalities=groups, split=split[~train], baseline=without)
    rule = mmbal.fit_rule(found.select("calibration"), "adaptive")
    mended = mmbal.explain.Mended(model, rule, modalities=groups, baseline=without, scores="probabilities")
    test = split == "test"
    position = {name: k for k, name in enumerate(found.classes)}
    truth = np.array([position[name] for name in label[test]])
    decided = {"as it is": np.log(model.predict_proba(frame[test])), "with the fitted rule": mended(frame[test])}
    for name, log_p in decided.items():
        right = np.mean(log_p.argmax(axis=1) == truth)
        nll = -np.mean(log_p[np.arange(len(truth)), truth])
        print(f"{name}: {right:.1%} of the test samples are right, NLL {nll:.3f}")


if __name__ == "__main__":
    main()
