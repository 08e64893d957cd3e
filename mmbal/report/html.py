"""Pages for a browser, each one self-contained file: of one model, and of a comparison or a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmbal.data.store.store import Store
from mmbal.diagnosis.document import SECTIONS, Diagnosis
from mmbal.diagnosis.section import Section
from mmbal.diagnosis.tables import classes, modalities, title_of
from mmbal.progress import portion
from mmbal.registry import sections
from mmbal.report.compare import Comparison
from mmbal.report.making import History, compared, reproduction, swept
from mmbal.report.picture import pictures_of, svg
from mmbal.report.ranking import conclusions as study_conclusions
from mmbal.report.ranking import differences, ranking
from mmbal.report.ranking import legend as study_legend
from mmbal.report.render import conclusions, legend, table_of
from mmbal.report.rendering import html
from mmbal.report.rules import Rules
from mmbal.report.samples import Sample, table, telling, with_media
from mmbal.report.sources import Source
from mmbal.report.study import Study
from mmbal.runs import decided_by, open_store
from mmbal.tables import Column, Table
from mmbal.text import plural

# The order of a page. Sections that are not named here, a plug-in's among them, stand between the two.
FIRST = ("accuracy", "balance", "total", "decision_gap", "representation_gap", "calibration")
LAST = ("discrepancy", "missing", "norms", "geometry", "tails")
BALANCE = "Contribution and capability"
REPRODUCED = "How to reproduce this page"


@dataclass(frozen=True)
class Drawing:
    """A picture on the page, with what stands below it."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Part:
    """A heading with its pictures, its tables and its samples."""

    title: str
    drawings: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lead: str = ""


def diagnosis_html(diagnosis: Diagnosis, title: str) -> str:
    """The page of a diagnosis alone, without the predictions and the run that it was made of."""
    return _page(diagnosis, title, [*_measured(diagnosis, _share(diagnosis=diagnosis)), *_closing(diagnosis)])


def source_html(source: Source, title: str, sound: bool = False) -> str:
    """The page of what a path holds: its diagnosis, and what its predictions, its run and its store add to that.

    ``sound``: also players for samples whose store holds spectrograms, which takes a second or two and some megabytes.
    """
    d, found, store = source.diagnosis, [], open_store(source.folder)
    rules, history = Rules.of(source.folder), History.of(source.folder)
    share = _share(diagnosis=d, rules=rules, run=history) / (1 if store is None else 2)  # samples take the other half
    for part in _measured(d, share):
        found.append(part)
        if part.title == _title("discrepancy"):
            found += _ruled(rules, share)
    if _title("discrepancy") not in [part.title for part in found]:
        found += _ruled(rules, share)
    seen = _samples(source, store, sound)
    return _page(d, title, [*found, *_trained(history, share), *seen, *_closing(d, source)])


def _page(d: Diagnosis, title: str, parts: list[Part]) -> str:
    return html(
        "diagnosis",
        title=title,
        about=title_of(d),
        verdict=d.verdict,
        decided=decided_by(d.data.meta.get("rule")),
        advice=d.advice,
        warnings=d.data.warnings,
        parts=parts,
    )


def _measured(d: Diagnosis, share: float) -> Iterator[Part]:
    """The diagnosis section by section, in the order of a page; what has nothing to show is left out."""
    named = {sections.name_of(type(section)): section for section in SECTIONS}
    others = [name for name in named if name not in (*FIRST, *LAST)]
    for name in (*FIRST, *others, *LAST):
        section = named[name]
        own = [modalities(d), *([classes(d, wide=True)] if len(d.sampled()) > 1 else [])] if name == "balance" else []
        part = Part(_title(name), list(_drawings("diagnosis", d, share, name)), own + section.tables(d))
        if part.drawings or part.tables:
            yield part


def _title(name: str) -> str:
    section: type[Section] = sections.get(name)
    return section.title or (BALANCE if name == "balance" else name.replace("_", " ").capitalize())


def _share(**subjects: Any) -> float:
    """The part of a page's making that one picture is, where those of ``subjects`` by kind are most of it."""
    known = [(picture, of) for kind, of in subjects.items() if of is not None for picture in pictures_of(kind).values()]
    return 1 / max(1, sum(len(picture.panels(of)) for picture, of in known))


