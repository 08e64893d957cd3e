"""A sweep as a whole, by hand: ranks, pairs, groups, practical equality and Pareto fronts, and how it is printed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from terminal import as_json, ok, refused

from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.format import Predictions
from mmbal.report.checklist import QUESTIONS
from mmbal.report.ranking import differences, legend
from mmbal.report.study import Pair, front, groups_of, study_of

N = 200
SECONDS = {"joint": 4.0, "mmcosine": 2.0, "qmf": 8.0}


def run(folder: Path, method: str, wrong: np.ndarray, seed: int, weak: np.ndarray) -> None:
    """A finished run: two classes, ``wrong`` fused decisions, and a modality that is wrong on ``weak``."""
    labels = np.arange(N) % 2
    arrays = {"labels": labels, "ids": np.arange(N).astype(str), "split": np.full(N, "test"), "classes": ["x", "y"]}

    def logits(mistakes: np.ndarray) -> np.ndarray:
        return 2.0 * np.eye(2)[np.where(np.isin(np.arange(N), mistakes), 1 - labels, labels)]

    arrays |= {"logits_a": logits(wrong), "logits_b": logits(weak), "fused": logits(wrong)}
    found = Predictions.from_arrays(arrays)
    found.meta["seed"] = seed
    (folder / "predictions").mkdir(parents=True)
    found.save(folder / "predictions" / "test.npz")
    (folder / "config.yaml").write_text(f"method: {{name: {method}}}\n")
    (folder / "summary.json").write_text(json.dumps({"method": method, "seconds": SECONDS[method]}))
    store = {"path": f"stores/{folder.parent.name}", "hash": f"hash of {folder.parent.name}"}
    store |= {"splits": {"train": 300, "test": N}}
    environment = {"kind": "train", "device": "cpu", "versions": {"mmbal": "0.1.0"}, "store": store}
    (folder / "env.json").write_text(json.dumps(environment))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two data sets, three seeds. `mmcosine` errs as `joint` does; `qmf` errs on 60 samples more."""
    for data in ("digits", "scenes"):
        for seed in range(3):
            some = np.arange(20)
            for method, wrong, weak in (
                ("joint", some, np.arange(100)),
                ("mmcosine", some, np.arange(80)),
                ("qmf", np.arange(80), np.arange(40)),
            ):
                run(tmp_path / "study" / data / f"{method}-s{seed}", method, wrong, seed, weak)
    return tmp_path / "study"


def test_ranks_are_means_over_data_sets_and_ties_share_theirs(sweep: Path):
    found = study_of(sweep)
    assert [(r.variant, r.rank) for r in found.rows] == [("joint", 1.5), ("mmcosine", 1.5), ("qmf", 3.0)]
    assert [r.accuracy for r in found.rows] == pytest.approx([0.9, 0.9, 0.6])
    assert [r.weak_accuracy for r in found.rows] == pytest.approx([0.5, 0.6, 0.6])
    assert found.sets == {"digits": N, "scenes": N}
    assert study_of(sweep, only=["scenes"]).sets == {"scenes": N}


def test_pairs_are_told_apart_or_practically_equal(sweep: Path):
    found = {(p.first, p.second): p for p in study_of(sweep).pairs}
    same, worse = found["joint", "mmcosine"], found["joint", "qmf"]
    assert same.gain.value == 0
    assert same.equal
    assert not same.apart
    assert worse.gain.value == pytest.approx(-60 / N)
    assert worse.apart
    assert not worse.equal
    # Two sets with the same error over samples: sd(60 of 200) / sqrt(199) each, and the seeds agree, so 1 / sqrt(2) of it.
    error = np.sqrt(0.3 * 0.7 / (N - 1) / 2)
    assert worse.gain.high - worse.gain.low == pytest.approx(2 * 1.966 * error, rel=0.01)


