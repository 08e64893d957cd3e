"""What is registered, read from the source text: a list of names, facts and summaries that imports no member.

`mmbal methods list` must not wait for torch. A decorator ``@methods.register("name", family=..., ...)`` states its facts as
literals, or as ``**CONSTANT`` of the same module. The summary is the first line of the class's docstring, or of the
module's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outline:
    """A member of a registry, as its source states it."""

    name: str
    facts: dict[str, Any]
    summary: str


def outlines(registry: str, source: str) -> Iterator[Outline]:
    """The members that the module or package ``source`` registers with ``@<registry>.register(...)``.

    Raises ValueError where a fact is no literal.
    """
    spec = find_spec(source)
    assert spec is not None
    assert spec.origin is not None
    folders = spec.submodule_search_locations
    files = (
        [Path(spec.origin)] if folders is None else sorted(f for folder in folders for f in Path(folder).glob("*.py"))
    )
    for file in files:
        yield from _members(registry, file)


def _members(registry: str, file: Path) -> Iterator[Outline]:
    module = ast.parse(file.read_text(encoding="utf-8"))
    constants: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            constants |= {ast.unparse(target): statement.value for target in targets}
    for node in module.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == f"{registry}.register"):
                continue
            name = str(ast.literal_eval(call.args[0])) if call.args else file.stem
            facts: dict[str, Any] = {}
            for keyword in call.keywords:
                if keyword.arg is not None:
                    facts[keyword.arg] = ast.literal_eval(keyword.value)
                else:
                    facts |= _mapping(constants[ast.unparse(keyword.value)])
            own = ast.get_docstring(node) or (ast.get_docstring(module) if file.stem == name else "") or ""
            yield Outline(name, facts, own.split("\n")[0])


def _mapping(node: ast.expr) -> dict[str, Any]:
    """The value of ``{...}`` or ``dict(key=...)``."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return dict(ast.literal_eval(node))
