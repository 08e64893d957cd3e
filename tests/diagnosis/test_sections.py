"""What no section of a diagnosis escapes, whoever wrote it and whenever it came."""

from __future__ import annotations

import numpy as np
import pytest
from rich.cells import cell_len

from mmbal.diagnosis.comparison import compare_diagnoses
from mmbal.diagnosis.document import SECTIONS, Diagnosis
from mmbal.diagnosis.examine import Examination, choose, diagnose
from mmbal.diagnosis.gate import Condition, figures_of
from mmbal.diagnosis.tables import classes, modalities
from mmbal.predictions.format import Predictions
from mmbal.report.tables import csv, latex, markdown
from mmbal.tables import Table

NAMES = [type(section).__module__.rsplit(".", 1)[-1] for section in SECTIONS]


def example(rows: int = 240, seed: int = 0, parts: bool = True) -> Predictions:
    """A model with features, a linear head, a calibration split and a modality that is missing now and then."""
    rng = np.random.default_rng(seed)
    labels, c = rng.integers(0, 3, rows), 3
    arrays: dict[str, object] = {"labels": labels, "classes": np.array(["yes", "a|b", "<no>"]), "bias": np.zeros(c)}
    arrays["split"] = np.array(["calibration", "test"])[np.arange(rows) % 2]
    arrays["ids"] = np.array([f"i{k}" for k in range(rows)])
    fused = np.zeros((rows, c))
    for m, strength in (("audio", 2.0), ("video", 0.8)):
        z = rng.normal(size=(rows, 5))
        z[np.arange(rows), labels] += strength
        weight = np.eye(3, 5) * strength
        arrays |= {f"features_{m}": z, f"weight_{m}": weight, f"logits_{m}": z @ weight.T}
        if parts:
            arrays[f"contribution_{m}"] = z @ weight.T
        fused += z @ weight.T
    return Predictions.from_arrays({**arrays, "fused": fused})


@pytest.fixture(scope="module")
def examined() -> tuple[Examination, Diagnosis]:
    rows, calibration = choose(example(), "test")
    examination = Examination.of(rows, calibration, rule="temperature", bootstrap=200, reference=example())
    return examination, examination.report("test", "mine.npz")


@pytest.fixture(scope="module")
def bare() -> Diagnosis:
    """Of logits alone, one modality, one class."""
    p = Predictions.from_arrays({"labels": np.zeros(12, dtype=int), "logits_audio": np.ones((12, 2))})
    return diagnose(p, bootstrap=100)


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_its_keys_are_in_the_document_with_their_figures(section, examined):
    _, d = examined
    assert section.fields, "a section has keys of its own"
    for key in section.fields:
        assert key in type(d).model_fields
    if not all(getattr(d, key) in (None, {}) for key in section.fields):
        known = figures_of(d)
        starts = tuple(section.fields)
        found = [path for path in known if path.split(".")[0] in starts]
        assert found
        for path in found[:5]:
            assert Condition.parse(f"{path} > -1e9").judge(d).holds


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_it_is_measured_or_says_why_not(section, bare):
    # by --human; of a run with a recorder; where both gaps are known; of a model that was asked with several
    asked_for = {"human", "tails", "total", "baselines"}
    empty = [key for key in section.fields if getattr(bare, key) in (None, {})]
    told = {n.what.split(".")[0] for n in bare.not_computed}
    if empty and not set(section.fields) & asked_for:
        assert set(section.fields) & told or type(section).__name__ in (
            "PreferenceSection",
            "SamplesSection",
            "DiscrepancySection",
        )


def test_every_figure_with_an_interval_is_recorded_under_its_path(examined):
    examination, d = examined
    known = figures_of(d)
    for path, replicates in examination.figures.replicates.items():
        assert path in known, f"{path} is no path of the document: `diagnose A B` would lose it"
        assert known[path][0] == pytest.approx(float(replicates[0]), nan_ok=True)


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_its_tables_print_everywhere(section, examined):
    _, d = examined
    for table in [*section.tables(d), modalities(d), classes(d), classes(d, wide=True)]:
        assert isinstance(table, Table)
        assert len({len(column.cells) for column in table.columns}) == 1
        fitted = table.fitting(80, cell_len)
        assert fitted.table.width(fitted.intervals, cell_len) <= 80, table.head
        told = markdown(table)
        assert "a|b" not in told.replace("a\\|b", "")
        assert "<no>" not in told.replace("\\<no>", "")
        assert latex(table).count(r"\\") == 1 + len(table.columns[0].cells)
        assert len(csv(table).splitlines()) == 1 + len(table.columns[0].cells)


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_what_it_compares_is_there_and_paired(section, examined):
    _, d = examined
    known = figures_of(d)
    first = example()
    compared = compare_diagnoses({"a": first, "b": first}, rule="temperature", bootstrap=100)
    for path, (label, _) in section.compared(d).items():
        assert label
        if path in known and path in compared.differences["b"].figures:
            found = compared.differences["b"].figures[path]
            assert found.value == 0, "a model does not differ from itself"
            assert found.low in (0, None)