@pytest.mark.parametrize(("errors", "equal"), [(1.75, True), (1.55, False)])
def test_practical_equality_is_of_the_90_percent_interval(sweep: Path, errors: float, equal: bool):
    within = 0.3 + errors * np.sqrt(0.3 * 0.7 / (N - 1) / 2)  # the interval ends 1.65 errors beyond the difference
    pairs = {(p.first, p.second): p for p in study_of(sweep, within=within).pairs}
    assert pairs["joint", "qmf"].equal == equal


def test_groups_hold_neighbours_of_which_no_two_are_told_apart():
    def pair(a: str, b: str, p: float) -> Pair:
        return Pair(first=a, second=b, gain=Estimate(value=0.0), p=p, p_holm=p, equal=False)

    pairs = [pair("a", "b", 0.9), pair("a", "c", 0.01), pair("a", "d", 0.01), pair("b", "c", 0.5), pair("b", "d", 0.3)]
    assert groups_of(["a", "b", "c", "d"], [*pairs, pair("c", "d", 0.8)]) == [["a", "b"], ["b", "c", "d"]]
    assert groups_of(["a", "b"], [pair("a", "b", 0.01)]) == []


def test_the_front_keeps_what_nothing_dominates():
    assert front([0.9, 0.9, 0.8, 0.7], [0.5, 0.6, 0.7, 0.65]) == [False, True, True, False]
    assert front([0.9, 0.9], [0.5, 0.5]) == [True, True]


def test_a_variant_without_all_its_runs_is_left_out_with_a_note(sweep: Path):
    (sweep / "scenes" / "qmf-s2" / "summary.json").unlink()
    found = study_of(sweep)
    assert [r.variant for r in found.rows] == ["joint", "mmcosine"]
    assert any("seed 2 is not finished" in note for note in found.notes)
    assert any(note.startswith("qmf has not every seed") for note in found.notes)


def test_the_command_prints_ranks_and_pairs_in_every_form(sweep: Path, tmp_path: Path):
    text = ok("report", sweep)
    assert "Ranks" in text
    assert "told apart" in text
    assert as_json("report", sweep)["rows"][2]["variant"] == "qmf"
    assert "| joint | mmcosine |" in ok("report", sweep, "--markdown")
    assert r"\toprule" in ok("report", sweep, "--latex")
    ok("report", sweep, "--out", tmp_path / "study.tex", "--bib", tmp_path / "study.bib")
    assert r"\bottomrule" in (tmp_path / "study.tex").read_text()
    assert "@inproceedings{qmf," in (tmp_path / "study.bib").read_text()
    assert "exists" in refused(2, "report", sweep, "--out", tmp_path / "study.tex")
    ok("report", sweep, "--out", tmp_path / "study.csv")
    tables = [list(csv.reader((tmp_path / f"study{end}.csv").open())) for end in ("", "-pairs")]
    assert [(rows[0][0], len(rows), {len(row) for row in rows} == {len(rows[0])}) for rows in tables] == [
        ("variant", 4, True),
        ("variant", 4, True),
    ]


def test_a_sweep_takes_columns_and_an_order_and_refuses_what_it_would_leave_out(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
):
    first = ok("report", sweep, "--csv", "--columns", "seconds", "--sort", "seconds").splitlines()[:4]
    assert first == ["variant,seconds", "mmcosine,2.0", "joint,4.0", "qmf,8.0"]
    read: list[object] = []
    monkeypatch.setattr("mmbal.report.study.study_of", lambda *given: read.append(given))
    assert "Did you mean seconds" in refused(2, "report", sweep, "--sort", "second")
    assert read == [], "names are checked before the runs are read"
    assert "--baseline can't be used with a sweep" in refused(2, "report", sweep, "--baseline", "joint")


def test_of_very_many_pairs_those_with_the_first_are_printed(sweep: Path, monkeypatch: pytest.MonkeyPatch):
    study = study_of(sweep)
    monkeypatch.setattr("mmbal.report.ranking.MANY", 2)
    few, whole = differences(study), differences(study, whole=True)
    assert few.title == "Every pair with joint, of 3 pairs"
    assert [row[:2] for row in few.rows()] == [["joint", "mmcosine"], ["joint", "qmf"]]
    assert len(whole.rows()) == 3
    assert "--csv and --json have every pair." in legend(study)


