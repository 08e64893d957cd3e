"""Every rule as a torch module and as a file: equal decisions, gradients, tracing, exports for any number of rows."""

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from worlds import gaussian, modular

from mmbal.decision import export, fit_rule
from mmbal.decision.export import export_rule
from mmbal.errors import ConfigError, MmbalError, UsageError
from mmbal.registry import rules

LONG = {"adaptive"}  # its graph has those of all candidates
EACH = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in rules.names()]


def fitted(name):
    data = gaussian(modalities=2, missing=True)
    return fit_rule(data, name), data


def inputs(rule, data, kind=torch.float64):
    """What the module takes; rows of NaN where a modality is missing."""
    given = getattr(data, rule.source)
    masked = {m: np.where(data.present[m][:, None], given[m], np.nan) for m in rule.modalities}
    return tuple(torch.tensor(value, dtype=kind) for value in masked.values())


@pytest.mark.parametrize("name", rules.names())
def test_the_module_decides_as_the_rule_does_and_has_gradients(name):
    rule, data = fitted(name)
    module, some = rule.to_module(), data.present_mask().any(axis=1)
    wanted = rule.apply(data)[some]
    given = tuple(x.requires_grad_() for x in inputs(rule, data))
    found = module(*given)
    np.testing.assert_allclose(found.detach().numpy()[some], wanted, atol=1e-9)
    assert not some.all()
    assert found[~torch.from_numpy(some)].isnan().all()
    found[torch.from_numpy(some), 0].sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in given)
    assert any(x.grad.abs().sum() > 0 for x in given)
    single = module(*inputs(rule, data, torch.float32))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy()[some], wanted, atol=1e-3)


@pytest.mark.parametrize("name", EACH)
def test_a_program_of_three_rows_serves_any_number_of_rows(name):
    rule, data = fitted(name)
    module, every = rule.to_module(), inputs(rule, data)
    few = tuple(x[:3] for x in every)
    rows = {"inputs": tuple({0: torch.export.Dim.DYNAMIC} for _ in every)}
    program = torch.export.export(module, few, dynamic_shapes=rows).module()
    for run in (program, torch.jit.trace(module, few)):
        torch.testing.assert_close(run(*every), module(*every), equal_nan=True)


def test_a_rule_that_takes_the_models_decision_has_it_as_its_last_input():
    data = modular()
    rule = fit_rule(data, "pool")
    module = rule.to_module()
    assert module.modalities == ("a", "b", "fused")
    given = (*data.logits.values(), data.fused)
    np.testing.assert_allclose(module(*map(torch.tensor, given)).numpy(), rule.apply(data), atol=1e-9)
    with pytest.raises(ConfigError, match=r"takes 3 inputs \(a, b, fused\), not 2"):
        module(*map(torch.tensor, given[:2]))
    with pytest.raises(ConfigError, match=r"'b' have shape \(200, 4\), but the rule was fitted for \(N, 5\)"):
        module(torch.tensor(given[0]), torch.tensor(given[1][:, :4]), torch.tensor(given[2]))


LINEAR = {"best", "crt", "logit_adjustment", "lws", "pool", "stacking", "sum", "tau_norm", "temperature", "vector"}


@pytest.mark.parametrize("name", rules.names())
def test_json_holds_sums_that_numpy_evaluates_where_the_rule_is_linear(name, tmp_path):
    # a gate that the rows do not ask for is off, and the rule is then the plain sum
    rule = fit_rule(gaussian(modalities=2, seed=3), name, **({"by": "energy"} if name == "gate" else {}))
    told = export_rule(rule, tmp_path / "rule.json")
    document = json.loads((tmp_path / "rule.json").read_text())
    linear = document["linear"]
    if name == "gate":
        assert (linear is None) == (rule.parameters["kappa"] != 0)
    else:
        assert (linear is not None) == (name in LINEAR)
    if linear is None:
        assert told.difference is None
        assert "The rule is not linear in its inputs" in told.sentence()
        return
    assert told.difference < 1e-9
    data = gaussian(n=40, modalities=2, seed=4)
    given = getattr(data, rule.source)
    for one in linear["sets"]:
        x = {m: given[m] for m in one["modalities"]}
        if linear["inputs"] == "log_probabilities":
            x = {m: log_softmax(value, axis=1) for m, value in x.items()}
        scores = one["bias"] + sum(x[m] @ np.array(one["weights"][m]).T for m in x)
        wanted = rule.apply(given, present={m: np.full(40, m in x) for m in rule.modalities})
        np.testing.assert_allclose(softmax(scores, axis=1), np.exp(wanted), atol=1e-9)
    assert len(linear["sets"]) == 3


def test_a_file_that_decides_otherwise_is_not_left(tmp_path, monkeypatch):
    rule = fit_rule(gaussian(modalities=2), "pool")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(MmbalError, match="differs from 'pool' by"):
        export_rule(rule, tmp_path / "rule.json")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="no format 'tflite'"):
        export_rule(rule, tmp_path / "rule.tflite", "tflite")


def test_a_program_is_loaded_without_mmbal(tmp_path):
    rule = fit_rule(modular(), "pool")
    told = export_rule(rule, tmp_path / "rule.pt2")
    assert told.difference < 1e-5
    data = modular(n=30, seed=1)
    given = [torch.tensor(x, dtype=torch.float32) for x in (*data.logits.values(), data.fused)]
    found = torch.export.load(tmp_path / "rule.pt2").module()(*given)
    np.testing.assert_allclose(found.numpy(), rule.apply(data), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adaptive", "gate"])
def test_onnx_runtime_decides_as_the_rule_does(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    rule, data = fitted(name)
    told = export_rule(rule, tmp_path / "rule.onnx")
    assert told.difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "rule.onnx")
    assert [taken.name for taken in session.get_inputs()] == ["m0", "m1"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(rule.classes)
    given = dict(zip(rule.modalities, (x.numpy() for x in inputs(rule, data, torch.float32)), strict=True))
    (found,) = session.run(["log_probabilities"], given)
    some = data.present_mask().any(axis=1)
    np.testing.assert_allclose(found[some], rule.apply(data)[some], atol=1e-3)
    assert np.isnan(found[~some]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["rule.onnx"]
