"""cRT, LWS, tau-normalisation and logit adjustment by hand: what is drawn, what learns, and the decisions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.methods.crt import balanced_draw
from mmbal.methods.logit_adjustment import adjusted
from mmbal.methods.lws import scaled_part
from mmbal.methods.tau_norm import normalised_part

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def test_each_class_is_drawn_equally_often_and_its_rows_are_used_up_before_one_repeats():
    labels = np.array([0] * 9 + [1] * 2 + [3])
    drawn = balanced_draw(labels, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [4, 4, 0, 4]
    rare = np.bincount(drawn, minlength=12)[9:]
    assert rare.tolist() == [2, 2, 4]
    assert len(set(drawn[labels[drawn] == 0])) == 4
    assert len(balanced_draw(labels[:11], np.random.default_rng(0))) == 11


def trained(name: str, store: Store, **options: object) -> tuple[Session, dict[str, torch.Tensor], dict]:
    """A run of four epochs, the model's state as the second stage began, and what that stage started from."""
    session = Session(config_for(name, store, method=Choice(name=name, head=0.5, **options), epochs=4))
    before: dict[str, torch.Tensor] = {}
    start = session.method.on_epoch_start

    def watched(run):
        if run.epoch == 2:
            before.update({k: v.clone() for k, v in run.model.state_dict().items()})
        start(run)
        if run.epoch == 2:
            before.update({f"then.{k}": v.clone() for k, v in run.model.state_dict().items()})

    first = {k: v.clone() for k, v in session.model.fusion.state_dict().items()}
    session.method.on_epoch_start = watched
    session.fit()
    return session, before, first


def test_crt_trains_a_new_fusion_on_encoders_that_stay(toy: Toy):
    session, before, first = trained("crt", toy(DIMS))
    after = session.model.state_dict()
    for key, value in after.items():
        assert torch.equal(value, before[key]) == key.startswith("encoders."), key
    assert all(torch.equal(before[f"then.fusion.{k}"], v) for k, v in first.items())
    assert not all(torch.equal(before[f"fusion.{k}"], v) for k, v in first.items())


def test_lws_learns_the_scales_alone(toy: Toy):
    session, before, _ = trained("lws", toy(DIMS))
    after = session.model.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert all((f - 1).abs().max() > 1e-4 for f in session.method.factor.values())
    output = session.model(next(session.run.train.epoch(0)))
    decided = session.method.fuse(output)
    head = session.model.fusion
    for c in range(3):
        expected = sum(session.method.factor[m][c] * (output.features[m] @ head.weight(m)[c]) for m in DIMS) + sum(
            head.bias(m)[c] for m in DIMS
        )
        assert torch.allclose(decided.fused[:, c], expected, atol=1e-5)


def test_lws_with_one_scale_for_each_class_has_it_for_all_modalities(toy: Toy):
    session, _, _ = trained("lws", toy(DIMS), shared=True)
    assert list(session.method.factor) == ["shared"]


def test_a_scaled_part_leaves_the_bias():
    part = torch.tensor([[3.0, 5.0]])  # W z + b with b = (1, 2), so W z = (2, 3)
    assert scaled_part(part, torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.0])).tolist() == [[2.0, 8.0]]


@pytest.mark.parametrize(
    ("tau", "expected"), [(0.0, [11.0, 6.0]), (1.0, [11 / 5, 3.0]), (0.5, [11 / 5**0.5, 6 / 2**0.5])]
)
def test_a_normalised_part_divides_by_a_power_of_the_row_length(tau: float, expected: list[float]):
    found = normalised_part(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]), tau)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_tau_is_the_value_of_the_grid_with_the_lowest_validation_loss(toy: Toy):
    session = Session(config_for("tau_norm", toy(DIMS)))
    session.fit()
    labels = session.decisions.on("val").labels
    weights = {m: session.model.fusion.weight(m).detach() for m in DIMS}
    features = session.decisions.on("val").features

    def loss(tau: float) -> float:
        scores = sum(
            torch.from_numpy(features[m]).float() @ (w / w.norm(dim=1, keepdim=True) ** tau).T
            for m, w in weights.items()
        )
        return float(torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels).long()))

    best = min(np.linspace(0, 1, 11), key=loss)
    assert float(session.method.tau) == pytest.approx(best)


def test_logits_are_adjusted_by_the_frequencies_of_the_training_rows(toy: Toy):
    log_prior = torch.log(torch.tensor([0.75, 0.25]))
    found = adjusted(torch.zeros(1, 2), log_prior, 1.0)
    assert torch.nn.functional.cross_entropy(found, torch.tensor([1])).item() == pytest.approx(math.log(4))
    assert adjusted(torch.zeros(1, 2), log_prior, 2.0)[0].softmax(0)[1].item() == pytest.approx(0.1)
    store = toy(DIMS)
    session = Session(config_for("logit_adjustment", store))
    counts = np.bincount(store.labels[store.rows("train")], minlength=3) + 1 / 3
    np.testing.assert_allclose(session.method.log_prior, np.log(counts / counts.sum()), rtol=1e-5)
    output = session.model(next(session.run.train.epoch(0)))
    assert session.method.predict(output) is output
