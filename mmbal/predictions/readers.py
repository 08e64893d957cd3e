"""Predictions from what other tools write: a CSV of each modality's scores, or features with the linear head on them.

CSV, one row a sample, with a header line. Any separator (comma, semicolon, tab, bar), UTF-8, UTF-16 or Windows-1252:

=================== =================================================================================================
column              meaning
=================== =================================================================================================
``label``           class name; needed
``<modality>:<c>``  score of class ``c`` by that modality alone: a probability, percent, or a logit; one column a class;
                    needed
``id``              sample identifier; the row number where not given
``split``           ``calibration`` (or ``val``), ``test``, ...; ``test`` where not given
``group``           speaker, actor, patient, ...
``fused:<c>``       score of class ``c`` by the whole model
=================== =================================================================================================

A modality whose cells are all empty in a row is missing from that sample. Columns of a row may have the other names that
:mod:`mmbal.predictions.columns` lists.

Feature file: see :mod:`mmbal.predictions.features`. The head, in the same file or another one: ``weight_<modality> (C,
D_m)``, or ``weight (C, sum D_m)`` as a linear layer on concatenated features has it, and ``bias (C,)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmbal.errors import DataError, did_you_mean
from mmbal.files import read_npz
from mmbal.predictions.columns import ALIASES, key_of, numbers
from mmbal.predictions.features import read_feature_file
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.labels import class_names, labels_of
from mmbal.predictions.names import FUSED
from mmbal.predictions.scores import Told, as_logits, form_of
from mmbal.predictions.tables import MANY, Table, number, of_two_kinds, read_table
from mmbal.progress import portion, reached, steps

EMPTY = ("", "nan", "na", "n/a", "none", "null", "-")  # cells of scores that hold nothing

Scores = Literal["auto", "probabilities", "logits"]


def predictions_from_csv(path: str | Path, scores: Scores = "auto", *, unlabelled: bool = False) -> Predictions:
    """Read the CSV described above; ``unlabelled``: whether the column of labels may be missing.

    ``auto`` finds the form of each modality's scores by their range and sums: probabilities, percent, one-vs-rest
    probabilities or logits. The result is in ``meta["scores"]``: one word where all are alike, else by modality.
    Raises UsageError (no file) or DataError (which row and column).
    """
    with portion(0.3):
        table = read_table(Path(path))
    return predictions_from_table(table, scores, unlabelled=unlabelled)


def predictions_from_frame(frame: Any, scores: Scores = "auto", *, unlabelled: bool = False) -> Predictions:
    """Read a pandas DataFrame with the columns of the CSV described above; raises what :func:`predictions_from_csv` does.

    Empty cells are NaN, None or NA.
    """
    header = [str(name).strip() for name in frame.columns]
    empty = frame.isna().to_numpy()
    cells = [
        ["" if gone else str(cell).strip() for cell, gone in zip(row, missing, strict=True)]
        for row, missing in zip(frame.itertuples(index=False, name=None), empty, strict=True)
    ]
    table = Table(Path("the DataFrame"), header, cells, list(range(len(cells))))
    return predictions_from_table(table, scores, unlabelled=unlabelled)


def predictions_from_table(table: Table, scores: Scores = "auto", *, unlabelled: bool = False) -> Predictions:
    """The same of a table that was read already."""
    path = table.path
    if not table.rows:
        raise DataError(f"{path} holds no samples.")
    names = {name.lower(): name for name in table.header}
    label = key_of(names, "labels")
    if label is None and not unlabelled:
        raise DataError(f"{path} has no column 'label'.", did_you_mean("label", table.header))
    column = {what: names[key] for what in ALIASES if (key := key_of(names, what))}
    blocks, classes = _blocks(table, set(column.values()))
    arrays: dict[str, Any] = {"classes": np.array(classes), "modalities": np.array([m for m in blocks if m != "fused"])}
    for what in ("labels", "ids", "split", "group"):
        if what in column:
            arrays[what] = np.array(table.column(column[what]))
    labels = table.column(column["labels"]) if "labels" in column else []
    empty = [line for line, cell in zip(table.lines, labels, strict=False) if not cell]
    if empty:
        raise DataError(f"{path}, row {empty[0]}: there is no label.", "Leave samples without a label out.")
    forms: dict[str, Told] = {}
    notes = list(table.notes)
    for m, columns in steps(list(blocks.items())):
        values, present = _numbers(table, columns)
        forms[m] = _form(f"{path}: '{m}'", values[present], scores)
        if forms[m].odd:
            line = table.lines[int(np.flatnonzero(present)[forms[m].odd[0]])]
            notes.append(forms[m].odd_rows(m, line))
        logits = np.where(present[:, None], as_logits(values, forms[m].form, m), 0.0)
        arrays["fused" if m == "fused" else f"logits_{m}"] = logits
        if m == "fused" and not present.all():
            raise DataError(f"{path}, row {table.lines[int(np.flatnonzero(~present)[0])]}: the fused scores are empty.")
        if m != "fused" and not present.all():
            arrays[f"present_{m}"] = present
        if forms[m].coarse:
            notes.append(f"'{m}' is rounded to {forms[m].decimals} decimals: its confidences are coarse")
    given = {m: told.form for m, told in forms.items()}
    alike = set(given.values())
    if len(alike) > 1:
        each = "; ".join(f"{m}: {told.words}" for m, told in forms.items())
        notes.append(f"the scores are a mix ({each}); if one of them is wrong, give --scores")
    return _checked(path, arrays, notes, scores=alike.pop() if len(alike) == 1 else given)


def _form(what: str, table: Array, scores: Scores) -> Told:
    """The form of scores, as far as ``scores`` leaves it open; raises DataError where they can't be of the given form."""
    if scores == "logits":
        return Told("logits")
    told = form_of(table)
    if scores == "auto" or told.form in ("probabilities", "percent"):
        return told
    if (table < 0).any():
        raise DataError(f"{what} holds negative scores, so these are not probabilities.")
    if table.max(initial=0) > 1:
        raise DataError(f"{what} holds {table.max():g}, so these are not probabilities.")
    return Told("probabilities", told.decimals)


