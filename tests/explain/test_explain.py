"""Any callable explained: known models, hand-computed parts, data of every form, caches, errors in one sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader

import mmbal
from mmbal.diagnosis import diagnose
from mmbal.errors import DataError, MmbalError, UsageError
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Predictions, subsets_of
from mmbal.predictions.synthetic import GaussianWorld

WORLD = GaussianWorld(classes=list("abc"), modalities=["x", "y"], capability=[1.5, 1.0], overconfidence=[3.0, 1.0])


@pytest.fixture(scope="module")
def world() -> Predictions:
    return WORLD.sample(120, seed=0)


def summed(world: Predictions):
    """The world's own model, as a function of its features."""

    def predict(batch):
        return batch["x"] @ world.weight["x"].T + batch["y"] @ world.weight["y"].T

    return predict


def toy(batch):
    """Two classes; the second one's logit is x + 2 y + x y."""
    x, y = np.asarray(batch["x"], dtype=float), np.asarray(batch["y"], dtype=float)
    return np.stack([np.zeros(len(x)), x + 2 * y + x * y], axis=1)


def test_coalitions_and_parts_of_a_model_that_is_known():
    """x = 2, y = 3: f(x) = 2, f(y) = 6, f(x, y) = 14, so the Shapley values are (2 + 8) / 2 = 5 and (6 + 12) / 2 = 9."""
    found = mmbal.explain(toy, {"x": np.array([2.0, -1.0]), "y": np.array([3.0, 0.0])}, [1, 0])
    second = {names: table[:, 1] for names, table in found.subsets.items()}
    assert second[()].tolist() == [0, 0]
    assert second[("x",)].tolist() == [2, -1]
    assert second[("y",)].tolist() == [6, 0]
    assert second[("x", "y")].tolist() == [14, -1]
    assert shapley_values(second, ("x", "y"))["x"].tolist() == [5, -1]
    assert shapley_values(second, ("x", "y"))["y"].tolist() == [9, 0]


def test_an_additive_model_gets_its_own_parts_back(world):
    found = mmbal.explain(summed(world), dict(world.features), world.labels, split=world.split, classes=list("abc"))
    assert found.classes == ("a", "b", "c")
    for m in ("x", "y"):
        np.testing.assert_allclose(found.logits[m], world.contribution[m], atol=1e-9)
    ours, theirs = diagnose(found, bootstrap=50), diagnose(world, bootstrap=50)
    assert ours.index.value == pytest.approx(theirs.index.value)
    assert ours.verdict[0] == theirs.verdict[0]


def test_mean_and_missing_stand_in():
    seen = []

    def predict(batch):
        seen.append(batch["x"].copy())
        return (
            np.zeros((len(batch["x"]), 2)) + np.nan_to_num(batch["x"])[:, None] * [0, 1] + batch["y"][:, None] * [0, 1]
        )

    data = {"x": np.array([1.0, 5.0, 9.0]), "y": np.array([0.0, 1.0, 2.0])}
    mmbal.explain(predict, data, [0, 1, 1], split=["val", "val", "test"], baseline="mean")
    assert any((x == 3).all() for x in seen)  # the mean of the rows outside the test split
    seen.clear()
    mmbal.explain(predict, data, [0, 1, 1], baseline={"x": "missing", "y": "zero"})
    assert any(np.isnan(x).all() for x in seen)


def test_shuffled_takes_other_samples_together_and_averages_probabilities():
    """Three samples, one draw each way: the mean of two probabilities is what is stated."""
    data = {"x": np.array([0.0, 1.0, 2.0]), "y": np.array([10.0, 11.0, 12.0])}
    seen = []

    def predict(batch):
        seen.append((batch["x"].copy(), batch["y"].copy()))
        return toy(batch)

    found = mmbal.explain(predict, data, [0, 1, 1], baseline="shuffled", draws=2)
    both = [(x, y) for x, y in seen if (x != data["x"]).all() and (y != data["y"]).all()]
    assert both
    assert all((y == x + 10).all() for x, y in both)  # one donor for both
    of_x = [toy({"x": x, "y": y}) for x, y in seen if (x == data["x"]).all() and (y != data["y"]).all()]
    assert len(of_x) == 2
    mean = np.mean([np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in of_x], axis=0)
    np.testing.assert_allclose(np.exp(found.subsets[("x",)]), mean, rtol=1e-9)


