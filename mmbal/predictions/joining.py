"""Joins predictions of one model: those of its splits, or of shards of its data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbal.errors import DataError, UsageError
from mmbal.predictions.columns import Array

if TYPE_CHECKING:
    from mmbal.predictions.format import Predictions

KEYS = {"subsets": "subset", "segments": "group"}  # of fields whose keys in a file have another name


def joined(parts: list[Predictions]) -> Predictions:
    """What :meth:`mmbal.predictions.format.Predictions.concatenate` returns, of predictions."""
    if not parts:
        raise UsageError("There are no predictions to join.")
    first = parts[0]
    for number, part in enumerate(parts[1:], start=2):
        if part.classes != first.classes:
            odd = next((f"'{b}', not '{a}'" for a, b in zip(first.classes, part.classes, strict=False) if a != b), "")
            raise DataError(
                f"Predictions {number} have other classes than the first: "
                f"{odd or f'{len(part.classes)}, not {len(first.classes)}'}.",
                "Give 'classes' in the same order in all of them.",
            )
        if set(part.modalities) != set(first.modalities):
            raise DataError(
                f"Predictions {number} have the modalities {', '.join(part.modalities)}; the first have "
                f"{', '.join(first.modalities)}."
            )
    notes = list(dict.fromkeys(note for part in parts for note in part.warnings))

    def left_out(what: str) -> None:
        notes.append(f"'{what}' is left out of the joined predictions: not all of them have it, or it differs")

    def join(name: str) -> dict[Any, Array]:
        tables = [getattr(part, name) for part in parts]
        every = list(dict.fromkeys(key for table in tables for key in table))
        for key in every:
            if not all(key in table for table in tables):
                left_out(f"{KEYS.get(name, name)}_{'+'.join(key) if isinstance(key, tuple) else key}")
        return {k: np.concatenate([t[k] for t in tables]) for k in every if all(k in t for t in tables)}

    def stack(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if all(value is not None for value in values):
            return np.concatenate(values)
        if any(value is not None for value in values):
            left_out(name)
        return None

    def same(name: str) -> Any:
        """What belongs to the model, where all parts have the same of it."""
        values = [getattr(part, name) for part in parts]
        if all(_equal(value, values[0]) for value in values):
            return values[0]
        left_out(name)
        return {} if isinstance(values[0], dict) else None

    present = {
        m: np.concatenate([p.present.get(m, np.ones(len(p), dtype=bool)) for p in parts])
        for m in first.modalities
        if any(m in p.present for p in parts)
    }
    columns: dict[str, Any] = {name: stack(name) for name in ("labels", "split", "group", "fused", "exchanged")}
    mapped = ("logits", "contribution", "subsets", "shapley", "segments", "weights", "features")
    maps: dict[str, Any] = {name: join(name) for name in mapped}
    alike = all(part.baselines.keys() == first.baselines.keys() for part in parts)
    baselines = {name: joined([part.baselines[name] for part in parts]) for name in first.baselines} if alike else {}
    if not alike:
        left_out("baseline_<name>")
    numbered = len(parts) > 1 and all(np.array_equal(p.ids, np.arange(len(p)).astype(str)) for p in parts)
    ids = np.arange(len(columns["labels"])).astype(str) if numbered else np.concatenate([p.ids for p in parts])
    meta = {k: v for k, v in first.meta.items() if all(k in p.meta and p.meta[k] == v for p in parts)}
    found = replace(
        first, **columns, **maps, ids=ids, present=present, weight=same("weight"), bias=same("bias"), meta=meta
    )
    found = replace(found, baselines=baselines)
    ruled = any(part.unruled is not None for part in parts)
    unruled = joined([part.unruled or part for part in parts]) if ruled else None
    return replace(found, warnings=tuple(notes), unruled=unruled)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))
