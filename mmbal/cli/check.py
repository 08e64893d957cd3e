"""`mmbal check`: whether models meet a policy, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Json
from mmbal.cli.progress import working
from mmbal.errors import UsageError, did_you_mean
from mmbal.progress import steps
from mmbal.text import plural

POLICY = "Policy"
OUTPUT = "Output"


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="diagnosis.json, runs, predictions or feature files (.npz).",
            autocompletion=completion.runs,
        ),
    ],
    policy: Annotated[
        Path | None, typer.Option(help="The policy (YAML). Default: mmbal.yaml.", rich_help_panel=POLICY)
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="One more gate: 'index > 0.2'. Repeatable.",
            rich_help_panel=POLICY,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What gates on change.FIGURE compare with, such as the main branch's diagnosis.json.",
            rich_help_panel=POLICY,
        ),
    ] = None,
    undecided: Annotated[
        str | None,
        typer.Option(
            metavar="pass|fail|undecided",
            autocompletion=completion.words("pass", "fail", "undecided"),
            help="What a gate counts as whose interval spans the limit. Default: as the policy says, else undecided.",
            rich_help_panel=POLICY,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to diagnose.")] = "test",
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", rich_help_panel=OUTPUT)] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF here.", rich_help_panel=OUTPUT)] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary for a pull request here (Markdown).", rich_help_panel=OUTPUT)
    ] = None,
    as_json: Json = False,
) -> None:
    """Check models against a policy: a file of gates on the figures of a diagnosis.

    A gate passes, fails (exit code 3), or is undecided where the interval of its figure spans the limit (exit code 6).
    The files of --junit, --sarif and --markdown are replaced where they exist.
    """
    from typing import get_args

    from mmbal.diagnosis.policy import FILE, State, by_conditions, failure, judge, read_policy, summary
    from mmbal.files import write_text
    from mmbal.report import gates
    from mmbal.report.sources import read_source

    if undecided is not None and undecided not in get_args(State):
        raise UsageError(f"--undecided can't be '{undecided}'.", did_you_mean(undecided, get_args(State)))
    given = by_conditions(fail_if or [])
    if policy is None and not Path(FILE).is_file():
        if given is None:
            raise UsageError(f"There is no {FILE} here.", "Name a policy (--policy FILE) or a gate (--fail-if).")
        asked = given
    else:
        asked = read_policy(policy or Path(FILE))
        asked = asked if given is None else asked.model_copy(update={"gates": (*asked.gates, *given.gates)})
    if undecided is not None:
        asked = asked.model_copy(update={"undecided": undecided})
    paths = [*files, *([] if baseline is None else [baseline])]
    with working(f"Diagnosing {plural(len(paths), 'model')}"):
        found = [read_source(path, split, bootstrap).diagnosis for path in steps(paths)]
    before = None if baseline is None else found.pop()
    judged = []
    for file, diagnosis in zip(files, found, strict=True):
        console.warn(f"{file}: {text}" for text in diagnosis.data.warnings)
        judged += judge(asked, str(file), diagnosis, before)
    for path, told in ((junit, gates.junit), (sarif, gates.sarif), (markdown, gates.summary_page)):
        if path is not None:
            write_text(path, told(judged))
            console.note(f"Wrote {path}")
    ended = failure(judged)
    if as_json:
        console.print_json(gates.document(judged))
    elif ended is None and all(one.state == "pass" for one in judged):
        console.say(summary(judged))
    else:
        console.show(gates.table(judged))
    if ended is not None:
        raise ended