def test_conditional_takes_the_nearest_in_what_is_there():
    """y is a copy of x plus 100: the nearest two in x are the neighbours on the line, so y is known to about one."""
    x = np.arange(20.0)
    seen = []

    def predict(batch):
        seen.append((batch["x"].copy(), batch["y"].copy()))
        return toy(batch)

    mmbal.explain(predict, {"x": x, "y": x + 100}, [0, 1] * 10, baseline="conditional", draws=2)
    kept = [y for a, y in seen if (a == x).all() and (y != x + 100).any()]
    assert kept
    assert all((np.abs(y - 100 - x) <= 2).all() and (y != x + 100).all() for y in kept)


@pytest.mark.slow
def test_diffusion_draws_features(world):
    data = {m: z[:40] for m, z in world.features.items()}
    found = mmbal.explain(summed(world), data, world.labels[:40], baseline="diffusion", draws=1)
    assert np.abs(found.subsets[("x",)] - found.fused).max() > 0.1


def test_the_models_own_mask_and_an_own_function():
    def masked(batch, present):
        return toy({m: batch[m] if m in present else np.zeros_like(batch[m]) for m in ("x", "y")})

    def nothing(batch, absent):
        return {m: np.zeros_like(v) if m in absent else v for m, v in batch.items()}

    data = {"x": np.array([2.0, -1.0]), "y": np.array([3.0, 0.5])}
    by_zero = mmbal.explain(toy, data, [1, 0])
    for found in (
        mmbal.explain(masked, data, [1, 0], baseline="mask"),
        mmbal.explain(toy, data, [1, 0], baseline=nothing),
    ):
        for names in subsets_of(("x", "y")):
            np.testing.assert_allclose(found.subsets[names], by_zero.subsets[names])


# Data of every form


