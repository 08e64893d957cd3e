"""What files in the wild hold: few rows, absent classes, one or six modalities, wild logits, separable data."""

import numpy as np
import pytest
from scipy.special import log_softmax
from worlds import gaussian, of_logits

from mmbal.decision import fit_rule, scores
from mmbal.registry import rules


def hard_cases():
    rng = np.random.default_rng(0)
    eye = np.eye(4)
    y = rng.integers(4, size=40)
    noise = rng.normal(size=(3, 40, 4))
    yield "one row", of_logits(y[:1], noise[0, :1], noise[1, :1])
    yield "one row a class", of_logits(np.arange(4), eye + noise[0, :4], eye)
    yield "a class that is absent", of_logits(np.minimum(y, 2), eye[y] + noise[0], noise[1])
    yield "one class only", of_logits(np.zeros(40, dtype=int), noise[0], noise[1])
    yield "one modality", of_logits(y, eye[y] + noise[0])
    yield "six modalities", of_logits(y, *[eye[y] * k + noise[k % 3] for k in range(6)])
    yield "two classes", of_logits(y % 2, noise[0, :, :2], noise[1, :, :2])
    yield "huge logits", of_logits(y, 1e3 * (eye[y] + noise[0]), noise[1])
    yield "constant logits", of_logits(y, np.full((40, 4), 7.0), eye[y] + noise[1])
    yield "all logits constant", of_logits(y, np.zeros((40, 4)), np.zeros((40, 4)))
    yield "separable", of_logits(y, 50 * eye[y], 80 * eye[y])
    yield "always wrong", of_logits(y, 50 * eye[(y + 1) % 4], noise[1])
    yield "the same twice", of_logits(y, eye[y] + noise[0], eye[y] + noise[0])
    yield "never present", of_logits(y, eye[y] + noise[0], noise[1], present_m1=np.zeros(40, dtype=bool))


CASES = dict(hard_cases())


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_stay_numbers(name, case):
    data = CASES[case]
    log_p = fit_rule(data, name).apply(data)
    assert not np.isnan(log_p).any()
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", rules.names())
def test_a_row_without_any_modality_gets_an_answer(name):
    data = gaussian(n=30)
    nothing = {m: np.zeros(30, dtype=bool) for m in data.modalities}
    rule = fit_rule(data, name)
    log_p = rule.apply(getattr(data, rule.source), present=nothing)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-6)
    assert np.ptp(log_p, axis=0).max() < 1e-9  # all rows alike: there is nothing to tell them apart


@pytest.mark.parametrize("name", rules.names())
def test_what_stands_in_for_a_missing_modality_does_not_matter(name):
    data = gaussian(missing=True)
    rule = fit_rule(data, name)
    given = dict(getattr(data, rule.source))
    absent = ~data.present["m1"]
    given["m1"] = np.where(absent[:, None], np.nan, given["m1"])
    np.testing.assert_array_equal(rule.apply(given, present=data.present), rule.apply(data))


def test_68_classes_of_one_row_each():
    rng = np.random.default_rng(1)
    y = np.arange(68)
    data = of_logits(y, *[2 * np.eye(68) + rng.normal(size=(68, 68)) for _ in range(3)])
    found = scores(fit_rule(data, "adaptive").apply(data), y)
    assert found["nll"] < np.log(68)


def test_a_useless_second_modality_does_no_harm():
    """The sum is ruined by a loud modality that says nothing; adaptive must be about as good as the good one alone."""
    rng = np.random.default_rng(2)
    y = rng.integers(5, size=1200)
    good, useless = 2 * np.eye(5)[y] + rng.normal(size=(1200, 5)), 5 * rng.normal(size=(1200, 5))
    data = of_logits(y, good, useless)
    held_out, test = data.take(np.arange(200)), data.take(np.arange(200, 1200))
    fitted = scores(fit_rule(held_out, "adaptive").apply(test), test.labels)
    alone = scores(log_softmax(test.logits["m0"], axis=-1), test.labels)
    assert fitted["accuracy"] > alone["accuracy"] - 0.02
    assert scores(fit_rule(held_out, "sum").apply(test), test.labels)["accuracy"] < alone["accuracy"] - 0.1


def test_a_single_present_modality_is_calibrated_though_all_fitted_rows_were_complete():
    """With one voice left, halving its weight (the consensus of two) would leave it twice as timid as it should be."""
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=2500)
    logits = [2 * np.eye(3)[y] + rng.normal(size=(2500, 3)) for _ in range(2)]
    data = of_logits(y, *[2 * x for x in logits])  # the true log-likelihood ratios: no over-confidence
    test = data.take(np.arange(500, 2500))
    rule = fit_rule(data.take(np.arange(500)), "adaptive")
    log_p = rule.apply(test, present={"m1": np.zeros(2000, dtype=bool)})
    alone = log_softmax(test.logits["m0"], axis=-1)
    assert scores(log_p, test.labels)["nll"] < scores(alone, test.labels)["nll"] + 0.01
