"""InfoReg against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.inforeg import fisher_trace, in_prime_window, regulation

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="inforeg", **choice), epochs=3, device="cpu"))


def test_only_the_modalities_ahead_are_regulated_by_a_gap_of_means():
    assert regulation({"a": 0.7, "v": 0.4}) == pytest.approx({"a": math.exp(math.tanh(0.3)), "v": 0.0})
    # the others' means: 0.4, 0.5, 0.6
    found = regulation({"a": 0.7, "b": 0.5, "c": 0.3})
    assert found == pytest.approx({"a": math.exp(math.tanh(0.3)), "b": 0.0, "c": 0.0})
    assert regulation({"a": 0.7}) == {"a": 0.0}


def test_the_window_is_open_while_the_mean_trace_grows():
    assert in_prime_window(torch.zeros(0, 2), 10, 0.05).tolist() == [True, True]
    # means of two: a 2.0 then 3.0 (growth 1/3), b 2.0 then 2.0
    traces = torch.tensor([[1.0, 2.0], [3.0, 2.0], [3.0, 2.0]])
    assert in_prime_window(traces, 2, 0.05).tolist() == [True, False]
    assert in_prime_window(traces, 2, 0.4).tolist() == [False, False]
    assert in_prime_window(traces[:2], 10, 0.05).tolist() == [True, False]  # 1.0, then (1 + 3) / 2


def test_the_trace_is_the_sum_of_mean_squares_of_weights():
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer.bias.grad = torch.tensor([9.0, 9.0])
    assert fisher_trace(layer) == pytest.approx((1 + 4 + 9 + 16) / 4)
    assert fisher_trace(nn.Linear(2, 2)) == 0.0


def test_the_encoder_ahead_is_pulled_to_where_the_epoch_began(toy: Toy):
    made = session(toy, beta=0.5, betas={"video": 0.25})
    made.method.on_epoch_start(made.run)
    start = {m: [p.detach().clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    with torch.no_grad():
        for parameter in made.model.encoders.parameters():
            parameter.add_(0.1)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    phase = made.method.phases(made.run)[0]
    made.method.backward(made.method.losses(output, batch, phase, made.run), made.run)
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    traces = {m: fisher_trace(e) for m, e in made.model.encoders.items()}
    made.method.on_gradients(output, batch, phase, made.run)
    odds = {m: o.detach().exp() for m, o in output.logits.items()}
    rows = range(len(batch))
    scores = {m: sum(float(x[i, batch.labels[i]] / x[i].sum()) for i in rows) / len(batch) for m, x in odds.items()}
    for m, beta in {"audio": 0.5, "video": 0.25}.items():
        strength = beta * regulation(scores)[m]
        for old, first, parameter in zip(before[m], start[m], made.model.encoders[m].parameters(), strict=True):
            expected = old + strength * (parameter.detach() - first)
            assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-7)
    made.method.on_epoch_end(made.run)  # the trace is that before the regulariser was added
    assert made.method.traces[-1].tolist() == pytest.approx([traces["audio"], traces["video"]], rel=1e-4)


def test_outside_its_window_a_modality_is_left_alone(toy: Toy):
    made = session(toy, window=1)
    made.method.traces.copy_(torch.tensor([[1.0, 1.0], [0.5, 0.5]]))
    made.method.on_epoch_start(made.run)
    assert made.method.prime == {"audio": False, "video": False}


def test_an_unknown_modality_is_refused(toy: Toy):
    with pytest.raises(ConfigError, match="no modality 'sound'"):
        session(toy, betas={"sound": 0.1})