def test_names_cover_neither_marks_nor_other_names():
    from matplotlib.figure import Figure

    from mmbal.report.pictures.price import _name

    ax = Figure(figsize=(5, 3)).add_subplot()
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 10)
    # Six marks on one spot: the sides have room for four names. The last mark is far away.
    _name(ax, [*((5, 5, f"variant {k}") for k in range(6)), (1, 9, "alone")], "black")
    assert [text.get_text() for text in ax.texts] == ["variant 0", "variant 1", "variant 2", "variant 3", "alone"]
    places = [text.xyann for text in ax.texts[:4]]
    assert [(x > 0, y > 0) for x, y in places] == [(True, True), (True, False), (False, True), (False, False)]


def test_the_pictures_are_svg_with_every_variant(sweep: Path, tmp_path: Path):
    ok("report", sweep, "--figures", tmp_path / "pictures", "--html", tmp_path / "sweep.html")
    page = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 3
    assert all(method in page for method in SECONDS)
    page = page.replace("<wbr>", "")  # where a long path may be broken
    assert f"mmbal report {sweep} --split test --within 1 --html report.html" in page
    assert "joint-s0/config.yaml --data stores/digits" in page
    assert "hash of digits" in page
    assert "hash of scenes" in page
    for name in ("ranks.svg", "price-seconds.svg"):
        text = (tmp_path / "pictures" / name).read_text()
        assert text.startswith("<?xml")
        assert all(method in text for method in SECONDS)


def test_the_checklist_is_filled_in_from_the_runs(sweep: Path):
    rows = {row["item"]: row["answer"] for row in as_json("report", sweep, "--checklist")["checklist"]}
    assert rows.keys() == QUESTIONS.keys()
    assert rows["splits"] == "digits: 300 train, 200 test; scenes: 300 train, 200 test."
    variants = "Variants by method: joint 1, mmcosine 1, qmf 1; the same number for each."
    assert rows["tuning"] == f"{variants} No search is recorded."
    assert rows["baselines"] == "There: joint. Not there: late_fusion, unimodal."
    assert rows["seeds"] == "3 seeds"
    assert "3 pairs, Holm-corrected: 2 told apart, 1 practically equal within 1 pp, 0 undecided." in rows["tests"]
    assert rows["cost"].startswith("18 runs, 84 s in all, 5 s each, on cpu")


def test_the_checklist_can_be_had_empty_and_a_run_is_no_sweep(sweep: Path):
    assert "to be filled in" in ok("report", "--checklist")
    assert "folder of one sweep" in refused(2, "report", sweep / "digits" / "joint-s0", "--checklist")
    assert "nothing to report" in refused(2, "report")


def test_the_page_of_the_checklist_has_its_questions():
    page = (Path(__file__).parents[2] / "docs" / "checklist.md").read_text(encoding="utf-8")
    assert all(f"| {item} | {question} | " in page for item, question in QUESTIONS.items())


def test_one_data_set_of_a_sweep_is_a_sweep_and_marked_runs_are_counted(sweep: Path):
    lines = [
        ("joint", 0, True),
        ("joint", 1, False),
        ("qmf", 2, False),
        ("qmf", 2, True),
    ]  # the last line of a run counts
    records = [
        json.dumps({"data": "digits", "variant": v, "seed": s, "kind": "run", "converged": c}) for v, s, c in lines
    ]
    (sweep / "results.jsonl").write_text("\n".join(records) + "\n")
    found = study_of(sweep / "digits")
    assert found.sets == {"digits": N}
    assert {row.variant: row.not_converged for row in found.rows} == {"joint": 1, "mmcosine": 0, "qmf": 0}
    assert "not converged" in ok("report", sweep / "digits", "--markdown")
    assert "not converged" not in ok("report", sweep / "scenes", "--markdown")
