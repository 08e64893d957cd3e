"""Predictions from what other tools write: a CSV of each modality's scores, or features with the linear head on them.

CSV, one row a sample, UTF-8, a header line, comma separated:

=================== =================================================================================================
column              meaning
=================== =================================================================================================
``label``           class name; needed
``<modality>:<c>``  score of class ``c`` by that modality alone, a probability or a logit; one column a class; needed
``id``              sample identifier; the row number where absent
``split``           ``calibration`` (or ``val``), ``test``, ...; ``test`` where absent
``group``           speaker, actor, patient, ...
``fused:<c>``       score of class ``c`` by the whole model
=================== =================================================================================================

A row whose cells of one modality are all empty lacks that modality.

Feature file, .npz: ``<modality> (N, D_m)`` for each name in ``modalities (M,)``, ``label (N,)``, and, where known,
``split``, ``id`` or ``clip_id``, ``group`` or ``actor`` or ``speaker``, ``classes (C,)``, ``present_<modality> (N,)``.
The head, in the same file or another one: ``weight_<modality> (C, D_m)``, or ``weight (C, sum D_m)`` as a linear layer
on concatenated features has it, and ``bias (C,)``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.files import read_npz
from mmbal.predictions.format import PROBABILITY_FLOOR, Array, Predictions

ROW_COLUMNS = ("id", "label", "split", "group")
ALIASES = {"id": ("id", "ids", "clip_id"), "group": ("group", "actor", "speaker"), "label": ("label", "labels")}
SUM_TOLERANCE = 1e-2  # probabilities printed with two or three decimals still sum to one up to this

Scores = Literal["auto", "probabilities", "logits"]


def predictions_from_csv(path: str | Path, scores: Scores = "auto") -> Predictions:
    """Read the CSV described above.

    ``auto`` takes scores for probabilities where none is negative and every row of every modality sums to 1; what was
    taken stands in ``meta["scores"]``. Raises UsageError (no file) or DataError (which row and column).
    """
    path = Path(path)
    header, rows = _read_csv(path)
    if not rows:
        raise DataError(f"{path} holds no rows.")
    where = {name: position for position, name in enumerate(header)}
    if "label" not in where:
        raise DataError(f"{path} has no column 'label'.", did_you_mean("label", header))
    blocks, classes = _blocks(path, header)
    arrays: dict[str, Any] = {"labels": _column(rows, where["label"]), "classes": np.array(classes)}
    for name, key in (("id", "ids"), ("split", "split"), ("group", "group")):
        if name in where:
            arrays[key] = _column(rows, where[name])
    values, present = {}, {}
    for m, columns in blocks.items():
        values[m], present[m] = _numbers(path, header, rows, columns)
    if scores == "auto":
        scores = "probabilities" if all(_sums_to_one(values[m][present[m]]) for m in values) else "logits"
    for m, table in values.items():
        if scores == "probabilities":
            if (table[present[m]] < 0).any():
                raise DataError(f"{path}: '{m}' holds negative scores, so they are no probabilities.")
            table = np.log(np.maximum(table, PROBABILITY_FLOOR))
        arrays["fused" if m == "fused" else f"logits_{m}"] = table
        if m == "fused" and not present[m].all():
            raise DataError(f"{path}, row {int(np.flatnonzero(~present[m])[0]) + 2}: the fused scores are empty.")
        if m != "fused" and not present[m].all():
            arrays[f"present_{m}"] = present[m]
    return _checked(path, arrays, scores=scores)


def predictions_from_features(path: str | Path, head: str | Path | None = None) -> Predictions:
    """Predictions of a linear head on features: ``contribution_m = z_m W_m^T + b / M``, and ``fused`` is their sum.

    ``head`` is the file with the head where that is not in the feature file. Raises UsageError (no file) or DataError.
    """
    path = Path(path)
    given = read_npz(path)
    layer = given if head is None else read_npz(Path(head))
    modalities = _feature_modalities(path, given)
    weight = _head_weights(Path(head or path), layer, {m: given[m] for m in modalities})
    c = len(next(iter(weight.values())))
    bias = np.asarray(layer.get("bias", np.zeros(c)), dtype=np.float64)
    if bias.shape != (c,):
        raise DataError(f"{Path(head or path)}: 'bias' has shape {bias.shape}, expected ({c},).")
    labels = _alias(given, "label")
    if labels is None:
        raise DataError(f"{path} has no array 'label'.", did_you_mean("label", given))
    arrays: dict[str, Any] = {"labels": labels, "modalities": np.array(modalities), "bias": bias}
    for name, key in (("id", "ids"), ("split", "split"), ("group", "group")):
        value = _alias(given, name)
        if value is not None:
            arrays[key] = value
    if "classes" in layer or "classes" in given:
        arrays["classes"] = layer.get("classes", given.get("classes"))
    fused = 0.0
    for m in modalities:
        here = np.asarray(given.get(f"present_{m}", np.ones(len(given[m]), dtype=bool)), dtype=bool)
        z = np.where(here[:, None], given[m].astype(np.float64), 0.0)
        part = (z @ weight[m].T + bias / len(modalities)) * here[:, None]
        arrays |= {f"features_{m}": z, f"weight_{m}": weight[m], f"logits_{m}": part, f"contribution_{m}": part}
        if not here.all():
            arrays[f"present_{m}"] = here
        fused = fused + part
    return _checked(path, {**arrays, "fused": fused}, fusion="concat")


def _checked(path: Path, arrays: Mapping[str, Any], **meta: str) -> Predictions:
    try:
        predictions = Predictions.from_arrays(arrays)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    predictions.meta.update(producer="mmbal import", dataset=path.stem, **meta)
    return predictions


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [line for line in csv.reader(stream, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file ({error}).") from None
    if not lines:
        raise DataError(f"{path} is empty.")
    header = [name.strip() for name in lines[0]]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns '{twice[0]}'.")
    for number, row in enumerate(lines[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{path}, row {number}: {len(row)} cells, but the header has {len(header)}.")
    return header, lines[1:]


def _blocks(path: Path, header: list[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Modality (or ``fused``) -> positions of its columns in the order of the classes, and the classes."""
    named: dict[str, dict[str, int]] = {}
    for position, name in enumerate(header):
        modality, colon, label = name.partition(":")
        if colon and modality and label:
            named.setdefault(modality, {})[label] = position
        elif name not in ROW_COLUMNS:
            raise DataError(
                f"{path} has a column '{name}', which is neither {', '.join(ROW_COLUMNS)} nor <modality>:<class>.",
                "Name score columns like 'audio:happy'.",
            )
    if not set(named) - {"fused"}:
        raise DataError(f"{path} has no column <modality>:<class>.", "Name score columns like 'audio:happy'.")
    classes = list(next(iter(named.values())))
    for modality, columns in named.items():
        odd = set(columns) ^ set(classes)
        if odd:
            raise DataError(f"{path}: the columns of '{modality}' do not cover the same classes: '{sorted(odd)[0]}'.")
    return {modality: [columns[c] for c in classes] for modality, columns in named.items()}, classes


