"""A manifest: one row a sample, with a class and where each of its modalities lies; from CSV, TSV or JSON lines.

Columns: ``label``; ``path`` (a clip with sound: modalities ``audio`` and ``video``; a sound or a picture gives itself), or
``audio``, ``video`` (a clip or a folder of pictures), ``image``, ``text``; any other column whose cells end in ``.npy`` or
``.npz#key`` is a modality of features under the column's name. Optional: ``split``, ``start`` and ``end`` (seconds),
``group``, ``id``, and properties of the samples ``group_<name>``. An empty cell marks a missing modality. Paths are
relative to the manifest's folder.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.named_files import Files
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError, UsageError
from mmbal.files import sha256
from mmbal.predictions.labels import ABSENT
from mmbal.predictions.names import SEGMENT
from mmbal.predictions.splits import ALIASES
from mmbal.predictions.tables import number, read_table, read_text

RESERVED = ("label", "split", "start", "end", "group", "id")
FILES = ("path", "audio", "video", "image")
MEDIA = (*FILES, "text")
OPTIONAL = ("split", "start", "end", "group", "id")
ADDRESS = re.compile(r"(?!file:)[a-zA-Z][\w+.-]+://")
FAULT = "\0"  # the column of what is wrong with a line


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: where its modalities lie; ``split`` and ``group`` are '' where unknown."""

    id: str
    label: str
    sources: dict[str, Source]
    split: str = ""
    group: str = ""
    line: int = 0  # where it is listed; 0 where that is unknown
    segments: dict[str, str] = field(default_factory=dict)  # properties: the columns group_<name>


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
    """Read a manifest, without opening what it names; rows that can't be used become findings.

    The recipes are left empty. Raises DataError where the whole file can't be used.
    """
    notes: list[str] = []
    records = list(_records(path, notes))
    if not records:
        raise DataError(
            f"{path} has no samples.", "A manifest has a header line (path,label,split) and a line per sample."
        )
    if all(FAULT in record for _, record in records):
        line, record = records[0]
        raise DataError(f"{path} has no usable sample: line {line}: {record[FAULT]}.")
    known = list(dict.fromkeys(key for _, record in records for key in record if key != FAULT))
    label_column = options.label or "label"
    if label_column not in known:
        raise DataError(
            f"{path} has no column '{label_column}' (it has: {', '.join(known)}).",
            "Name the class column 'label', or give --label COLUMN.",
        )
    columns = _modality_columns(path, [c for c in known if c not in (*RESERVED, label_column)], records, options)
    unused = [c for c in known if c not in (*columns, *RESERVED[1:], label_column) and not is_segment(c)]
    findings: list[Finding] = []
    rows: list[Row] = []
    files = Files(path.parent)
    for line, record in records:
        try:
            rows.append(_row(line, record, columns, label_column, files))
        except ValueError as error:
            findings.append(Finding("error", "row", f"line {line}", str(error)))
    if not rows:
        raise DataError(f"{path} has no usable sample: {findings[0].where}: {findings[0].reason}.")
    rows = [replace(row, id=name) for row, name in zip(rows, told_apart(row.id for row in rows), strict=True)]
    if files.renamed:
        named, there = next(iter(files.renamed.items()))
        were = "file was" if len(files.renamed) == 1 else "files were"
        notes.append(f"{len(files.renamed)} {were} found under another name: '{named}' is '{there}'")
    if unused:
        notes.append(f"columns not used: {', '.join(unused)}")
    return Manifest(path.stem, rows, {}, findings=findings, notes=notes, meta={"manifest_sha256": sha256(path)})


def told_apart(names: Iterable[Any]) -> list[str]:
    """The names as texts; a name that repeats (words or seconds of one clip) gets a number: a, a#2."""
    seen = Counter[str]()
    apart = []
    for name in map(str, names):
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return apart


