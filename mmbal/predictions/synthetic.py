"""A world with a known answer: Gaussian evidence per modality and class, whose best decision layer has a closed form.

A sample has a class ``y ~ prior``. Modality m turns it into C independent numbers, one per class, with a strength
``s[m, c] >= 0`` (the ``capability``):

    x[m, c] | y  ~  N(+s[m, c] / 2, 1)  if c = y,      N(-s[m, c] / 2, 1)  otherwise,      independent over m and c.

The squared distance between the means of classes c and k is ``s[m, c]^2 + s[m, k]^2``, so m can't tell two classes of
strength 0 apart, and ``log p(x[m] | y = c) = s[m, c] x[m, c]`` up to a term that is the same for every class. The
branch of m over-states that by a factor ``T[m]`` (``overconfidence``; per class where an ``(M, C)`` matrix is given):

    logits[m, c] = T[m, c] s[m, c] x[m, c] = (W_m x_m)[c],    W_m = diag(T[m] s[m]),  no bias,

and the fused model as it is adds them with a loudness ``g[m]`` (``dominance``):  ``fused = sum_m g[m] logits[m]``.

The Bayes-optimal layer. Modalities are independent given the class, so the posterior is

    log p(y = c | x)  =  log prior[c] + sum_m logits[m, c] / T[m, c] - (row constant):

weights ``1 / T``, class-wise where T is, and the log prior as bias; a missing modality adds nothing. A plain sum is
biased towards whatever modality is over-confident or dominant. Where T differs by class, so does the Bayes layer's use of
a constant added to all logits of a sample, which softmax forgets: it then needs the logits as they are.

Any layer ``w[m, c]``, ``b[c]`` on these logits scores class c by a Gaussian that is independent of the other classes',

    score[c] | y  ~  N(b[c] +- 1/2 sum_m a[m, c] s[m, c],  sum_m a[m, c]^2),    a = w T s,

so its population accuracy is a one-dimensional integral (:meth:`GaussianWorld.accuracy`), also for a subset of the
modalities: the true capability (accuracy and Shapley value of the Bayes layer), the true decision gap
(Bayes against as-is) and, by the folded normal distribution, the true contribution shares are numbers, not estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import Any

import numpy as np
from scipy.special import log_ndtr, log_softmax, ndtr

from mmbal.errors import ConfigError
from mmbal.predictions.format import Array, Predictions, subsets_of

QUADRATURE = np.polynomial.hermite_e.hermegauss(201)  # nodes and weights of an expectation over N(0, 1)
TINY = 1e-9  # the spread given to a score that is constant, so that ties are broken evenly


@dataclass(frozen=True)
class GaussianWorld:
    """C classes and M modalities with strengths ``capability (M, C)``; see the module for the model and its formulas.

    ``overconfidence`` is ``(M,)`` or ``(M, C)``; ``dominance (M,)`` is the loudness of each modality in the fused model
    as it is; ``prior (C,)`` the class frequencies (uniform); ``missing (M,)`` the probability that a modality is
    missing from a sample; ``width`` the length of the feature vectors, of which all but C directions are noise, hidden by a
    fixed rotation (C where None: no rotation). Raises ConfigError where a shape or a range is wrong.
    """

    classes: Sequence[str]
    modalities: Sequence[str]
    capability: Any
    overconfidence: Any = 1.0
    dominance: Any = 1.0
    prior: Any = None
    missing: Any = 0.0
    width: int | None = None
    strength: Array = field(init=False, repr=False)
    temperature: Array = field(init=False, repr=False)
    loudness: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        m, c = len(self.modalities), len(self.classes)
        prior = np.full(c, 1 / c) if self.prior is None else np.asarray(self.prior, dtype=float)
        missing = _broadcast("missing", self.missing, (m,))
        if prior.shape != (c,) or (prior <= 0).any() or not np.isclose(prior.sum(), 1):
            raise ConfigError(f"prior must be {c} positive numbers that sum to 1, not {prior.tolist()}.")
        if (missing < 0).any() or (missing >= 1).any():
            raise ConfigError(f"missing must lie in [0, 1), not {missing.tolist()}.")
        if self.width is not None and self.width < c:
            raise ConfigError(f"width is {self.width}, but the {c} classes need at least {c} dimensions.")
        strength = _broadcast("capability", self.capability, (m, c))
        temperature = _broadcast("overconfidence", self.overconfidence, (m, c))
        if (strength < 0).any() or (temperature <= 0).any():
            raise ConfigError("capability must not be negative, and overconfidence must be positive.")
        known: dict[str, Any] = {
            "classes": tuple(self.classes),
            "modalities": tuple(self.modalities),
            "prior": prior,
            "missing": missing,
            "strength": strength,
            "temperature": temperature,
            "loudness": _broadcast("dominance", self.dominance, (m, c)),
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    @property
    def bayes_weights(self) -> Array:
        """``(M, C)``: the weights 1/T of the Bayes-optimal layer."""
        return 1 / self.temperature

    @property
    def bayes_bias(self) -> Array:
        """``(C,)``: the bias of the Bayes-optimal layer, the log prior."""
        return np.log(self.prior)

    def sample(self, n: int, seed: int, calibration: float = 0.5) -> Predictions:
        """``n`` rows with logits, contributions, fused logits, features and head; the first part is ``calibration``."""
        labels, evidence, present = self._draw(n, np.random.default_rng(seed))
        arrays: dict[str, Any] = {
            "labels": labels,
            "classes": np.array(self.classes),
            "modalities": np.array(self.modalities),
            "ids": np.array([f"{seed}-{i}" for i in range(n)]),
            "split": np.where(np.arange(n) < round(calibration * n), "calibration", "test"),
            "fused": np.zeros((n, len(self.classes))),
            "bias": np.zeros(len(self.classes)),
        }
        for j, m in enumerate(self.modalities):
            logits = self.temperature[j] * self.strength[j] * evidence[j][:, : len(self.classes)]
            arrays[f"logits_{m}"] = logits
            arrays[f"contribution_{m}"] = self.loudness[j] * logits
            arrays["fused"] += self.loudness[j] * logits
            arrays[f"features_{m}"] = evidence[j] @ self._rotation(j)
            arrays[f"weight_{m}"] = self._head(j)
            if self.missing.any():
                arrays[f"present_{m}"] = present[j]
        predictions = Predictions.from_arrays(arrays)
        predictions.meta.update(
            producer="mmbal.predictions.synthetic", dataset="gaussian_world", seed=seed, fusion="sum"
        )
        return predictions

    def features(self, n: int, seed: int, train: float = 0.6, val: float = 0.2) -> dict[str, Array]:
        """Training data as a feature file holds them: ``(n, D)`` per modality, ``label``, ``split``, ``modalities``."""
        labels, evidence, present = self._draw(n, np.random.default_rng(seed))
        position = np.arange(n)
        split = np.where(
            position < round(train * n), "train", np.where(position < round((train + val) * n), "val", "test")
        )
        data = {m: (evidence[j] @ self._rotation(j)).astype(np.float32) for j, m in enumerate(self.modalities)}
        data |= {"label": np.array(self.classes)[labels], "split": split, "modalities": np.array(self.modalities)}
        if self.missing.any():
            data |= {f"present_{m}": present[j] for j, m in enumerate(self.modalities)}
        return data

    def bayes_log_probabilities(self, predictions: Predictions) -> Array:
        """``(N, C)`` log posterior of the Bayes-optimal layer, from the rows' logits and presence masks."""
        present = predictions.present_mask()
        scores = np.broadcast_to(self.bayes_bias, (len(predictions), len(self.classes))).copy()
        for j, m in enumerate(self.modalities):
            scores += present[:, [j]] * predictions.logits[m] * self.bayes_weights[j]
        return log_softmax(scores, axis=-1)

    def bayes_nll(self, predictions: Predictions) -> float:
        """Mean negative log-likelihood in nats of the Bayes-optimal layer on these rows."""
        rows = np.arange(len(predictions))
        return float(-self.bayes_log_probabilities(predictions)[rows, predictions.labels].mean())

    def bayes_accuracy(self, modalities: Iterable[str] | None = None, per_class: bool = False) -> Any:
        """Population accuracy of the Bayes-optimal layer that is given only these modalities (all where None)."""
        return self.accuracy(self.bayes_weights, self.bayes_bias, modalities, per_class)

    def as_is_accuracy(self, per_class: bool = False) -> Any:
        """Population accuracy of the fused model as it is."""
        return self.accuracy(self.loudness, None, None, per_class)

    def accuracy(
        self, weights: Any, bias: Any = None, modalities: Iterable[str] | None = None, per_class: bool = False
    ) -> Any:
        """Population accuracy of ``argmax_c bias[c] + sum_m weights[m, c] logits[m, c]``, no modality missing.

        ``P(right | y) = E_u prod_{k != y} Phi((mean_y + sd_y u - mean_k) / sd_k)``, by Gauss-Hermite quadrature;
        ``weights`` broadcasts to ``(M, C)``. ``per_class`` gives the recalls ``(C,)``.
        """
        c = len(self.classes)
        given = np.array([modalities is None or m in set(modalities) for m in self.modalities])
        slope = _broadcast("weights", weights, self.strength.shape) * self.temperature * self.strength * given[:, None]
        offset = np.zeros(c) if bias is None else np.asarray(bias, dtype=float)
        half = 0.5 * (slope * self.strength).sum(axis=0)
        spread = np.maximum(np.sqrt((slope**2).sum(axis=0)), TINY)
        nodes, mass = QUADRATURE
        recall = np.empty(c)
        for y in range(c):
            others = np.arange(c) != y
            score = offset[y] + half[y] + spread[y] * nodes[:, None]
            inside = log_ndtr((score - (offset - half)[others]) / spread[others]).sum(axis=1)
            recall[y] = (mass * np.exp(inside)).sum() / mass.sum()
        return recall if per_class else float(self.prior @ recall)

    def nll(self, weights: Any, bias: Any = None, draws: int = 200_000, seed: int = 0) -> float:
        """Population negative log-likelihood in nats of a layer, by Monte Carlo over ``draws`` samples."""
        labels, evidence, _ = self._draw(draws, np.random.default_rng(seed), complete=True)
        slope = _broadcast("weights", weights, self.strength.shape) * self.temperature * self.strength
        scores = np.zeros((draws, len(self.classes))) if bias is None else np.tile(np.asarray(bias, float), (draws, 1))
        for j in range(len(self.modalities)):
            scores += slope[j] * evidence[j][:, : len(self.classes)]
        return float(-log_softmax(scores, axis=-1)[np.arange(draws), labels].mean())

    def shapley_accuracy(self) -> Array:
        """``(M,)``: exact Shapley value of each modality for the Bayes layer's population accuracy.

        The value of no modality is the frequency of the commonest class, what the prior alone gets right.
        """
        m = len(self.modalities)
        value = {names: self.bayes_accuracy(names) for names in subsets_of(tuple(self.modalities)) if names}
        value[()] = float(self.prior.max())
        shares = np.zeros(m)
        for j, name in enumerate(self.modalities):
            for names in value:
                if name not in names:
                    size = factorial(len(names)) * factorial(m - len(names) - 1) / factorial(m)
                    larger = tuple(k for k in self.modalities if k in names or k == name)
                    shares[j] += size * (value[larger] - value[names])
        return shares

    def contribution_shares(self, weights: Any = None, per_class: bool = False) -> Array:
        """``(M,)``, or ``(C, M)`` given the true class: shares of the mean absolute centred contribution.

        Centred over classes and over samples: ``v[c] - mean_k v[k]`` with ``v = a (x - E x)`` and ``a = weights T s``.
        That is a Gaussian given the class, so its mean absolute value is that of a folded normal. ``weights`` is the
        layer as it is where None; give :attr:`bayes_weights` for the shares that the modalities should have.
        """
        layer = self.loudness if weights is None else _broadcast("weights", weights, self.strength.shape)
        slope = layer * self.temperature * self.strength
        c = len(self.classes)
        centre = np.eye(c) - 1 / c
        shift = np.eye(c) - self.prior  # E[x | y] - E[x] in units of s: row y
        size = np.empty((c, len(self.modalities)))
        for j in range(len(self.modalities)):
            mean = shift @ np.diag(slope[j] * self.strength[j]) @ centre
            deviation = np.sqrt(slope[j] ** 2 @ centre**2)
            size[:, j] = _folded(mean, deviation).mean(axis=1)
        if not per_class:
            size = self.prior @ size
        return size / size.sum(axis=-1, keepdims=True)

    def imbalance_index(self) -> float:
        """``sum_c prior[c] 1/2 sum_m |contribution[c, m] - capability[c, m]|``; the Bayes layer gives the capability."""
        contribution = self.contribution_shares(per_class=True)
        capability = self.contribution_shares(self.bayes_weights, per_class=True)
        return float(self.prior @ np.abs(contribution - capability).sum(axis=1) / 2)

    def _draw(self, n: int, rng: np.random.Generator, complete: bool = False) -> tuple[Array, list[Array], list[Array]]:
        """Labels (n,), evidence x (n, width) and presence (n,) of each modality; evidence is 0 where it is missing."""
        c = len(self.classes)
        labels = rng.choice(c, size=n, p=self.prior)
        sign = np.where(labels[:, None] == np.arange(c), 0.5, -0.5)
        evidence, present = [], []
        for j in range(len(self.modalities)):
            noise = rng.standard_normal((n, self.width or c))
            noise[:, :c] += sign * self.strength[j]
            here = np.ones(n, bool) if complete else rng.random(n) >= self.missing[j]
            evidence.append(noise * here[:, None])
            present.append(here)
        return labels, evidence, present

    def _rotation(self, j: int) -> Array:
        if self.width is None:
            return np.eye(len(self.classes))
        return np.linalg.qr(np.random.default_rng(j).standard_normal((self.width, self.width)))[0]

    def _head(self, j: int) -> Array:
        return np.diag(self.temperature[j] * self.strength[j]) @ self._rotation(j)[: len(self.classes)]


def _broadcast(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """``value`` as floats of ``shape``; one number per modality is the same for every class."""
    array = np.asarray(value, dtype=float)
    if len(shape) == 2 and array.ndim == 1:
        array = array[:, None]
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise ConfigError(f"{name} has shape {np.shape(value)}, expected {shape}.") from None


def _folded(mean: Array, deviation: Array) -> Array:
    """Mean absolute value of ``N(mean, deviation^2)``."""
    safe = np.maximum(deviation, TINY)
    ratio = mean / safe
    return safe * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))
