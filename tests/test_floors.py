"""Imports point downwards only, also those inside functions; the half that examines models needs no training code."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mmbal

PACKAGE = Path(mmbal.__file__).parent
GROUND = {
    "registry", "outline", "config", "files", "file_kinds", "errors", "version", "text", "tables", "notebook", "embedded",
    "progress", "torchrun", "cluster",
}  # fmt: skip
FLOORS = [  # from the ground up; what stands on one floor may be imported by the same part and by all above
    GROUND,
    {"maths"},
    {"predictions"},
    {"data"},
    {"decision"},
    {"models"},
    {"runs"},
    {"deployment", "sklearn"},
    {"methods"},
    {"engine"},
    {"diagnosis"},
    {"explain"},
    {"report"},
    {"training"},
    {"cli"},
    {"__main__"},
]
ROOMS = [{"store"}, {"media"}, {"preparation"}, {"datasets"}, {"prepare", "describe"}]  # of data, from the ground up
EXAMINING = {"predictions", "decision", "runs", "deployment", "diagnosis", "report"}
TRAINING = {"engine", "methods"}


@cache
def modules() -> tuple[tuple[str, Path], ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return tuple(found)


@cache
def names() -> frozenset[str]:
    return frozenset(name for name, _ in modules())


def imports(path: Path) -> Iterator[str]:
    """Every module of mmbal that a file imports, wherever in the file; what only a type checker reads does not run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        n
        for x in ast.walk(tree)
        if isinstance(x, ast.If) and ast.unparse(x.test) == "TYPE_CHECKING"
        for n in ast.walk(x)
    }
    for node in ast.walk(tree):
        if node in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mmbal")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mmbal":
            known = {f"{node.module}.{alias.name}" for alias in node.names} & names()
            yield from known or {node.module}


@cache
def arrows() -> list[tuple[str, str]]:
    return [(name, target) for name, path in modules() if name != "mmbal" for target in imports(path)]


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor(name: str, floors: list[set[str]]) -> int:
    found = [level for level, names in enumerate(floors) if name in names]
    assert found, f"'{name}' stands on no floor: name it in FLOORS"
    return found[0]


def test_no_import_points_upwards():
    wrong = [
        f"{a} -> {b}"
        for a, b in arrows()
        if b == "mmbal" or (part(a) != part(b) and floor(part(b), FLOORS) >= floor(part(a), FLOORS) > 0)
    ]
    assert not wrong


def test_the_rooms_of_data_stand_on_one_another():
    within = [(a, b) for a, b in arrows() if part(a) == part(b) == "data" and "." in a[11:] + b[11:]]
    rooms = [(a, b, a.split(".")[2], b.split(".")[2]) for a, b in within if a.count(".") > 1 and b.count(".") > 1]
    assert not [f"{a} -> {b}" for a, b, x, y in rooms if x != y and floor(y, ROOMS) > floor(x, ROOMS)]


def test_examining_needs_no_training_code():
    assert not [f"{a} -> {b}" for a, b in arrows() if part(a) in EXAMINING and part(b) in TRAINING]


def test_the_engine_knows_no_method_by_name():
    assert not [
        f"{a} -> {b}"
        for a, b in arrows()
        if part(a) == "engine" and b.startswith("mmbal.methods.") and b != "mmbal.methods.base"
    ]


def test_no_circle_between_modules():
    graph: dict[str, set[str]] = {}
    for a, b in arrows():
        graph.setdefault(a, set()).add(b)
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            pytest.fail(f"a circle of imports: {' -> '.join([*path[path.index(module) :], module])}")
        if module not in done:
            for target in graph.get(module, ()):
                walk(target, (*path, module))
            done.add(module)

    for module in list(graph):
        walk(module, ())


def test_every_public_name_of_a_package_is_there():
    """Some packages import a name at its first use, so an import alone does not tell."""
    packages = [importlib.import_module(name) for name, path in modules() if path.name == "__init__.py"]
    public = [(package, name) for package in packages for name in getattr(package, "__all__", [])]
    assert {package.__name__ for package, _ in public} >= {"mmbal", "mmbal.data", "mmbal.decision", "mmbal.diagnosis"}
    assert [f"{package.__name__}.{name}" for package, name in public if not hasattr(package, name)] == []
