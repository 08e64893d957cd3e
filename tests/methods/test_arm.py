"""Contributions against plain loops, the factors, the draw, and that no label is needed at test time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.base import Phase
from mmbal.methods.parts.arm import fusion_factors, rarity

Toy = Callable[..., Store]


def test_the_weaker_is_scaled_up_by_the_ratio_of_contributions():
    assert fusion_factors({"a": 0.6, "v": 0.4}, 1.0, 10.0) == pytest.approx({"a": 2 / 3, "v": 1.5})
    three = fusion_factors({"a": 0.5, "t": 0.1, "v": 0.3}, 1.0, 10.0)
    assert three == pytest.approx({"a": 0.4, "t": 4.0, "v": 1.0})
    assert fusion_factors({"a": 0.6, "v": 0.4}, 0.5, 10.0)["v"] == pytest.approx(math.sqrt(1.5))
    assert fusion_factors({"a": 0.6, "v": -0.1}, 1.0, 2.0) == {"a": 0.5, "v": 2.0}
    assert fusion_factors({"a": 0.6, "v": 0.4}, 0.0, 2.0) == {"a": 1.0, "v": 1.0}


def test_rows_are_drawn_by_what_they_lack():
    drawn = rarity(torch.tensor([0.4, 0.1, 0.0]), 2.0).tolist()
    assert drawn == pytest.approx([1.0, 2.5, 3.0])
    assert rarity(torch.zeros(2), 1.0).tolist() == [2.0, 2.0]  # nothing known yet: all alike


def entropy(values: Sequence[tuple[int, ...]]) -> float:
    shares = [n / len(values) for n in Counter(values).values()]
    return -sum(p * math.log(p) for p in shares)


def bins_of(values: np.ndarray) -> list[int]:
    """Four bins on 2.5 standard deviations to either side of the columns' means."""
    centred = values - values.mean(axis=0)
    scaled = (centred / math.sqrt((centred**2).mean())).ravel()
    return [sum(float(x) >= edge for edge in (-1.25, 0.0, 1.25)) for x in scaled]


@pytest.mark.parametrize("joint", ["conditional", "interaction"])
def test_contributions_are_information_weighed_by_confidence(joint: str, toy: Toy):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="arm", bins=4, joint=joint), batch_size=40)
    made = Session(config.model_copy(update={"device": "cpu"}))
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    made.method.losses(output, batch, Phase(made.model.modalities), made.run)

    fused = output.fused.detach().numpy()
    own = {m: o.detach().numpy() for m, o in output.logits.items()}

    def true(logits: np.ndarray) -> list[float]:
        odds = np.exp(logits)
        return [float(row[y] / row.sum()) for row, y in zip(odds, batch.labels.tolist(), strict=True)]

    expected, each = {}, np.zeros(40)
    for m, other in (("audio", "video"), ("video", "audio")):
        x, f, r = bins_of(own[m]), bins_of(fused), bins_of(own[other])
        h = {k: entropy(list(zip(*v, strict=True))) for k, v in {"x": [x], "f": [f], "r": [r]}.items()}
        h |= {"xf": entropy(list(zip(x, f, strict=True))), "xr": entropy(list(zip(x, r, strict=True)))}
        h |= {"fr": entropy(list(zip(f, r, strict=True))), "xfr": entropy(list(zip(x, f, r, strict=True)))}
        nmi = 2 * (h["x"] + h["f"] - h["xf"]) / (h["x"] + h["f"])
        given = (h["xr"] - h["r"]) + (h["fr"] - h["r"])
        shared = (given - (h["xfr"] - h["r"])) / given
        part = 2 * shared if joint == "conditional" else nmi - shared
        expected[m] = np.mean(true(fused)) * nmi + np.mean(true(own[m])) * part
        each += (np.array(true(fused)) * nmi + np.array(true(own[m])) * part) / 2
    found = {m: made.run.records[f"contribution/{m}"][0] for m in expected}
    assert found == pytest.approx(expected, abs=1e-4)
    assert made.method.contribution[batch.index].tolist() == pytest.approx(each.tolist(), abs=1e-4)


def test_the_loss_is_the_fused_one_and_that_of_the_worst_modality(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="arm", beta=0.5), batch_size=16)
    made = Session(config.model_copy(update={"device": "cpu"}))
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    found = made.method.losses(output, batch, Phase(made.model.modalities), made.run)
    own = [float(torch.nn.functional.cross_entropy(o.detach(), batch.labels)) for o in output.logits.values()]
    assert float(found["worst"].detach()) == pytest.approx(0.5 * max(own))


def test_evaluation_needs_no_label_and_changes_nothing(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="arm"), epochs=2, batch_size=16, device="cpu")
    made = Session(config)
    made.after_epoch = lambda run, state: False  # type: ignore[method-assign]
    made.fit()
    assert not torch.equal(made.method.factor, torch.ones(2))
    before = {k: v.clone() for k, v in made.method.state_dict().items()}
    found = made.decisions.on("test")
    assert all(torch.equal(v, before[k]) for k, v in made.method.state_dict().items())
    batch = made.run.train.gather(store.rows("test"))
    decided = made.method.predict(made.model(batch)).fused.detach().numpy()
    batch.labels = batch.labels.flip(0)
    again = made.method.predict(made.model(batch)).fused.detach().numpy()
    assert np.array_equal(decided, again)
    assert np.allclose(decided, found.fused, atol=1e-5)
