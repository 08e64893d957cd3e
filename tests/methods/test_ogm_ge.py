"""OGM and OGM-GE against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.ogm import modulation
from mmbal.methods.ogm_ge import noise_spread
from mmbal.models.draws import named_generator

Toy = Callable[..., Store]


def session(toy: Toy, dims: dict[str, int], **choice: object) -> Session:
    return Session(TrainConfig(data=str(toy(dims).path), method=Choice(**choice), epochs=1, device="cpu"))


def backward(run: Session) -> tuple[dict[str, list[torch.Tensor]], dict[str, list[torch.Tensor]], list[torch.Tensor]]:
    """The encoders' gradients before and after the method has seen them, and the head's after."""
    batch = next(run.run.train.epoch(0))
    output = run.model(batch)
    run.model.fusion.losses(output, batch.labels)["fused"].backward()
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in run.model.encoders.items()}
    run.method.on_gradients(output, batch, run.method.phases(run.run)[0], run.run)
    after = {m: [p.grad.clone() for p in e.parameters()] for m, e in run.model.encoders.items()}
    return before, after, [p.grad for p in run.model.fusion.parameters()]


def test_the_score_is_the_mean_probability_of_the_truth_where_the_modality_is_there():
    log = math.log
    logits = {"audio": torch.tensor([[log(3.0), 0.0], [0.0, log(4.0)]]), "video": torch.zeros(2, 2)}
    present = {"audio": torch.tensor([True, False]), "video": torch.tensor([True, True])}
    found = true_class_confidence(logits, torch.tensor([0, 1]), present)
    assert found == pytest.approx({"audio": 3 / 4, "video": 1 / 2})
    absent = {"audio": torch.tensor([False, False]), "video": torch.tensor([True, True])}
    assert set(true_class_confidence(logits, torch.tensor([0, 1]), absent)) == {"video"}


def test_only_the_modality_ahead_is_slowed_by_its_ratio():
    # rho = 0.6 / 0.3 = 2: 1 - tanh(0.8 * 2)
    assert modulation({"audio": 0.6, "video": 0.3}, 0.8) == pytest.approx({"audio": 1 - math.tanh(1.6), "video": 1.0})
    found = modulation({"a": 0.2, "b": 0.3, "c": 0.4}, 0.5)
    assert found == pytest.approx({"a": 1.0, "b": 1 - math.tanh(0.75), "c": 1 - math.tanh(1.0)})


def test_ties_zeros_and_the_switch_of_the_public_code():
    assert modulation({"audio": 0.5, "video": 0.5}, 0.8, weak_gain=4.0) == {"audio": 1.0, "video": 1.0}
    assert modulation({"audio": 0.5, "video": 0.0}, 0.8) == {"audio": 0.0, "video": 1.0}
    assert modulation({"audio": 0.5, "video": 0.0}, 0.0) == {"audio": 1.0, "video": 1.0}
    assert modulation({"audio": 0.6, "video": 0.3}, 0.0, weak_gain=4.0) == {"audio": 1.0, "video": 4.0}
    assert modulation({"audio": 0.6}, 0.8) == {"audio": 1.0}
    assert modulation({}, 0.8) == {}


def test_ogm_scales_encoders_and_leaves_the_head_alone(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4}, name="ogm", alpha=0.8)
    before, after, head = backward(run)
    factors = {m: run.run.records[f"modulation/{m}"][0] for m in before}
    assert sorted(factors.values())[1] == 1.0 > min(factors.values())
    for m, gradients in before.items():
        for old, new in zip(gradients, after[m], strict=True):
            assert torch.allclose(new, factors[m] * old)
    plain = session(toy, {"audio": 6, "video": 4}, name="joint")
    assert all(torch.equal(a, b) for a, b in zip(head, backward(plain)[2], strict=True))


def test_noise_has_the_spread_of_the_gradient_before_scaling(toy: Toy):
    run = session(toy, {"audio": 400, "video": 400}, name="ogm_ge", alpha=0.8)
    before, after, _ = backward(run)
    for m, gradients in before.items():
        factor = run.run.records[f"modulation/{m}"][0]
        old, new = gradients[0], after[m][0]
        assert old.numel() > 10_000
        noise = new - factor * old
        assert float(noise.std()) == pytest.approx(float(old.std()), rel=0.05)
        assert abs(float(noise.mean())) < 0.05 * float(old.std())


def test_the_noise_is_scaled_by_the_unbiased_deviation_of_each_tensor(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4}, name="ogm_ge", alpha=0.8)
    before, after, _ = backward(run)
    for m, gradients in before.items():
        chance = named_generator(f"ogm_ge.0.{m}", torch.device("cpu"))
        drawn = torch.randn(sum(g.numel() for g in gradients), generator=chance).split([g.numel() for g in gradients])
        for old, new, noise in zip(gradients, after[m], drawn, strict=True):
            values = old.flatten().tolist()
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
            expected = run.run.records[f"modulation/{m}"][0] * old + spread * noise.view(old.shape)
            assert torch.allclose(new, expected, atol=1e-7)


def test_a_tensor_of_one_entry_gets_no_noise(toy: Toy):
    assert float(noise_spread(torch.tensor([1.0, 3.0, 8.0]), 2.0)) == pytest.approx(2 * math.sqrt((9 + 1 + 16) / 2))
    run = session(toy, {"audio": 6, "video": 4}, name="ogm_ge")
    single = run.model.encoders["audio"].single = torch.nn.Parameter(torch.zeros(1))
    single.grad = torch.tensor([3.0])
    run.method.modulate("audio", 0.5, run.run)
    assert single.grad.tolist() == [1.5]


def test_noise_depends_on_step_and_modality_alone(toy: Toy):
    first, second = (session(toy, {"audio": 6, "video": 4}, name="ogm_ge") for _ in range(2))
    torch.rand(7)  # another process may have drawn more before
    a = backward(first)[1]
    b = backward(second)[1]
    assert all(torch.equal(x, y) for m in a for x, y in zip(a[m], b[m], strict=True))
    second.run.step = 1
    second.model.zero_grad()
    c = backward(second)[1]
    assert not torch.equal(a["audio"][0], c["audio"][0])


def test_only_convolutions_where_asked_and_only_in_the_chosen_epochs(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4}, name="ogm_ge", scope="conv")
    before, after, _ = backward(run)
    assert all(torch.equal(x, y) for m in before for x, y in zip(before[m], after[m], strict=True))
    late = session(toy, {"audio": 6, "video": 4}, name="ogm_ge", starts=1, ends=2)
    before, after, _ = backward(late)
    assert all(torch.equal(x, y) for m in before for x, y in zip(before[m], after[m], strict=True))


def test_one_modality_can_not_be_balanced(toy: Toy):
    with pytest.raises(ConfigError, match="at least 2"):
        session(toy, {"audio": 6}, name="ogm_ge")
