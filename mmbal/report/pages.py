"""What is written for people: the pages in a run's folder, the page that was asked for, and figures for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbal.diagnosis.stored import keep
from mmbal.errors import UsageError
from mmbal.files import write_text
from mmbal.progress import portion, steps
from mmbal.report.card import card
from mmbal.report.compare import Comparison
from mmbal.report.html import comparison_html, source_html
from mmbal.report.making import History
from mmbal.report.picture import pictures_of, save
from mmbal.report.rules import Rules
from mmbal.report.sources import Source, read_source
from mmbal.runs import CARD, PAGE, read_summary, run_folder


def write_pages(source: Source) -> list[Path]:
    """Write CARD.md and report.html into the folder of a finished run; raises UsageError where it is none.

    A run of `mmbal import` has no card, since nothing is known of its training.
    """
    folder = run_folder(source.path)
    if folder is None or not source.summary:
        raise UsageError(f"{source.path} is not a finished run of mmbal.", "Give the folder that `mmbal train` made.")
    pages = {PAGE: source_html(source, folder.resolve().name)}
    if "best_epoch" in source.summary:
        pages = {CARD: card(folder, source.diagnosis)} | pages
    for name, text in pages.items():
        write_text(folder / name, text)
    return [folder / name for name in pages]


def renew_pages(path: str | Path) -> list[Path]:
    """Write diagnosis.json, CARD.md and report.html of a finished run, as the run and its stored rule are now.

    ``path`` is the run's folder or checkpoint. Nothing is written for a run without a test split. Returns what was
    written.
    """
    folder = run_folder(path)
    if folder is None or "test" not in read_summary(folder):
        return []
    with portion(0.4):
        source = read_source(folder)
    return [keep(source.diagnosis, folder), *write_pages(source)]


def page_of(comparison: Comparison, sources: Sequence[Source], optimistic: bool = False) -> str:
    """The page of what `mmbal report` was given: of one model, or of several side by side."""
    if len(sources) == 1:
        return source_html(sources[0], str(sources[0].path), sound=True)
    return comparison_html(comparison, optimistic, sources=sources)


def drawn_of(comparison: Comparison, sources: Sequence[Source]) -> dict[str, Any]:
    """What the pictures of that page are drawn of, by kind."""
    if len(sources) > 1:
        return {"comparison": comparison}
    (source,) = sources
    found = {"diagnosis": source.diagnosis, "rules": Rules.of(source.folder), "run": History.of(source.folder)}
    return {kind: subject for kind, subject in found.items() if subject is not None}


def write_figures(folder: Path, drawn: Mapping[str, Any]) -> list[Path]:
    """Write pictures as SVG, PNG and PDF, in the size and the fonts of a paper; ``drawn``: kind -> what they are of."""
    pictures = [(name, picture, of) for kind, of in drawn.items() for name, picture in pictures_of(kind).items()]
    return [written for name, picture, of in steps(pictures) for written in save(picture, name, of, folder)]
