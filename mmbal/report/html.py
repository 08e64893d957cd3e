"""One self-contained page, without network or scripts: the diagnosis of a run, or a comparison of runs."""

from __future__ import annotations

from dataclasses import dataclass

from mmbal.diagnosis.document import Diagnosis
from mmbal.diagnosis.tables import titled_tables
from mmbal.maths.bootstrap import Estimate
from mmbal.report.compare import Comparison
from mmbal.report.render import legend, table_of
from mmbal.report.rendering import html
from mmbal.text import plural


@dataclass(frozen=True)
class Bar:
    """A bar with its interval; ``tone`` is ``a`` or ``b``."""

    label: str
    figure: Estimate
    tone: str = "a"


@dataclass(frozen=True)
class Part:
    """A heading with its tables."""

    title: str
    tables: list[object]


def diagnosis_html(diagnosis: Diagnosis, title: str) -> str:
    """The page of one run: verdict, next commands, contribution against capability, and every table."""
    d = diagnosis
    bars = []
    for m in d.data.modalities:
        if m in d.contribution:
            bars.append(Bar(f"{m}: contribution", d.contribution[m]))
        if m in d.capability:
            bars.append(Bar(f"{m}: capability", d.capability[m], "b"))
    counts = [plural(d.data.samples, "sample"), plural(len(d.data.classes), "class", "classes")]
    counts.append(plural(len(d.data.modalities), "modality", "modalities"))
    return html(
        "diagnosis",
        title=title,
        about=", ".join([f"{d.data.split} split", *counts]),
        verdict=d.verdict,
        advice=d.advice,
        bars=bars,
        sections=[Part(heading, list(tables)) for heading, tables in titled_tables(d, wide=True)],
        not_computed=d.not_computed,
    )


def comparison_html(comparison: Comparison, optimistic: bool = False, title: str = "Comparison") -> str:
    """The page of a comparison: accuracies as bars, then the table."""
    known = [(row.label, row.figures["accuracy"]) for row in comparison.rows]
    return html(
        "comparison",
        title=title,
        about=f"{plural(len(comparison.rows), 'row')}, {comparison.split} split",
        bars=[Bar(label, figure) for label, figure in known if figure is not None],
        table=table_of(comparison, optimistic),
        legend=legend(comparison),
    )
