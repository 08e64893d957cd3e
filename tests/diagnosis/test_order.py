"""No figure depends on the order of rows and classes, or on what anything is called; ties included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmbal.decision import cross_fit, fit_rule
from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """Scores rounded to whole numbers, so that a third of the decisions are ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 120)
    scores = {
        f"logits_{m}": np.round(rng.normal(size=(120, 4)) + s * np.eye(4)[labels]) for m, s in (("a", 2), ("b", 1))
    }
    split = np.where(np.arange(120) % 2, "val", "test")
    return {
        "labels": labels,
        "classes": np.array(["w", "x", "y", "z"]),
        "split": split,
        "group": np.arange(120) % 11,
        "ids": np.array([f"id {k:03}" for k in range(120)]),
        **scores,
    }


def figures(given: dict[str, Any]) -> dict[str, Any]:
    """Every number of a diagnosis by its path."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}/{key}")
        elif isinstance(value, (int, float)):
            found[path] = value

    walk(diagnose(given, rule="temperature", bootstrap=100).model_dump(mode="json"), "")
    return found


def same(found: dict[str, Any], expected: dict[str, Any], rel: float) -> None:
    assert found.keys() == expected.keys()
    assert {k: v for k, v in found.items() if v != pytest.approx(expected[k], rel=rel, abs=1e-9)} == {}


def test_the_order_of_the_rows(given):
    rows = np.random.default_rng(1).permutation(120)
    for left_out in ((), ("ids",), ("ids", "group")):
        whole = {key: value for key, value in given.items() if key not in left_out}
        moved = {key: value if key == "classes" else value[rows] for key, value in whole.items()}
        same(figures(moved), figures(whole), rel=1e-9)


def test_the_order_of_the_classes(given):
    order = np.array([2, 0, 3, 1])
    moved = {**given, "classes": given["classes"][order], "labels": np.argsort(order)[given["labels"]]}
    moved |= {key: given[key][:, order] for key in ("logits_a", "logits_b")}
    same(figures(moved), figures(given), rel=1e-6)


def test_names_of_classes_groups_and_ids(given):
    names = dict(zip(given["classes"].tolist(), ["[red]", "<b>&", "$_%", "../.."], strict=True))
    renamed = {
        **given,
        "classes": np.array(list(names.values())),
        "group": np.array([f"s{10 - k}" for k in given["group"]]),
        "ids": np.array([f"<{k:03}>" for k in range(120)]),
    }
    expected = {}
    for path, value in figures(given).items():
        _, *parts = path.split("/")
        parts = [names.get(p, p) for p in parts] if parts[0] in ("classes", "data") else parts
        expected["/" + "/".join(parts)] = value
    same(figures(renamed), expected, rel=1e-9)


def test_a_rule_fitted_to_rows_in_another_order_is_the_same_rule(given):
    data = Predictions.from_arrays(given)
    rows = np.random.default_rng(2).permutation(len(data))
    for name in ("temperature", "classwise"):
        expected = fit_rule(data, name).apply(data)
        np.testing.assert_allclose(fit_rule(data.take(rows), name).apply(data), expected, rtol=1e-9, atol=1e-12)
        crossed = cross_fit(data, name, folds=3)
        np.testing.assert_allclose(cross_fit(data.take(rows), name, folds=3), crossed[rows], rtol=1e-9, atol=1e-12)
