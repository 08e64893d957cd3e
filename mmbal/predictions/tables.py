"""Tables of text in any of the usual encodings and separators, with or without an index column.

One reader for every CSV that mmbal takes. It gives cells as text with the line that each row stands in; the caller
knows what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmbal.errors import DataError, UsageError
from mmbal.file_kinds import kind_of_file
from mmbal.predictions.encodings import decode
from mmbal.progress import reached
from mmbal.text import MINUS

MANY = 10_000  # rows, after each of which the progress is told
SEPARATORS = (",", ";", "\t", "|")
TEXTS = (
    "table",
    "text",
    "json",
    "empty",
    "unknown",
)  # kinds of files whose text may be a table, or show that it is none
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
RULE = re.compile(r":?-{2,}:?")
INDEX = re.compile(r"|Unnamed: \d+")  # what pandas writes above the index, and calls it where it reads it again


@dataclass(frozen=True)
class Table:
    """Header and rows of stripped cells; ``lines`` are the line numbers of the rows, the header's being 1."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    separator: str = ","
    notes: list[str] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        position = self.header.index(name)
        return [row[position] for row in self.rows]


def read_text(path: Path, notes: list[str] | None = None) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, else in the older encoding that fits it best, which is noted.

    Raises UsageError (no file) or DataError (not text).
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        text, encoding = decode(path.read_bytes())
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a readable text file ({error}).", "Save it as UTF-8.") from None
    if encoding and notes is not None:
        notes.append(f"{path.name} is not UTF-8; it was read as {encoding}")
    if "\0" in text:
        raise DataError(f"{path} is not a text file: it holds NUL bytes.")
    return text


def separator_of(text: str, path: Path | None = None) -> str:
    """The separator of the cells: the one that the header line has most of, outside quotes; tab for a .tsv."""
    if path is not None and path.suffix.lower() == ".tsv":
        return "\t"
    lines = [line for line in text.splitlines() if line.strip()]
    first = re.sub(r'"[^"]*"', "", lines[0]) if lines else ""
    if not any(map(first.count, SEPARATORS)):
        cells = [len(re.findall(r'"[^"]*"|\S+', line)) for line in lines]
        if (
            cells and cells[0] > 1 and {*cells[1:]} in ({cells[0]}, {cells[0] + 1})
        ):  # R names the rows, not their column
            return " "
    return max(SEPARATORS, key=first.count)  # a comma where there is none


def read_table(path: Path, *, ragged: bool = False) -> Table:
    """Read a table with a header line; an index column without a name and empty columns at the end are left out.

    ``ragged`` lets rows have more or fewer cells than the header. Raises UsageError (no file), DataError (not a table; a
    column that comes twice; a row of another length, with its line).
    """
    notes: list[str] = []
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    kind = kind_of_file(path)
    if kind.name not in TEXTS:
        raise DataError(f"{path} is {kind.what}, not a table of text (CSV).", kind.advice)
    text = read_text(path, notes)
    told = re.match(r"\s*sep=(\\t|.)\r?\n", text)  # a line for Excel
    begin = told.end() if told else _behind_comments(text, notes)
    separator = told[1].replace("\\t", "\t") if told else separator_of(text[begin:], path)
    skipped = len(text[:begin].splitlines())
    stream = io.StringIO(text[begin:], newline="")
    reader = csv.reader(stream, delimiter=separator, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append([cell.strip() for cell in cells])
                lines.append(reader.line_num + skipped)
                if len(rows) % MANY == 0:
                    reached(stream.tell() / len(text))
    except csv.Error as error:
        raise DataError(f"{path} is not a readable table (line {reader.line_num + skipped}: {error}).") from None
    if not rows:
        raise DataError(f"{path} is empty.")
    header, rows, lines = rows[0], rows[1:], lines[1:]
    if rows and separator == "|" and all(RULE.fullmatch(cell) for cell in rows[0] if cell):
        rows, lines = rows[1:], lines[1:]  # the line below the header, in Markdown
    if rows and all(len(row) == len(header) + 1 and row[-1] for row in rows):
        header = ["", *header]  # R's names of the rows
    kept = _named(path, header, rows, notes)
    names = [header[k] for k in kept]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns '{twice[0]}'.")
    if not ragged:
        for line, row in zip(lines, rows, strict=True):
            if len(row) != len(header) and (len(row) < len(header) or any(row[len(header) :])):
                raise DataError(f"{path}, row {line}: {len(row)} cells, but the header has {len(header)}.")
    if kept != list(range(len(header))):
        rows = [[row[k] for k in kept if k < len(row)] + row[len(header) :] for row in rows]
    return Table(path, names, rows, lines, separator, notes)


def _behind_comments(text: str, notes: list[str]) -> int:
    """Where the table begins behind lines of ``#`` that are not its header: those with other cells than the next line."""
    begin = skipped = 0
    for line in re.finditer(r"[^\r\n]*(\r\n|\r|\n)", text):
        following = text[line.end() :].splitlines()[:1]
        mark = separator_of(following[0]) if following else ","
        if not line[0].startswith("#") or line[0].count(mark) == following[0].count(mark) > 0:
            break
        begin, skipped = line.end(), skipped + 1
    if skipped:
        notes.append(f"{skipped} line{'s' if skipped > 1 else ''} of comments before the header were left out")
    return begin


def _named(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], notes: list[str]) -> list[int]:
    """Positions of the columns to keep: those with a name. Raises DataError for cells in another column without one."""
    kept = []
    for k, name in enumerate(header):
        if not INDEX.fullmatch(name):
            kept.append(k)
        elif k == 0:
            notes.append(f"the first column of {path.name} has no name: it is an index and was left out")
        elif name == "" and any(k < len(row) and row[k] for row in rows):
            raise DataError(
                f"{path}: column {k + 1} has cells, but no name.", "Name it in the first line, or remove it."
            )
    return kept


def of_two_kinds(cells: Collection[str]) -> str:
    """A number with a comma that may part the thousands: where others have a point, or are whole. '' where none is so."""
    commas = [cell for cell in cells if "," in cell and "." not in cell]
    points = any("." in cell and "," not in cell for cell in cells)
    thousands = len(commas) < len(cells) and all(THOUSANDS.fullmatch(cell) for cell in commas)
    return commas[0] if commas and (points or thousands) else ""


def number(cell: str) -> float:
    """A cell as a number: ``0.5``, ``0,5``, ``−1``, ``50 %`` (which stays 50). Raises ValueError."""
    text = cell.removesuffix("%").strip().replace(MINUS, "-")
    if "_" in text:  # Python takes 1_000 for a number; no table means that
        raise ValueError(cell)
    return float(text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text)
