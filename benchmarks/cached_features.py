"""What the trained encoders of a run make of its store, as a feature file for `mmbal prepare`.

    mmbal pretrain --data stores/clips --out runs/encoders
    python benchmarks/cached_features.py runs/encoders features.npz
    mmbal prepare features.npz --out stores/cached

Training on such a store is training with frozen encoders, without paying for them in each step. The splits are the
store's, so an encoder that has seen only the training split leaks nothing of the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import mmbal
from mmbal.data.store.loader import Loader
from mmbal.predictions.format import Predictions
from mmbal.runs import open_store


def features_of(run: Path) -> Predictions:
    """The run's features of every sample, split by split; raises ValueError where its store is gone."""
    store = open_store(run)
    if store is None:
        raise ValueError(f"the store that {run} was trained on is not there any more")
    model = mmbal.load_model(run).model
    splits = [mmbal.collect(model, Loader(store, split, 64)) for split in store.splits()]
    return Predictions.concatenate(splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    found = features_of(arguments.run)
    arrays = {"labels": np.array(found.classes)[found.labels], "ids": found.ids, "split": found.split}
    np.savez(arguments.out, **arrays, **found.features)


if __name__ == "__main__":
    main()
