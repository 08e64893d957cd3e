"""The figures of a diagnosis by their paths, such as ``contribution.video``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Figure = tuple[float, float | None, float | None]


def figures_of(diagnosis: BaseModel) -> dict[str, Figure]:
    """Every number of a diagnosis by its path: the value and, of an estimate, its interval."""
    return dict(_figures(diagnosis.model_dump(mode="json")))


def _figures(node: Any, path: str = "") -> Iterator[tuple[str, Figure]]:
    if isinstance(node, dict):
        if set(node) == {"value", "low", "high"}:
            yield path, (node["value"], node["low"], node["high"])
        for key, child in node.items():
            yield from _figures(child, f"{path}.{key}" if path else key)
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield path, (float(node), None, None)
