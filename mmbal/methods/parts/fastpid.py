"""Partial information decomposition of a joint table, after Bertschinger, Rauh, Olbrich, Jost and Ay, Entropy 2014.

Of all tables Q that share P's margins (x1, y) and (x2, y), Q* is the one with the least information about y::

    synergy S = I_P(y; x1, x2) - I_Q*(y; x1, x2),   unique U_1 = I_Q*(y; x1 | x2),   U_2 = I_Q*(y; x2 | x1)
    redundancy R = I(y; x1) - U_1 = I(y; x2) - U_2

Q* is found by alternating minimisation: sum Q log Q(y | x1, x2) is the least KL divergence of Q from tables that are the
same for all y, so Q <- the table with the margins that is nearest to Q(x1, x2), by iterative scaling, again and again.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from torch import Tensor

from mmbal.maths.information import conditional_mutual_information, mutual_information

LEAST = 1e-300


def least_informative(table: Tensor, rounds: int = 500, scalings: int = 50, tolerance: float = 1e-9) -> Tensor:
    """``Q* (A, B, C)`` of a table ``(x1, x2, y)`` that sums to one."""
    first, second, third = table.sum(1, keepdim=True), table.sum(0, keepdim=True), table.sum((0, 1), keepdim=True)
    found = first * second / third.clamp(min=LEAST)
    for _ in range(rounds):
        before = found
        found = before.sum(2, keepdim=True).expand_as(before)
        for _ in range(scalings):
            found = found * (first / found.sum(1, keepdim=True).clamp(min=LEAST))
            found = found * (second / found.sum(0, keepdim=True).clamp(min=LEAST))
            if (found.sum(1, keepdim=True) - first).abs().max() < tolerance:
                break
        if (found - before).abs().max() < tolerance:
            break
    return found


def partial_information(counts: Tensor) -> dict[str, float]:
    """``redundancy``, ``unique1``, ``unique2`` and ``synergy``, in bits, of a joint table ``(x1, x2, y)`` of counts."""
    table = counts.double() / counts.sum()
    best = least_informative(table)
    unique = [conditional_mutual_information(best.permute(axes)) for axes in ((0, 2, 1), (1, 2, 0))]
    whole, least = (mutual_information(t.flatten(0, 1)) for t in (table, best))
    nats = {
        "redundancy": mutual_information(table.sum(1)) - unique[0],
        "unique1": unique[0],
        "unique2": unique[1],
        "synergy": whole - least,
    }
    return {name: value / math.log(2) for name, value in nats.items()}


def joint_table(first: Tensor, second: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts ``(A, B, C)`` of two codes ``(N,)``, from 0, and the classes ``(N,)``."""
    found = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, classes, dtype=torch.double)
    return found.index_put_((first, second, labels), torch.ones(len(first), dtype=torch.double), accumulate=True)


def codes(features: np.ndarray, clusters: int, components: int = 5) -> Tensor:
    """Features ``(N, D)`` as cluster numbers ``(N,)``: unit length, principal components, k-means; always the same."""
    unit = normalize(np.nan_to_num(features.astype(np.float64)))
    distinct = len(np.unique(unit.round(9), axis=0))
    if distinct == 1:
        return torch.zeros(len(unit), dtype=torch.long)
    reduced = PCA(min(components, *unit.shape), svd_solver="full").fit_transform(unit)
    found = KMeans(min(clusters, distinct), n_init=1, random_state=42).fit_predict(reduced)
    return torch.from_numpy(found.astype(np.int64))


def clusters_for(rows: int, classes: int, most: int) -> int:
    """How many clusters leave five rows to a cell of the joint table of two codes and the class: 2 to ``most``."""
    return max(2, min(most, math.isqrt(rows // (5 * classes))))