def forms():
    rng = np.random.default_rng(0)
    x, y, label = rng.normal(size=(12, 3)), rng.normal(size=(12, 2)), np.arange(12) % 2
    frame = pd.DataFrame(
        {**{f"x{i}": x[:, i] for i in range(3)}, **{f"y{i}": y[:, i] for i in range(2)}, "label": label}
    )
    groups = {"x": ["x0", "x1", "x2"], "y": ["y0", "y1"]}
    rows = [{"x": a, "y": b, "label": int(c)} for a, b, c in zip(x, y, label, strict=True)]

    def score(a, b):
        return torch.as_tensor(
            np.stack([np.zeros(len(a)), np.asarray(a).sum(axis=1) - np.asarray(b).sum(axis=1)], axis=1)
        )

    by_key = lambda batch: score(np.stack(list(batch["x"])), np.stack(list(batch["y"])))  # noqa: E731
    in_frame = lambda batch: score(batch[groups["x"]].to_numpy(), batch[groups["y"]].to_numpy())  # noqa: E731
    both = np.concatenate([x, y], axis=1)
    blocks = {"x": slice(0, 3), "y": [3, 4]}
    tensors = [{k: torch.as_tensor(v) for k, v in row.items()} for row in rows]
    return {
        "mapping": ({"x": x, "y": y}, label, None, by_key),
        "tensors": ({"x": torch.tensor(x), "y": torch.tensor(y)}, label, None, by_key),
        "rows": (rows, "label", ["x", "y"], by_key),
        "frame": (frame, "label", groups, in_frame),
        "matrix": (both, label, blocks, lambda batch: score(batch[:, :3], batch[:, 3:])),
        "table of tensors": (torch.tensor(both), label, blocks, lambda batch: score(batch[:, :3], batch[:, 3:])),
        "loader": (DataLoader(tensors, batch_size=5), "label", ["x", "y"], by_key),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_of_data_gives_the_same(form):
    data, labels, modalities, predict = forms()[form]
    first = forms()["mapping"]
    expected = mmbal.explain(first[3], first[0], first[1], baseline=["zero", "mean", "shuffled"], batch_size=5)
    found = mmbal.explain(
        predict, data, labels, modalities=modalities, baseline=["zero", "mean", "shuffled"], batch_size=5
    )
    assert found.modalities == ("x", "y")
    for one, other in [(found, expected), *zip(found.baselines.values(), expected.baselines.values(), strict=True)]:
        for names in subsets_of(("x", "y")):
            np.testing.assert_allclose(one.subsets[names], other.subsets[names], atol=1e-6)


def test_hugging_face_rows():
    datasets = pytest.importorskip("datasets")
    data, label, _, predict = forms()["mapping"]
    rows = datasets.Dataset.from_dict({"x": data["x"].tolist(), "y": data["y"].tolist(), "label": label.tolist()})
    found = mmbal.explain(predict, rows, "label", modalities=["x", "y"], baseline=["zero", "mean", "shuffled"])
    expected = mmbal.explain(predict, data, label, baseline=["zero", "mean", "shuffled"])
    np.testing.assert_allclose(found.subsets[("x",)], expected.subsets[("x",)], atol=1e-6)
    np.testing.assert_allclose(
        found.baselines["mean"].subsets[("x",)], expected.baselines["mean"].subsets[("x",)], atol=1e-6
    )


def test_texts_and_pictures():
    """Grey pictures and words: an absent text is empty, an absent picture black, the mean picture is of the mean grey."""
    grey = [10, 50, 90, 130]
    pictures = [Image.new("RGB", (4, 4), (g, g, g)) for g in grey]
    texts = ["no", "yes it is", "no", "yes"]
    seen = []

    def predict(batch):
        shade = np.array([sum(p.getpixel((0, 0))) / 3 for p in batch["picture"]])
        words = np.array([len(t) for t in batch["text"]])
        seen.append((shade, words))
        return np.stack([words * 0.1, shade / 100 + words], axis=1)

    mmbal.explain(predict, {"picture": pictures, "text": texts}, [0, 1, 0, 1])
    assert any((shade == 0).all() and (words == 0).all() for shade, words in seen)
    seen.clear()
    mmbal.explain(
        predict, {"picture": pictures, "text": texts}, [0, 1, 0, 1], baseline={"picture": "mean", "text": "zero"}
    )
    assert any((shade == 70).all() for shade, _ in seen)
    with pytest.raises(DataError, match=r"'text' holds no numbers, so it has no mean .on the coalition of no modality"):
        mmbal.explain(predict, {"picture": pictures, "text": texts}, [0, 1, 0, 1], baseline="mean")
    with pytest.raises(DataError, match="'picture' holds no numbers"):
        mmbal.explain(predict, {"picture": pictures, "text": texts}, [0, 1, 0, 1], baseline="conditional")


def test_a_scikit_learn_pipeline_as_it_is():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=["age", "sex", "pulse", "pressure"])
    label = np.where(frame["age"] + 0.5 * frame["pulse"] > 0, "ill", "well")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, label)
    groups = {"person": ["age", "sex"], "body": ["pulse", "pressure"]}
    for predict in (
        model,
        model.predict_proba,
        lambda rows: pd.DataFrame(model.predict_proba(rows), columns=model.classes_),
    ):
        found = mmbal.explain(predict, frame, label, modalities=groups, baseline="mean")
        assert found.classes == ("ill", "well")
        assert found.meta["scores"] == "probabilities"
        np.testing.assert_allclose(np.exp(found.fused), model.predict_proba(frame), atol=1e-9)


def test_one_score_a_sample_is_of_the_second_class():
    data = {"x": np.array([0.2, -0.4, 3.0]), "y": np.array([0.1, 0.2, 0.3])}
    of_logits = mmbal.explain(lambda b: b["x"] + b["y"], data, [0, 0, 1])
    np.testing.assert_allclose(of_logits.fused[:, 1] - of_logits.fused[:, 0], [0.3, -0.2, 3.3])
    of_chances = mmbal.explain(lambda b: 1 / (1 + np.exp(-b["x"] - b["y"])), data, [0, 0, 1])
    np.testing.assert_allclose(of_chances.fused[:, 1] - of_chances.fused[:, 0], [0.3, -0.2, 3.3])


# The model is left alone; calls are counted, cached, resumed


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(5, 3)
        self.head.eval()

    def forward(self, x, y):
        return self.head(self.drop(torch.cat([x, y], dim=1)))


