"""QMF by hand: the ranking loss with both margins, its history, and its decision."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.methods.qmf import rank_loss, scaled_history

Toy = Callable[..., Store]
CONFIDENCE, KAPPA = [1.0, 2.0, 0.5], [0.0, 1.0, 0.5]
# (0, 1): s = -1, s dc = 1, gap 1.  (1, 2): s = 1, s dc = 1.5, gap .5.  (2, 0): s = 1, s dc = -.5, gap .5.


@pytest.mark.parametrize(("margin", "expected"), [("paper", (2 + 2 + 0) / 3), ("code", (0 + 1 + 0) / 3)])
def test_the_ranking_loss_of_three_samples(margin: str, expected: float):
    assert float(rank_loss(torch.tensor(CONFIDENCE), torch.tensor(KAPPA), margin)) == pytest.approx(expected)


def test_a_step_gives_the_sample_of_lower_loss_the_larger_confidence():
    confidence = torch.tensor([0.3, 0.3], requires_grad=True)
    for _ in range(30):
        (gradient,) = torch.autograd.grad(rank_loss(confidence, torch.tensor([0.2, 0.9])), confidence)
        confidence = (confidence - 0.1 * gradient).detach().requires_grad_()
    assert (confidence[0] - confidence[1]).item() == pytest.approx(0.7, abs=0.2)


def test_equal_losses_have_no_order():
    assert rank_loss(torch.tensor([1.0, 5.0]), torch.tensor([0.5, 0.5])) == 0
    assert not scaled_history(torch.full((3,), 2.0)).any()


def test_the_history_is_scaled_over_the_rows_that_were_seen():
    assert scaled_history(torch.tensor([0.0, 2.0, 6.0, 4.0])).tolist() == [0, 0, 1, 0.5]
    assert scaled_history(torch.zeros(2)).tolist() == [0, 0]


def test_the_history_sums_the_losses_of_a_modality_where_it_is_present(toy: Toy):
    session = Session(config_for("qmf", toy({"audio": 6, "video": 4}, rows=64)))
    run, method, model = session.run, session.method, session.model
    batch = next(run.train.epoch(0))
    batch.present["audio"][:3], batch.inputs["audio"][:3] = False, 0
    output = method.fuse(model(batch))
    for _ in range(2):
        method.losses(output, batch, method.phases(run)[0], run)
    audio = method.history[model.modalities.index("audio")]
    assert int((audio > 0).sum()) == len(batch) - 3
    for i in range(3, len(batch)):
        p = output.logits["audio"][i].softmax(0)[batch.labels[i]]
        assert float(audio[batch.index[i]]) == pytest.approx(-2 * math.log(float(p.detach())), rel=1e-4)


def test_whether_confidence_learns_from_the_fused_loss_is_an_option(toy: Toy):
    store = toy({"audio": 6, "video": 4}, rows=64)
    gradients = {}
    for detach in (True, False):
        session = Session(config_for("qmf", store, method=Choice(name="qmf", own=0.0, rank=0.0, detach=detach)))
        batch = next(session.run.train.epoch(0))
        output = session.model(batch)
        fused = session.method.fuse(output).fused
        (gradients[detach],) = torch.autograd.grad(fused[0, 0], output.logits["audio"])
    # With c constant, the logit of a class moves by c when its part does, and no other.
    assert float(gradients[True][0, 0]) == pytest.approx(float(output.logits["audio"][0].logsumexp(0).detach()) / 10)
    assert not gradients[True][0, 1:].any()
    assert gradients[False][0, 1:].all()