def predictions_from_head(path: str | Path, head: str | Path | None = None) -> Predictions:
    """Predictions of a linear head on features: ``contribution_m = z_m W_m^T + b / M``, and ``fused`` is their sum.

    ``head`` is the file with the head where that is not in the feature file. Raises UsageError (no file) or DataError.
    """
    path = Path(path)
    given = read_feature_file(path)
    layer = given.others if head is None else read_npz(Path(head))
    modalities = list(given.arrays)
    features = {m: _flat(path, m, z) for m, z in given.arrays.items()}
    weight = _head_weights(Path(head or path), layer, features)
    c = len(next(iter(weight.values())))
    bias = np.asarray(layer.get("bias", np.zeros(c)), dtype=np.float64).reshape(-1)
    if bias.shape != (c,):
        raise DataError(f"{Path(head or path)}: 'bias' has shape {bias.shape}, expected ({c},).")
    classes_key = key_of(layer, "classes")
    classes = class_names(layer[classes_key], classes_key) if classes_key else given.named_classes
    if classes is not None and len(classes) != c:
        raise DataError(f"{path}: there are {len(classes)} names of classes, but the head decides between {c}.")
    try:
        labels = labels_of(given.labels, classes, c, given.labels_key)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    arrays: dict[str, Any] = {"labels": labels.index, "modalities": np.array(modalities), "bias": bias}
    arrays |= {"classes": np.array(labels.classes), **given.columns()}
    fused = 0.0
    for m in modalities:
        here = given.present.get(m, ~np.isnan(features[m]).all(axis=1))
        z = np.where(here[:, None], features[m], 0.0)
        part = (z @ weight[m].T + bias / len(modalities)) * here[:, None]
        arrays |= {f"features_{m}": z, f"weight_{m}": weight[m], f"logits_{m}": part, f"contribution_{m}": part}
        if not here.all():
            arrays[f"present_{m}"] = here
        fused = fused + part
    used = [k for k in ("weight", "bias", *(f"weight_{m}" for m in modalities)) if head is None]
    notes = [*given.remarks(used), *labels.notes]
    return _checked(path, {**arrays, "fused": fused}, notes, fusion="concat")


def _flat(path: Path, m: str, z: Array) -> Array:
    if z.ndim != 2:
        raise DataError(f"{path}: '{m}' has shape {z.shape}; features (N, D) are needed.")
    return numbers(z, m)


