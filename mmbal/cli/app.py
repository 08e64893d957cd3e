"""The command line: registers the commands, and turns every failure into a message, a hint and an exit code."""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmbal.cli import console, streams
from mmbal.cli.apply import apply
from mmbal.cli.calibrate import calibrate
from mmbal.cli.check import check
from mmbal.cli.diagnose import diagnose
from mmbal.cli.doctor import doctor
from mmbal.cli.explain import explain
from mmbal.cli.export import export
from mmbal.cli.first_look import first_look
from mmbal.cli.importer import import_model
from mmbal.cli.init import init
from mmbal.cli.methods import cite, list_members, show_member
from mmbal.cli.missing import missing
from mmbal.cli.options import WithDefault
from mmbal.cli.predict import predict
from mmbal.cli.prepare import COMMANDS as PREPARE
from mmbal.cli.pretrain import pretrain
from mmbal.cli.quickstart import quickstart
from mmbal.cli.report import report
from mmbal.cli.sweep import sweep
from mmbal.cli.train import train
from mmbal.errors import Interrupted, MmbalError, of_import, of_system
from mmbal.version import __version__

DEBUG = "MMBAL_DEBUG"
PAGES = {  # module of a command -> the page that explains it, named where the command fails
    "apply": "docs/deploy.md",
    "calibrate": "docs/decision-layer.md",
    "check": "docs/ci.md",
    "diagnose": "docs/diagnosis.md",
    "doctor": "docs/your-model.md",
    "export": "docs/deploy.md",
    "explain": "docs/explain.md",
    "first_look": "docs/data.md",
    "importer": "docs/your-model.md",
    "init": "docs/training.md",
    "methods": "docs/methods/README.md",
    "missing": "docs/missing-modalities.md",
    "predict": "docs/training.md",
    "prepare": "docs/data.md",
    "pretrain": "docs/training.md",
    "quickstart": "README.md",
    "report": "docs/diagnosis.md",
    "sweep": "docs/training.md",
    "train": "docs/training.md",
}


class InOrder(TyperGroup):
    """The commands with `prepare` first: it is a group, and groups come last by default."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: name != "prepare")


app = typer.Typer(
    name="mmbal",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which modality does a multimodal classifier follow, what does that cost, and how can it be corrected?",
    epilog="First steps: [bold]mmbal quickstart[/bold]. Exit codes: 0 ok, 1 internal, 2 usage, 3 a gate failed, "
    "4 data, 5 config or checkpoint, 6 a gate is undecided, 130 interrupted, 141 the reader of the output has gone.",
)


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command``, whose failures print a sentence, a hint and the page that helps, and give the exit code of their kind."""
    page = PAGES.get(command.__module__.rsplit(".", 1)[-1], "README.md")

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            error: MmbalError = Interrupted("Interrupted.")
        except MmbalError as failure:
            error = failure
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as failure:
            error = of_system(failure)
        except Exception as failure:
            if os.environ.get(DEBUG):
                raise
            lacking = of_import(failure) if isinstance(failure, ModuleNotFoundError) else None
            error = lacking or MmbalError(
                f"Internal error: {type(failure).__name__}: {failure}",
                "This is a bug in mmbal. Run the command again with --debug and report what it prints.",
            )
        if os.environ.get(DEBUG):
            raise error
        console.fail(error.message, error.hint, error.label, "" if isinstance(error, Interrupted) else page)
        raise typer.Exit(error.exit_code)

    # Help keeps the line breaks of a docstring; those within a sentence are none that a reader wants.
    run.__doc__ = re.sub(r"(?<![.:;\n])\n(?=\S)", " ", inspect.cleandoc(command.__doc__ or ""))
    return run


def _version(asked: bool) -> None:
    if asked:
        console.say(f"mmbal {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: MMBAL_DEBUG=1).")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


PANELS: dict[str, tuple[Callable[..., Any], ...]] = {
    "From data to a diagnosis": (pretrain, init, train, calibrate, diagnose, report),
    "More": (quickstart, explain, check, predict, apply, export, sweep, missing, doctor),
}
prepare = typer.Typer(cls=WithDefault, help="Turn media, features or a known data set into a store.")
for name, subcommand in PREPARE.items():
    prepare.command(name)(guarded(subcommand))
app.add_typer(prepare, name="prepare", rich_help_panel="From data to a diagnosis")
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(guarded(command))
app.command("try", rich_help_panel="More")(guarded(first_look))
app.command("import", rich_help_panel="More")(guarded(import_model))

methods = typer.Typer(
    no_args_is_help=False, help="Methods, fusions, rules, encoders and data sets: `list` them, `show` or `cite` one."
)
methods.command("list")(guarded(list_members))
methods.command("show")(guarded(show_member))
methods.command("cite")(guarded(cite))


@methods.callback(invoke_without_command=True)
def _methods(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        guarded(list_members)()


app.add_typer(methods, name="methods", rich_help_panel="More")


def _interrupt(number: int, frame: object) -> None:
    """What clusters send before they kill: as Ctrl-C, it saves; a second one ends the program."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `mmbal` command."""
    streams.open_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    finally:
        streams.close_streams()
