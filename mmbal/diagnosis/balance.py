"""Relative balance: the share of each modality in the decision, against its share in the evidence.

The part ``x_m`` of modality m is its part of the fused logits less their mean over the samples (a constant offset is the
head's bias and tells nothing about a sample). Only its class-centred part counts, since softmax does not see a constant:

    S[c, m] = sum over samples of class c of  mean_k |x_m[k] - mean_j x_m[j]|                 contribution: share over m
    L[c, m] = the same of  w[m, k] x_m[k]                                                     capability: share over m
    index   = sum_c pi_c  1/2 sum_m |contribution[c, m] - capability[c, m]|                   in [0, 1]

where ``w >= 0`` are the weights with which the parts predict the labels best: the multinomial regression

    log p(k) = sum_m (u_m + d[m, k]) x_m[k] + b_k + const

with a wide Gaussian prior on u, the prior ``d ~ N(0, tau^2)`` that shrinks class-wise weights to one weight per
modality (tau maximises the marginal likelihood, Laplace's approximation), and an own bias per class. A part times its
weight is the evidence, in nats, that it really carries; so the index compares evidence claimed with evidence carried.
It is 0 exactly where no re-weighting by modality and class beats a common factor: a Bayes-optimal decision layer has
w = 1 throughout. It does not ask for equality (a useless modality should contribute nothing), nor about a common
temperature.

Tests: shares are clipped at zero and tell nothing about how well the weights are known. So "the contribution equals the
capability" is tested on the unclipped contrast  L[c, m] sum_k S[c, k] - S[c, m] sum_k L[c, k],  where L is linear in the
weights. It is zero where the shares are equal. Its standard error is that of the table of counts (the diagnosis takes the
jackknife's, which no seed changes) or that of the weights' posterior, whichever is larger: where the data leave the
weights open (few samples, or no errors to learn from) the posterior is wide, and nothing is claimed.

Intervals: samples are redrawn, and in each replicate the weights move by one Newton step of the re-weighted likelihood
from the fit (the infinitesimal form of fitting again), so that the uncertainty of the fit is part of the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.diagnosis.significance import MIN_SAMPLES, Bootstrap, holm, ratio
from mmbal.maths.newton import newton
from mmbal.predictions.format import Array, Predictions, log_softmax

MODALITY_SPREAD = 3.0  # prior standard deviation of u about 1, where 1 is the best common factor: hardly informative
BIAS_SPREAD = 1.0  # prior standard deviation of b, in nats
CLASS_SPREADS = (0.0, 0.1, 0.2, 0.4, 0.8)  # the candidates for tau
POSTERIOR_DRAWS = 200
SMALLEST_UNIT = 0.1  # the common factor is not taken below this over the votes' scale: a useless sum has factor 0


def votes_of(decision: Decision, predictions: Predictions) -> Array:
    """The votes ``(N, M, C)``; zero where a sample lacks the modality."""
    mask = predictions.present_mask()[:, :, None]
    parts = np.stack([decision.contribution[m] for m in decision.modalities], axis=1) * mask
    mean = parts.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    value: Array = (parts - mean) * mask
    return value


@dataclass(frozen=True)
class VoteWeights:
    """Weights of the votes: the fit and its replicates ``(1 + B, M, C)``, and draws of the posterior ``(K, M, C)``."""

    replicates: Array
    posterior: Array


def fit_vote_weights(votes: Array, labels: Array, boot: Bootstrap, seed: int = 0) -> VoteWeights:
    """Weights of ``votes (N, M, C)``, the class-wise spread chosen by marginal likelihood; unclipped."""
    total = centred(votes.sum(axis=1))
    unit = max(inverse_temperature(log_softmax(total), labels), SMALLEST_UNIT / max(float(total.std()), 1e-12))
    model = _Regression(unit * votes, labels)
    spread, fit = model.best()
    moved = fit.theta - np.linalg.solve(fit.hessian, model.gradients(fit.theta, spread, boot).T).T
    moved[0] = fit.theta
    noise = np.random.default_rng(seed).normal(size=(POSTERIOR_DRAWS, len(fit.theta)))
    drawn = fit.theta + np.linalg.solve(np.linalg.cholesky(fit.hessian).T, noise.T).T
    return VoteWeights(unit * model.weights(moved, spread), unit * model.weights(drawn, spread))


@dataclass(frozen=True)
class _Fit:
    theta: Array
    hessian: Array
    evidence: float


class _Regression:
    """The multinomial regression of labels on votes ``(N, M, C)``; theta = (u (M,), b (C,), d (M * C,) if spread)."""

    def __init__(self, votes: Array, labels: Array) -> None:
        self.votes = votes
        self.labels = labels
        self.n, self.m, self.c = votes.shape
        self.own = np.eye(self.c)[labels]

    def precision(self, spread: float) -> Array:
        blocks = [np.full(self.m, MODALITY_SPREAD**-2), np.full(self.c, BIAS_SPREAD**-2)]
        return np.concatenate([*blocks, np.full(self.m * self.c, spread**-2)] if spread else blocks)

    def centre(self, spread: float) -> Array:
        return np.concatenate([np.ones(self.m), np.zeros(len(self.precision(spread)) - self.m)])

    def weights(self, theta: Array, spread: float) -> Array:
        """Weights ``(..., M, C)`` from parameters ``(..., P)``."""
        common = np.repeat(theta[..., : self.m, None], self.c, axis=-1)
        if not spread:
            return common
        value: Array = common + theta[..., self.m + self.c :].reshape(*theta.shape[:-1], self.m, self.c)
        return value

    def residual(self, theta: Array, spread: float) -> tuple[Array, Array]:
        """Log-probabilities and probabilities ``(N, C)``."""
        scores = np.einsum("mc,nmc->nc", self.weights(theta, spread), self.votes) + theta[self.m : self.m + self.c]
        log_p = log_softmax(scores)
        return log_p, np.exp(log_p)

    def flat(self, by_class: Array, bias: Array, spread: float) -> Array:
        """Parameters' gradients ``(..., P)`` from those of the class-wise weights ``(..., M, C)`` and the bias."""
        blocks = [by_class.sum(axis=-1), bias]
        if spread:
            blocks.append(by_class.reshape(*by_class.shape[:-2], self.m * self.c))
        return np.concatenate(blocks, axis=-1)

    def curvature(self, p: Array) -> Array:
        """Hessian of the negative log-likelihood in the class-wise weights and the bias: ``((M+1) C, (M+1) C)``."""
        columns = np.concatenate([self.votes, np.ones((self.n, 1, self.c))], axis=1)
        k = self.m + 1
        out = np.empty((k, self.c, k, self.c))
        for i in range(k):
            for j in range(i, k):
                block = -(p * columns[:, i]).T @ (p * columns[:, j])
                block[np.diag_indices(self.c)] += (p * columns[:, i] * columns[:, j]).sum(axis=0)
                out[i, :, j, :] = block
                out[j, :, i, :] = block.T
        return out

    def reduce(self, curvature: Array, spread: float) -> Array:
        """The Hessian in theta from that in the class-wise weights and the bias, by the chain rule."""
        m, c = self.m, self.c
        whole = curvature.reshape((m + 1) * c, (m + 1) * c)
        size = m + c + (m * c if spread else 0)
        jacobian = np.zeros(((m + 1) * c, size))
        jacobian[: m * c, :m] = np.kron(np.eye(m), np.ones((c, 1)))
        jacobian[m * c :, m : m + c] = np.eye(c)
        if spread:
            jacobian[: m * c, m + c :] = np.eye(m * c)
        value: Array = jacobian.T @ whole @ jacobian
        return value

    def best(self) -> tuple[float, _Fit]:
        """The class-wise spread of the greatest evidence and its fit; the search ends where the evidence falls."""
        best = self.fit(CLASS_SPREADS[0])
        chosen = CLASS_SPREADS[0]
        for spread in CLASS_SPREADS[1:]:
            fit = self.fit(spread, best.theta)
            if fit.evidence <= best.evidence:
                break
            chosen, best = spread, fit
        return chosen, best

    def fit(self, spread: float, start: Array | None = None) -> _Fit:
        """The posterior mode, from the parameters of a fit with another spread where given."""
        precision, centre = self.precision(spread), self.centre(spread)
        first = centre.copy()
        if start is not None:
            first[: len(start)] = start

        def objective(theta: Array) -> tuple[float, Array, Array]:
            log_p, p = self.residual(theta, spread)
            error = p - self.own
            gradient = self.flat(np.einsum("nc,nmc->mc", error, self.votes), error.sum(axis=0), spread)
            value = -log_p[np.arange(self.n), self.labels].sum() + 0.5 * precision @ (theta - centre) ** 2
            return (
                value,
                gradient + precision * (theta - centre),
                self.reduce(self.curvature(p), spread) + np.diag(precision),
            )

        theta = newton(objective, first)
        value, _, hessian = objective(theta)
        return _Fit(theta, hessian, float(0.5 * np.log(precision).sum() - 0.5 * np.linalg.slogdet(hessian)[1] - value))

    def gradients(self, theta: Array, spread: float, boot: Bootstrap) -> Array:
        """Gradient of the negative log-posterior at ``theta`` under each replicate's counts: ``(1 + B, P)``."""
        error = self.residual(theta, spread)[1] - self.own
        by_class = boot.sums(error[:, None, :] * self.votes)
        prior = self.precision(spread) * (theta - self.centre(spread))
        return self.flat(by_class, boot.sums(error), spread) + prior