def _records(path: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, cells) of a CSV, TSV or JSON-lines file; what is wrong with a line is its cell ``FAULT``."""
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        records = list(_json_records(read_text(path, notes)))
        spelled = _small(dict.fromkeys(key for _, record in records for key in record))
        yield from ((line, {spelled.get(key, key): cell for key, cell in record.items()}) for line, record in records)
        return
    table = read_table(path, ragged=True)
    notes += table.notes
    lower = _small(table.header)
    header = [lower.get(name, name) for name in table.header]
    for line, cells in zip(table.lines, table.rows, strict=True):
        surplus = {FAULT: "more cells than the header has"} if any(cells[len(header) :]) else {}
        yield line, dict(zip(header, cells, strict=False)) | surplus


def _small(names: Collection[str]) -> dict[str, str]:
    """Columns that people write as Label or PATH -> their name; an exact name is preferred."""
    known = {*RESERVED, *MEDIA}
    return {name: name.lower() for name in names if name.lower() in known and name.lower() not in names}


def _json_records(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for place, line in enumerate(_json_lines(text), start=1):
        if isinstance(line, str) and not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once) if isinstance(line, str) else line
        except RecursionError:
            yield place, {"label": "", FAULT: "not JSON (nested too deeply)"}
            continue
        except ValueError as error:
            yield place, {"label": "", FAULT: f"not JSON ({getattr(error, 'msg', str(error))})"}
            continue
        if not isinstance(record, dict):
            yield place, {"label": "", FAULT: "not a JSON object"}
            continue
        if record and all(isinstance(cells, dict) for cells in record.values()):
            yield (
                place,
                {"label": "", FAULT: "columns, not a sample (pandas: orient='records', lines=True)"},
            )
            continue
        cells = {str(k): _cell(v) for k, v in record.items()}
        odd = next((k for k, v in record.items() if isinstance(v, dict) or (isinstance(v, list) and k in FILES)), None)
        if odd is not None:
            cells[FAULT] = f"'{odd}' holds {'an object' if isinstance(record[odd], dict) else 'a list'}, not one value"
        if any("\ud800" <= sign <= "\udfff" for cell in cells.values() for sign in cell):
            cells[FAULT] = "a text with half a character (a surrogate)"
        yield place, cells


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError for a key that comes twice, of which Python would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' comes twice")
    return found


def _json_lines(text: str) -> list[Any]:
    """The lines of JSON lines; of one JSON array its entries."""
    if text.lstrip().startswith("["):
        try:
            whole = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            whole = None
        if isinstance(whole, list) and all(isinstance(entry, dict) for entry in whole):
            return whole
    return text.split("\n")


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN, which is how pandas writes an empty cell
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
        scores = any(":" in column for column in columns)
        raise DataError(
            f"{path} has no column with media (it has: {', '.join(columns) or 'none but the label'}).",
            f"Scores of a model: mmbal import {path}."
            if scores
            else "Use path, audio, video, image, text, or a column of .npy / .npz#key files.",
        )
    return known


def is_segment(name: str) -> bool:
    """Whether a column holds a property of the samples, ``group_<name>``."""
    return name.startswith(SEGMENT) and name != SEGMENT


def _is_features(cell: str) -> bool:
    return cell.partition("#")[0].lower().endswith((".npy", ".npz"))


def _row(line: int, record: dict[str, str], columns: Sequence[str], label_column: str, files: Files) -> Row:
    """One row; raises ValueError with what is wrong with it."""
    if FAULT in record:
        raise ValueError(record[FAULT])
    label = unicodedata.normalize("NFC", record.get(label_column, ""))
    if not label:
        raise ValueError("no label")
    record = record | {name: "" for name in OPTIONAL if record.get(name, "").casefold() in ABSENT}
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
        if not cell or (cell.casefold() in ABSENT and column != "text" and not os.path.lexists(files.folder / cell)):
            continue
        if ADDRESS.match(cell) and column != "text":
            raise ValueError(f"{column} is an address ({cell}): mmbal reads files on the disk")
        if column == "text" and not _is_text_file(files.folder, cell):
            sources["text"] = Source(text=cell)
            continue
        first = first or cell
        file, _, key = cell.partition("#") if _is_features(cell) else (cell, "", "")
        source = Source(path=files.find(file), key=key, start=start, end=end)
        for m in _in_clip(file) if column == "path" else (column,):
            sources.setdefault(m, source)
    if not sources:
        raise ValueError("no media: every modality's cell is empty")
    name = record.get("id") or Path(first.replace("\\", "/")).stem or label
    group = unicodedata.normalize("NFC", record.get("group", ""))
    segments = {key.removeprefix(SEGMENT): cell for key, cell in record.items() if is_segment(key)}
    return Row(name, label, sources, ALIASES.get(split, ""), group, line, segments)


def _is_text_file(folder: Path, cell: str) -> bool:
    """A name that ends in .txt; one with spaces could be a sentence, unless it is there."""
    return cell.lower().endswith(".txt") and (not re.search(r"\s", cell) or os.path.isfile(folder / cell))


def _in_clip(file: str) -> tuple[str, ...]:
    """What a file of the column ``path`` gives: sound and pictures, or one of them where its suffix says so."""
    suffix = Path(file).suffix.lower()
    if suffix == ".gif":  # mostly moving; one picture stands still as a video
        return ("video",)
    return ("audio",) if suffix in AUDIO_SUFFIXES else ("image",) if suffix in PICTURE_SUFFIXES else ("audio", "video")


def _seconds(cell: str, name: str) -> float | None:
    """Seconds of a cell: ``2.5``, ``2,5`` or ``1:02.5``; raises ValueError."""
    if not cell:
        return None
    if not re.fullmatch(r"[+-]?[\w.:,+-]+", cell):
        raise ValueError(f"{name} '{cell}' is not a number of seconds")
    try:
        *above, last = cell.split(":")
        value = number(last) + sum(60 ** (k + 1) * int(part) for k, part in enumerate(reversed(above)))
    except ValueError:
        raise ValueError(f"{name} '{cell}' is not a number of seconds") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} {cell} is not a time")
    return value
