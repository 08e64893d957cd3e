"""Decision weights with orthonormal rows, as CRMT's decision layer has them, and how much inputs move its scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

NONE = 1e-6  # an eigenvalue below this share of the largest counts as zero


class _InverseRoot(torch.autograd.Function):
    """``S^(-1/2)`` of a symmetric positive semi-definite matrix, zero where S is singular.

    The gradient is that of Daleckii and Krein, with the divided differences of x^(-1/2) in closed form: unlike the
    gradient of the eigenvectors it stays finite where eigenvalues are equal.
    """

    @staticmethod
    def forward(context: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        kept = values > NONE * values[-1]
        root = torch.where(kept, values.clamp(min=0).sqrt(), torch.inf)
        context.save_for_backward(vectors, root)
        return (vectors / root) @ vectors.T

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        vectors, root = context.saved_tensors
        inner = vectors.T @ ((gradients[0] + gradients[0].T) / 2) @ vectors
        across = -1 / (root[:, None] * root[None] * (root[:, None] + root[None]))
        return vectors @ (across * inner) @ vectors.T


def centred(weight: Tensor) -> Tensor:
    """Rows ``(C, D)`` less their means, as in the orthogonal weight normalisation that CRMT uses."""
    return weight - weight.mean(dim=1, keepdim=True)


def orthonormal_rows(weight: Tensor) -> Tensor:
    """The matrix with orthonormal rows that is nearest to the centred rows ``(C, D)``: ``(Z Z^T)^(-1/2) Z``.

    Where there are more rows than dimensions left, the columns are orthonormal in their place.
    """
    rows = centred(weight.float())
    inverse: Tensor = _InverseRoot.apply(rows @ rows.T)  # type: ignore[no-untyped-call]
    return inverse @ rows


def unit_rows(weight: Tensor) -> Tensor:
    """Centred rows ``(C, D)`` of length one, each class alone, as in the public code."""
    return normalize(centred(weight.float()), dim=1)


def input_sensitivity(encoder: nn.Module, rows: Tensor, inputs: Tensor) -> Tensor:
    """The largest length over ``inputs (B, ...)`` of each score's gradient ``(C,)``; the scores are ``rows (C, D)`` times z.

    Of inputs that have no gradient, such as the words of a text, it is the length of the row: that with respect to z.
    """
    if not inputs.is_floating_point():
        return rows.norm(dim=1)
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        scores = encoder(inputs).float() @ rows.T
        lengths = []
        for c in range(scores.shape[1]):
            (gradient,) = torch.autograd.grad(scores[:, c].sum(), inputs, retain_graph=True)
            lengths.append(gradient.flatten(1).norm(dim=1).max())
    return torch.stack(lengths)
