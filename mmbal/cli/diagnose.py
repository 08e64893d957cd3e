"""`mmbal diagnose`: which modality the model follows, whether the evidence supports that, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Force, Json
from mmbal.cli.progress import working
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.diagnosis.comparison import SideBySide
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.runs import Subject


def diagnose(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Runs, checkpoints, predictions or feature files (.npz); two or more are compared.",
            autocompletion=completion.runs,
        ),
    ],
    split: Annotated[str, typer.Option(help="Split to diagnose.")] = "test",
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Separately trained encoders: a run of `mmbal pretrain`, or a file with the same ids.",
            autocompletion=completion.runs,
        ),
    ] = None,
    human: Annotated[bool, typer.Option("--human", help="CREMA-D: compare the model with the human raters.")] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="An earlier diagnosis (JSON): says what has changed since. Needs no labels.")
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="Decision rule to compare the model's own decision with.", autocompletion=completion.members("rule")
        ),
    ] = "adaptive",
    full: Annotated[
        bool, typer.Option("--full", help="All tables: Shapley, samples, missing modalities, norms, geometry.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="Exit 3 where this holds: 'index > 0.2', 'contribution.video < 0.3'. Repeatable.",
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the bootstrap replicates; the verdict does not depend on it.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the diagnosis (JSON) to this file.", dir_okay=False)] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the page for a browser: one file that needs no network.", dir_okay=False)
    ] = None,
    suspects: Annotated[
        Path | None,
        typer.Option(help="Write the samples whose label or file looks wrong to this CSV file.", dir_okay=False),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Show which modality decides, class by class, whether the evidence supports that, and what it costs.

    The diagnosis of a run is also written to diagnosis.json in its folder.
    """
    from mmbal.diagnosis.comparison import compare_diagnoses
    from mmbal.diagnosis.policy import by_conditions, failure, judge, summary
    from mmbal.diagnosis.sections.suspects import listing
    from mmbal.diagnosis.stored import diagnosis_of, keep
    from mmbal.files import refuse_existing, write_json, write_text
    from mmbal.registry import rules
    from mmbal.report.tables import csv
    from mmbal.runs import subject

    policy = by_conditions(fail_if or [])
    rules.entry(rule)  # names are checked before files
    if html is not None and len(paths) > 1:
        raise UsageError("--html shows one model.", "`mmbal report A B --html FILE` compares several on one page.")
    for option, given in (("--baseline", baseline), ("--suspects", suspects)):
        if given is not None and len(paths) > 1:
            raise UsageError(f"{option} takes one file to diagnose.", "Leave the others out.")
    for target in (out, html, suspects):
        refuse_existing(target, force)
    known = {str(path): subject(path, reference, unlabelled=True) for path in paths}
    if html is not None and not all(found.predictions.labelled for found in known.values()):
        raise UsageError("--html needs labels, and the file has none.", "Leave --html out; --json has all figures.")
    for found in known.values():
        console.told_of(found.path, found.predictions.meta, found.predictions.warnings)
    settings: dict[str, Any] = {
        "split": split,
        "human": human,
        "rule": rule,
        "bootstrap": bootstrap,
        "seed": seed,
        "confidence": confidence,
    }
    if len(known) > 1:
        with working(f"Diagnosing {len(known)} models"):
            compared = compare_diagnoses(known, **settings)
        diagnoses = compared.diagnoses
        document: Any = compared.model_dump(mode="json")
    else:
        (name, found), *_ = known.items()
        with working(f"Diagnosing {found.predictions.splits().get(split, len(found.predictions))} samples"):
            diagnosis = diagnosis_of(found, **settings, baseline=baseline)
        console.warn(text for text in diagnosis.data.warnings if text not in found.predictions.warnings)
        document = diagnosis.model_dump(mode="json")
        diagnoses = {name: diagnosis}
        if found.folder is not None and baseline is None:
            console.note(f"Wrote {keep(diagnosis, found.folder)}")
        if html is not None:
            _write_page(html, diagnosis, found)
    if suspects is not None:
        write_text(suspects, csv(listing(diagnosis)))
        console.note(f"Wrote {suspects}")
    if out is not None:
        write_json(out, document)
        console.note(f"Wrote {out}")
    judged = [one for name, d in diagnoses.items() if policy for one in judge(policy, name, d, by_value=True)]
    if json:
        gates = {"gates": [one.to_dict() for one in judged]} if judged else {}
        console.print_json(document | gates)
    elif len(diagnoses) > 1:
        _side_by_side(compared)
    else:
        show(diagnosis, full)
    ended = failure(judged)
    if ended is not None:
        raise ended
    if judged:
        console.note(summary(judged))


def _write_page(file: Path, diagnosis: Diagnosis, found: Subject) -> None:
    from mmbal.files import write_text
    from mmbal.report.html import source_html
    from mmbal.report.sources import source_of

    with working("Writing the page"):
        page = source_html(source_of(found, diagnosis), str(found.path), sound=True)
    write_text(file, page)
    console.note(f"Wrote {file}")


def show(diagnosis: Diagnosis, full: bool = False) -> None:
    """Print the verdict, the next commands, and the tables: the main ones, or all."""
    from mmbal.diagnosis.tables import gaps, tables_of, title_of
    from mmbal.runs import decided_by

    console.say(title_of(diagnosis), style="bold")
    console.say()
    console.paragraph(diagnosis.verdict)
    console.say(decided_by(diagnosis.data.meta.get("rule")), style="dim")
    console.commands((advice.command, advice.purpose) for advice in diagnosis.advice)
    console.show(*tables_of(diagnosis, full))
    for text in gaps(diagnosis, full):
        console.note(text)


def _side_by_side(compared: SideBySide) -> None:
    from mmbal.diagnosis.tables import title_of

    for name, d in compared.diagnoses.items():
        console.say(f"{name}: {title_of(d)}", style="bold")
        console.paragraph(d.verdict)
        console.say()
    console.show(compared.table())
    for line in compared.conclusions():
        console.say(line)
