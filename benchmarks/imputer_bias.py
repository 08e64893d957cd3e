"""Does debiased weighting (arXiv 2310.08442) lower the bias of imputed features against a constant loss?

    python benchmarks/imputer_bias.py STORE... [--weightings constant debias min_snr inverse] [--seeds 3] [--updates 1000]

Learns the diffusion imputer on the train rows of feature modalities, takes each modality from all other rows in turn,
and prints, in units of a feature's standard deviation and averaged over modalities and features:

    bias       root of (mean over rows of imputed minus true)^2, less what the rows' number explains
    draw bias  the same for x_0 as the model takes it from pure noise, without the range that training showed
    error      root mean squared error of the mean over draws
    spread     standard deviation of draws over that of true features
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmbal.data.store.store import Store
from mmbal.models.imputer import FeatureDiffusion

DRAWS = 4


def squared_bias(difference: Tensor) -> Tensor:
    """Squared mean over rows of ``difference (N, D)``, by feature, without the part that comes of finite N."""
    return difference.mean(dim=0) ** 2 - difference.var(dim=0) / len(difference)


def measure(model: FeatureDiffusion, features: dict[str, Tensor]) -> dict[str, float]:
    """The figures of one fitted imputer on held-out features."""
    rows = len(next(iter(features.values())))
    truth = model.join(features)
    found: dict[str, list[Tensor]] = {"bias": [], "draw bias": [], "error": [], "spread": []}
    for i in range(len(model.names)):
        missing = (torch.arange(len(model.names)) == i).expand(rows, -1)
        columns = model.columns(missing)[0]
        draws = torch.stack([model.join(model.sample(features, missing)) for _ in range(DRAWS)])[..., columns]
        difference = draws.mean(dim=0) - truth[:, columns]
        hidden = model.columns(missing)
        step = torch.full((rows,), model.steps - 1)
        noisy = model.corrupt(truth, torch.randn_like(truth), step) * hidden
        first = model.estimate(noisy, truth * ~hidden, missing, step)
        found["bias"].append(squared_bias(difference))
        found["draw bias"].append(squared_bias((first - truth)[:, columns]))
        found["error"].append((difference**2).mean(dim=0))
        found["spread"].append((draws.std(dim=1).mean(dim=0) / truth[:, columns].std(dim=0).clamp(min=1e-3)) ** 2)
    return {name: float(torch.cat(parts).mean().clamp(min=0).sqrt()) for name, parts in found.items()}


def run(path: Path, weightings: Sequence[str], seeds: int, updates: int) -> None:
    """Print one line for each weighting."""
    store = Store.open(path)
    data = {m: torch.from_numpy(np.array(store.arrays[m][:], dtype=np.float32)) for m in store.modalities}
    train = torch.from_numpy(store.split == "train")
    print(f"{store.name}: {', '.join(f'{m} {z.shape[1]}' for m, z in data.items())}; {updates} updates, {seeds} seeds")
    for weighting in weightings:
        results = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = FeatureDiffusion({m: z.shape[1] for m, z in data.items()})
            model.fit({m: z[train] for m, z in data.items()}, weighting=weighting, updates=updates)
            results.append(measure(model, {m: z[~train] for m, z in data.items()}))
        figures = {k: np.array([r[k] for r in results]) for k in results[0]}
        shown = "  ".join(f"{k} {v.mean():.3f} ± {v.std(ddof=min(1, seeds - 1)):.3f}" for k, v in figures.items())
        print(f"  {weighting:<9} {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--weightings", nargs="+", default=["constant", "debias", "min_snr", "p2", "inverse"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1000)
    given = parser.parse_args()
    for path in given.stores:
        run(path, given.weightings, given.seeds, given.updates)


if __name__ == "__main__":
    main()
