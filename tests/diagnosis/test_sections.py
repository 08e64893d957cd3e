"""What no section of a diagnosis escapes, whoever wrote it and whenever it came."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from pydantic import BaseModel
from rich.cells import cell_len

from mmbal.decision import fit_rule
from mmbal.decision.fused import with_rule
from mmbal.diagnosis.comparison import compare_diagnoses
from mmbal.diagnosis.conditions import Condition, figures_of
from mmbal.diagnosis.document import SECTIONS, Diagnosis
from mmbal.diagnosis.examine import Examination, choose, diagnose
from mmbal.diagnosis.tables import classes, modalities
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.format import Predictions
from mmbal.report.tables import csv, latex, markdown
from mmbal.tables import Table

NAMES = [type(section).__module__.rsplit(".", 1)[-1] for section in SECTIONS]


def example(rows: int = 240, seed: int = 0, parts: bool = True, **given: object) -> Predictions:
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
    return Predictions.from_arrays({**arrays, "fused": fused, **given})


@pytest.fixture(scope="module")
def examined() -> tuple[Examination, Diagnosis]:
    rows, calibration = choose(example(), "test")
    examination = Examination.of(rows, calibration, rule="temperature", bootstrap=200, reference=example())
    return examination, examination.report("test", "mine.npz")


def bare() -> Predictions:
    """Logits alone, one modality, one class."""
    return Predictions.from_arrays({"labels": np.zeros(12, dtype=int), "logits_audio": np.ones((12, 2))})


def silent() -> Predictions:
    """A fusion whose parts are unknown, a modality that is missing everywhere, and modalities that never disagree."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    logits = 3.0 * np.eye(2)[labels]
    arrays = {f"logits_{m}": logits for m in ("audio", "video", "text")}
    never = {"present_text": np.zeros(40, dtype=bool)}
    return Predictions.from_arrays({"labels": labels, **arrays, **never, "fused": rng.normal(size=(40, 2))})


def unknown_parts() -> Predictions:
    return example(parts=False, fused=np.random.default_rng(1).normal(size=(240, 3)))


def gated() -> Predictions:
    p = example()
    return with_rule(p, fit_rule(p.select("calibration"), "mla"), "mla")


WORLDS = {
    "gated": gated,
    "bare": bare,
    "silent": silent,
    "unknown parts": unknown_parts,
    "whole": example,
}


@pytest.fixture(scope="module", params=WORLDS)
def any_diagnosis(request) -> Diagnosis:
    return diagnose(WORLDS[request.param](), bootstrap=100, rule="temperature")


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_its_keys_are_in_the_document_with_their_figures(section, examined):
    _, d = examined
    assert section.fields, "a section has keys of its own"
    for key in section.fields:
        assert key in type(d).model_fields
    if not all(getattr(d, key) in (None, {}, []) for key in section.fields):
        known = figures_of(d)
        starts = tuple(section.fields)
        found = [path for path in known if path.split(".")[0] in starts]
        assert found
        for path in found[:5]:
            assert Condition.parse(f"{path} > -1e9").judge(d).holds


def holes(value: object, hint: object, path: str, modalities: list[str]) -> Iterator[str]:
    """The paths at which a section could have a figure and has none."""
    about_figures = re.search(r"Estimate|Gap|diagnosis\.sections", str(hint))
    if value is None or value == {}:
        if about_figures:
            yield path
    elif isinstance(value, BaseModel) and not isinstance(value, Estimate):
        for name, field in type(value).model_fields.items():
            yield from holes(getattr(value, name), field.annotation, f"{path}.{name}", modalities)
    elif isinstance(value, dict) and about_figures:
        pairs = [f"{a}+{b}" for a, b in combinations(modalities, 2)]
        for keys in (modalities, pairs):
            if set(keys) & set(value):
                yield from (f"{path}.{key}" for key in keys if key not in value)
        for key, child in value.items():
            yield from holes(child, typing.get_args(hint)[1], f"{path}.{key}", modalities)


def explained(path: str, reasons: set[str]) -> bool:
    """Whether a reason is about the path, about what it is part of, or about all that is part of it."""
    return any(path == what or path.startswith(f"{what}.") or what.startswith(f"{path}.") for what in reasons)


@pytest.mark.parametrize("section", SECTIONS, ids=NAMES)
def test_every_field_is_measured_or_says_why_not(section, any_diagnosis):
    d, reasons = any_diagnosis, {n.what for n in any_diagnosis.not_computed}
    if section.on_request:
        return
    model = type(d).model_fields
    names = [m for m, missing in d.data.missing.items() if missing < d.data.samples]  # of the others that is the reason
    for key in section.fields:
        for path in holes(getattr(d, key), model[key].annotation, key, names):
            assert explained(path, reasons), f"{path} is empty, and nothing says why"
    known = list(d.sampled().values())
    for key in section.class_fields:  # a class may have no sample of the kind; where none has one there is a reason
        empty = [set(holes(getattr(c, key), type(c).model_fields[key].annotation, key, names)) for c in known]
        for path in set.intersection(*empty):
            ways = [path, *(f"{own}.{path}" for own in section.fields)]
            assert any(explained(way, reasons) for way in ways), f"{path} is empty in every class, and nothing says why"


def test_what_is_measured_has_no_reason(any_diagnosis):
    known = figures_of(any_diagnosis)
    assert not [n.what for n in any_diagnosis.not_computed if n.what in known]


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
