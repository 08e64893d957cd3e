"""Divergences between the decisions of two classifiers, row by row."""

from __future__ import annotations

from torch import Tensor, logaddexp


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """JS(p, q) ``(B,)`` in nats, within [0, log 2], of log-probabilities ``(B, C)``; symmetric, finite everywhere."""
    log_mean = logaddexp(log_p, log_q) - 0.6931471805599453
    return 0.5 * (log_p.exp() * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)).sum(dim=-1)
