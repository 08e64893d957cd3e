"""`mmbal report`: runs side by side, with spread over seeds and paired tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Force, Json
from mmbal.cli.progress import working
from mmbal.errors import UsageError
from mmbal.progress import steps
from mmbal.text import plural

if TYPE_CHECKING:
    from mmbal.report.compare import Comparison
    from mmbal.tables import Table

FORMATS = {".json": "json", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".html": "html"}


def report(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Runs, checkpoints, diagnosis.json, predictions or feature files (.npz); or one sweep.",
            autocompletion=completion.runs,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to compare on.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Write to a file; its ending decides: .md, .tex, .csv, .html or .json.", dir_okay=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the page for a browser: one file that needs no network.", dir_okay=False)
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Write the page's pictures into this folder, as SVG, PNG and PDF for a paper.", file_okay=False
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="The row that the others are tested against. Default: the first.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these columns: --columns accuracy,gain,p.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="NAME", help="Sort the rows by this column, the best first.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="Print TEXT as the name of a row. Repeatable.")
    ] = None,
    caption: Annotated[str, typer.Option(help="Caption of the LaTeX table.")] = "",
    optimistic: Annotated[
        bool, typer.Option("--optimistic", help="Also show the best epoch on TEST data, where a run recorded it.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="Write CARD.md and report.html into each run's folder.")] = False,
    within: Annotated[
        float, typer.Option(min=0, help="Of a sweep: variants that differ by less are practically equal, in pp.")
    ] = 1.0,
    bib: Annotated[
        Path | None, typer.Option(help="Of a sweep: write the BibTeX of its methods to a file.", dir_okay=False)
    ] = None,
    checklist: Annotated[
        bool, typer.Option("--checklist", help="What a comparison should say of itself; filled in for a sweep.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(metavar="published", help="Place one run in the table of results that mmbal ships.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs: accuracy, likelihood, calibration, imbalance and decision gap, with intervals and paired tests.

    Runs that differ only in their seed become one row. Of the folder of a sweep: mean ranks, every pair of variants
    tested, groups that are not told apart, and what accuracy costs.

    Examples:
        mmbal report runs/*
        mmbal report joint.npz mine.npz --out table.tex
        mmbal report runs/joint --html page.html
        mmbal report runs/study
    """
    from mmbal.cli.study import StudyOptions, show_study
    from mmbal.files import refuse_existing, write_json, write_text
    from mmbal.report import render
    from mmbal.report.compare import check_rows, compare_sources
    from mmbal.report.sources import read_source
    from mmbal.report.study import is_sweep
    from mmbal.report.tables import csv as as_csv

    if markdown + latex + csv + as_json > 1:
        raise UsageError("--markdown, --latex, --csv and --json exclude each other.")
    if out is not None and out.suffix not in FORMATS:
        raise UsageError(f"{out} has no known ending.", f"Known: {', '.join(FORMATS)}.")
    names = _labels(label or [])
    paths = paths or []
    if against is not None:
        _show_against(against, paths, as_json)
        return
    for target in (out, html):
        refuse_existing(target, force)
    if checklist or (len(paths) == 1 and is_sweep(paths[0])):
        runs_only = {"--label": label, "--baseline": baseline, "--optimistic": optimistic, "--card": card}
        if given := [name for name, value in runs_only.items() if value]:
            raise UsageError(
                f"{' and '.join(given)} can't be used with a sweep.", "Give its runs: mmbal report SWEEP/*/*"
            )
        chosen = {"markdown": markdown, "latex": latex, "csv": csv, "json": as_json}
        form = next((name for name, wanted in chosen.items() if wanted), "terminal")
        if out is not None and out.suffix == ".html":
            if html is not None:
                raise UsageError("--out and --html both name a page.", "Give one of them.")
            out, html = None, out
        options = StudyOptions(
            split, within / 100, out, html, form, caption, figures, bib, checklist, force, columns, sort
        )
        show_study(paths, options)
        return
    if not paths:
        raise UsageError("There is nothing to report.", "Give runs, predictions or the folder of a sweep.")
    if bib is not None:
        raise UsageError("--bib needs the folder of a sweep, which `mmbal sweep` makes.")
    wanted = [name for name in (sort, *(columns or "").split(",")) if name]
    render.check_columns(wanted, optimistic)
    if baseline is not None or names:
        check_rows(paths, baseline, names)
    with working(f"Diagnosing {plural(len(paths), 'model')}"):
        sources = [read_source(path, split, bootstrap) for path in steps(paths)]
    for source in sources:
        data = source.diagnosis.data
        console.told_of(source.path, data.meta, [f"{source.path}: {text}" for text in data.warnings])
    comparison = compare_sources(sources, bootstrap, baseline=baseline).relabelled(names)
    table = render.table_of(comparison, optimistic)
    table = table if sort is None else table.sorted(sort)
    table = table if columns is None else table.of_columns(columns.split(","))
    if card:
        from mmbal.report.pages import write_pages

        with working("Writing the pages"):
            cards = [path for source in steps(sources) for path in write_pages(source)]
        for written in cards:
            console.note(f"Wrote {written}")

    def told(kind: str) -> str:
        if kind == "markdown":
            return render.markdown(table, comparison)
        if kind == "latex":
            return render.latex(table, comparison, caption)
        if kind == "csv":
            return as_csv(table)
        from mmbal.report.pages import page_of  # needs the templates, which a table does not

        with working("Writing the page"):
            return page_of(comparison, sources, optimistic)

    if out is not None:
        kind = FORMATS[out.suffix]
        if kind == "json":
            write_json(out, comparison.model_dump(mode="json"))
        else:
            write_text(out, told(kind))
        console.note(f"Wrote {out}")
    if html is not None:
        write_text(html, told("html"))
        console.note(f"Wrote {html}")
    if figures is not None:
        from mmbal.report.pages import drawn_of, write_figures

        with working("Drawing the figures"):
            drawn = write_figures(figures, drawn_of(comparison, sources))
        console.note(f"Wrote {len(drawn)} files into {figures}")
    if as_json:
        console.print_json(comparison.model_dump(mode="json"))
    elif markdown or latex or csv:
        typer.echo(told("markdown" if markdown else "latex" if latex else "csv"), nl=False)
    else:
        show(table, comparison)
        if optimistic and not any(row.optimistic for row in comparison.rows):
            console.note("No run recorded its best test epoch; train with --optimistic to have it.")


def _show_against(what: str, paths: list[Path], as_json: bool) -> None:
    from mmbal.report.published import PUBLISHED, against_published

    if what != PUBLISHED or len(paths) != 1:
        raise UsageError("--against takes 'published' and one run.", "mmbal report RUN --against published")
    table, told = against_published(paths[0])
    if as_json:
        console.print_json({"rows": [dict(zip(table.head, row, strict=True)) for row in table.rows()], "note": told})
        return
    console.show(table)
    console.say(told, style="dim")


def _labels(given: list[str]) -> dict[str, str]:
    """``NAME=TEXT`` as a mapping; NAME may hold an equals sign itself."""
    for text in given:
        if "=" not in text:
            raise UsageError(f"--label {text} is not of the form NAME=TEXT.")
    return {name: told for name, _, told in (text.rpartition("=") for text in given)}


def show(table: Table, comparison: Comparison) -> None:
    """Print a comparison as a table that fits the terminal, with its legend."""
    from mmbal.report.render import conclusions, legend

    for line in conclusions(comparison):
        console.paragraph([line])
    console.show(table)
    for line in legend(comparison, table):
        console.say(line, style="dim")
