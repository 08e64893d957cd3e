"""Missing modalities: cases, what is filled in, figures by hand, and the command."""

import json

import numpy as np
import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import load_model
from mmbal.engine.config import TrainConfig
from mmbal.engine.missing import Case, Filler, MissingReport, complete_features, evaluate_missing
from mmbal.engine.train import train
from mmbal.errors import ConfigError, DataError, UsageError
from mmbal.maths.bootstrap import Estimate


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    store = toy({"audio": 6, "text": 5, "video": 4})
    out = tmp_path_factory.mktemp("missing") / "run"
    return train(TrainConfig(data=str(store.path), epochs=3, batch_size=16, device="cpu"), out=out).folder


def test_zero_and_mean_by_hand(run):
    report = evaluate_missing(run, impute=["zero", "mean"], device="cpu")
    checkpoint = load_model(run)
    store = Store.open(checkpoint.store["path"])
    labels, features = complete_features(checkpoint, store, "test", torch.device("cpu"))
    known = complete_features(checkpoint, store, "train", torch.device("cpu"))[1]
    head = checkpoint.model.fusion

    def accuracy(**replaced):
        given = {m: replaced.get(m, z) for m, z in features.items()}
        logits = head.shared_bias + sum(z @ head.weights[m].T for m, z in given.items())
        return float((logits.argmax(dim=1) == labels).float().mean())

    assert report.samples == len(labels) == 40
    assert report.complete.accuracy.value == pytest.approx(accuracy())
    found = {(tuple(c.absent), c.impute): c for c in report.cases}
    assert len(found) == 2 * 6
    nothing = torch.zeros_like(features["audio"])
    mean = {m: z.mean(dim=0).expand(40, -1) for m, z in known.items()}
    zeroed, filled = accuracy(audio=nothing), accuracy(audio=mean["audio"])
    assert found[("audio",), "zero"].accuracy.value == pytest.approx(zeroed)
    assert found[("audio",), "mean"].accuracy.value == pytest.approx(filled)
    assert found[("audio",), "mean"].gain.value == pytest.approx(filled - zeroed, abs=1e-6)
    assert found[("audio",), "zero"].gain is None
    both = accuracy(text=mean["text"], video=mean["video"])
    assert found[("text", "video"), "mean"].accuracy.value == pytest.approx(both)


def test_chance_fills_in_typical_features_and_touches_no_other():
    torch.manual_seed(0)
    known = {"a": 5 + 2 * torch.randn(4000, 3), "b": torch.randn(4000, 2)}
    features = {"a": torch.full((2000, 3), 99.0), "b": torch.randn(2000, 2)}
    for name in ("noise", "diffusion"):
        filled = Filler(known, updates=500, weighting="debias")(name, features, ["a"])
        assert torch.equal(filled["b"], features["b"])
        assert float(filled["a"].mean()) == pytest.approx(5, abs=0.4)
        assert float(filled["a"].std()) == pytest.approx(2, rel=0.4)


def test_the_same_seed_gives_the_same_figures(run):
    first, second = (
        evaluate_missing(run, impute=["noise", "diffusion"], draws=2, updates=20, device="cpu") for _ in range(2)
    )
    assert first == second


def test_what_can_not_be_evaluated_says_so(run, toy, tmp_path):
    with pytest.raises(UsageError, match="'means'"):
        evaluate_missing(run, impute=["means"])
    with pytest.raises(ConfigError, match="not the store"):
        evaluate_missing(run, data=toy({"audio": 3, "video": 2}).path, device="cpu")
    store = toy({"audio": 6})
    alone = train(TrainConfig(data=str(store.path), epochs=1, device="cpu"), out=tmp_path / "alone").folder
    with pytest.raises(DataError, match="one modality"):
        evaluate_missing(alone)


def test_the_command(run, capsys):
    from mmbal.cli.missing import missing

    missing(run, impute=["zero", "mean"], device="cpu", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["samples"] == 40
    assert np.isclose(document["complete"]["accuracy"]["value"], 1, atol=0.5)
    missing(run, impute=["zero", "mean"], device="cpu")
    shown = capsys.readouterr().out
    assert "audio + text" in shown
    assert "gain over zero" in shown


def test_the_command_says_what_helps_and_what_is_worse():
    def case(absent, impute, gain):
        low_high = None if gain is None else Estimate(value=gain, low=gain - 0.02, high=gain + 0.02)
        whole = Estimate(value=0.5, low=0.4, high=0.6)
        return Case(absent=absent, impute=impute, accuracy=whole, nll=whole, gain=low_high)

    cases = [
        case(["audio"], "zero", None),
        *(case(["audio"], "mean", 0.05), case(["audio"], "diffusion", 0.1), case(["audio"], "noise", -0.03)),
        *(case(["audio", "text"], "mean", 0.01), case(["audio", "text"], "noise", -0.01)),
    ]
    report = MissingReport(run="r", split="test", samples=9, complete=case([], None, None), cases=cases)
    assert report.conclusions() == [
        "Without audio: diffusion helps most, by +10.0 pp [+8.0, +12.0]; noise is worse.",
        "Without audio + text: nothing is shown to be better than zero.",
    ]
