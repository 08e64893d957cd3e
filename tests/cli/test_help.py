"""Help at 80 columns, and what a command line that can't be understood is answered with."""

from __future__ import annotations

import re
from typing import Annotated, Optional

import pytest
import typer
from terminal import mmbal, ok, refused

from mmbal.cli.app import Commands, Methods, Prepare
from mmbal.cli.help import declarations

ALL = [[name] for name in Commands.places]
ALL += [["prepare", name] for name in Prepare.places] + [["methods", name] for name in Methods.places]


@pytest.mark.parametrize("command", [[], ["prepare"], ["methods"], *ALL], ids=" ".join)
def test_every_page_fits_and_has_words_for_all_that_is_asked(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = ok(*command, "--help")
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"<(bool|int|str|path|float|list|file)|Default: \.|\[default|\[bold", shown)
    switches = re.findall(r"^  (--\S+)$|^  (--\S+)  ", shown, re.MULTILINE)
    assert all(mmbal(*command, a or b, "--help").exit_code == 0 for a, b in switches if a + b != "--version")
    if command in ALL:
        assert re.search(r"\nMore: (docs/\S+\.md|README\.md)\n$", shown)


def test_help_has_choices_bounds_defaults_and_examples_on_lines_of_their_own(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "  --scores auto|probabilities|logits\n" in ok("import", "--help")
    assert "  --folds N         Folds of the cross-fitting. [≥ 2] Default: 5.\n" in ok("calibrate", "--help")
    assert "  --seed N          Seed of folds and intervals. [≥ 0] Default: 0.\n" in ok("calibrate", "--help")
    assert "\n    mmbal report runs/*\n    mmbal report joint.npz" in ok("report", "--help")
    assert "report [OPTIONS] [FILE...]\n" in ok("report", "--help")


def test_a_declaration_is_seen_within_the_union_that_python_3_10_puts_around_it():
    declared = Annotated[int | None, typer.Option(help="Many.")]

    def command(many=None): ...

    command.__annotations__ = {"many": Optional[declared]}  # noqa: UP045, as Python 3.10 has it
    assert declarations(command) == {"many": declared}


def test_the_program_alone_shows_its_commands():
    assert "quickstart" in ok()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("diagnos", "Error: There is no command 'diagnos'. Did you mean diagnose?"),
        ("methods lst", "There is no command 'lst'. Did you mean list?"),
        ("diagnose --boostrap 3", "There is no option --boostrap.\n       Did you mean --bootstrap?"),
        ("diagnose x.npz --bootstrap 3", "'--bootstrap'"),
        ("diagnose", "Missing argument 'FILE'.\n       `"),
        ("import x.csv --scores logit", "'logit' is not one of 'auto', 'probabilities', 'logits'."),
    ],
)
def test_a_command_line_that_cannot_be_understood(line, said):
    told = refused(2, *line.split())
    assert told.startswith("Error: ")
    assert said in told
    assert "See docs/" in told or "--help` says" in told


def test_a_device_and_a_study_that_are_none(tmp_path):
    said = refused(2, "train", "--device", "cdua", "--dry-run")
    assert said.startswith("Error: There is no device 'cdua'.\n       Did you mean cuda", said.index("Error"))
    (tmp_path / "s.yaml").write_text("data: [a]\n")
    assert "Error: " + str(tmp_path / "s.yaml") + ": a study without a search needs variants" in refused(
        5, "sweep", tmp_path / "s.yaml"
    )


@pytest.mark.parametrize("option", ["--lr 0.1", "--dry-run", "--seeds 2", "--device cpu", "--freeze-encoders"])
def test_what_a_resumed_run_would_ignore_is_refused(option):
    assert f"{option.split()[0]} does not go with --resume" in refused(2, "train", "--resume", "x", *option.split())
