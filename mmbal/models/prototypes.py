"""Running class prototypes as modules, so that they are saved and resumed with the method that owns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmbal.maths.prototypes import blend, class_distances, class_means, fisher_ratio, repaired

Total = Callable[[Tensor], Tensor]


class RunningPrototypes(nn.Module):
    """Running mean ``(C, D)`` of the features of each class, and the classes ``seen (C,)`` so far."""

    mean: Tensor
    seen: Tensor

    def __init__(self, classes: int, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(classes, width))
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.bool))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, rows: Tensor, total: Total) -> None:
        """Move towards the class means of ``features (B, D)`` over ``rows (B,)``; ``total`` sums over processes."""
        fresh, counts = class_means(features, labels, rows, len(self.seen), total)
        self.mean.copy_(blend(self.mean, self.seen, fresh, counts, self.momentum))
        self.seen |= counts > 0


class ScoredPrototypes(RunningPrototypes):
    """Prototypes that also count the rows they were tried on, those they got right, and the squares."""

    tally: Tensor

    def __init__(self, classes: int, width: int, momentum: float) -> None:
        super().__init__(classes, width, momentum)
        self.register_buffer("tally", torch.zeros(2 + width))

    @property
    def accuracy(self) -> float | None:
        """How often the nearest prototype is that of the truth; None before anything was tried."""
        rows, right = self.tally[:2].tolist()
        return right / rows if rows else None

    @property
    def spread(self) -> Tensor:
        """Variance ``(D,)`` within classes; one before anything was tried."""
        return self.tally[2:] / self.tally[0] if self.tally[0] > 0 else torch.ones_like(self.tally[2:])

    @torch.no_grad()
    def distances(self, features: Tensor) -> Tensor:
        """Squared distances ``(B, C)`` of ``features (B, D)`` by the variance within classes."""
        return class_distances(features, self.mean, self.seen, self.spread)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, rows: Tensor, total: Total) -> None:
        """Try the prototypes on the rows of known classes, then move them."""
        known = rows & self.seen[labels]
        right = known & (self.distances(features).argmin(dim=1) == labels)
        squares = ((features - self.mean[labels]) ** 2 * known[:, None]).sum(dim=0)
        found = total(torch.cat([torch.stack([known.sum(), right.sum()]).to(squares), squares]))
        if found[0] > 0:
            self.tally.mul_(self.momentum).add_(found)
        super().update(features, labels, rows, total)

    def best_units(self, share: float) -> Tensor:
        """The ``share`` of units, as a mask ``(D,)``, that separate the classes best, each unit alone."""
        ratio = fisher_ratio(self.mean, self.seen, self.spread)
        best = torch.zeros_like(ratio, dtype=torch.bool)
        best[ratio.argsort(descending=True, stable=True)[: round(share * len(ratio))]] = True
        return best


class ComparedPrototypes(nn.Module):
    """Scored prototypes of each modality, and how often their sum of distances finds the class."""

    tally: Tensor

    def __init__(self, classes: int, widths: Mapping[str, int], momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.of = nn.ModuleDict({m: ScoredPrototypes(classes, width, momentum) for m, width in widths.items()})
        self.register_buffer("tally", torch.zeros(2))

    def __getitem__(self, m: str) -> ScoredPrototypes:
        return cast(ScoredPrototypes, self.of[m])

    @property
    def accuracy(self) -> float | None:
        """How often the smallest sum of distances is that of the truth; None before anything was tried."""
        rows, right = self.tally.tolist()
        return right / rows if rows else None

    def repaired(self, m: str) -> float:
        """Share of m's errors that the sum over all modalities does not make."""
        return repaired(self[m].accuracy, self.accuracy)

    @torch.no_grad()
    def update(
        self, features: Mapping[str, Tensor], labels: Tensor, present: Mapping[str, Tensor], total: Total
    ) -> None:
        """Try the sum over all prototypes on the rows whose class each knows, then update each; ``features[m] (B, D_m)``."""
        there = torch.stack([present[m] for m in features]).any(dim=0)
        distances = [self[m].distances(features[m]).where(present[m][:, None], 0.0) for m in sorted(features)]
        found = torch.stack(distances).sum(dim=0)
        known = there & found.gather(1, labels[:, None]).squeeze(1).isfinite()
        right = known & (found.argmin(dim=1) == labels)
        counts = total(torch.stack([known.sum(), right.sum()]).to(self.tally))
        if counts[0] > 0:
            self.tally.mul_(self.momentum).add_(counts)
        for m, values in features.items():
            self[m].update(values, labels, present[m], total)