def test_the_model_keeps_its_modes_and_gets_no_gradient():
    torch.manual_seed(0)
    net = Net()
    x, y = torch.randn(8, 2), torch.randn(8, 3)
    modes = []

    def predict(batch):
        modes.append((net.drop.training, torch.is_grad_enabled()))
        return net(**batch)

    mmbal.explain(predict, {"x": x, "y": y}, [0, 1, 2, 0, 1, 2, 0, 1])
    assert set(modes) == {(False, False)}
    assert net.training
    assert net.drop.training
    assert not net.head.training


@pytest.mark.parametrize("how", ["function within a function", "list", "mapping", "object", "method", "comprehension"])
def test_modules_are_found_wherever_the_function_has_them(how):
    """Dropout that is not switched off would answer differently each time."""
    net = Net()

    class Holder:
        def __init__(self):
            self.net = net

        def ask(self, batch):
            return self.net(**batch)

    def inner(batch):
        return net(**batch)

    nets, holder = [net], Holder()
    named = {"only": net}
    predict = {
        "function within a function": lambda b: inner(b),
        "list": lambda b: nets[0](**b),
        "mapping": lambda b: named["only"](**b),
        "object": lambda b: holder.net(**b),
        "method": holder.ask,
        "comprehension": lambda b: sum(one(**b) for one in (lambda: nets)()),
    }[how]
    x, y = torch.randn(6, 2), torch.randn(6, 3)
    twice = [mmbal.explain(predict, {"x": x, "y": y}, [0, 1, 2] * 2).fused for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    assert net.training


def test_a_stopped_call_goes_on_where_it_was(tmp_path):
    rng = np.random.default_rng(0)
    data, label = {"x": rng.normal(size=50), "y": rng.normal(size=50)}, np.arange(50) % 2
    left = [5]

    def breaking(batch):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return toy(batch)

    with pytest.raises(KeyboardInterrupt):
        mmbal.explain(breaking, data, label, cache=tmp_path, batch_size=20)
    told = []
    found = mmbal.explain(toy, data, label, cache=tmp_path, batch_size=20, report=lambda *line: told.append(line))
    assert (
        found.meta["rows"] == 4 * 50 - 4 * 20 + 10 - 10
    )  # five batches of 20, 20, 10 were kept; the first is asked anew
    assert told[-1][:2] == (200, 200)
    np.testing.assert_array_equal(found.fused, mmbal.explain(toy, data, label).fused)


def test_a_model_that_was_trained_further_does_not_get_old_answers(tmp_path):
    rng = np.random.default_rng(0)
    data, label = {"x": rng.normal(size=50), "y": rng.normal(size=50)}, np.arange(50) % 2
    mmbal.explain(toy, data, label, cache=tmp_path)
    found = mmbal.explain(lambda b: 2 * toy(b), data, label, cache=tmp_path)
    np.testing.assert_allclose(found.subsets[("x",)], 2 * mmbal.explain(toy, data, label).subsets[("x",)])
    assert mmbal.explain(toy, data, label, cache=tmp_path).meta["calls"] == 1


def test_round_trip_of_baselines(tmp_path):
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=30), "y": rng.normal(size=30)}
    found = mmbal.explain(toy, data, np.arange(30) % 2, baseline=["zero", "shuffled", "mean"])
    found.save(tmp_path / "mine.npz")
    read = Predictions.load(tmp_path / "mine.npz")
    assert list(read.baselines) == ["shuffled", "mean"]
    np.testing.assert_allclose(
        read.baselines["mean"].subsets[("x",)], found.baselines["mean"].subsets[("x",)], atol=1e-5
    )
    joined = Predictions.concatenate(read.take(np.arange(10)), read.take(np.arange(10, 30)))
    np.testing.assert_array_equal(joined.baselines["mean"].subsets[("x",)], read.baselines["mean"].subsets[("x",)])


# Bad input: one sentence each

