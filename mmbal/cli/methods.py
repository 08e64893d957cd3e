"""`mmbal methods list|show`: methods, fusions, rules, encoders and data sets, and what each does."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Json
from mmbal.errors import UsageError, did_you_mean
from mmbal.tables import Column, Table

if TYPE_CHECKING:
    from mmbal.registry import Entry

KINDS = ("method", "fusion", "rule", "encoder", "dataset")

Kind = Annotated[str | None, typer.Option(help="method, fusion, rule, encoder or dataset; all where not given.")]


def list_members(kind: Kind = None, as_json: Json = False) -> None:
    """List the training methods, fusions, decision rules, encoders and data sets."""
    described = [describe(k, entry) for k, entry in _entries(kind)]
    if as_json:
        console.print_json(described)
        return
    for k in dict.fromkeys(d["kind"] for d in described):
        own = [d for d in described if d["kind"] == k]
        facts = {"family": "family", "year": "year", "paper": "arXiv", "status": "status"}
        columns = [Column("name", [d["name"] for d in own])]
        columns += [Column(head, [d.get(key) for d in own], left=key != "year") for key, head in facts.items()]
        columns.append(Column("what it does", [d["summary"] for d in own], left=True))
        console.show(Table.of(columns, title=f"{k}s"))


def show_member(
    name: Annotated[str, typer.Argument(help="A method, fusion, rule, encoder or data set.")],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Show one of them: its idea, its formula, its source, where it deviates, and its keys."""
    entries = _entries(kind)
    found = [(k, e) for k, e in entries if e.name == name]
    if not found:
        raise UsageError(f"There is nothing called '{name}'.", did_you_mean(name, [e.name for _, e in entries]))
    if as_json:
        console.print_json([describe(k, entry) | {"text": text_of(entry)} for k, entry in found])
        return
    for k, entry in found:
        d = describe(k, entry)
        facts = [d[key] for key in ("family", "status") if d.get(key)]
        console.say(f"{k} {entry.name}" + (f"  ({', '.join(map(str, facts))})" if facts else ""), style="bold")
        console.say(text_of(entry))
        if d["config"]:
            keys = {"key": "key", "default": "default", "description": "meaning"}
            console.show(
                Table.of(Column(head, [str(f[key]) for f in d["config"]], left=True) for key, head in keys.items())
            )


def _entries(kind: str | None) -> list[tuple[str, Entry[Any]]]:
    from mmbal import registry

    if kind is not None and kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.", did_you_mean(kind, KINDS))
    return [(k, entry) for k in ([kind] if kind else KINDS) for entry in getattr(registry, f"{k}s")]


def describe(kind: str, entry: Entry[Any]) -> dict[str, Any]:
    """A registered member as plain values: name, summary, what is known about it, configuration keys."""
    config = getattr(entry.cls, "Config", None)
    fields = getattr(config, "model_fields", {})
    about = {
        key: value if isinstance(value, (str, int, float, bool, dict, type(None))) else sorted(value)
        for key, value in asdict(entry.about).items()
    }
    return {
        "kind": kind,
        "name": entry.name,
        "summary": (inspect.cleandoc(entry.cls.__doc__ or "") or text_of(entry)).split("\n")[0],
        **about,
        "config": [
            {
                "key": key,
                "default": _plain(f.get_default(call_default_factory=True)),
                "description": f.description or "",
            }
            for key, f in fields.items()
        ],
    }


def text_of(entry: Entry[Any]) -> str:
    """What the member's own page says: its module's docstring where the file is its own, else that of its class."""
    module = sys.modules[entry.cls.__module__]
    own = entry.cls.__module__.rsplit(".", 1)[-1] == entry.name
    return inspect.cleandoc((module.__doc__ if own else None) or inspect.getdoc(entry.cls) or "")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
