"""Maximum-a-posteriori fit of a softmax whose scores are linear in the parameters, blocks of them sharing a prior.

    o[n, c] = offset[n, c] + sum_k w[k] experts[n, k, c] + sum_m d[m, c] columns[n, m, c]
              + sum_j F[j, c] features[n, j] + b[c]

    minimise  -sum_nc target[n, c] log softmax(o[n])_c  +  1/2 (parameters - mean)' precision (parameters - mean)

The problem is strictly convex. :func:`maximum_a_posteriori` solves it by Newton's method, and each Newton system by
preconditioned conjugate gradients. These need only products with the Hessian, so a matrix of 200 x 100 parameters costs
a few matrix products a step. :meth:`Posterior.objective` gives the whole Hessian, for few parameters
(:func:`mmbal.maths.newton.newton`) and for the covariance of Laplace's approximation. Source: Nocedal and Wright, "Numerical
optimization", 2nd edition, algorithm 7.1 (line-search Newton-CG).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmbal.maths.arrays import highest, total_of

EXACT = 1e-16  # nats a row: the log-probabilities of the solution are then right to about 1e-8
FAST = 1e-3  # nats a row: for fits of which many are averaged, as in the rule `adaptive`
ROUNDING = {  # relative error of a sum of losses, by precision: a step that raises it by less is taken
    "float32": 1e-6,
    "float64": 1e-14,
}
IDLE = 0.02  # of the tolerance of a fit: a product with the Hessian that gains less is the last of its step
MOVED = 0.01  # of the value: a step that lowers it by more changes the curvature
BLOCK = 2**23  # entries of an array that is made for some rows at a time

Array = np.ndarray


@dataclass(frozen=True)
class Design:
    """What the scores are linear in: ``experts (N, K, C)``, ``columns (N, M, C)``, ``features (N, D)``; bias or not.

    A block that a model does not have has K = 0, M = 0 or D = 0.
    """

    experts: Array
    columns: Array
    features: Array
    bias: bool

    def astype(self, kind: type[np.floating]) -> Design:
        """The same design in another precision."""
        if self.experts.dtype == kind:
            return self
        experts, columns, features = (x.astype(kind, copy=False) for x in (self.experts, self.columns, self.features))
        return Design(experts, columns, features, self.bias)

    @cached_property
    def _flat(self) -> Array:
        """The experts as ``(K, N C)``: one product with them is then one call of BLAS."""
        n, k, c = self.experts.shape
        return np.ascontiguousarray(self.experts.transpose(1, 0, 2)).reshape(k, n * c)

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
        n, _, c = self.experts.shape
        out = (w @ self._flat).reshape(n, c)
        if d.size:
            out += np.einsum("nmc,mc->nc", self.columns, d)
        if f.size:
            out += self.features @ f
        return out + b if self.bias else out

    def adjoint(self, residual: Array) -> Array:
        """The transpose of ``scores``: from ``(N, C)`` to a flat vector of parameters."""
        parts = [self._flat @ residual.ravel()]
        if self.columns.shape[1]:
            parts.append(np.einsum("nmc,nc->mc", self.columns, residual).ravel())
        if self.features.shape[1]:
            parts.append((self.features.T @ residual).ravel())
        if self.bias:
            parts.append(np.ones(len(residual), residual.dtype) @ residual)
        return np.concatenate(parts)

    def curvature(self, p: Array, mass: Array) -> Array:
        """The diagonal ``(P,)`` of :meth:`hessian`."""
        weight = mass * p
        spread = weight * (1 - p)
        parts = [np.einsum("nc,nkc->k", weight, self._about_mean(p) ** 2)]
        if self.columns.shape[1]:
            parts.append(np.einsum("nmc,nmc,nc->mc", self.columns, self.columns, spread, optimize=True).ravel())
        if self.features.shape[1]:
            parts.append(((self.features**2).T @ spread).ravel())
        if self.bias:
            parts.append(spread.sum(axis=0))
        return np.concatenate(parts)

    def hessian(self, p: Array, mass: Array) -> Array:
        """Hessian ``(P, P)`` of the negative log-likelihood at probabilities ``p (N, C)``; rows weigh ``mass (N, 1)``.

        The rows are taken in blocks, so that no array of ``N x P`` is made.
        """
        size = sum(self.sizes)
        found, rows = np.zeros((size, size)), max(1, BLOCK // max(size, 1))
        for start in range(0, len(p), rows):
            self._add_hessian(found, slice(start, start + rows), p, mass)
        first = self.experts.shape[1]
        found[first:, :first] = found[:first, first:].T
        return found

    def _add_hessian(self, found: Array, rows: slice, p: Array, mass: Array) -> None:
        """Add what some rows give to all of the Hessian but its lower left part."""
        experts, p = self._about_mean(p, rows), p[rows]
        n, c = p.shape
        weight = mass[rows] * p
        first = experts.shape[1]
        weighted = weight[:, None] * experts
        found[:first, :first] += np.tensordot(weighted, experts, axes=([0, 2], [0, 2]))
        # what has one parameter a class: the columns, the features and the bias
        columns, features = self.columns[rows], self.features[rows]
        features = np.broadcast_to(features[..., None], (*features.shape, c))
        own = np.concatenate([columns, features, np.ones((n, int(self.bias), c))], axis=1)
        k = own.shape[1]
        if not k:
            return
        # products of matrices, one for each class: faster than einsum, which first plans its path
        each = np.ascontiguousarray(own.transpose(2, 1, 0))  # (C, k, N)
        if first:
            mixed = weighted.transpose(2, 1, 0) @ each.transpose(0, 2, 1)
            found[:first, first:] += mixed.transpose(1, 2, 0).reshape(first, k * c)
        drawn = ((np.sqrt(mass[rows]) * p)[:, None] * own).reshape(n, k * c)
        by_class = found[first:, first:]
        by_class -= drawn.T @ drawn  # a product with itself takes half the time of another
        diagonal = (each * weight.T[:, None]) @ each.transpose(0, 2, 1)
        for i in range(k):
            for j in range(k):
                by_class[np.arange(i * c, (i + 1) * c), np.arange(j * c, (j + 1) * c)] += diagonal[:, i, j]

    def _about_mean(self, p: Array, rows: slice = slice(None)) -> Array:
        """The experts ``(n, K, C)`` of some rows less their mean over the classes under ``p (N, C)``."""
        experts = self.experts[rows]
        return experts - np.einsum("nc,nkc->nk", p[rows], experts)[..., None]


@dataclass(frozen=True)
class Posterior:
    """The negative log-posterior of soft targets ``(N, C)`` under the prior ``N(mean, precision^-1)``.

    ``precision`` is positive: ``(P,)`` of each parameter, or a matrix ``(P, P)``. ``offset (N, C)`` is added to the
    scores. A target's sum is the row's weight.
    """

    design: Design
    target: Array
    mean: Array
    precision: Array
    offset: Array | float = 0.0

    @property
    def mass(self) -> Array:
        """The rows' weights ``(N, 1)``."""
        return self.target.sum(axis=1, keepdims=True)

    def pull(self, change: Array) -> Array:
        """The precision times a change of the parameters ``(P,)``."""
        return self.precision @ change if self.precision.ndim == 2 else self.precision * change

    def evaluate(self, at: Array) -> tuple[float, Array]:
        """The value, in nats, and the probabilities ``(N, C)``."""
        scores = self.design.scores(at.astype(self.design.experts.dtype, copy=False)) + self.offset
        top = highest(scores, axis=-1, keepdims=True)
        p = np.exp(scores - top)
        total = total_of(p)
        p /= total
        level = self.mass * (np.log(total) + top)
        scores *= self.target
        loss = level.sum(dtype=np.float64) - scores.sum(dtype=np.float64)
        return float(loss + 0.5 * (at - self.mean) @ self.pull(at - self.mean)), p

    @property
    def own_precision(self) -> Array:
        """The precision of each parameter given the others ``(P,)``."""
        return np.diag(self.precision) if self.precision.ndim == 2 else self.precision

    def gradient(self, at: Array, p: Array) -> Array:
        """The gradient ``(P,)`` where the probabilities are ``p``."""
        residual = self.mass * p
        residual -= self.target
        return self.design.adjoint(residual) + self.pull(at - self.mean)

    def objective(self, at: Array) -> tuple[float, Array, Array]:
        """Value, gradient ``(P,)`` and Hessian ``(P, P)``."""
        value, p = self.evaluate(at)
        prior = self.precision if self.precision.ndim == 2 else np.diag(self.precision)
        return value, self.gradient(at, p), self.design.hessian(p, self.mass) + prior


