"""Fusions by hand: small numbers, worked out from the formulas."""

from __future__ import annotations

import pytest
import torch

from mmbal.errors import ConfigError
from mmbal.models.fusion import build_fusion, masked_cross_entropy, named_seed, total

PRESENT = {"a": torch.ones(1, dtype=torch.bool), "v": torch.ones(1, dtype=torch.bool)}


def test_concat_adds_linear_parts_that_share_the_bias_equally():
    fusion = build_fusion("concat", {}, {"a": 2, "v": 1}, 2)
    fusion.weights["a"].data = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    fusion.weights["v"].data = torch.tensor([[3.0], [4.0]])
    fusion.shared_bias.data = torch.tensor([10.0, 20.0])
    output = fusion.decide({"a": torch.tensor([[1.0, 1.0]]), "v": torch.tensor([[2.0]])}, PRESENT)
    # a: [1 + 2, -1] + [5, 10]; v: [6, 8] + [5, 10]
    assert output.contribution["a"].tolist() == [[8.0, 9.0]]
    assert output.contribution["v"].tolist() == [[11.0, 18.0]]
    assert output.fused.tolist() == [[19.0, 27.0]]
    assert output.logits["a"].tolist() == output.contribution["a"].tolist()


def test_concat_starts_as_one_xavier_matrix_would():
    fusion = build_fusion("concat", {}, {"a": 3000, "v": 1000}, 1000)
    deviation = torch.cat([fusion.weights["a"].flatten(), fusion.weights["v"].flatten()]).std()
    assert float(deviation.detach()) == pytest.approx((2 / (4000 + 1000)) ** 0.5, rel=0.01)


def test_film_scales_and_shifts_the_others():
    fusion = build_fusion("film", {"by": "v"}, {"a": 2, "v": 1}, 1)
    fusion.film["a"].weight.data = torch.tensor([[1.0], [2.0], [0.0], [1.0]])  # gamma_1, gamma_2, beta_1, beta_2
    fusion.film["a"].bias.data = torch.tensor([0.0, 0.0, 5.0, 0.0])
    fusion.out["a"].weight.data = torch.tensor([[1.0, 10.0]])
    fusion.bias.data = torch.tensor([0.5])
    inputs = {"a": torch.tensor([[2.0, 3.0]]), "v": torch.tensor([[4.0]])}
    # gamma = [4, 8], beta = [5, 4]: [4 * 2 + 5, 8 * 3 + 4] = [13, 28]; 13 + 280 + 0.5
    assert fusion.head(inputs).tolist() == [[293.5]]
    # alone, v has a = 0: beta only, 5 + 40 + 0.5
    assert fusion.decide(inputs, PRESENT).logits["v"].tolist() == [[45.5]]


def test_gating_opens_with_the_sigmoid():
    fusion = build_fusion("gated", {"dim": 1}, {"a": 1, "v": 1}, 1)
    assert fusion.by == "a"
    for m, weight in (("a", 0.0), ("v", 3.0)):
        fusion.project[m].weight.data = torch.tensor([[weight]])
    fusion.out.weight.data = torch.tensor([[2.0]])
    inputs = {"a": torch.tensor([[7.0]]), "v": torch.tensor([[5.0]])}
    # sigmoid(0) = 1/2; 1/2 * 15 * 2
    assert fusion.head(inputs).tolist() == [[15.0]]


def test_conditioned_fusions_name_their_modality():
    with pytest.raises(ConfigError, match="no modality 'x'"):
        build_fusion("film", {"by": "x"}, {"a": 1, "v": 1}, 2)
    with pytest.raises(ConfigError, match="at least 2 modalities"):
        build_fusion("gated", {}, {"a": 1}, 2)


def test_adaptive_has_a_loss_for_each_branch_and_none_for_the_sum():
    fusion = build_fusion("adaptive", {}, {"a": 1, "v": 1}, 2)
    output = fusion.decide({"a": torch.ones(3, 1), "v": torch.ones(3, 1)}, {m: torch.ones(3) > 0 for m in "av"})
    assert set(fusion.losses(output, torch.tensor([0, 1, 0]))) == {"a", "v"}


def test_absent_rows_have_no_loss():
    logits = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    present = torch.tensor([True, False])
    assert float(masked_cross_entropy(logits, torch.tensor([1, 1]), present)) == pytest.approx(0.6931472)
    assert float(masked_cross_entropy(logits, torch.tensor([1, 1]), present & False)) == 0.0


def test_sums_do_not_depend_on_the_order():
    torch.manual_seed(0)
    votes = {m: torch.randn(5, 3) for m in "abcd"}
    assert torch.equal(total(votes), total(dict(reversed(votes.items()))))


def test_named_seeds_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with named_seed("x"):
        first = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    with named_seed("x"):
        assert torch.equal(torch.rand(2), first)
    with named_seed("y"):
        assert not torch.equal(torch.rand(2), first)