@dataclass(frozen=True)
class Shares:
    """Replicates (first: the sample's own) of the shares overall ``(1 + B, M)`` and by class ``(1 + B, C, M)``.

    ``contrast`` is what is tested, overall (row 0) and by class: ``(1 + C, M)`` its value and its standard error.
    """

    contribution: Array
    capability: Array
    class_contribution: Array
    class_capability: Array
    class_samples: Array
    relative_weight: Array
    contrast: Array
    contrast_error: Array

    @property
    def index(self) -> Array:
        """Replicates ``(1 + B,)`` of the imbalance index."""
        distance = np.abs(self.class_contribution - self.class_capability).sum(axis=2) / 2
        known = ~np.isnan(distance)
        return ratio(
            (np.where(known, distance, 0) * self.class_samples).sum(axis=1), (known * self.class_samples).sum(axis=1)
        )


def shares_of(decision: Decision, predictions: Predictions, boot: Bootstrap) -> Shares:
    """Contribution and capability shares of a decision whose additive parts are known."""
    votes, labels, c = votes_of(decision, predictions), predictions.labels, len(predictions.classes)
    fitted = fit_vote_weights(votes, labels, boot)
    weights = np.maximum(fitted.replicates, 0)
    plain = centred(votes)
    said = boot.class_sums(np.abs(plain).mean(axis=2), labels, c)
    evidence = centred(votes * weights[0])
    worth = boot.class_sums(np.abs(evidence).mean(axis=2), labels, c)
    # the slope of the capability in the weights carries the replicates of the weights over to it
    worth = np.maximum(worth + _moved(weights - weights[0], _slopes(votes, evidence, labels, c)), 0)
    along = _slopes(votes, plain, labels, c)
    redrawn = boot.class_sums((votes * _directions(plain) * fitted.replicates[0]).sum(axis=2) / c, labels, c)
    redrawn += _moved(fitted.replicates - fitted.replicates[0], along)
    contrast = _contrast(said, redrawn)
    posterior = _contrast(said[:1], _moved(fitted.posterior, along))
    mean = weights.mean(axis=2)
    return Shares(
        contribution=_share(said.sum(axis=1)),
        capability=_share(worth.sum(axis=1)),
        class_contribution=_share(said),
        class_capability=_share(worth),
        class_samples=boot.class_sums(np.ones(len(labels)), labels, c),
        relative_weight=ratio(mean * mean.shape[1], mean.sum(axis=1)),
        contrast=contrast[0],
        contrast_error=np.maximum(boot.error(contrast), posterior.std(axis=0, ddof=1)),
    )


