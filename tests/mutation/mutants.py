"""Mutation testing of the mathematics: a small fault is put into the code, and a test must fail for it.

    python tests/mutation/mutants.py            # the sample that `make test-long` tries
    python tests/mutation/mutants.py --one-in 1 mmbal/maths/folds.py

A mutant is one change of the syntax tree: another comparison, operator, constant, reduction or branch, or a statement
that is left out. The sample is drawn by a hash of the changed line, so a change elsewhere does not move it. A first
run of the tests tells which tests reach which line. Each mutant is then tried by those alone, the quickest first, in a
process that has loaded the libraries but not mmbal. It is killed when a test fails, or takes ten times as long as before.
``equivalent.txt`` names the mutants that are not tried, since no test can tell them or they change a mere choice.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("maths", "decision", "diagnosis")
EQUIVALENT = Path(__file__).parent / "equivalent.txt"
ONE_IN = 40  # possible mutants for one that is tried
SLOWEST = 60.0  # seconds of tests for one mutant; the slowest tests beyond are left out

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
REDUCTIONS = {"min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin", "any": "all", "all": "any"}
REDUCTIONS |= {"mean": "sum", "maximum": "minimum", "minimum": "maximum", "floor": "ceil", "ceil": "floor"}


def replacements(node: ast.AST) -> Iterator[ast.AST | None]:
    """What may stand in the place of a node; None leaves the statement out."""
    new = copy.deepcopy(node)
    if isinstance(new, ast.Compare) and type(new.ops[0]) in COMPARISONS:
        new.ops[0] = COMPARISONS[type(new.ops[0])]()
        yield new
    elif isinstance(new, (ast.BinOp, ast.AugAssign)) and type(new.op) in OPERATORS:
        new.op = OPERATORS[type(new.op)]()
        yield new
    elif isinstance(new, ast.Constant) and type(new.value) in (int, float, bool):
        new.value = not new.value if isinstance(new.value, bool) else new.value + 1
        yield new
    elif isinstance(new, ast.BoolOp):
        new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
        yield new
    elif isinstance(new, ast.UnaryOp) and isinstance(new.op, (ast.USub, ast.Not, ast.Invert)):
        yield new.operand
    elif isinstance(new, ast.Attribute) and new.attr in REDUCTIONS:
        new.attr = REDUCTIONS[new.attr]
        yield new
    elif isinstance(new, ast.Name) and new.id in REDUCTIONS:
        new.id = REDUCTIONS[new.id]
        yield new
    elif isinstance(new, (ast.If, ast.IfExp)):
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield new
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield None


def left_alone(node: ast.AST, parent: ast.AST, field: str) -> bool:
    """Annotations, decorators, texts, and what only type checkers run."""
    if field in ("annotation", "returns", "type_params", "decorator_list") or isinstance(
        node, (ast.JoinedStr, ast.Import, ast.ImportFrom)
    ):
        return True
    return isinstance(parent, ast.If) and isinstance(parent.test, ast.Name) and parent.test.id == "TYPE_CHECKING"


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node under ``node`` that may be changed: its parent, the field, the position in it, the node itself."""
    for field, value in ast.iter_fields(node):
        for position, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not left_alone(child, node, field):
                yield node, field, position, child
                yield from places(child)


@dataclass(frozen=True)
class Mutant:
    """A changed module: ``number`` is its position among all of the file, ``what`` says the change."""

    file: str  # relative to the root
    number: int
    first: int
    last: int  # lines of the changed node
    what: str

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def drawn_by(self) -> int:
        return int(hashlib.sha256(f"{self.file} {self.what}".encode()).hexdigest()[:8], 16)

    def code(self) -> CodeType:
        return compile(_changed(self.file, self.number), str(ROOT / self.file), "exec")

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def _each(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, ast.AST | None]]:
    for parent, field, position, node in places(tree):
        for new in replacements(node):
            yield parent, field, position, node, new


def _changed(file: str, number: int) -> ast.Module:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    parent, field, position, node, new = list(_each(tree))[number]
    put = ast.copy_location(ast.Pass() if new is None else new, node)
    if position is None:
        setattr(parent, field, put)
    else:
        getattr(parent, field)[position] = put
    return ast.fix_missing_locations(tree)


def mutants(file: str) -> list[Mutant]:
    """Every mutant of a file. Where one line gives the same change twice, the second is told apart by ``#2``."""
    text = (ROOT / file).read_text("utf-8")
    tree, source = ast.parse(text), text.splitlines()
    found, seen = [], defaultdict(int)
    for number, (_, _, _, node, new) in enumerate(_each(tree)):
        if isinstance(node, (ast.If, ast.IfExp)):
            old, now = f"if {ast.unparse(node.test)}", "if not"
        else:
            old, now = ast.unparse(node), "pass" if new is None else ast.unparse(new)
        first, last = node.lineno, node.test.end_lineno if isinstance(node, ast.If) else node.end_lineno
        what = " ".join(f"{source[first - 1].strip()} | {old} -> {now}".split())
        seen[what] += 1
        what += f" #{seen[what]}" * (seen[what] > 1)
        found.append(Mutant(file, number, first, last or first, what))
    return found


def sample(files: Sequence[str], one_in: int) -> list[Mutant]:
    return [m for file in files for m in mutants(file) if m.drawn_by % one_in == 0]


