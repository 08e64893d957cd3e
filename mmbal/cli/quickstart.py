"""`mmbal quickstart`: the main job on the data that come with mmbal, by the very commands one would type."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.steps import heading, run

VOTES = "votes.npz"


def quickstart(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="A new folder. Default: mmbal-quickstart, numbered if taken.")
    ] = None,
) -> None:
    """Diagnose and mend two real cases in two minutes: human raters of emotions, and spoken and written digits.

    No network and no GPU are needed. Every step is a command that is printed before it runs.
    """
    folder = _new_folder(out)
    program = context.find_root().command  # the command line itself, without importing it from here
    with _inside(folder):
        _human_raters(program)
        _digits(program)
    _next(folder)


def _human_raters(program: Any) -> None:
    from mmbal.predictions.humans import human_votes

    votes = human_votes()
    votes.save(VOTES)
    heading("1. People: some heard the voice, some saw the face; what does their sum decide?")
    console.say(
        "CREMA-D's raters named the emotion of 4,901 clips; some heard only the voice, some saw only the face. Their\n"
        f"answers are a classifier with two modalities, written to {VOTES} in mmbal's format, as any framework can."
    )
    run(program, f"mmbal diagnose {VOTES}")
    run(program, f"mmbal calibrate {VOTES} --test")
    _people_with_both()
    run(program, f"mmbal report {VOTES}")


def _people_with_both() -> None:
    """What only this data set can show: the accuracy of people who had both modalities."""
    from mmbal.decision import rule_from_json
    from mmbal.files import read_json
    from mmbal.predictions.humans import human_votes
    from mmbal.report.people import people

    raters = human_votes()
    console.show(people(raters, rule_from_json(read_json(Path(VOTES).with_suffix(".rule.json")), raters.classes)))


def _digits(program: Any) -> None:
    heading("2. A network: spoken and written digits, from data to a mended model")
    fast = "--epochs 5 --batch-size 64"
    run(program, "mmbal prepare avmnist --out stores/avmnist")
    run(program, "mmbal pretrain --epochs 6 --batch-size 64 --out runs/pretrained")
    run(program, f"mmbal train {fast} --out runs/joint")
    run(program, f"mmbal train --method ogm_ge {fast} --out runs/ogm_ge")
    run(program, f"mmbal train --fusion adaptive {fast} --out runs/adaptive")
    run(program, "mmbal diagnose runs/joint")
    run(program, "mmbal calibrate runs/joint")
    run(program, "mmbal report runs/joint runs/ogm_ge runs/adaptive")


def _next(folder: Path) -> None:
    heading("Your own data")
    console.say(
        f"All files are in {folder}. Next:\n"
        "  mmbal prepare clips.csv               columns path,label[,split,start,end]; or features.npz\n"
        "  mmbal pretrain                        what each modality is capable of\n"
        "  mmbal train --fusion adaptive         late fusion, weighed at the decision layer\n"
        "  mmbal diagnose RUN                    which modality decides, and what that costs\n"
        "  mmbal calibrate RUN                   mends the decision layer of a trained model, in seconds\n"
        "A model of another framework needs no training here: write its decisions to an .npz (arrays labels (N,),\n"
        "logits_<modality> (N, C), fused (N, C), split (N,)) and start with mmbal diagnose FILE."
    )


def _new_folder(out: Path | None) -> Path:
    from mmbal.files import refuse_existing

    if out is None:
        names = ("mmbal-quickstart", *(f"mmbal-quickstart-{n}" for n in range(2, 1000)))
        out = next(Path(name) for name in names if not Path(name).exists())
    else:
        refuse_existing(out)
    out.mkdir(parents=True)
    return out.absolute()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in ``folder`` (contextlib.chdir needs Python 3.11)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
