"""A manifest: one row a sample, with a class and where each of its modalities lies; from CSV, TSV or JSON lines.

Columns: ``label``; ``path`` (a clip with sound: modalities ``audio`` and ``video``; a sound or a picture gives itself), or
``audio``, ``video`` (a clip or a folder of pictures), ``image``, ``text``; any other column whose cells end in ``.npy`` or
``.npz#key`` is a modality of features under the column's name. Optional: ``split``, ``start`` and ``end`` (seconds),
``group``, ``id``. An empty cell means that the sample lacks the modality. Paths are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES, Unusable, duration
from mmbal.data.media.recipes import FeatureRecipe, Recipe, Source, read_array
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError, UsageError
from mmbal.files import sha256
from mmbal.predictions.splits import ALIASES

RESERVED = ("label", "split", "start", "end", "group", "id")
MEDIA = ("path", "audio", "video", "image", "text")
LONGEST = 10.0  # seconds of sound kept by default at most
PROBED = 64  # clips whose headers are read to learn how long clips are


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: where its modalities lie; ``split`` and ``group`` are '' where unknown."""

    id: str
    label: str
    sources: dict[str, Source]
    split: str = ""
    group: str = ""


@dataclass
class Manifest:
    """All samples of a data set and the recipe of each modality; ``classes`` fixes their order and may name empty ones."""

    name: str
    rows: list[Row]
    recipes: dict[str, Recipe]
    classes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known_leak: str = ""  # why groups are on both sides of the split, where that is how the data set is used
    meta: dict[str, Any] = field(default_factory=dict)


def read_manifest(path: Path, options: Options) -> Manifest:
    """Read a manifest; rows that make no sense become findings. Raises DataError where the whole makes none."""
    label_column = options.label or "label"
    records = list(_records(path))
    if not records:
        raise DataError(
            f"{path} has no rows.", "A manifest has a header line (path,label,split) and a line per sample."
        )
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    if label_column not in columns:
        raise DataError(
            f"{path} has no column '{label_column}' (it has: {', '.join(columns)}).",
            "Name the class column 'label', or give --label COLUMN.",
        )
    known = columns
    columns = _modality_columns(path, [c for c in known if c not in (*RESERVED, label_column)], records, options)
    unused = [c for c in known if c not in (*columns, *RESERVED[1:], label_column)]
    findings: list[Finding] = []
    rows: list[Row] = []
    for line, record in records:
        try:
            rows.append(_row(record, columns, label_column, path.parent))
        except ValueError as error:
            findings.append(Finding("error", "row", f"line {line}", str(error)))
    if not rows:
        raise DataError(f"{path} has no usable row: {findings[0].where}: {findings[0].reason}.")
    rows = [replace(row, id=name) for row, name in zip(rows, told_apart(row.id for row in rows), strict=True)]
    recipes = recipes_for(rows, options, features=[c for c in columns if c not in MEDIA], findings=findings)
    notes = [f"columns not used: {', '.join(unused)}"] if unused else []
    return Manifest(path.stem, rows, recipes, findings=findings, notes=notes, meta={"manifest_sha256": sha256(path)})


def told_apart(names: Iterable[Any]) -> list[str]:
    """The names as texts; of those that come again (a clip's words, its seconds) the later ones get a number: a, a#2."""
    seen = Counter[str]()
    apart = []
    for name in map(str, names):
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return apart


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, cells) of a CSV, TSV or JSON-lines file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text.", "Save it as UTF-8 (CSV UTF-8 in a spreadsheet).") from None
    if "\0" in text:
        raise DataError(f"{path} is not a text file: it holds NUL bytes.")
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_records(path, text)
        return
    first = text.lstrip("\r\n").partition("\n")[0]
    # Spreadsheets write semicolons where the decimal sign is a comma.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise DataError(f"{path} names a column twice: {', '.join(header)}.")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                extra = {"": "more cells than the header has"} if len(cells) > len(header) else {}
                yield reader.line_num, dict(zip(header, (c.strip() for c in cells), strict=False)) | extra
    except csv.Error as error:
        raise DataError(f"{path} is not a readable table (line {reader.line_num}: {error}).") from None


