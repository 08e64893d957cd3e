"""examples/tutorial.ipynb: its cells run in their order, and what each shows is what a notebook would show."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tutorial.ipynb"


def cells() -> list[str]:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    assert not any(cell.get("outputs") for cell in document["cells"]), "clear the outputs before you keep the notebook"
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def run(code: str, names: dict[str, Any]) -> Any:
    """What the last line of a cell is worth, if it is an expression."""
    *before, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        before, last = [*before, last], None
    exec(compile(ast.Module(before, type_ignores=[]), str(NOTEBOOK), "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)


@pytest.mark.slow
def test_its_cells_run_and_show_what_they_should():
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    predictions, diagnosis, index, axes, rule, accuracies = [run(code, names) for code in cells()]
    assert "4901 samples" in predictions._repr_html_().replace(",", "")
    assert diagnosis.verdict[0].split("'")[0][:20] in diagnosis._repr_html_()
    assert index.low <= index.value <= index.high
    assert axes.lines or axes.collections
    assert "pool" in rule._repr_html_()
    assert accuracies[1] > accuracies[0]  # the rule mends the sum of the raters
