"""`mmbal calibrate`: fits the decision layer on held-out rows, shows all rules side by side, stores the one asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Force, Json
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.decision.fitting import Calibration


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
    console.warn(predictions.warnings)
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
        warnings = list(predictions.warnings)
        console.print_json({"source": str(path), "stored": where, "warnings": warnings, **result.to_json()})
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
    def share(figure: Mapping[str, float], sign: str = "") -> str:
        return f"{100 * figure['value']:{sign}.1f} [{100 * figure['low']:{sign}.1f}, {100 * figure['high']:{sign}.1f}]"

    def nats(figure: Mapping[str, float]) -> str:
        return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"

    console.table(
        ["rule", "accuracy %", "against the sum", "NLL (nats)", "ECE %"],
        [
            [
                ("▶ " if row["rule"] == chosen else "  ") + row["rule"],
                share(row["accuracy"]),
                share(row["accuracy_gain"], "+"),
                nats(row["nll"]),
                share(row["ece"]),
            ]
            for row in rows
        ],
        title=title,
        caption="In brackets: 95 % bootstrap intervals.",
    )
