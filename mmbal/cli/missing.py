"""`mmbal missing`: how well a model decides with a missing modality, and whether filling it in helps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import console
from mmbal.cli.options import Device, Json

if TYPE_CHECKING:
    from mmbal.engine.missing import Interval, MissingReport


def missing(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder or its checkpoint.pt.")],
    impute: Annotated[
        list[str] | None,
        typer.Option(help="zero, mean, noise or diffusion. Repeatable. Default: all.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="The samples to decide on.")] = "test",
    data: Annotated[Path | None, typer.Option(help="Where the run's store is, if it has moved.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws averaged, for noise and diffusion.")] = 8,
    updates: Annotated[int, typer.Option(min=1, help="Training steps of the diffusion imputer.")] = 2000,
    weighting: Annotated[
        str, typer.Option(help="Loss weights of the diffusion imputer: debias, constant, p2, min_snr or inverse.")
    ] = "debias",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the imputer and the draws.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Remove modalities from the input of a trained model, fill them in, and compare the decisions."""
    from mmbal.engine.missing import IMPUTATIONS, Case, evaluate_missing
    from mmbal.maths.snr import check_weighting
    from mmbal.runs import decided_by

    report = evaluate_missing(
        run,
        impute=impute or IMPUTATIONS,
        split=split,
        data=data,
        draws=draws,
        updates=updates,
        weighting=check_weighting(weighting),
        seed=seed,
        device=device or "auto",
    )
    if as_json:
        console.print_json(report.model_dump(mode="json"))
        return

    def row(case: Case) -> list[str | None]:
        absent = " + ".join(case.absent) or "nothing"
        gain = None if case.gain is None else _interval(case.gain, "+")
        return [absent, case.impute, _interval(case.accuracy, unit=" %"), f"{case.nll.value:.3f}", gain]

    console.table(
        ["missing", "filled in by", "accuracy", "NLL", "gain over zero (pp)"],
        [row(case) for case in (report.complete, *report.cases)],
        title=f"{report.run} · {report.split} · {report.samples} complete samples",
        caption=f"{decided_by(report.rule)} 95 % intervals; the gain is paired by sample. zero: a missing modality's "
        "feature is zero, as in training.",
        numeric=("accuracy", "NLL", "gain over zero (pp)"),
    )
    for sentence in conclusions(report):
        console.say(sentence)


def conclusions(report: MissingReport) -> list[str]:
    """A sentence for each set of missing modalities: what helps most where a gain is shown, and what is worse."""
    gains: dict[str, dict[str, Interval]] = {}
    for case in report.cases:
        if case.gain is not None:
            gains.setdefault(" + ".join(case.absent), {})[str(case.impute)] = case.gain
    told = []
    for absent, found in gains.items():
        best, top = max(found.items(), key=lambda item: item[1].value)
        harmful = ", ".join(name for name, gain in found.items() if gain.high < 0)
        helps = (
            f"{best} helps most, by {_interval(top)} pp" if top.low > 0 else "nothing is shown to be better than zero"
        )
        told.append(f"Without {absent}: {helps}" + (f"; {harmful} is worse." if harmful else "."))
    return told


def _interval(value: Interval, sign: str = "", unit: str = "") -> str:
    return f"{100 * value.value:{sign}.1f}{unit} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"
