"""Long work says how long it takes: as lines where stderr is no terminal, as one live view where it is one."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from mmbal.cli import progress
from mmbal.progress import stage, steps
from mmbal.text import Line


@pytest.fixture
def at(monkeypatch):
    """Sets the seconds since the work began."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def seconds(value: float) -> None:
        clock[0] = value

    return seconds


def test_the_time_left_is_told_soon_and_the_total_at_the_end(at, capsys):
    with progress.working("Diagnosing"):
        for k in steps(range(8)):
            at(1.0 + k)  # a step a second
    # After 2 s nothing is said yet; after 3 s three of eight steps are done. The next line would come 6 s later.
    assert capsys.readouterr().err.splitlines() == [
        "Diagnosing: 38 %, about 5 s left",
        "Diagnosing: 8 s in all.",
    ]


def test_short_work_says_nothing(at, capsys):
    with progress.working("Diagnosing"):
        list(steps(range(8)))
        at(1.9)
    assert capsys.readouterr().err == ""


def test_a_long_first_step_does_not_keep_it_silent(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SOON", 0.05)
    with progress.working("Fitting") as work:
        work.share = 0.5  # the step that is under way is told of by nobody
        time.sleep(0.3)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "Fitting: 50 %, about 1 s left"
    assert re.fullmatch(r"Fitting: [\d.]+ s in all\.", last)


def test_lines_of_figures_end_with_the_time_left(at, capsys):
    with progress.working("Training") as report:
        for k in steps([1, 2]):
            at(30.0 * k)
            report(1, Line.told(f"epoch {k}", {"loss": "0.5", "audio alone": "60.0 %"}).about("seed 1"))
        report(1, "ready")
    assert capsys.readouterr().err.splitlines() == [
        "seed 1, epoch 1: loss 0.5, audio alone 60.0 %",
        "seed 1, epoch 2: loss 0.5, audio alone 60.0 % (60 s left)",
        "ready",
        "Training: 60 s in all.",
    ]


def test_what_was_done_before_counts_for_no_speed(at, capsys):
    with progress.Counted({"rows": "Preparing"}) as counted:
        counted(70, 100, "rows")  # an earlier run had done them
        at(5.0)
        counted(20, 100, "rows")
        at(6.0)
    assert capsys.readouterr().err.splitlines() == [
        "Preparing: 90 %, 4.0/s, about 2 s left",
        "Preparing: 6 s in all.",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_view_fits_the_terminal_and_has_the_figures_of_the_lines(at, monkeypatch, width):
    out = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=out, force_terminal=True, width=width, color_system=None))
    work = progress.Work("Training each modality alone")
    at(10.0)
    work.reach(0.25)
    figures = {"loss": "0.612", "accuracy": "71.0 %", "image alone": "80.0 %", "learning rate": "0.01"}
    for k in range(12):
        work(1, Line.told(f"epoch {k}", figures))
    progress.err.print(work)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert "about 30 s left" in shown
    assert "epoch 11" in shown
    assert "epoch 3" not in shown, "the latest are kept"
    assert ("learning" in shown) == (width >= 80), "the last figures go first"
    for text in ("0.612", "71.0 %"):
        assert text in shown


def test_the_first_parts_tell_no_time_before_they_are_worth_it(at, capsys):
    """They hold what is done but once, such as imports: 2 % after 3 s would say 147 s. Then 2 % took 17 s."""
    with progress.working("Diagnosing") as report:
        at(3.0)
        report.reach(0.02)
        at(20.0)
        report.reach(0.04)
        at(25.0)
    assert capsys.readouterr().err.splitlines() == ["Diagnosing: 4 %, about 14 min left", "Diagnosing: 25 s in all."]


def test_hours_of_work_tell_their_time_within_seconds(at, capsys):
    """A sweep of 10,000 batches that take 1 s each, after 5 s of preparation: 9,994 of them are left after 11 s."""
    with progress.working("600 trainings") as report:
        for k in range(7):
            at(5.0 + k)
            report.reach(k / 10_000)
    assert capsys.readouterr().err.splitlines() == [
        "600 trainings: 0 %, about 2 h 47 min left",
        "600 trainings: 11 s in all.",
    ]


def test_work_whose_share_nobody_knows_is_told_by_itself(at, capsys):
    """A page is drawn in 8 s after a training of 60 s, of which it is no known share."""
    with progress.working("Training") as report:
        at(60.0)
        report.reach(1.0)
        with stage("Writing the pages"):
            for k in steps(range(8)):
                at(61.0 + k)
    assert capsys.readouterr().err.splitlines() == [
        "Writing the pages: 38 %, about 5 s left",
        "Writing the pages: 8 s in all.",
        "Training: 68 s in all.",
    ]


def test_the_live_view_shows_the_stage_that_is_under_way(at, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=out, force_terminal=True, width=80, color_system=None))
    work = progress.Work("Training")
    with work.stage("Writing the pages"):
        progress.err.print(work)
    assert "Writing the pages" in out.getvalue()
    assert "Training" not in out.getvalue()