def forked(work: Callable[[], Any], seconds: float) -> Any:
    """What ``work`` returns (JSON) in a fork of this process without output; None if it takes longer or dies."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setpgrp()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
            signal.alarm(int(seconds) + 1)
            os.write(write, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else None


class Reach:
    """A plugin of pytest: the seconds of each test, and which lines of mmbal it reaches."""

    def __init__(self, measured: Any) -> None:
        self.measured = measured
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def run_tests(arguments: Sequence[str], *plugins: object) -> int:
    import pytest

    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "-m", "not slow and not long"]
    return int(pytest.main([*options, *arguments], plugins=list(plugins)))


def reached(folders: Sequence[str]) -> dict[str, Any]:
    """Of an undisturbed run of the tests in some folders: ``seconds`` by test, and ``tests`` by file and line."""
    import coverage

    with tempfile.TemporaryDirectory() as place:
        measured = coverage.Coverage(
            data_file=str(Path(place) / "data"), include=[f"{ROOT}/mmbal/*"], config_file=False
        )
        measured.start()
        plugin = Reach(measured)
        run_tests(folders, plugin)
        measured.stop()
        data = measured.get_data()
        tests = {
            str(Path(file).relative_to(ROOT)): {
                str(n): [c for c in cs if c] for n, cs in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
    return {"seconds": plugin.seconds, "tests": tests, "failed": plugin.failed}


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name == self.mutant.module:
            file = ROOT / self.mutant.file
            inside = [str(file.parent)] if file.name == "__init__.py" else None
            return importlib.util.spec_from_file_location(name, file, loader=self, submodule_search_locations=inside)
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.mutant.code(), module.__dict__)


def tried_by(mutant: Mutant, reach: dict[str, Any]) -> list[str]:
    """The tests that reach a mutant, the quickest first; for a line that runs at import, those that reach its module.

    A test that shares what another test's fixture made is in the same file: of a file with one such test all are tried
    that reach the module.
    """
    lines: dict[str, list[str]] = reach["tests"].get(mutant.file, {})
    found = {test for n in range(mutant.first, mutant.last + 1) for test in lines.get(str(n), [])}
    every = {test for tests in lines.values() for test in tests}
    files = {test.split("::")[0] for test in found}
    found |= {test for test in reach["seconds"] if test.split("::")[0] in files}
    ordered = sorted(found or every, key=lambda test: (reach["seconds"][test], test))
    total, chosen = 0.0, []
    for test in ordered:
        total += reach["seconds"][test]
        if total <= SLOWEST:
            chosen.append(test)
    return chosen


def killed(mutant: Mutant, reach: dict[str, Any]) -> bool:
    tests = tried_by(mutant, reach)
    if not tests:
        return False

    def run() -> int:
        sys.meta_path.insert(0, Instead(mutant))
        return run_tests(["-x", *tests])

    usual = sum(reach["seconds"][test] for test in tests)
    return forked(run, 30 + 10 * usual) != 0


def named() -> dict[str, str]:
    """The reason for each mutant that is not tried."""
    if not EQUIVALENT.is_file():
        return {}
    lines = EQUIVALENT.read_text("utf-8").splitlines()
    pairs = [line.split(" :: ") for line in lines if line and not line.startswith("#")]
    return {line[0]: line[1] for line in pairs}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", help="files of mmbal; all of maths, decision and diagnosis unless given")
    parser.add_argument("--one-in", type=int, default=ONE_IN, help="possible mutants for one that is tried")
    parser.add_argument("--list", action="store_true", help="print the sample and try nothing")
    parser.add_argument("--reach", type=Path, help="a file to keep or to read which tests reach which lines")
    given = parser.parse_args()
    os.chdir(ROOT)
    every = [str(f.relative_to(ROOT)) for p in PACKAGES for f in sorted((ROOT / "mmbal" / p).rglob("*.py"))]
    drawn = sample(given.files or every, given.one_in)
    if given.list:
        print("\n".join(map(str, drawn)), f"\n{len(drawn)} mutants")
        return 0
    for library in (
        "matplotlib.pyplot",
        "pydantic",
        "rich",
        "scipy.stats",
        "sklearn.linear_model",
        "torch",
        "torchvision",
    ):
        importlib.import_module(library)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    if given.reach and given.reach.is_file():
        reach = json.loads(given.reach.read_text())
    else:
        reach = forked(lambda: reached([f"tests/{p}" for p in PACKAGES]), 3600)
        if given.reach:
            given.reach.write_text(json.dumps(reach))
    if reach is None or reach["failed"]:
        print("The tests fail without a mutant:", reach and reach["failed"])
        return 2
    equivalent, survivors, alike = named(), [], 0
    for mutant in drawn:
        began = time.monotonic()
        if str(mutant) in equivalent:
            alike += 1
        elif killed(mutant, reach):
            print(f"killed in {time.monotonic() - began:.1f} s  {mutant}", flush=True)
        else:
            survivors.append(mutant)
            print(f"SURVIVED  {mutant} (line {mutant.first}, {len(tried_by(mutant, reach))} tests)", flush=True)
    print(
        f"{len(drawn)} mutants: {len(drawn) - alike - len(survivors)} killed, {alike} equivalent, {len(survivors)} survived"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
