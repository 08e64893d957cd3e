"""What the registries hold, described for a reader: methods, fusions, decision rules, encoders and data sets."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmbal import registry
from mmbal.errors import UsageError, did_you_mean
from mmbal.registry import Entry, Registry
from mmbal.tables import Column, Table

KINDS = ("method", "fusion", "rule", "encoder", "dataset")
BASE, PARTS = "mmbal.methods.base", "mmbal.methods.parts."
SHARED = ("mmbal.decision.rules.", "mmbal.maths.")  # where the functions of formulas stand that several use
FACTS = {"family": "family", "year": "year", "paper": "arXiv", "status": "formula"}  # field -> head of its column


def members(kind: str | None = None) -> list[tuple[str, Entry[Any]]]:
    """The members of a kind, or of all; raises UsageError for an unknown kind."""
    return [(k, entry) for k, own in _registries(kind) for entry in own]


def outlined(kind: str | None = None) -> list[dict[str, Any]]:
    """Kind, name, summary and facts of the members, which are not imported for it; raises as :func:`members` does."""
    return [
        {"kind": k, "name": one.name, "summary": one.summary, **one.facts}
        for k, own in _registries(kind)
        for one in own.outline()
    ]


def _registries(kind: str | None) -> list[tuple[str, Registry[Any]]]:
    if kind is not None and kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.", did_you_mean(kind, KINDS))
    return [(k, getattr(registry, f"{k}s")) for k in ([kind] if kind else KINDS)]


def named(name: str, kind: str | None = None) -> list[tuple[str, Entry[Any]]]:
    """The members called ``name``, of a kind or of all; raises UsageError with the nearest names where there is none."""
    known = members(kind)
    found = [(k, entry) for k, entry in known if entry.name == name]
    if not found:
        raise UsageError(f"There is nothing called '{name}'.", did_you_mean(name, [entry.name for _, entry in known]))
    return found


def describe(kind: str, entry: Entry[Any]) -> dict[str, Any]:
    """A member as plain values: name, summary, what is known about it, and the keys of its configuration."""
    config = getattr(entry.cls, "Config", None)
    about = {
        key: value if isinstance(value, (str, int, float, bool, dict, type(None))) else sorted(value)
        for key, value in asdict(entry.about).items()
    }
    return {
        "kind": kind,
        "name": entry.name,
        "summary": (inspect.cleandoc(entry.cls.__doc__ or "") or text_of(entry)).split("\n")[0],
        **about,
        **({"functions": functions_of(entry)} if kind == "method" else {}),
        "config": [
            {
                "key": key,
                "default": _plain(f.get_default(call_default_factory=True)),
                "description": f.description or "",
            }
            for key, f in getattr(config, "model_fields", {}).items()
        ],
    }


def text_of(entry: Entry[Any]) -> str:
    """What the member's own page says: its module's docstring where the file is its own, else that of its class."""
    module = sys.modules[entry.cls.__module__]
    own = entry.cls.__module__.rsplit(".", 1)[-1] == entry.name
    return inspect.cleandoc((module.__doc__ if own else None) or inspect.getdoc(entry.cls) or "")


def functions_of(entry: Entry[Any]) -> list[str]:
    """The pure functions that a method's formula consists of, as ``module.name(arguments)``.

    They are those of its page and of the page of its base, then those that these pages take from `methods/parts`, from the
    decision rules and from `maths`. None needs a trainer.
    """
    pages = [c.__module__ for c in entry.cls.__mro__ if c.__module__.startswith("mmbal.methods.")]
    pages = [page for page in dict.fromkeys(pages) if page != BASE] or [entry.cls.__module__]
    taken = [getattr(value, "__module__", None) or "" for page in pages for value in vars(sys.modules[page]).values()]
    pages += sorted({module for module in taken if module.startswith(PARTS)} - set(pages))
    found = {}
    for page in pages:
        for name, value in vars(sys.modules[page]).items():
            if inspect.isfunction(value) and not name.startswith("_"):
                found[f"{value.__module__}.{name}"] = value
    own = [name for name, value in found.items() if value.__module__ in pages]
    others = [name for name, value in found.items() if value.__module__ not in pages and name.startswith(SHARED)]
    return [f"{name}({', '.join(inspect.signature(found[name]).parameters)})" for name in own + others]


def listed(described: Sequence[dict[str, Any]]) -> list[Table]:
    """A table for each kind."""
    tables = []
    for k in dict.fromkeys(d["kind"] for d in described):
        own = [d for d in described if d["kind"] == k]
        columns = [Column("name", [d["name"] for d in own])]
        for drop, (key, head) in enumerate(FACTS.items(), start=2):
            columns.append(Column(head, [d.get(key) for d in own], left=key != "year", drop=drop))
        columns.append(Column("what it does", [d["summary"] for d in own], left=True, wrap=True))
        tables.append(Table.of(columns, title=f"{k}s".replace("datasets", "data sets")))
    return tables


def heading(described: dict[str, Any]) -> str:
    """Kind and name of a member, with its family and status."""
    facts = [str(described[key]) for key in ("family", "status") if described.get(key)]
    return f"{described['kind']} {described['name']}" + (f"  ({', '.join(facts)})" if facts else "")


def keys(described: dict[str, Any]) -> list[Table]:
    """The keys of a member's configuration, where it has some."""
    found = described["config"]
    if not found:
        return []
    columns = [
        Column("key", [f["key"] for f in found]),
        Column("default", [str(f["default"]) for f in found], left=True),
        Column("meaning", [f["description"] for f in found], left=True, wrap=True),
    ]
    return [Table.of(columns)]


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
