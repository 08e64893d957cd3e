"""What results show of themselves in a notebook."""

from __future__ import annotations

import numpy as np
import pytest

import mmbal
from mmbal.maths.bootstrap import Estimate
from mmbal.notebook import MOST_ROWS, Content, Shown, table_html
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.tables import Column, Table
from mmbal.text import SHARE


def test_a_cell_has_its_figure_its_interval_and_the_number_to_sort_by():
    table = Table.of([Column("<m>", ["a&b"]), Column("share", [Estimate(value=0.5, low=0.25, high=0.75)], SHARE)])
    page = table_html(table)
    assert 'data-value="0.5"' in page
    assert '50.0 % <span class="interval">[25.0, 75.0]</span>' in page
    assert "a&amp;b" in page
    assert "&lt;m&gt;" in page
    assert "<m>" not in page


def test_a_bar_is_as_long_as_its_share():
    assert "--share: 25.0%" in table_html(Table.of([Column("m", ["a"]), Column("s", [0.25], SHARE, bar=8)]))


def test_a_long_table_is_cut_in_a_notebook_and_says_so():
    class Long(Shown):
        def shown(self) -> Content:
            return Content("long", (), [Table.of([Column("k", list(range(MOST_ROWS + 1)))])])

    page = Long()._repr_html_()
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} rows" in page
    assert page.count("<tr") == MOST_ROWS + 1


@pytest.fixture(scope="module")
def predictions() -> mmbal.Predictions:
    return GaussianWorld(["<i>", "no"], ["audio", "video"], [[1.5, 1.0], [1.0, 1.5]]).sample(200, seed=0)


def test_predictions_show_the_accuracy_of_each_decision(predictions):
    page = predictions._repr_html_()
    right = (predictions.logits["audio"].argmax(axis=1) == predictions.labels)[predictions.split == "test"].mean()
    assert f"{100 * right:.1f} %" in page
    assert "200 samples" in page


def test_a_diagnosis_shows_its_verdict_and_tables(predictions):
    found = mmbal.diagnose(predictions, bootstrap=100)
    page = found._repr_html_()
    assert "&lt;i&gt;" in page
    assert found.verdict[0].split("'")[0] in page
    assert page.count("<table") >= 2


def test_a_rule_says_what_it_does(predictions):
    rule = mmbal.fit_rule(predictions, "pool")
    page = rule._repr_html_()
    assert "&#39;pool&#39;" in page
    assert all(np.shape(value) is not None and name in page for name, value in rule.parameters.items())
