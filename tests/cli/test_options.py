"""Options of a command, made of the fields of a pydantic model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from mmbal.cli.commands import WithDefault
from mmbal.cli.options import from_model
from mmbal.config import Config
from mmbal.errors import UsageError


class Inner(Config):
    """All kinds of fields."""

    rate: float = Field(0.02, gt=0, description="learning rate")
    epochs: int | None = Field(None, ge=1, le=9, description="number of epochs")
    kind: Literal["sgd", "adam"] = Field("sgd", description="optimiser")
    names: tuple[str, ...] = Field((), description="names")
    sizes: tuple[int, ...] = Field((), description="sizes")
    pair: tuple[float, float] | None = Field(None, description="low and high")
    table: dict[str, str] = Field({}, description="name and value")
    quick: bool = Field(False, description="be quick")
    augment: bool = Field(True, description="augment")
    mirror: bool | None = Field(None, description="mirror")


def run(*arguments: str, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a command gets of what a user types."""
    app, got = typer.Typer(), {}

    @app.command()
    @from_model(Inner, *keys, into="given")
    def command(place: Annotated[str, typer.Argument()], given: dict[str, Any] = {}, force: bool = False) -> None:  # noqa: B006
        got.update(place=place, force=force, given=given)

    result = CliRunner().invoke(app, ["here", *arguments], catch_exceptions=True)
    if isinstance(result.exception, UsageError):
        raise result.exception
    got["exit"], got["output"] = result.exit_code, result.output
    return got


def test_what_is_not_given_is_left_out():
    assert run()["given"] == {}
    assert run("--force")["force"] is True


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("--rate 0.5 --epochs 3", {"rate": 0.5, "epochs": 3}),
        ("--rate 0", {"rate": 0.0}),  # the model says that it is too small
        ("--kind adam", {"kind": "adam"}),
        ("--names a --names b --sizes 3 --sizes 4", {"names": ("a", "b"), "sizes": (3, 4)}),
        ("--pair 0.1 0.9", {"pair": (0.1, 0.9)}),
        ("--table a=b --table c=d=e", {"table": {"a": "b", "c": "d=e"}}),
        ("--quick --no-augment --mirror", {"quick": True, "augment": False, "mirror": True}),
    ],
)
def test_what_is_given_comes_in_the_types_of_the_model(typed, given):
    assert run(*typed.split())["given"] == given


def test_what_is_no_pair_or_of_another_type_is_refused():
    with pytest.raises(UsageError, match="--table x is not of the form NAME=VALUE"):
        run("--table", "x")
    assert run("--epochs", "many")["exit"] == 2
    assert run("--no-quick")["exit"] == 2


def test_some_fields_alone():
    assert run("--epochs", "3", keys=("epochs",))["given"] == {"epochs": 3}
    assert run("--rate", "3", keys=("epochs",))["exit"] == 2


def test_help_says_what_a_field_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = " ".join(run("--help")["output"].split())
    for text in (
        "Learning rate. [> 0] Default: 0.02.",
        "Number of epochs. [≥ 1, ≤ 9]",
        "sgd|adam",
        "Augment. Default: yes.",
    ):
        assert text in shown


def test_a_group_takes_what_is_no_sub_command_for_its_first():
    app, got = typer.Typer(cls=WithDefault), []

    @app.command("make")
    def make(name: Annotated[str | None, typer.Argument()] = None, size: int = 0) -> None:
        got.append(("make", name, size))

    @app.command("show")
    def show(name: str) -> None:
        got.append(("show", name))

    for line in ("", "x --size 3", "--size 3 x", "make show", "show y"):
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert got == [("make", None, 0), ("make", "x", 3), ("make", "x", 3), ("make", "show", 0), ("show", "y")]
