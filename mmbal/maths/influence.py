"""How much each row that a linear classifier was fitted to moves a figure: the infinitesimal jackknife."""

from __future__ import annotations

import numpy as np

from mmbal.maths.arrays import softmax

Array = np.ndarray


def logistic_influence(features: Array, labels: Array, weight: Array, bias: Array, ridge: float, slope: Array) -> Array:
    """Derivative ``(n,)`` of a figure by the weight of each row in the fit of a multinomial logistic regression.

    ``features (n, D)``, ``labels (n,)``, ``weight (C, D)`` and ``bias (C,)`` are those of the fit, which minimises
    ``sum_i loss_i + ridge / 2 |weight|^2``; ``slope (C, D + 1)`` is the figure's derivative by ``[weight, bias]``. With
    the Hessian H and the gradients ``s_i`` of the losses that is ``- slope . H^-1 s_i``; one system is solved by conjugate
    gradients, H is never formed. Source: Efron, "The jackknife, the bootstrap and other resampling plans", 1982, ch. 6;
    Koh and Liang, ICML 2017, eq. 2.
    """
    from scipy.sparse.linalg import LinearOperator, cg  # slow to import, and needed where there is a reference alone

    # The same step of all classes moves no loss, and H is singular along it; the slope has it where a class is not fitted.
    slope = slope - slope.mean(axis=0)
    rows = np.hstack([features, np.ones((len(features), 1))])
    given = softmax(features @ weight.T + bias, axis=1)
    penalty = np.full(rows.shape[1], ridge)
    penalty[-1] = 0.0

    def curvature(flat: Array) -> Array:
        direction = flat.reshape(slope.shape)
        moved = given * (rows @ direction.T)
        moved -= given * moved.sum(axis=1, keepdims=True)
        product: Array = moved.T @ rows + penalty * direction
        return product.ravel()

    size = slope.size
    solved, _ = cg(LinearOperator((size, size), matvec=curvature, dtype=float), slope.ravel(), rtol=1e-4, maxiter=200)
    residual = given
    residual[np.arange(len(labels)), labels] -= 1
    influence: Array = -((rows @ solved.reshape(slope.shape).T) * residual).sum(axis=1)
    return influence
