"""Pictures: every one draws, says its figures, keeps to the page's colours, and becomes files for a paper."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmbal.errors import UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.registry import pictures
from mmbal.report.making import History
from mmbal.report.picture import PAPER, SCREEN, Picture, dress, save, svg
from mmbal.report.rules import Rules
from mmbal.report.study import Standing, Study

NAMES = [entry.name for entry in pictures]


def study() -> Study:
    told = {"by_set": {}, "best_for_weak": True}
    rows = [
        Standing(
            variant="a",
            method="joint",
            rank=1,
            accuracy=0.9,
            weak_accuracy=0.5,
            seconds=9,
            best_for_seconds=True,
            **told,
        ),
        Standing(
            variant="b",
            method="joint",
            rank=2,
            accuracy=0.8,
            weak_accuracy=0.4,
            seconds=3,
            best_for_seconds=True,
            **told,
        ),
    ]
    basic = {
        "split": "test",
        "confidence": 0.95,
        "within": 0.01,
        "sets": {"one": 9},
        "seeds": [0],
        "pairs": [],
        "notes": [],
    }
    return Study(rows=rows, groups=[["a", "b"]], **basic)


@pytest.fixture
def subjects(source, comparison) -> dict[str, object]:
    gain = {"accuracy_gain": Estimate(value=0.1, low=0.05, high=0.15)}
    rows = [{"rule": "fused", **gain}, {"rule": "sum", **gain}, {"rule": "adaptive", **gain}]
    history = History([1, 2], 2, {"audio": [0.4, None], "fused": [0.5, 0.75]}, [1.0, 0.5], [1.0, 0.5])
    return {
        "diagnosis": source.diagnosis,
        "comparison": comparison,
        "rules": Rules("adaptive", "", rows, ""),
        "run": history,
        "study": study(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_draws_and_tells_and_has_a_title(name, subjects, tmp_path):
    picture: Picture = pictures.get(name)()
    subject = subjects[picture.of]
    panels = picture.panels(subject)
    assert picture.title
    assert picture.explained
    if picture.of != "comparison" or name == "accuracies":
        assert panels
    for panel in panels:
        page = svg(picture, name, subject, panel)
        assert page.startswith('<svg role="img" aria-label="')
        assert re.search(r"\d", picture.words(subject, panel)), "the words hold the figures"
        assert not re.search("#[0-9a-f]{6}", re.sub('aria-label="[^"]*"', "", page)), "a colour that no theme changes"
        assert svg(picture, name, subject, panel) == page, "the same picture is the same file"
    written = save(picture, name, subject, tmp_path)
    assert len(written) == 3 * len(panels)
    assert {path.suffix for path in written} <= {".svg", ".png", ".pdf"}
    assert all(path.stat().st_size > 1000 for path in written)


def drawn(name: str, subject: object) -> Axes:
    picture: Picture = pictures.get(name)()
    ax = Figure().add_subplot()
    dress(ax, PAPER)
    picture.draw(ax, subject, PAPER, picture.panels(subject)[0])
    return ax


def test_the_balance_picture_shows_the_figures(source):
    ax = drawn("balance", source.diagnosis)
    m = pictures.get("balance")().panels(source.diagnosis)[0]
    places = {(round(x, 6), y) for line in ax.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    for y, found in enumerate([source.diagnosis, *source.diagnosis.classes.values()]):
        assert (round(100 * found.contribution[m].value, 6), y) in places
        assert (round(100 * found.capability[m].value, 6), y) in places


def test_the_waterfall_ends_where_the_gaps_lead(source):
    d = source.diagnosis
    ax = drawn("losses", d)
    end = 100 * (d.accuracy.fused.value + d.decision_gap.accuracy.value)
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(end)
    low, high = ax.get_xlim()
    assert high - low < 60, "the axis spans what is drawn, not 0 to 100"


def test_close_accuracies_can_be_told_apart(comparison):
    low, high = drawn("accuracies", comparison).get_xlim()
    assert 58 < low < high < 72


def test_the_front_holds_what_no_other_beats(comparison):
    from mmbal.report.pictures.pareto import _front

    first, second = comparison.rows
    assert _front([first, second]) == [first], "more accurate and as well balanced"


def test_a_diagnosis_plots_itself(source):
    ax = source.diagnosis.plot("reliability")
    assert isinstance(ax, Axes)
    assert ax.get_ylabel() == "accuracy in %"
    own = Figure().add_subplot()
    assert source.diagnosis.plot("missing", ax=own) is own
    assert "balance" in source.diagnosis.plots()
    with pytest.raises(UsageError, match="no picture 'reliabilty'"):
        source.diagnosis.plot("reliabilty")
    with pytest.raises(UsageError, match="nothing to draw"):
        source.diagnosis.plot("balance", panel="smell")


def test_matplotlib_is_imported_only_where_something_is_drawn():
    code = "import sys, mmbal.cli.app, mmbal.report.html, mmbal.diagnosis.examine; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_screen_colours_do_not_collide():
    colours = [SCREEN.ink, SCREEN.soft, SCREEN.line, SCREEN.paper, *SCREEN.series]
    assert len(set(colours)) == len(colours)
