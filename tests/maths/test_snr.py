"""Loss weights and ratios, by hand."""

import math

import pytest
import torch

from mmbal.errors import UsageError
from mmbal.maths.snr import cosine_signal, margin_snr, snr_of, weight


def test_the_family_at_three_ratios():
    snr = torch.tensor([0.25, 1.0, 16.0])
    assert weight(snr, "constant").tolist() == [1, 1, 1]
    assert weight(snr, "debias").tolist() == pytest.approx([2, 1, 0.25])
    assert weight(snr, "p2").tolist() == pytest.approx([0.8, 0.5, 1 / 17])
    assert weight(snr, "p2", k=0.0, gamma=0.5).tolist() == pytest.approx([2, 1, 0.25])
    assert weight(snr, "min_snr").tolist() == pytest.approx([1, 1, 5 / 16])
    assert weight(snr, "inverse").tolist() == pytest.approx([4, 1, 1 / 16])
    with pytest.raises(UsageError, match="debiass"):
        weight(snr, "debiass")


def test_the_cosine_schedule_by_hand():
    signal = cosine_signal(4, offset=0.0)
    assert signal[:3].tolist() == pytest.approx([math.cos(t * math.pi / 8) ** 2 for t in (1, 2, 3)])
    assert float(signal[3]) == pytest.approx(float(signal[2]) * 0.1)  # the last step would remove everything
    assert snr_of(torch.tensor([0.5, 0.8])).tolist() == pytest.approx([1.0, 4.0])


def test_the_ratio_of_margins():
    margins = torch.tensor([1.0, 2.0, 3.0, 6.0])  # mean 3, variance 3.5
    found = margin_snr(margins.sum(), (margins**2).sum(), torch.tensor(4.0))
    assert float(found) == pytest.approx(9 / 3.5)
    assert float(margin_snr(-margins.sum(), (margins**2).sum(), torch.tensor(4.0))) == 0
