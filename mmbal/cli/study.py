"""`mmbal report SWEEP`: a sweep as a whole, and the checklist of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from mmbal.cli import console
from mmbal.cli.progress import working
from mmbal.errors import UsageError

FORMS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}


@dataclass(frozen=True)
class StudyOptions:
    """The options of `mmbal report` that a sweep takes."""

    split: str
    within: float
    out: Path | None
    html: Path | None
    form: str  # terminal, markdown, latex, csv or json
    caption: str
    figures: Path | None
    bib: Path | None
    checklist: bool
    force: bool
    columns: str | None = None
    sort: str | None = None


def show_study(paths: Sequence[Path], options: StudyOptions) -> None:
    """Print or write the tables of a sweep; raises UsageError for what is no sweep."""
    from mmbal.files import refuse_existing, write_json, write_text
    from mmbal.report import tables
    from mmbal.report.checklist import checklist
    from mmbal.report.ranking import check_columns, conclusions, differences, legend, ranking
    from mmbal.report.study import is_sweep, runs_of, study_of

    folder = paths[0] if paths else None
    if len(paths) > 1 or (folder is not None and not is_sweep(folder)):
        raise UsageError("--checklist takes the folder of one sweep, or nothing.", "`mmbal sweep` makes such a folder.")
    # a program reads one table from a CSV, so the pairs get a file of their own
    pairs = options.out.with_stem(f"{options.out.stem}-pairs") if options.out and options.out.suffix == ".csv" else None
    for target in (options.bib, pairs):
        refuse_existing(target, options.force)
    if options.checklist or folder is None:
        with working("Reading the runs"):
            shown, told, first, document = [checklist(folder, options.split, options.within)], [], [], None
    else:
        sets = sorted({run.data for run in runs_of(folder)[0]})
        check_columns([name for name in (options.sort, *(options.columns or "").split(",")) if name], sets)
        with working("Comparing the runs"):
            study = study_of(folder, options.split, options.within)
        ranks = ranking(study)
        ranks = ranks if options.sort is None else ranks.sorted(options.sort)
        ranks = ranks if options.columns is None else ranks.of_columns(options.columns.split(","))
        whole = "csv" in (options.form, FORMS.get(options.out.suffix if options.out else ""))
        shown, told, first = [ranks, differences(study, whole)], legend(study), conclusions(study)
        document = study.model_dump(mode="json")
        if options.figures is not None:
            from mmbal.report.pages import write_figures

            with working("Drawing the figures"):
                drawn = write_figures(options.figures, {"study": study})
            console.note(f"Wrote {len(drawn)} files into {options.figures}")
        if options.html is not None:
            from mmbal.report.html import study_html

            with working("Writing the page"):
                page = study_html(study, folder.resolve().name, folder)
            write_text(options.html, page)
            console.note(f"Wrote {options.html}")
        if options.bib is not None:
            write_text(options.bib, bibliography(row.method for row in study.rows))
            console.note(f"Wrote {options.bib}")
    if document is None:
        names = shown[0].head
        document = {"checklist": [dict(zip(names, row, strict=True)) for row in shown[0].rows()]}

    def text(form: str) -> str:
        if form == "markdown":
            return (
                "\n".join(map(tables.markdown, shown))
                + "".join(f"\n- {tables.escape_markdown(t)}" for t in told)
                + "\n"
            )
        if form == "latex":
            return "".join(f"% {t}\n" for t in told) + "\n".join(tables.latex(t, options.caption) for t in shown)
        return "\n".join(map(tables.csv, shown))

    if options.out is not None:
        form = FORMS[options.out.suffix]
        if form == "json":
            write_json(options.out, document)
        elif pairs is not None and len(shown) > 1:
            for file, table in zip((options.out, pairs), shown, strict=True):
                write_text(file, tables.csv(table))
            console.note(f"Wrote {pairs}")
        else:
            write_text(options.out, text(form))
        console.note(f"Wrote {options.out}")
    if options.form == "json":
        console.print_json(document)
    elif options.form == "terminal":
        for line in first:
            console.paragraph([line])
        for table in shown:
            console.show(table)
        for line in told:
            console.say(line, style="dim")
    else:
        typer.echo(text(options.form), nl=False)


def bibliography(names: Iterable[str]) -> str:
    """The BibTeX of methods, each once, in the order of their names; what cites nothing is left out."""
    from mmbal.registry import methods
    from mmbal.report.citations import bibtex

    found = []
    for name in sorted(set(names)):
        try:
            found.append(bibtex(methods.entry(name)))
        except UsageError as error:
            console.note(error.message)
    return "\n\n".join(found) + "\n"
