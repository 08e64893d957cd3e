"""The tables of a diagnosis: of its modalities and its classes, to which every section adds columns, and the sections'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmbal.diagnosis.section import all_sections
from mmbal.tables import Column, Table
from mmbal.text import PLAIN, plural

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis


def title_of(d: Diagnosis) -> str:
    """What was diagnosed, in one line."""
    told = [str(d.data.meta[k]) for k in ("dataset", "fusion", "method", "rule", "heads") if d.data.meta.get(k)]
    counts = [plural(d.data.samples, "sample"), plural(len(d.sampled() or d.data.classes), "class", "classes")]
    return " · ".join([*told, ", ".join([f"{d.data.split} split", *counts])])


def tables_of(d: Diagnosis, full: bool = True) -> list[Table]:
    """Every table of a diagnosis in order; the main ones, or all."""
    return [table for _, tables in titled_tables(d, full) for table in tables]


def titled_tables(d: Diagnosis, full: bool = True, wide: bool = False) -> Iterator[tuple[str, list[Table]]]:
    """Headings, each with its tables; ``wide``: tables may have any width, as on a page."""
    yield "Modalities", [modalities(d)]
    if len(d.sampled()) > 1:
        yield "Classes", [classes(d, wide)]
    for section in all_sections():
        found = section.tables(d) if full or not section.full else []
        if found:
            yield section.title, found


def reasons(d: Diagnosis) -> dict[str, list[str]]:
    """Why figures were not computed, and what they would need: each reason with the figures."""
    found: dict[str, list[str]] = {}
    for n in d.not_computed:
        found.setdefault(f"{n.reason}; needs {n.needs}" if n.needs else n.reason, []).append(n.what)
    return found


def gaps(d: Diagnosis, full: bool = True) -> list[str]:
    """What was not computed, in sentences: each reason, or only of which sections something is missing."""
    if full:
        return [f"Not computed: {', '.join(whats)}: {reason}." for reason, whats in reasons(d).items()]
    wanting = [n.what for n in d.not_computed if n.needs == "labels"]
    others = list(dict.fromkeys(n.what.split(".")[0] for n in d.not_computed if n.what not in wanting))
    told = [f"These figures need labels: {', '.join(wanting)}."] if wanting else []
    if others:
        told.append(
            f"Not computed: parts of {', '.join(others)}. --full gives the reasons; --json or --out FILE gives all figures."
        )
    return told


def modalities(d: Diagnosis) -> Table:
    """One row a modality, and one for the fused decision; the most important columns first."""
    first = Column("modality", [*d.data.modalities, "fused"])
    caption = f"Imbalance index: {PLAIN.text(d.index)}." if d.index is not None else ""
    found = sorted((c for s in all_sections() for c in s.modality_columns(d)), key=lambda c: c.drop)
    return Table.of([first, *found], caption=caption)


def classes(d: Diagnosis, wide: bool = False) -> Table:
    """One row for each class that has samples."""
    known = d.sampled()
    first = [Column("class", list(known)), Column("samples", [c.samples for c in known.values()], drop=4)]
    return Table.of([*first, *(c for s in all_sections() for c in s.class_columns(d, wide))])
