"""`mmbal calibrate`: fits the decision layer on held-out samples, compares the rules, and stores the chosen one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Json
from mmbal.cli.progress import working

if TYPE_CHECKING:
    from mmbal.decision.calibration import Calibration


def calibrate(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CHECKPOINT|FILE",
            help="A run, its checkpoint.pt, or a predictions or feature file (.npz).",
            autocompletion=completion.runs,
        ),
    ],
    rule: Annotated[
        str,
        typer.Option(
            help="The rule to store: adaptive, pool, temperature, classwise...",
            autocompletion=completion.members("rule"),
        ),
    ] = "adaptive",
    split: Annotated[
        str, typer.Option(help="Held-out samples to fit on; for a run, its validation split.")
    ] = "calibration",
    test: Annotated[bool, typer.Option("--test", help="Also judge the rules on the test split.")] = False,
    protect: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="Most pp of accuracy that a class may lose, judged on held-out calibration samples (rule adaptive).",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and intervals.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the rule (JSON) here. Default: in the run, or NAME.rule.json beside it.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Store the rule even if it is not shown to be at least as good; replace the file at --out."
        ),
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the stored rule; the model decides again.")] = False,
    json: Json = False,
) -> None:
    """Fit the decision layer on held-out samples: how much each modality's decision should count, class by class.

    The rule is stored only where held-out samples show that it is at least as good as the decision as it is.
    """
    from mmbal.decision import calibrate as fit
    from mmbal.decision import rule_to_json
    from mmbal.files import locked, refuse_existing, write_json
    from mmbal.registry import rules
    from mmbal.runs import RULES, find_predictions, run_folder

    rules.entry(rule)  # names are checked before files
    run = run_folder(path) if out is None else None
    target = None if run is not None else out or path.with_name(f"{path.stem}.rule.json")
    where = str(run if target is None else target)
    if remove:
        with locked(Path(where)):
            _remove(path, target, where, json)
        return
    predictions = find_predictions(path, ruled=False)
    console.told_of(path, predictions.meta, predictions.warnings)
    refuse_existing(target, force)
    with working("Fitting the decision rules"):
        result = fit(predictions, rule, split, test, folds, seed, protect=protect)
    shown, _ = result.worth_storing()
    stored = shown or force
    with locked(Path(where)):
        if run is not None:
            write_json(run / RULES, result.to_json())
        if stored and target is None:
            from mmbal.engine.checkpoint import attach_rule  # needs torch, which a file of predictions does not

            config = {} if protect is None else {"protect": protect}
            attach_rule(path, rule_to_json(result.rule), split=result.split, folds=folds, seed=seed, **config)
        elif stored and target is not None:
            write_json(target, rule_to_json(result.rule))
        if run is not None:
            from mmbal.report.pages import renew_pages

            with working("Writing the pages"):
                renew_pages(path)
    if json:
        warnings = list(predictions.warnings)
        told = {"source": str(path), "stored": where if stored else None, "warnings": warnings}
        console.print_json(told | result.to_json())
        return
    show(result)
    console.say()
    if stored:
        console.say(f"Stored in {where}.")
        if target is not None and "heads" not in predictions.meta:
            console.commands(next_commands(target, path))
    else:
        console.say("Not stored; --force stores it.", style="yellow")


def next_commands(rule: Path, file: Path) -> list[tuple[str, str]]:
    """What to do with a rule that was stored in a file of its own; both commands run as they are."""
    stored = shlex.quote(str(rule))
    return [
        (f"mmbal apply {stored} {shlex.quote(str(file))}", "decides samples by it: give a file of new ones"),
        (f"mmbal export {stored} --format json", "writes it for where your model runs: also onnx, torch_export"),
    ]


def _remove(path: Path, target: Path | None, where: str, json: bool) -> None:
    if target is None:
        from mmbal.engine.checkpoint import detach_rule
        from mmbal.report.pages import renew_pages

        there = detach_rule(path)
        with working("Writing the pages"):
            renew_pages(path)
    else:
        there = target.is_file()
        target.unlink(missing_ok=True)
    if json:
        console.print_json({"source": str(path), "removed": where if there else None})
        return
    console.say(f"Removed the rule from {where}." if there else f"There is no stored rule in {where}.")


def show(result: Calibration) -> None:
    """Print the sentence, whether the rule is stored, what it does, and the tables of rules and classes."""
    shown, reason = result.worth_storing()
    console.say(result.sentence(), style="bold")
    console.say(reason, style="" if shown else "yellow")
    for warning in (result.losers(), result.warning):
        if warning:
            console.say(warning, style="yellow")
    console.say()
    console.say(f"{result.name}: {result.rule.explain()}")
    console.show(*result.tables())