def soft_targets(labels: Array, scores: Array) -> Array:
    """Targets ``(N, C)`` of labels ``(N,)``, in the precision of ``scores (N, ..., C)``.

    One pseudo-row's worth of uniform labels joins the data, so that separable data have a solution.
    """
    n, c = len(labels), scores.shape[-1]
    found = np.full((n, c), 1 / (n * c), scores.dtype)
    found[np.arange(n), labels] += 1
    return found


def maximum_a_posteriori(
    design: Design,
    target: Array,
    mean: Array,
    precision: Array,
    start: Array | None = None,
    tolerance: float = EXACT,
    max_steps: int = 200,
    offset: Array | float = 0.0,
) -> Array:
    """The MAP parameters ``(P,)`` of :class:`Posterior`, by :func:`mode_of`."""
    return mode_of(Posterior(design, target, mean, precision, offset), start, tolerance, max_steps)


def mode_of(
    posterior: Posterior,
    start: Array | None = None,
    tolerance: float = EXACT,
    max_steps: int = 200,
    lower: Array | float = -np.inf,
) -> Array:
    """The mode ``(P,)`` of a posterior under ``parameters >= lower``; no Hessian is formed.

    Stops after a step whose Newton decrement promised a gain below ``tolerance`` nats a row. ``start`` (default: the
    prior mean) changes the time only. A design in single precision is solved to ``FAST``. Bounds are kept as in
    :func:`mmbal.maths.newton.newton`: every step is one in the parameters that they leave free.
    """
    design, mass = posterior.design, posterior.mass
    theta = np.maximum(posterior.mean if start is None else start, lower)
    value, p = posterior.evaluate(theta)
    # products in single precision find the step well enough, in half the time; the gradient is in double precision
    light, weight = design.astype(np.float32), mass.astype(np.float32)
    if design.experts.dtype == np.float32:  # which knows values no better
        tolerance = max(tolerance, FAST)
    moved, diagonal = True, posterior.own_precision
    least = IDLE * tolerance * len(posterior.target)
    rounding = ROUNDING[design.experts.dtype.name]
    for _ in range(max_steps):
        gradient = posterior.gradient(theta, p)
        free = (theta > lower) | (gradient < 0)
        chances = p.astype(np.float32, copy=False)
        if moved:  # the diagonal is a preconditioner, and need not be exact
            diagonal = light.curvature(chances, weight) + posterior.own_precision
        step = newton_step(light, chances, weight, posterior.pull, -gradient, diagonal, free, least)
        decrement = -float(gradient @ step)
        length = 1.0
        while length > 1e-8:
            trial = np.maximum(theta + length * step, lower)
            attempt, tried = posterior.evaluate(trial)
            if attempt <= value + 1e-4 * float(gradient @ (trial - theta)) + rounding * abs(value):
                moved = value - attempt > MOVED * abs(value)
                theta, value, p = trial, attempt, tried
                break
            length /= 2
        if decrement < 2 * tolerance * len(posterior.target) or length <= 1e-8:
            break
    return theta


