"""`mmbal methods`: what there is to choose from, and what each does."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Json
from mmbal.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mmbal.registry import Entry

KINDS = ("method", "fusion", "rule", "encoder", "dataset")


def methods(
    action: Annotated[str, typer.Argument(help="list or show")] = "list",
    name: Annotated[
        str | None, typer.Argument(help="what to show: a method, fusion, rule, encoder or data set")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="method, fusion, rule, encoder or dataset")] = None,
    as_json: Json = False,
) -> None:
    """List training methods, fusions, decision rules, encoders and data sets, or show one with its formula and keys."""
    from mmbal import registry

    if kind is not None and kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.", did_you_mean(kind, KINDS))
    entries = [(k, entry) for k in ([kind] if kind else KINDS) for entry in getattr(registry, f"{k}s")]
    if action == "list":
        _list(entries, as_json)
    elif action == "show" and name:
        found = [(k, e) for k, e in entries if e.name == name]
        if not found:
            raise UsageError(f"There is nothing called '{name}'.", did_you_mean(name, [e.name for _, e in entries]))
        _show(found, as_json)
    else:
        raise UsageError("Say `mmbal methods list` or `mmbal methods show NAME`.")


def _list(entries: list[tuple[str, Entry]], as_json: bool) -> None:
    described = [describe(kind, entry) for kind, entry in entries]
    if as_json:
        console.print_json(described)
        return
    for kind in dict.fromkeys(d["kind"] for d in described):
        rows = [
            [d["name"], d.get("family"), d.get("year"), d.get("paper"), d.get("status"), d["summary"]]
            for d in described
            if d["kind"] == kind
        ]
        columns = ["name", "family", "year", "arXiv", "status", "what it does"]
        keep = [i for i, _ in enumerate(columns) if any(row[i] is not None for row in rows)]
        console.table(
            [columns[i] for i in keep], [[row[i] for i in keep] for row in rows], title=f"{kind}s", numeric=["year"]
        )


def _show(found: list[tuple[str, Entry]], as_json: bool) -> None:
    if as_json:
        console.print_json([describe(kind, entry) | {"text": text_of(entry)} for kind, entry in found])
        return
    for kind, entry in found:
        d = describe(kind, entry)
        facts = [d[key] for key in ("family", "status") if d.get(key)]
        console.say(f"{kind} {entry.name}" + (f"  ({', '.join(map(str, facts))})" if facts else ""), style="bold")
        console.say(text_of(entry))
        if d["config"]:
            rows = [[f["key"], f["default"], f["description"]] for f in d["config"]]
            console.table(["key", "default", "meaning"], rows, numeric=[])


def describe(kind: str, entry: Entry) -> dict[str, Any]:
    """A registered member as plain values: name, summary, metadata, configuration keys."""
    config = getattr(entry.cls, "Config", None)
    fields = getattr(config, "model_fields", {})
    metadata = {
        key: sorted(value) if isinstance(value, (set, frozenset)) else value
        for key, value in entry.metadata.items()
        if isinstance(value, (str, int, float, bool, set, frozenset, list, type(None)))
    }
    return {
        "kind": kind,
        "name": entry.name,
        "summary": (inspect.cleandoc(entry.cls.__doc__ or "") or text_of(entry)).split("\n")[0],
        **metadata,
        "config": [
            {
                "key": key,
                "default": _plain(f.get_default(call_default_factory=True)),
                "description": f.description or "",
            }
            for key, f in fields.items()
        ],
    }


def text_of(entry: Entry) -> str:
    """What the member's own page says: its module's docstring where the file is its own, else that of its class."""
    module = sys.modules[entry.cls.__module__]
    own = entry.cls.__module__.rsplit(".", 1)[-1] == entry.name
    return inspect.cleandoc((module.__doc__ if own else None) or inspect.getdoc(entry.cls) or "")


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