def _json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, {"label": "", "": f"not JSON ({error.msg})"}
            continue
        if not isinstance(record, dict):
            yield number, {"label": "", "": "not a JSON object"}
            continue
        yield number, {str(k): _cell(v) for k, v in record.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return str(value).strip()


def _modality_columns(
    path: Path, columns: list[str], records: Sequence[tuple[int, dict[str, str]]], options: Options
) -> list[str]:
    """The columns that hold modalities; raises DataError where there are none, UsageError for a wrong choice."""
    known = [c for c in columns if c in MEDIA or _is_features(next((r[c] for _, r in records if r.get(c)), ""))]
    if options.modality:
        chosen = set(options.modality)
        there = [m for c in known for m in (("audio", "video") if c == "path" else (c,))]
        for name in options.modality:
            if name not in there:
                raise UsageError(f"{path} has no modality '{name}'.", f"It has: {', '.join(there)}.")
        known = [c for c in known if c in chosen or (c == "path" and chosen & {"audio", "video"})]
    if not known:
        raise DataError(
            f"{path} has no column with media (it has: {', '.join(columns) or 'none but the label'}).",
            "Use path, audio, video, image, text, or a column of .npy / .npz#key files.",
        )
    return known


def _is_features(cell: str) -> bool:
    return cell.partition("#")[0].lower().endswith((".npy", ".npz"))


def _row(record: dict[str, str], columns: Sequence[str], label_column: str, folder: Path) -> Row:
    """One row; raises ValueError with what is wrong with it."""
    if "" in record:
        raise ValueError(record[""])
    label = record.get(label_column, "")
    if not label:
        raise ValueError("no label")
    split = record.get("split", "").lower()
    if split and split not in ALIASES:
        raise ValueError(f"unknown split '{split}' (train, val, test)")
    start, end = (_seconds(record.get(name, ""), name) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise ValueError(f"end {end:g} is not after start {start:g}")
    sources: dict[str, Source] = {}
    first = ""  # the first of its files
    for column in columns:
        cell = record.get(column, "")
        if not cell:
            continue
        if column == "text" and not _is_text_file(folder, cell):
            sources["text"] = Source(text=cell)
            continue
        first = first or cell
        file, _, key = cell.partition("#") if _is_features(cell) else (cell, "", "")
        source = Source(path=_join(folder, file), key=key, start=start, end=end)
        for m in _in_clip(file) if column == "path" else (column,):
            sources.setdefault(m, source)
    if not sources:
        raise ValueError("no media: every modality's cell is empty")
    name = record.get("id") or Path(first).stem or label
    return Row(name, label, sources, ALIASES.get(split, ""), record.get("group", ""))


def _is_text_file(folder: Path, cell: str) -> bool:
    """A name that ends in .txt; one with spaces could be a sentence, unless it is there."""
    return cell.lower().endswith(".txt") and (not re.search(r"\s", cell) or os.path.isfile(folder / cell))


def _in_clip(file: str) -> tuple[str, ...]:
    """What a file of the column ``path`` gives: sound and pictures, or one of them where its suffix says so."""
    suffix = Path(file).suffix.lower()
    return ("audio",) if suffix in AUDIO_SUFFIXES else ("image",) if suffix in PICTURE_SUFFIXES else ("audio", "video")


def _join(folder: Path, cell: str) -> str:
    return str(folder / cell)


def _seconds(cell: str, name: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{name} '{cell}' is not a number of seconds") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} {cell} is not a time")
    return value


def recipes_for(
    rows: Sequence[Row], options: Options, *, features: Sequence[str] = (), findings: list[Finding] | None = None
) -> dict[str, Recipe]:
    """A recipe for every modality that a row has; how long clips are and what shape arrays have is looked up in them."""
    names = [m for m in dict.fromkeys(m for row in rows for m in row.sources) if _wanted(m, options)]
    recipes: dict[str, Recipe] = {}
    longest = None
    if options.duration is None and {"audio", "video"} & set(names):
        longest = longest_clip(rows)
    for m in names:
        if m in features:
            recipes[m] = FeatureRecipe(size=_feature_size(rows, m))
        elif m == "audio":
            recipes[m] = options.audio(longest)
        elif m == "image":
            recipes[m] = options.image()
        elif m == "text":
            recipes[m] = options.text()
        else:
            recipes[m] = options.video(longest)
    return recipes


def _wanted(m: str, options: Options) -> bool:
    return not options.modality or m in options.modality


def _spread(rows: Sequence[Row], m: str) -> list[Source]:
    """At most ``PROBED`` sources of a modality, evenly over the rows."""
    having = [row.sources[m] for row in rows if m in row.sources]
    return having[:: max(1, -(-len(having) // PROBED))]


def longest_clip(rows: Sequence[Row]) -> float | None:
    """Seconds of the longest time range, or of the longest of some clips; at most ``LONGEST``, None where unknown."""
    ranges = [s.end - (s.start or 0.0) for row in rows for s in row.sources.values() if s.end is not None]
    if ranges:
        return min(round(max(ranges), 3), LONGEST)
    found = 0.0
    for m in ("audio", "video"):
        for source in _spread(rows, m):
            try:
                found = max(found, duration(Path(source.path)) - (source.start or 0.0))
            except Unusable:
                continue
    return min(round(found, 3), LONGEST) or None


def _feature_size(rows: Sequence[Row], m: str) -> tuple[int, ...]:
    """Shape of one sample of features: that of the first readable array; sequences get the longest length seen."""
    shapes = []
    for source in _spread(rows, m):
        try:
            shapes.append(read_array(Path(source.path), source.key).shape)
        except Unusable:
            continue
    if not shapes:
        raise DataError(
            f"No array of modality '{m}' can be read.", f"The first is {next(s.path for s in _spread(rows, m))}."
        )
    common = max(set(shapes), key=shapes.count)
    if len(common) == 2:
        return (max(s[0] for s in shapes if len(s) == 2 and s[1] == common[1]), common[1])
    if len(common) != 1:
        raise DataError(f"Arrays of modality '{m}' have shape {common}; (D,) or (T, D) is needed.")
    return common
