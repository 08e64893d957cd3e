"""`mmbal calibrate`: fits the decision layer on held-out rows, shows all rules side by side, stores the one asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Force, Json
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.decision.fitting import Calibration
    from mmbal.maths.bootstrap import Estimate


def calibrate(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|CHECKPOINT|PREDICTIONS", help="A run, its checkpoint.pt, or predictions.npz.")
    ],
    rule: Annotated[
        str, typer.Option(help="The rule to store: adaptive, pool, temperature, classwise...")
    ] = "adaptive",
    split: Annotated[str, typer.Option(help="Held-out rows to fit on; a run's validation split.")] = "calibration",
    test: Annotated[bool, typer.Option("--test", help="Also judge the rules on the test split.")] = False,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-fitting.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and intervals.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the rule (JSON) here. Default: in the run, or NAME.rule.json beside it.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Fit the decision layer: how much each modality's say should count, class by class, from held-out rows."""
    from mmbal.decision import calibrate as fit
    from mmbal.decision import rule_to_json
    from mmbal.engine.checkpoint import attach_rule
    from mmbal.engine.evaluate import find_predictions, run_folder
    from mmbal.files import write_json

    predictions = find_predictions(path)
    run = run_folder(path) if out is None else None
    target = None if run is not None else out or path.with_name(f"{path.stem}.rule.json")
    if target is not None and target.exists() and not force:
        raise UsageError(f"{target} exists.", "Take another --out, or --force to replace it.")
    result = fit(predictions, rule, split, test, folds, seed)
    stored = rule_to_json(result.rule)
    if target is None:
        attach_rule(path, stored)
    else:
        write_json(target, stored)
    where = str(run if target is None else target)
    if json:
        console.print_json({"source": str(path), "stored": where, **result.to_json()})
        return
    show(result)
    console.say()
    console.say(f"Stored in {where}.")


def show(result: Calibration) -> None:
    """Print the sentence, what the fitted rule does, and the table of rules."""
    console.say(result.sentence(), style="bold")
    if result.warning:
        console.say(result.warning, style="yellow")
    console.say()
    console.say(f"{result.name}: {result.rule.explain()}")
    _table(result.rows, result.name, f"Cross-fitted on the {result.n} rows of '{result.split}', {result.folds} folds")
    if result.test is not None:
        _table(result.test, result.name, f"Fitted on '{result.split}', on the {result.n_test} rows of 'test'")


def _table(rows: list[dict[str, Any]], chosen: str, title: str) -> None:
    def number(figure: Estimate, factor: float, form: str) -> str:
        text = f"{factor * figure.value:{form}}"
        if figure.low is None or figure.high is None:
            return text
        return f"{text} [{factor * figure.low:{form}}, {factor * figure.high:{form}}]"

    console.table(
        ["rule", "accuracy %", "against the sum", "NLL (nats)", "ECE %"],
        [
            [
                ("▶ " if row["rule"] == chosen else "  ") + row["rule"],
                number(row["accuracy"], 100, ".1f"),
                number(row["accuracy_gain"], 100, "+.1f"),
                number(row["nll"], 1, ".3f"),
                number(row["ece"], 100, ".1f"),
            ]
            for row in rows
        ],
        title=title,
        caption="In brackets: 95 % bootstrap intervals.",
    )
