"""CREMA-D's raters beside the fitted decision layer: how often those who had voice and face are right."""

from __future__ import annotations

from mmbal.decision import Rule, scores
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions
from mmbal.tables import Column, Table
from mmbal.text import SHARE


def people(raters: Predictions, rule: Rule) -> Table:
    """Who is how often right on the test split: voice alone, face alone, both summed, people with both, the ``rule``."""
    test = raters.select("test")
    assert test.fused is not None
    right = {f"{m} alone": float(correct(test.logits[m], test.labels).mean()) for m in test.modalities}
    right |= {
        "the plain sum of both": float(correct(test.fused, test.labels).mean()),
        "other people, who had both": test.meta["both_accuracy"]["test"],
        "the fitted decision layer": scores(rule.apply(test), test.labels)["accuracy"],
    }
    columns = [Column("who decides", list(right)), Column("accuracy", list(right.values()), SHARE)]
    return Table.of(columns, title=f"{len(test)} test clips")
