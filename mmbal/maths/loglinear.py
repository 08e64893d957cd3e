"""Maximum-a-posteriori fit of a softmax whose scores are linear in the parameters, blocks of them sharing a prior.

    o[n, c] = sum_k w[k] experts[n, k, c] + sum_m d[m, c] columns[n, m, c] + sum_j F[j, c] features[n, j] + b[c]

    minimise  -sum_n log softmax(o[n])[y_n]  +  sum_blocks precision / 2 |parameter - mean|^2

The problem is strictly convex. It is solved by Newton's method; each Newton system by preconditioned conjugate
gradients, which need products with the Hessian only, so that a matrix of 200 x 100 parameters costs a few matrix
products a step. Source: Nocedal and Wright, "Numerical optimization", 2nd edition, algorithm 7.1 (line-search
Newton-CG).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Design:
    """What the scores are linear in: ``experts (N, K, C)``, ``columns (N, M, C)``, ``features (N, D)``; bias or not.

    A block that a model does not have has M = 0 or D = 0.
    """

    experts: Array
    columns: Array
    features: Array
    bias: bool

    def astype(self, kind: type[np.floating]) -> Design:
        """The same design in another precision."""
        return Design(self.experts.astype(kind), self.columns.astype(kind), self.features.astype(kind), self.bias)

    @property
    def sizes(self) -> list[int]:
        """Numbers of parameters of the four blocks: weights, class-wise weights, matrix, bias."""
        c = self.experts.shape[2]
        return [self.experts.shape[1], self.columns.shape[1] * c, self.features.shape[1] * c, c * self.bias]

    def split(self, flat: Array) -> list[Array]:
        """The blocks ``w (K,)``, ``d (M, C)``, ``F (D, C)``, ``b (C,)`` of a flat vector of parameters."""
        c = self.experts.shape[2]
        w, d, f, b = np.split(flat, np.cumsum(self.sizes)[:-1])
        return [w, d.reshape(-1, c), f.reshape(-1, c), b]

    def scores(self, flat: Array) -> Array:
        """``(N, C)``, linear in the parameters."""
        w, d, f, b = self.split(flat)
        out = np.matmul(w, self.experts)
        if d.size:
            out += np.einsum("nmc,mc->nc", self.columns, d)
        if f.size:
            out += self.features @ f
        return out + b if self.bias else out

    def adjoint(self, residual: Array) -> Array:
        """The transpose of ``scores``: from ``(N, C)`` to a flat vector of parameters."""
        parts = [np.einsum("nkc,nc->k", self.experts, residual)]
        if self.columns.shape[1]:
            parts.append(np.einsum("nmc,nc->mc", self.columns, residual).ravel())
        if self.features.shape[1]:
            parts.append((self.features.T @ residual).ravel())
        if self.bias:
            parts.append(residual.sum(axis=0))
        return np.concatenate(parts)

    def curvature(self, p: Array) -> Array:
        """The diagonal of the negative log-likelihood's Hessian where the probabilities are ``p (N, C)``."""
        spread = p * (1 - p)
        weighted = p[:, None] * self.experts
        second = np.einsum("nkc,nkc->k", weighted, self.experts) - (weighted.sum(axis=2) ** 2).sum(axis=0)
        parts = [second]
        if self.columns.shape[1]:
            parts.append(np.einsum("nmc,nmc,nc->mc", self.columns, self.columns, spread, optimize=True).ravel())
        if self.features.shape[1]:
            parts.append(((self.features**2).T @ spread).ravel())
        if self.bias:
            parts.append(spread.sum(axis=0))
        return np.concatenate(parts)


def maximum_a_posteriori(
    design: Design,
    target: Array,
    mean: Array,
    precision: Array,
    start: Array | None = None,
    tolerance: float = 1e-3,
    max_steps: int = 50,
) -> Array:
    """The MAP parameters, flat, for soft targets ``(N, C)`` with prior ``N(mean, 1 / precision)`` per parameter.

    ``precision`` must be positive. Stops where the Newton decrement promises a gain below ``tolerance`` nats a row;
    ``start`` (default: the prior mean) changes the time only.
    """
    theta = mean if start is None else start
    mass = target.sum(axis=1, keepdims=True)

    def evaluate(at: Array) -> tuple[float, Array]:
        scores = design.scores(at)
        top = scores.max(axis=1, keepdims=True)
        p = np.exp(scores - top)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        loss = (mass * (np.log(total) + top)).sum() - (target * scores).sum()
        return float(loss + 0.5 * (precision * (at - mean) ** 2).sum()), p

    value, p = evaluate(theta)
    single = design.astype(np.float32)
    for _ in range(max_steps):
        gradient = design.adjoint(mass * p - target) + precision * (theta - mean)
        step = newton_step(single, p.astype(np.float32), precision, -gradient, design.curvature(p) + precision)
        decrement = -float(gradient @ step)
        length = 1.0
        while length > 1e-8:
            attempt, tried = evaluate(theta + length * step)
            if attempt <= value - 1e-4 * length * decrement:
                theta, value, p = theta + length * step, attempt, tried
                break
            length /= 2
        if decrement < 2 * tolerance * len(target) or length <= 1e-8:
            break
    return theta


def newton_step(
    design: Design, p: Array, precision: Array, right: Array, diagonal: Array, forcing: float = 0.1, most: int = 100
) -> Array:
    """An inexact solution of ``(Hessian + precision) x = right`` by conjugate gradients, preconditioned by a diagonal.

    Stops when the preconditioned residual has fallen by ``forcing``, or after ``most`` products with the Hessian,
    for which single precision does: the gradient alone decides where Newton's method ends.
    """
    x = np.zeros_like(right)
    residual = right
    direction = scaled = residual / diagonal
    energy = first = float(residual @ scaled)
    for _ in range(most):
        if energy <= forcing**2 * first:
            break
        change = p * design.scores(direction.astype(np.float32))
        product = design.adjoint(change - p * change.sum(axis=1, keepdims=True)) + precision * direction
        length = energy / float(direction @ product)
        x = x + length * direction
        residual = residual - length * product
        scaled = residual / diagonal
        energy, last = float(residual @ scaled), energy
        direction = scaled + energy / last * direction
    return x