DATA = {"x": np.arange(6.0), "y": np.arange(6.0)[::-1].copy()}
LABELS = [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (
            lambda b: toy(b)[:-1],
            r"predict returned 5 rows for a batch of 6.*on the full inputs, rows 0, 1, 2 and 3 more",
        ),
        (lambda b: toy(b)[:, :, None], r"an array of shape \(6, 2, 1\)"),
        (lambda b: np.where(b["x"][:, None] > 0, toy(b), np.nan), "NaN or infinity in 1 of 6 rows"),
        (lambda b: toy(b) if b["x"].any() else toy(b)[:, [0, 1, 1]], "3 columns, but 2 for the full inputs"),
        (lambda b: toy(b) + 1 / int(b["x"].any()), "coalition of no modality .*ZeroDivisionError"),
        (lambda b: None, "predict returned nothing"),
        (lambda b: {"score": 1}, "mapping without 'logits'"),
        (lambda b: np.ones((6, 1)) * [1.0, 0.0], "the masks did not reach the model"),
        (lambda b: pd.DataFrame(toy(b), columns=["a", "b"] if b["x"].any() else ["b", "a"]), "returned the classes"),
    ],
)
def test_answers_that_are_no_scores(predict, message):
    with pytest.raises(DataError, match=message):
        mmbal.explain(predict, DATA, LABELS)


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (UsageError, "There are no labels", {"labels": None}),
        (UsageError, "only one modality", {"modalities": ["x"]}),
        (UsageError, "no column 'z' for the modality 'z'", {"modalities": ["x", "z"]}),
        (UsageError, "no baseline 'zeros'", {"baseline": "zeros"}),
        (UsageError, "no form of scores 'logit'", {"scores": "logit"}),
        (UsageError, "given twice", {"baseline": ["zero", "zero"]}),
        (UsageError, "no column 'klass'", {"labels": "klass"}),
        (DataError, "There are 3 labels, but the data have 6 rows", {"labels": [0, 1, 0]}),
        (DataError, "'y' has 2 rows, but 'x' has 6", {"data": {"x": np.arange(6), "y": np.arange(2)}}),
        (UsageError, "can't read data of the type int", {"data": 3}),
        (UsageError, "can't be called", {"predict": 3}),
        (DataError, "there are 2 classes", {"labels": [0, 1, 2, 0, 1, 2]}),
    ],
)
def test_calls_that_cannot_be_made(error, message, changes):
    given = {"predict": toy, "data": DATA, "labels": LABELS} | changes
    with pytest.raises(MmbalError, match=message) as raised:
        mmbal.explain(given.pop("predict"), given.pop("data"), given.pop("labels"), **given)
    assert isinstance(raised.value, error)


def test_a_modality_that_is_not_looked_at_is_named():
    found = mmbal.explain(lambda b: np.stack([0 * b["x"], b["x"] - 2], axis=1), DATA, LABELS)
    assert any("no answer changes without 'y'" in note for note in found.warnings)
    assert not any("no answer changes without 'x'" in note for note in found.warnings)


# A rule put back before the function


def test_a_rule_put_back_gives_what_it_gave_on_the_predictions(world):
    data = dict(world.features)
    found = mmbal.explain(summed(world), data, world.labels, split=world.split, classes=list("abc"))
    rule = mmbal.fit_rule(found.select("calibration"), "pool")
    mended = mmbal.explain.Mended(summed(world), rule)
    np.testing.assert_allclose(mended(data), rule.apply(found), atol=1e-9)
    one = {m: z[:1] for m, z in data.items()}
    np.testing.assert_allclose(mended(one), rule.apply(found.take(np.arange(1))), atol=1e-9)


def test_a_rule_that_takes_the_models_own_decision_is_put_back():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=60), rng.normal(size=60)
    found = mmbal.explain(toy, {"x": x, "y": y}, (x * y > 0).astype(int))
    rule = mmbal.fit_rule(found, "adaptive")
    assert rule.takes_fused
    np.testing.assert_allclose(mmbal.explain.Mended(toy, rule)({"x": x, "y": y}), rule.apply(found), atol=1e-9)


def test_a_baseline_that_needs_other_samples_is_not_put_back(world):
    found = mmbal.explain(summed(world), dict(world.features), world.labels, classes=list("abc"))
    mended = mmbal.explain.Mended(summed(world), mmbal.fit_rule(found, "pool"), baseline="shuffled")
    with pytest.raises(UsageError, match="needs other samples"):
        mended(dict(world.features))
