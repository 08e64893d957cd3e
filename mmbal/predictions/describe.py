"""Describes a file array by array or column by column, and what looks wrong in it: `mmbal doctor FILE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmbal import tables
from mmbal.errors import DataError, UsageError
from mmbal.file_kinds import kind_of_file
from mmbal.files import read_npz
from mmbal.predictions.columns import ALIASES, Array, bit_pattern, key_of, plain
from mmbal.predictions.features import is_feature_file, read_feature_file
from mmbal.predictions.format import BASELINE, Predictions
from mmbal.predictions.names import OF_MODALITY
from mmbal.predictions.readers import predictions_from_csv
from mmbal.predictions.scores import SUM_TOLERANCE, WORDS, form_of
from mmbal.predictions.tables import Table, number, read_table
from mmbal.text import plural

FEW = 5  # values that are shown


@dataclass(frozen=True)
class Part:
    """One array or column: its name, type and shape, and what it seems to be."""

    name: str
    type: str
    shape: str
    seems: str


@dataclass(frozen=True)
class Description:
    """What a file holds. ``problem`` says why mmbal can't use it ('' where it can); ``remarks`` name what looks wrong."""

    path: str
    kind: str
    parts: list[Part]
    remarks: list[str]
    problem: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def table(self) -> tables.Table:
        """One row for each array or column."""
        noun = "array" if self.kind.startswith(("a predictions", "a feature")) else "column"
        return tables.Table.of(
            [
                tables.Column(noun, [part.name for part in self.parts]),
                tables.Column("type", [part.type for part in self.parts], left=True, drop=1),
                tables.Column("shape", [part.shape for part in self.parts], left=True),
                tables.Column("seems to be", [part.seems for part in self.parts], left=True, wrap=True),
            ]
        )


def describe(path: str | Path) -> Description:
    """Describe a predictions file, a feature file or a table; raises UsageError where there is no file."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "`mmbal doctor` without a file looks at this machine.")
    kind = kind_of_file(path)
    if kind.name == "zip":
        return _archive(path)
    if kind.name in ("table", "text"):
        return _table(path)
    return Description(str(path), kind.what, [], [], f"{path} is {kind.what}, which mmbal can't use here.", kind.advice)


def contents(found: Predictions, path: str | Path) -> dict[str, Any]:
    """What a predictions file holds, as plain values for JSON."""
    return {
        "predictions": str(path),
        "samples": len(found),
        "splits": found.splits(),
        "classes": list(found.classes),
        "modalities": list(found.modalities),
        "missing": {m: int((~mask).sum()) for m, mask in found.present.items()},
        "fused": found.fused is not None,
        **({"scores": found.meta["scores"]} if "scores" in found.meta else {}),
        "warnings": list(found.warnings),
    }


def told(found: Predictions, path: str | Path) -> list[str]:
    """The same in words, for a file that was just written from another project's scores."""
    splits = ", ".join(f"{n} {name}" for name, n in found.splits().items())
    lines = [f"{path}: {splits}; {plural(len(found.classes), 'class', 'classes')}; {', '.join(found.modalities)}."]
    if "scores" in found.meta:
        lines.append(f"The numbers were taken for {_forms(found.meta['scores'])}.")
    if found.fused is None:
        lines.append(
            "There are no fused scores, so the plain sum of the unimodal log-probabilities is taken for the decision."
        )
    return lines


def _forms(scores: str | Mapping[str, str]) -> str:
    """What the scores were taken for; by modality where they differ."""
    if isinstance(scores, str):
        return WORDS.get(scores, scores)
    return f"a mix: {', '.join(f'{WORDS.get(form, form)} of {m}' for m, form in scores.items())}"


def _archive(path: Path) -> Description:
    try:
        raw = read_npz(path)
    except DataError as error:
        return Description(str(path), "an .npz archive", [], [], error.message, error.hint)
    features = is_feature_file(path)
    parts, remarks = [], []
    arrays: dict[str, Array] = {}
    for key, value in raw.items():
        try:
            arrays[key] = plain(value, key)
        except DataError as error:
            remarks.append(error.message.rstrip("."))
            arrays[key] = value
    for key, value in arrays.items():
        seems = _role(key, arrays, features) + _content(key, value)
        parts.append(Part(key, str(raw[key].dtype), " x ".join(map(str, value.shape)) or "one value", seems))
    if features:
        return _judged(path, "a feature file", parts, remarks, lambda: read_feature_file(path).remarks())
    return _judged(path, "a predictions file", parts, remarks, lambda: _remarks(Predictions.load(path)))


def _table(path: Path) -> Description:
    try:
        table = read_table(path, ragged=True)
    except DataError as error:
        return Description(str(path), "a table", [], [], error.message, error.hint)
    parts = [Part(name, *_column(table, k)) for k, name in enumerate(table.header)]
    shape = f"{len(table.rows)} rows"
    if any(":" in name for name in table.header):
        return _judged(path, f"a table of scores, {shape}", parts, [], lambda: _remarks(predictions_from_csv(path)))
    known = [name for name in table.header if name.lower() in ("path", "audio", "video", "image", "text")]
    kind = f"a manifest, {shape}" if known else f"a table, {shape}"
    problem = (
        "" if known else f"{path} has no column <modality>:<class> and no column of media (path, audio, video...)."
    )
    hint = "" if known else "Name score columns like 'audio:happy', or give the media's paths in a column 'path'."
    return Description(str(path), kind, parts, table.notes, problem, hint)


