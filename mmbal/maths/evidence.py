"""Losses of evidential classifiers, whose decision is a Dirichlet distribution over the class probabilities.

Sensoy, Kaplan and Kandemir, "Evidential deep learning to quantify classification uncertainty", NeurIPS 2018, arXiv
1806.01768. With evidence e >= 0, alpha = e + 1 and S = sum_c alpha_c:

    A(alpha) = psi(S) - psi(alpha_y)                             the expected cross-entropy
    B(alpha) = KL(Dir(e (1 - y) + 1) || Dir(1))                  evidence for wrong classes, y as a vector of 0 and 1
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def expected_cross_entropy(evidence: Tensor, labels: Tensor) -> Tensor:
    """``A (B,)`` of evidence ``(B, C)`` and labels ``(B,)``."""
    alpha = evidence + 1
    return torch.digamma(alpha.sum(dim=1)) - torch.digamma(alpha.gather(1, labels[:, None]).squeeze(1))


def divergence_from_uniform(alpha: Tensor) -> Tensor:
    """``KL(Dir(alpha) || Dir(1)) (B,)``, in nats, of ``alpha (B, C)``."""
    total = alpha.sum(dim=1)
    classes = torch.full_like(total, alpha.shape[1])
    level = torch.lgamma(total) - torch.lgamma(alpha).sum(dim=1) - torch.lgamma(classes)
    return level + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total)[:, None])).sum(dim=1)


def evidential_loss(evidence: Tensor, labels: Tensor, annealing: float) -> Tensor:
    """``A + annealing B`` by row ``(B,)`` of evidence ``(B, C)``."""
    found = expected_cross_entropy(evidence, labels)
    if annealing == 0:
        return found
    wrong = evidence * (1 - one_hot(labels, evidence.shape[1]))
    return found + annealing * divergence_from_uniform(wrong + 1)
