"""The loss of an evidential classifier, by hand."""

from __future__ import annotations

import math

import numpy as np
import torch

from mmbal.maths.evidence import divergence_from_uniform, evidential_loss, expected_cross_entropy

EVIDENCE = torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.double)  # alpha = (3, 1), S = 4
LABELS = torch.tensor([0, 1])
# psi(4) - psi(3) = 1/3 and psi(4) - psi(1) = 1 + 1/2 + 1/3.  Dir(3, 1) has the density 3 x^2: its KL is ln 3 - 2/3.
A = [1 / 3, 11 / 6]
B = [0.0, math.log(3) - 2 / 3]


def test_the_loss_of_two_classes():
    np.testing.assert_allclose(expected_cross_entropy(EVIDENCE, LABELS), A)
    np.testing.assert_allclose(divergence_from_uniform(torch.tensor([[1.0, 1.0], [3.0, 1.0]]).double()), B, atol=1e-12)
    np.testing.assert_allclose(evidential_loss(EVIDENCE, LABELS, 0.5), [A[0], A[1] + B[1] / 2])