def _column(rows: list[list[str]], position: int) -> Array:
    return np.array([row[position].strip() for row in rows])


def _numbers(path: Path, header: list[str], rows: list[list[str]], columns: list[int]) -> tuple[Array, Array]:
    """The scores ``(N, C)`` of one modality and which rows have it."""
    table = np.zeros((len(rows), len(columns)))
    present = np.ones(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        cells = [row[position].strip() for position in columns]
        if not any(cells):
            present[i] = False
            continue
        for j, cell in enumerate(cells):
            try:
                table[i, j] = float(cell)
            except ValueError:
                what = f"'{cell}' is not a number" if cell else "the cell is empty, but others of the modality are not"
                raise DataError(f"{path}, row {i + 2}, column '{header[columns[j]]}': {what}.") from None
    return table, present


def _sums_to_one(table: Array) -> bool:
    return bool((table >= 0).all() and (np.abs(table.sum(axis=1) - 1) < SUM_TOLERANCE).all())


def _alias(given: Mapping[str, Array], name: str) -> Array | None:
    return next((given[key] for key in ALIASES.get(name, (name,)) if key in given), None)


def _feature_modalities(path: Path, given: Mapping[str, Array]) -> list[str]:
    if "modalities" not in given:
        raise DataError(f"{path} has no array 'modalities', the names of the feature arrays.")
    names = [str(m) for m in np.atleast_1d(given["modalities"])]
    for m in names:
        if m not in given:
            raise DataError(f"{path}: 'modalities' names '{m}', but there is no array '{m}'.", did_you_mean(m, given))
        if given[m].ndim != 2 or given[m].dtype.kind not in "fiu":
            raise DataError(f"{path}: '{m}' has shape {given[m].shape}, expected numbers (N, D).")
        if len(given[m]) != len(given[names[0]]):
            raise DataError(f"{path}: '{m}' has {len(given[m])} rows, '{names[0]}' has {len(given[names[0]])}.")
    return names


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