def newton_step(
    design: Design,
    p: Array,
    mass: Array,
    pull: Callable[[Array], Array],
    right: Array,
    diagonal: Array,
    free: Array,
    least: float = 0.0,
    forcing: float = 0.1,
    most: int = 1000,
) -> Array:
    """An inexact solution of ``(Hessian + precision) x = right`` by conjugate gradients, preconditioned by a diagonal.

    ``pull`` is the product with the precision; x is 0 where it is not ``free (P,)``. Stops when the preconditioned residual
    has fallen by ``forcing``, after a product with the Hessian by which the quadratic model gains less than ``least``, or
    after ``most`` of them. They have the precision of ``p``: the gradient alone decides where Newton's method ends.
    """
    x = np.zeros_like(right)
    residual = right * free
    direction = scaled = residual / diagonal
    energy = first = float(residual @ scaled)
    weight = mass * p
    every = np.ones((p.shape[1], 1), p.dtype)
    for _ in range(most):
        if energy <= forcing**2 * first:
            break
        change = weight * design.scores(direction.astype(weight.dtype))
        change -= p * (change @ every)
        product = (design.adjoint(change) + pull(direction)) * free
        length = energy / float(direction @ product)
        x = x + length * direction
        if length * energy < 2 * least:
            break
        residual = residual - length * product
        scaled = residual / diagonal
        energy, last = float(residual @ scaled), energy
        direction = scaled + energy / last * direction
    return x
