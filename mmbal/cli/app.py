"""The command line: every command with its place, its page and its panel, and the entry point of the program."""

from __future__ import annotations

import os
import signal
from typing import Annotated, Any

import typer

from mmbal.cli import streams
from mmbal.cli.commands import DEBUG, Lazy, Place, WithDefault, guarded, with_address
from mmbal.version import __version__

FIRST, MORE = "From data to a diagnosis", "More"
METHODS = "docs/methods/README.md"


class Commands(Lazy):
    """All commands. `prepare` stands first: it is a group, and groups come last by default."""

    places = {
        "pretrain": Place("pretrain", "pretrain", "docs/training.md", FIRST),
        "init": Place("init", "init", "docs/training.md", FIRST),
        "train": Place("train", "train", "docs/training.md", FIRST),
        "calibrate": Place("calibrate", "calibrate", "docs/decision-layer.md", FIRST),
        "diagnose": Place("diagnose", "diagnose", "docs/diagnosis.md", FIRST),
        "report": Place("report", "report", "docs/read-a-report.md", FIRST),
        "quickstart": Place("quickstart", "quickstart", "README.md", MORE),
        "explain": Place("explain", "explain", "docs/explain.md", MORE),
        "check": Place("check", "check", "docs/ci.md", MORE),
        "predict": Place("predict", "predict", "docs/training.md", MORE),
        "apply": Place("apply", "apply", "docs/deploy.md", MORE),
        "export": Place("export", "export", "docs/deploy.md", MORE),
        "sweep": Place("sweep", "sweep", "docs/training.md", MORE),
        "missing": Place("missing", "missing", "docs/missing-modalities.md", MORE),
        "doctor": Place("doctor", "doctor", "docs/your-model.md", MORE),
        "try": Place("first_look", "first_look", "docs/data.md", MORE),
        "import": Place("importer", "import_model", "docs/your-model.md", MORE),
    }

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: name != "prepare")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, with_address(args))


class Prepare(WithDefault):
    """The commands of `mmbal prepare`; the first is meant where none is named."""

    places = {
        "source": Place("prepare", "prepare", "docs/data.md"),
        "init": Place("prepare", "init", "docs/data.md"),
        "check": Place("prepare", "check", "docs/data.md"),
        "list": Place("prepare", "list_sets", "docs/data.md"),
    }


class Methods(Lazy):
    """The commands of `mmbal methods`."""

    places = {
        "list": Place("methods", "list_members", METHODS),
        "show": Place("methods", "show_member", METHODS),
        "cite": Place("methods", "cite", METHODS),
    }


app = typer.Typer(
    name="mmbal",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which modality does a multimodal classifier follow, what does that cost, and how can it be corrected?",
    epilog="First steps: mmbal quickstart. Exit codes: 0 ok, 1 internal, 2 usage, 3 a gate failed, "
    "4 data, 5 config or checkpoint, 6 a gate is undecided, 130 interrupted, 141 the reader of the output has gone.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mmbal {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: MMBAL_DEBUG=1).")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


prepare = typer.Typer(cls=Prepare, help="Turn media, features or a known data set into a store.")
methods = typer.Typer(
    cls=Methods,
    no_args_is_help=False,
    help="Methods, fusions, rules, encoders and data sets: `list` them, `show` or `cite` one.",
)


@methods.callback(invoke_without_command=True)
def _methods(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from mmbal.cli.methods import list_members

        guarded(list_members, METHODS)()


app.add_typer(prepare, name="prepare", rich_help_panel=FIRST)
app.add_typer(methods, name="methods", rich_help_panel=MORE)


def _interrupt(number: int, frame: object) -> None:
    """What clusters send before they kill: as Ctrl-C, it saves; a second one ends the program."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `mmbal` command."""
    streams.open_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name="mmbal")  # also as `python -m mmbal`
    finally:
        streams.close_streams()