def _judged(
    path: Path, kind: str, parts: list[Part], remarks: list[str], check: Callable[[], list[str]]
) -> Description:
    try:
        return Description(str(path), kind, parts, [*remarks, *check()])
    except (DataError, UsageError) as error:
        return Description(str(path), kind, parts, remarks, error.message, error.hint)


def _remarks(found: Predictions) -> list[str]:
    doubt = found.doubt()
    return [*([doubt] if doubt else []), *found.warnings]


def _role(key: str, arrays: Mapping[str, Array], features: bool) -> str:
    """The role of an array, by its name."""
    for what, spellings in ALIASES.items():
        if key in spellings and key == key_of(arrays, what):
            return {
                "labels": "class of each sample",
                "ids": "name of each sample",
                "classes": "names of the classes",
            }.get(what, f"{what} of each sample")
    fixed = {
        "fused": "decision of the whole model",
        "exchanged": "decision with the gate's weights of other samples",
        "bias": "bias of the head",
        "modalities": "names of the modalities",
    }
    if key in fixed or key == "meta":
        return fixed.get(key, "metadata of the file")
    words = dict(
        zip(
            OF_MODALITY,
            ("decision of {} alone", "decision of {} alone", "part of {} in the decision",
             "estimated Shapley values of {}", "weight of {} in each sample", "features of {}",
             "decision weights of {}", "which samples have {}"),
            strict=True,
        )
    )  # fmt: skip
    if key.startswith(BASELINE) and ":" in key:
        name, _, what = key.removeprefix(BASELINE).rpartition(":")
        return f"{_role(what, arrays, features)}, under the baseline '{name}'"
    prefix, _, m = key.partition("_")
    if prefix in words and m:
        return words[prefix].format(m)
    if prefix == "group":
        return f"{m} of each sample"
    if prefix == "subset":
        return f"decision with {m.replace('+', ' and ') or 'no modality'} only"
    if features and arrays[key].ndim >= 1:
        return f"features of {key}"
    return "unknown"


def _content(key: str, value: Array) -> str:
    """A summary of an array's numbers or texts, to follow its role."""
    if value.dtype.kind == "U":
        names = np.unique(value)
        return f": {_few(names.tolist())}" if key != "meta" else ""
    if value.dtype.kind == "b":
        return f": true in {int(value.sum())} of {value.size}"
    if value.dtype.kind not in "fiu" or not value.size:
        return ""
    bits = bit_pattern(value)
    if bits:
        return f": bit patterns of {bits} numbers"
    known = value[np.isfinite(value)] if value.dtype.kind == "f" else value.ravel()
    odd = f", {value.size - len(known)} entries are NaN or infinite" if len(known) < value.size else ""
    if not len(known):
        return f": nothing but NaN or infinity{odd}"
    if value.ndim == 1 and (known == np.round(known)).all():
        return f": whole numbers from {int(known.min())} to {int(known.max())}, {len(np.unique(known))} values{odd}"
    span = f"{known.min():.4g} to {known.max():.4g}{odd}"
    prefix = key.partition("_")[0]
    if value.ndim == 2 and prefix in ("logits", "probabilities", "subset", "fused"):
        rows = value[np.isfinite(value).all(axis=1)].astype(np.float64)
        sums = np.exp(rows).sum(axis=1) if rows.size and rows.max() <= 0 else np.zeros(1)
        form = "log-probabilities" if np.allclose(sums, 1, atol=SUM_TOLERANCE) else form_of(rows).words
        return f": {form}, {span}"
    return f": {span}"


def _column(table: Table, k: int) -> tuple[str, str, str]:
    """Type, number of cells and look of a table's column."""
    cells = [row[k] if k < len(row) else "" for row in table.rows]
    filled = [cell for cell in cells if cell]
    shape = f"{len(filled)} of {len(cells)} filled" if len(filled) < len(cells) else str(len(cells))
    name = table.header[k].lower()
    role = next((what for what, spellings in ALIASES.items() if name in spellings), "")
    modality, colon, label = table.header[k].partition(":")
    role = f"score of class '{label.strip()}' by {modality.strip()}: " if colon else f"{role}: " if role else ""
    try:
        values = [number(cell) for cell in filled]
    except ValueError:
        return "text", shape, f"{role}{len(set(filled))} values: {_few(sorted(set(filled)))}"
    if not values:
        return "empty", shape, f"{role}nothing"
    percent = ", with percent signs" if any(cell.endswith("%") for cell in filled) else ""
    return "numbers", shape, f"{role}{min(values):.4g} to {max(values):.4g}{percent}"


def _few(names: list[str]) -> str:
    more = f", ... {len(names)} in all" if len(names) > FEW else ""
    return ", ".join(str(name) for name in names[:FEW]) + more
