"""The pages in a run's folder: diagnosis.json, the model card and the page for a browser."""

from __future__ import annotations

from pathlib import Path

from mmbal.diagnosis.stored import keep
from mmbal.errors import UsageError
from mmbal.files import write_text
from mmbal.report.card import card
from mmbal.report.compare import Source, read_source
from mmbal.report.html import source_html
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
    source = read_source(folder)
    return [keep(source.diagnosis, folder), *write_pages(source)]
