"""Your own PyTorch model on your own feature arrays: diagnosed, and mended at the decision layer without more training.

    python examples/own_model.py FEATURES.npz

FEATURES.npz has `label` (N,), `split` (N,) with train, val and test, and an array (N, D) for each modality. The model here
is as plain as can be: one small network per modality, their logits added, one loss on the sum.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mmbal

Batch = tuple[Tensor, ...]


class Late(nn.Module):
    """Modality -> logits; what is decided is their sum."""

    def __init__(self, sizes: dict[str, int], classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, classes)) for m, size in sizes.items()}
        )

    def forward(self, inputs: list[Tensor]) -> dict[str, Tensor]:
        return {m: branch(x) for (m, branch), x in zip(self.branches.items(), inputs, strict=True)}


def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """All that mmbal has to be told of a model: what each modality says of a batch, and what is decided."""
    *inputs, labels = batch
    logits = model(inputs)
    return {"labels": labels, **{f"logits_{m}": x for m, x in logits.items()}, "fused": sum(logits.values())}


def train(model: nn.Module, loader: DataLoader[Batch], epochs: int = 20) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        for *inputs, labels in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(sum(model(inputs).values()), labels).backward()
            optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    given = np.load(parser.parse_args().features)
    names, labels = np.unique(given["label"], return_inverse=True)
    arrays = {m: given[m] for m in given.files if given[m].ndim == 2}

    def loader(split: str, shuffle: bool = False) -> DataLoader[Batch]:
        rows = given["split"] == split
        inputs = [torch.from_numpy(array[rows].astype(np.float32)) for array in arrays.values()]
        return DataLoader(TensorDataset(*inputs, torch.from_numpy(labels[rows])), batch_size=64, shuffle=shuffle)

    torch.manual_seed(0)
    model = Late({m: array.shape[1] for m, array in arrays.items()}, len(names))
    train(model, loader("train", shuffle=True))

    held_out = mmbal.collect(model, loader("val"), step, classes=[str(name) for name in names], split="calibration")
    test = mmbal.collect(model, loader("test"), step, classes=[str(name) for name in names], split="test")

    print(*mmbal.diagnose(test).verdict, sep="\n")

    rule = mmbal.fit_rule(held_out, "adaptive")
    print(rule.explain())
    for name, scores in {"as it is": test.fused, "with the fitted rule": rule.apply(test)}.items():
        print(f"{name}: {np.mean(scores.argmax(axis=1) == test.labels):.1%} of the test rows are right")


if __name__ == "__main__":
    main()