def _drawings(kind: str, subject: Any, share: float, section: str = "") -> Iterator[Drawing]:
    """The pictures of a kind under the heading of a section; each is this ``share`` of the work on the page."""
    for name, picture in pictures_of(kind).items():
        if picture.section == section:
            for k, panel in enumerate(picture.panels(subject)):
                with portion(share):
                    drawn = svg(picture, f"{name}{k}", subject, panel)
                yield Drawing(drawn, picture.explained)


def _ruled(found: Rules | None, share: float) -> Iterator[Part]:
    """The candidate rules, where `mmbal calibrate` compared them."""
    if found is not None:
        yield Part("Candidate rules", list(_drawings("rules", found, share)), found.tables(), lead=found.sentence)


def _trained(found: History | None, share: float) -> Iterator[Part]:
    """Accuracy by epoch, of a run."""
    if found is not None:
        yield Part("Training", list(_drawings("run", found, share)), found.tables())


def _samples(source: Source, store: Store | None, sound: bool) -> Iterator[Part]:
    """The samples on which one modality tells, with what the run's store holds of them."""
    if source.predictions is None:
        return
    saved, sunk = telling(source.predictions)
    for title, found in (("Samples that one modality saves", saved), ("Samples that one modality sinks", sunk)):
        if found:
            lead = (
                "The model is right, and would be wrong without the modality."
                if found is saved
                else "The model is wrong, and would be right without the modality."
            )
            shown = with_media(found, store, sound) if store is not None else []
            yield Part(title, tables=[table(found)], samples=shown, lead=f"{lead} The clearest come first.")


def _closing(d: Diagnosis, source: Source | None = None) -> Iterator[Part]:
    """What was not computed, and how all of it was made."""
    if d.not_computed:
        columns = [
            Column("figure", [_spoken(n.what) for n in d.not_computed]),
            Column("why not", [n.reason for n in d.not_computed], left=True),
            Column("needs", [n.needs for n in d.not_computed], left=True),
        ]
        yield Part("Not computed", tables=[Table.of(columns)])
    yield Part(REPRODUCED, tables=reproduction(d, source))


def _spoken(path: str) -> str:
    """The path of a figure in words: ``missing.voice.zeroed`` is "Missing modalities: voice, zeroed"."""
    key, *rest = path.split(".")
    owner = next(
        (name for section in SECTIONS for name in [sections.name_of(type(section))] if key in section.fields), None
    )
    said = key.replace("_", " ") if owner is None else _title(owner)
    return f"{said}: {', '.join(rest)}" if rest else said


def comparison_html(
    comparison: Comparison, optimistic: bool = False, title: str = "Comparison", sources: Sequence[Source] = ()
) -> str:
    """The page of models side by side; ``sources``: what they were read from, by which the page can be made again."""
    rows = plural(len(comparison.rows), "row")
    part = Part(
        "Figures",
        list(_drawings("comparison", comparison, _share(comparison=comparison))),
        [table_of(comparison, optimistic)],
    )
    about = f"{comparison.split} split, {rows}"
    return html(
        "comparison",
        title=title,
        about=about,
        verdict=conclusions(comparison),
        parts=[part],
        legend=legend(comparison),
        closing=Part(REPRODUCED, tables=compared(comparison, sources)) if sources else None,
    )


def study_html(study: Study, title: str, folder: Path | None = None) -> str:
    """The page of a sweep; ``folder``: where its runs are, by which the page can be made again."""
    parts = [
        Part(
            "Mean ranks and what accuracy costs", list(_drawings("study", study, _share(study=study))), [ranking(study)]
        ),
        Part("Every pair of variants", tables=[differences(study)]),
    ]
    about = plural(len(study.rows), "variant")
    told = study_conclusions(study)
    return html(
        "comparison",
        title=title,
        about=about,
        verdict=told,
        parts=parts,
        legend=study_legend(study),
        closing=Part(REPRODUCED, tables=swept(study, folder)) if folder is not None else None,
    )