def _directions(votes: Array) -> Array:
    """C times the slope of ``mean_k |v[k] - mean v|`` in v, of class-centred ``votes (N, M, C)``."""
    sign = np.sign(votes)
    value: Array = sign - sign.mean(axis=2, keepdims=True)
    return value


def _slopes(votes: Array, evidence: Array, labels: Array, classes: int) -> Array:
    """Slope in the weights of the class sums of mean absolute evidence: ``(C, M, C)``, class, modality, weight."""
    slope = votes * _directions(evidence) / votes.shape[2]
    return np.stack([slope[labels == k].sum(axis=0) for k in range(classes)])


def _moved(weights: Array, slopes: Array) -> Array:
    """The class sums ``(R, C, M)`` that weights ``(R, M, C)`` make along ``slopes (C, M, C)``."""
    value: Array = np.einsum("rmk,cmk->rcm", weights, slopes, optimize=True)
    return value


def _contrast(said: Array, evidence: Array) -> Array:
    """``L sum S - S sum L`` overall and by class ``(R, 1 + C, M)``, each over its scale ``(sum S)^2``."""
    both = [np.concatenate([x.sum(axis=1, keepdims=True), x], axis=1) for x in (said, evidence)]
    total = both[0].sum(axis=2, keepdims=True)
    value: Array = both[1] * total - both[0] * both[1].sum(axis=2, keepdims=True)
    return np.divide(value, total**2, out=np.zeros(np.broadcast_shapes(value.shape, total.shape)), where=total > 0)


def _share(sums: Array) -> Array:
    return ratio(sums, sums.sum(axis=-1))


def adjusted_p_values(shares: Shares) -> tuple[list[float | None], list[list[float | None]]]:
    """Holm-adjusted p of "contribution equals capability": per modality ``M``, and per class and modality ``C x M``.

    All of them are one family; classes of fewer than ``MIN_SAMPLES`` samples are not tested (None). The contrasts of
    two modalities are each other's negative, so only one is tested.
    """
    m = shares.contrast.shape[1]
    tested = slice(1) if m == 2 else slice(m)
    error = shares.contrast_error[:, tested]
    z = np.divide(np.abs(shares.contrast[:, tested]), error, out=np.zeros_like(error), where=error > 0)
    enough = np.concatenate([[shares.class_samples[0].sum()], shares.class_samples[0]]) >= MIN_SAMPLES
    p = np.full(z.shape, np.nan)
    p[enough] = holm(2 * norm.sf(z[enough]).ravel()).reshape(-1, z.shape[1])
    rows = [[None if np.isnan(v) else float(v) for v in row] * (2 if m == 2 else 1) for row in p]
    return rows[0], rows[1:]
