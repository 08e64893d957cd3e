"""Every registered rule: shapes, missing modalities, JSON, gradients, hard inputs. Formulas are in test_formulas.py."""

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from worlds import gaussian

from mmbal.decision import Rule, cross_fit, fit_rule, rule_from_json, rule_to_json
from mmbal.errors import ConfigError
from mmbal.registry import rules


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.parametrize("missing", [False, True])
def test_log_probabilities_come_back_the_same_through_json_and_tensors(name, missing):
    data = gaussian(missing=missing)
    rule = fit_rule(data, name)
    log_p = rule.apply(data)
    assert log_p.shape == (120, 4)
    assert log_p.dtype == np.float64
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-9)
    again = rule_from_json(json.loads(json.dumps(rule_to_json(rule), allow_nan=False)))
    np.testing.assert_array_equal(again.apply(data), log_p)
    given = {m: torch.tensor(v, requires_grad=True) for m, v in getattr(data, rule.source).items()}
    tensor = rule.apply(given, present=data.present)
    np.testing.assert_allclose(tensor.detach().numpy(), log_p, atol=1e-9)
    tensor[:, 0].sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in given.values() if x.grad is not None)
    assert any(x.grad is not None and x.grad.abs().sum() > 0 for x in given.values())


@pytest.mark.parametrize("name", rules.names())
def test_a_forward_in_half_precision_gives_what_a_file_gives(name):
    data = gaussian(c=20, missing=True)
    rule = fit_rule(data, name)
    given = {m: torch.tensor(v, dtype=torch.float32) for m, v in getattr(data, rule.source).items()}
    with torch.autocast("cpu", torch.bfloat16):
        tensor = rule.apply(given, present=data.present)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), rule.apply(data), atol=1e-3)


@pytest.mark.parametrize("name", ["sum", "mean", "adaptive", "crt"])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_what_does_not_fit_is_named(name, kind):
    data = gaussian(n=30)
    rule = fit_rule(data, name)
    given = {m: kind(value) for m, value in getattr(data, rule.source).items()}
    narrow, short = {**given, "m1": given["m1"][:, :3]}, {**given, "m1": given["m1"][:29]}
    with pytest.raises(ConfigError, match=r"'m1' have shape \(30, 3\), but the rule was fitted for \(N, [45]\)"):
        rule.apply(narrow)
    with pytest.raises(ConfigError, match=r"of 'm2' have shape \([45],\)"):
        rule.apply({**given, "m2": given["m2"][0]})
    with pytest.raises(ConfigError, match=rf"'m1' has 29 rows of {rule.source}, but 'm0' has 30"):
        rule.apply(short)
    with pytest.raises(ConfigError, match=r"mask of 'm1' has shape \(3,\), expected \(30,\)"):
        rule.apply(given, present={"m1": np.ones(3, dtype=bool)})
    with pytest.raises(ConfigError, match="`present` names 'm7'"):
        rule.apply(given, present={"m7": np.ones(30, dtype=bool)})


@pytest.mark.parametrize("name", rules.names())
def test_cross_fit_covers_every_row(name):
    data = gaussian(n=23, c=5)
    assert np.isfinite(cross_fit(data, name, folds=5)).all()


class TorchAlone(Rule):
    """The mean of log-probabilities, by a function that takes tensors alone."""

    def combine(self, inputs, present):
        return torch.log_softmax(inputs, dim=-1).mean(dim=1)


def test_a_rule_written_for_torch_alone_says_so_or_is_told_what_to_do():
    data = gaussian(n=20)
    with pytest.raises(ConfigError, match="'TorchAlone' does not take NumPy arrays") as error:
        TorchAlone(data.classes, data.modalities).apply(data)
    assert "tensors_only = True" in error.value.hint
    willing = type("Willing", (TorchAlone,), {"tensors_only": True})
    found = willing(data.classes, data.modalities).apply(data)
    mean = np.mean([log_softmax(data.logits[m], axis=-1) for m in data.modalities], axis=0)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, log_softmax(mean, axis=-1))
