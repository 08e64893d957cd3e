"""`mmbal calibrate`: fits the decision layer on held-out rows, shows all rules side by side, stores the one asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Json
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.decision.fitting import Calibration

MOST_CLASSES = 20  # rows of the table by class that still read well in a terminal


def calibrate(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|CHECKPOINT|PREDICTIONS", help="A run, its checkpoint.pt, or predictions.npz.")
    ],
    rule: Annotated[
        str, typer.Option(help="The rule to store: adaptive, pool, temperature, classwise...")
    ] = "adaptive",
    split: Annotated[str, typer.Option(help="Held-out rows to fit on; a run's validation split.")] = "calibration",
    test: Annotated[bool, typer.Option("--test", help="Also judge the rules on the test split.")] = False,
    protect: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Percentage points of accuracy that any class may lose (rule adaptive)."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and intervals.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the rule (JSON) here. Default: in the run, or NAME.rule.json beside it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store a rule that is not shown to be as good; replace what is at --out.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the stored rule away; the model decides again.")
    ] = False,
    json: Json = False,
) -> None:
    """Fit the decision layer: how much each modality's decision should count, class by class, from held-out rows.

    The rule is stored only where held-out rows show that it is at least as good as the decision as it is.
    """
    from mmbal.decision import calibrate as fit
    from mmbal.decision import rule_to_json
    from mmbal.engine.checkpoint import attach_rule
    from mmbal.engine.evaluate import find_predictions, run_folder
    from mmbal.files import write_json

    run = run_folder(path) if out is None else None
    target = None if run is not None else out or path.with_name(f"{path.stem}.rule.json")
    where = str(run if target is None else target)
    if remove:
        _remove(path, target, where, json)
        return
    predictions = find_predictions(path)
    if target is not None and target.exists() and not force:
        raise UsageError(f"{target} exists.", "Take another --out, or --force to replace it.")
    result = fit(predictions, rule, split, test, folds, seed, protect=protect)
    shown, _ = result.worth_storing()
    stored = shown or force
    if stored and target is None:
        attach_rule(path, rule_to_json(result.rule))
    elif stored and target is not None:
        write_json(target, rule_to_json(result.rule))
    if json:
        console.print_json({"source": str(path), "stored": where if stored else None, **result.to_json()})
        return
    show(result)
    console.say()
    if stored:
        console.say(f"Stored in {where}.")
    else:
        console.say("Not stored; --force stores it.", style="yellow")


def _remove(path: Path, target: Path | None, where: str, json: bool) -> None:
    from mmbal.engine.checkpoint import detach_rule

    if target is None:
        there = detach_rule(path)
    else:
        there = target.is_file()
        target.unlink(missing_ok=True)
    if json:
        console.print_json({"source": str(path), "removed": where if there else None})
        return
    console.say(f"Removed the rule from {where}." if there else f"There is no stored rule in {where}.")


def show(result: Calibration) -> None:
    """Print the sentence, whether the rule is worth storing, what it does, and the tables of rules and classes."""
    shown, reason = result.worth_storing()
    console.say(result.sentence(), style="bold")
    console.say(reason, style="" if shown else "yellow")
    for warning in (result.losers(), result.warning):
        if warning:
            console.say(warning, style="yellow")
    console.say()
    console.say(f"{result.name}: {result.rule.explain()}")
    title = f"Cross-fitted on the {result.n} rows of '{result.split}', {result.folds} folds"
    _table(result.rows, result.name, title)
    _classes(result.classes, result.name, title)
    if result.test is not None and result.test_classes is not None:
        title = f"Fitted on '{result.split}', on the {result.n_test} rows of 'test'"
        _table(result.test, result.name, title)
        _classes(result.test_classes, result.name, title)


def _share(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{100 * figure['value']:{sign}.1f} [{100 * figure['low']:{sign}.1f}, {100 * figure['high']:{sign}.1f}]"


def _nats(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _table(rows: list[dict[str, Any]], chosen: str, title: str) -> None:
    console.table(
        ["rule", "accuracy %", "gain (pp)", "NLL (nats)", "ECE %"],
        [
            [
                ("▶ " if row["rule"] == chosen else "  ") + row["rule"],
                _share(row["accuracy"]),
                _share(row["accuracy_gain"], "+"),
                _nats(row["nll"]),
                _share(row["ece"]),
            ]
            for row in rows
        ],
        title=title,
        caption="fused: the decision as it is; gains are over it. In brackets: 95 % bootstrap intervals.",
    )


def _classes(rows: list[dict[str, Any]], chosen: str, title: str) -> None:
    cut = ""
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: float(row["gain"]["value"]))[:MOST_CLASSES]
        cut = f" The {MOST_CLASSES} classes that gain least; --json has all."
    console.table(
        ["class", "samples", "fused %", f"{chosen} %", "gain (pp)", "p (Holm)"],
        [
            [
                row["class"],
                str(row["rows"]),
                f"{100 * row['fused']:.1f}",
                f"{100 * row['accuracy']:.1f}",
                _share(row["gain"], "+"),
                f"{row['p_holm']:.2g}",
            ]
            for row in rows
        ],
        title=title,
        caption="Accuracy by class; p: paired sign test (of groups where there are groups), corrected by Holm." + cut,
    )
