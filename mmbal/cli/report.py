"""`mmbal report`: runs side by side, with spread over seeds and paired tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import console
from mmbal.cli.options import Force, Json
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.report.compare import Comparison

FORMATS = {".json": "json", ".md": "markdown", ".tex": "latex", ".html": "html"}


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Runs, checkpoints, diagnosis.json, predictions or features .npz; the first is the baseline."
        ),
    ],
    split: Annotated[str, typer.Option(help="Split to compare on.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Write to a file; its ending decides: .md, .tex, .html or .json.", dir_okay=False),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    optimistic: Annotated[
        bool, typer.Option("--optimistic", help="Also show the best epoch on TEST data, where a run recorded it.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="Write CARD.md and report.html into each run's folder.")] = False,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs: accuracy, likelihood, calibration, imbalance and decision gap, with intervals and paired tests.

    Runs that differ only in their seed become one row. Examples: [bold]mmbal report runs/*[/bold];
    [bold]mmbal report joint.npz mine.npz --out table.tex[/bold].
    """
    from mmbal.files import refuse_existing, write_json, write_text
    from mmbal.report import render
    from mmbal.report.compare import compare_sources, read_source
    from mmbal.report.html import comparison_html, diagnosis_html
    from mmbal.report.pages import write_pages

    if markdown + latex + as_json > 1:
        raise UsageError("--markdown, --latex and --json exclude each other.")
    if out is not None and out.suffix not in FORMATS:
        raise UsageError(f"{out} has no known ending.", f"Known: {', '.join(FORMATS)}.")
    refuse_existing(out, force)
    sources = [read_source(path, split, bootstrap) for path in paths]
    for source in sources:
        told = source.diagnosis.data
        console.told_of(source.path, told.meta, [f"{source.path}: {text}" for text in told.warnings])
    comparison = compare_sources(sources, bootstrap)
    for source in sources if card else []:
        for written in write_pages(source):
            console.note(f"Wrote {written}")
    if out is not None:
        kind = FORMATS[out.suffix]
        if kind == "json":
            write_json(out, comparison.model_dump(mode="json"))
        elif kind == "html" and len(sources) == 1:
            write_text(out, diagnosis_html(sources[0].diagnosis, str(paths[0])))
        elif kind == "html":
            write_text(out, comparison_html(comparison, optimistic))
        else:
            write_text(out, getattr(render, kind)(comparison, optimistic))
        console.note(f"Wrote {out}")
    if as_json:
        console.print_json(comparison.model_dump(mode="json"))
    elif markdown or latex:
        typer.echo((render.markdown if markdown else render.latex)(comparison, optimistic), nl=False)
    else:
        show(comparison, optimistic)
        if optimistic and not any(row.optimistic for row in comparison.rows):
            console.note("No run recorded its best test epoch; train with --optimistic to have it.")


def show(comparison: Comparison, optimistic: bool = False, title: str = "") -> None:
    """Print a comparison as a table that fits the terminal, with its legend."""
    from dataclasses import replace

    from mmbal.report.render import legend, table_of

    console.show(replace(table_of(comparison, optimistic), title=title))
    for line in legend(comparison):
        console.say(line, style="dim")