def _checked(path: Path, arrays: Mapping[str, Any], notes: list[str], **meta: Any) -> Predictions:
    try:
        found = Predictions.from_arrays(
            arrays,
            {"producer": "mmbal import", "dataset": path.stem, **meta},
            examine=True,
            unlabelled="labels" not in arrays,
        )
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    return replace(found, warnings=(*notes, *found.warnings))


def _blocks(table: Table, known: set[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Modality (or ``fused``) -> positions of its columns in the order of the classes, and the classes."""
    path = table.path
    named: dict[str, dict[str, int]] = {}
    for position, name in enumerate(table.header):
        modality, colon, label = (part.strip() for part in name.partition(":"))
        if name in known:
            continue
        if not (colon and modality and label):
            raise DataError(
                f"{path} has a column '{name}', which is neither id, label, split, group nor <modality>:<class>.",
                "Name score columns like 'audio:happy'.",
            )
        if modality.lower() in FUSED:
            modality = "fused"
        named.setdefault(modality, {})[label] = position
    if not set(named) - {"fused"}:
        raise DataError(f"{path} has no column <modality>:<class>.", "Name score columns like 'audio:happy'.")
    classes = list(next(iter(named.values())))
    for modality, columns in named.items():
        odd = set(columns) ^ set(classes)
        if odd:
            raise DataError(f"{path}: the columns of '{modality}' do not cover the same classes: '{sorted(odd)[0]}'.")
    return {modality: [columns[c] for c in classes] for modality, columns in named.items()}, classes


def _numbers(table: Table, columns: list[int]) -> tuple[Array, Array]:
    """The scores ``(N, C)`` of one modality and which rows have it."""
    both = of_two_kinds([row[position] for row in table.rows for position in columns if row[position]])
    if both:
        name = table.header[columns[0]].partition(":")[0].strip()
        raise DataError(
            f"{table.path}: the comma of '{both}' among the scores of '{name}' may part thousands or decimals.",
            "Write all scores with a point, and no mark between thousands.",
        )
    values = np.zeros((len(table.rows), len(columns)))
    present = np.ones(len(table.rows), dtype=bool)
    for i, row in enumerate(table.rows):
        if i % MANY == 0:
            reached(i / len(table.rows))
        cells = [row[position] for position in columns]
        if all(cell.lower() in EMPTY for cell in cells):
            present[i] = False
            continue
        for j, cell in enumerate(cells):
            try:
                score = number(cell)
                what = f"the score is {'NaN' if math.isnan(score) else 'infinite'}"
            except ValueError:
                score = math.nan
                what = f"'{cell}' is not a number" if cell else "the cell is empty, but others of the modality are not"
            if not score < math.inf:
                raise DataError(f"{table.path}, row {table.lines[i]}, column '{table.header[columns[j]]}': {what}.")
            values[i, j] = score
    return values, present


def _head_weights(path: Path, layer: Mapping[str, Array], features: Mapping[str, Array]) -> dict[str, Array]:
    widths = [z.shape[1] for z in features.values()]
    if all(f"weight_{m}" in layer for m in features):
        weight = {m: np.asarray(layer[f"weight_{m}"], dtype=np.float64) for m in features}
    elif "weight" in layer:
        whole = np.asarray(layer["weight"], dtype=np.float64)
        if whole.ndim != 2 or whole.shape[1] != sum(widths):
            raise DataError(f"{path}: 'weight' has shape {whole.shape}, expected (C, {' + '.join(map(str, widths))}).")
        weight = dict(zip(features, np.split(whole, np.cumsum(widths)[:-1], axis=1), strict=True))
    else:
        raise DataError(
            f"{path} has no head: neither 'weight' nor {', '.join(f'weight_{m}' for m in features)}.",
            "Name its file with --head HEAD.npz; `mmbal diagnose FEATURES.npz` fits heads of its own.",
        )
    classes = {m: w.shape[0] for m, w in weight.items()}
    for (m, w), width in zip(weight.items(), widths, strict=True):
        if w.ndim != 2 or w.shape[1] != width or classes[m] != next(iter(classes.values())):
            raise DataError(
                f"{path}: 'weight_{m}' has shape {w.shape}, expected ({next(iter(classes.values()))}, {width})."
            )
    return weight
