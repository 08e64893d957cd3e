"""The curricula's ingredients, by hand."""

import math

import pytest
import torch

from mmbal.methods.parts.dyncim import difficulty, indicators, lag


def js(p, q):
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return 0.5 * sum(a * math.log(a / m) for a, m in zip(p, mean, strict=True)) + 0.5 * sum(
        b * math.log(b / m) for b, m in zip(q, mean, strict=True)
    )


def test_indicators_by_hand():
    fused, audio, video = [0.8, 0.2], [0.5, 0.5], [0.9, 0.1]
    found = indicators(
        torch.tensor([fused, fused]).log(),
        {"audio": torch.tensor([audio, audio]).log(), "video": torch.tensor([video, video]).log()},
        {"audio": torch.tensor([True, True]), "video": torch.tensor([True, False])},
        torch.tensor([0, 1]),
        torch.tensor([math.nan, 1.0]),
    )
    assert found[:, 0].tolist() == pytest.approx([0.2, 0.8])
    both = (js(audio, fused) + js(video, fused)) / 2 / math.log(2)
    assert found[:, 1].tolist() == pytest.approx([both, js(audio, fused) / math.log(2)], rel=1e-5)
    loss = -math.log(0.2)
    assert found[:, 2].tolist() == pytest.approx([0.0, (loss - 1) / (loss + 1)])


def test_difficulty_weighs_what_varies():
    values = torch.tensor([[1.0, 0.5, 0.2]])
    assert difficulty(values, torch.tensor([3.0, 1.0, 0.0])).tolist() == pytest.approx([0.875])
    assert difficulty(values, torch.zeros(3)).tolist() == [0.0]


def test_the_modality_that_stagnates_lags():
    # rates 1/2 and 1/10: harmonic mean 2 / (2 + 10) = 1/6; losses .5 and .9, fused .3: GMR = sqrt(.3/.5 * .3/.9)
    found = lag([1.0, 1.0], [0.5, 0.9], 0.3)
    ahead = 1 - math.sqrt(0.6 / 3)
    assert found == pytest.approx([ahead / 3, ahead * 5 / 3])
    assert lag([1.0, 1.0], [0.5, 0.9], 2.0) == [0.0, 0.0]
    # a loss that rises counts as no improvement: rate .001 in both, so they lag alike
    assert lag([1.0, 1.0], [2.0, 1.5], 1.0)[0] == pytest.approx(1 - math.sqrt(1 / 3))
