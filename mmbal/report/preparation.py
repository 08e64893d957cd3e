"""What preparation found and made, as tables: a store's samples and modalities, its findings, and the known data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmbal.data.preparation.findings import Finding
from mmbal.data.store.store import Store
from mmbal.registry import datasets
from mmbal.tables import Column, Table
from mmbal.text import plural

SHOWN_CLASSES = 40
SHOWN_FINDINGS = 40
SETTINGS = ("features", "sample_rate", "duration", "frames", "keep", "fps", "size", "tokens", "length")  # of a recipe


def samples(store: Store) -> Table:
    """How many samples each class has in each split, and how many of them have each modality that some lack."""
    counts, names = store.counts(), store.classes[:SHOWN_CLASSES]
    more = len(store.classes) - len(names)

    def cell(split: str, name: str) -> str:
        n = counts[split][name]
        some = [f"{m} {n[m]}" for m in store.modalities if n[m] != n["samples"]]
        return f"{n['samples']}" + (f" ({', '.join(some)})" if some else "")

    first = [*names, *([f"... {more} more"] if more else []), "all"]
    columns = [Column("class", first)]
    for split, total in store.splits().items():
        columns.append(Column(split, [*(cell(split, c) for c in names), *([""] if more else []), total]))
    lacking = any(not mask.all() for mask in store.present.values())
    caption = "In brackets: how many of the samples have a modality that is missing from others." if lacking else ""
    return Table.of(columns, title=f"{store.name}: {plural(len(store), 'sample')}", caption=caption)


def modalities(store: Store) -> Table:
    """Kind and shape of each modality, and what its inputs were made by."""
    found = store.modalities
    return Table.of(
        [
            Column("modality", list(found)),
            Column("kind", [s.kind for s in found.values()], left=True),
            Column("shape", [" x ".join(map(str, s.shape)) for s in found.values()], left=True),
            Column("made by", [_recipe(s.preprocessing) for s in found.values()], left=True, wrap=True),
        ]
    )


def _recipe(preprocessing: Mapping[str, Any]) -> str:
    recipe = preprocessing.get("recipe") or {}
    return ", ".join(f"{k} {recipe[k]}" for k in SETTINGS if recipe.get(k) is not None) or "given arrays"


def findings(found: Sequence[Finding]) -> tuple[list[Table], list[str]]:
    """The errors and warnings as a table, and lines with what the table has no room for and the notes."""
    serious, notes = [f for f in found if f.level != "note"], [f for f in found if f.level == "note"]
    lines = [f"{f.where}: {f.reason}" for f in notes]
    if not serious:
        return [], lines
    shown = serious[:SHOWN_FINDINGS]
    if len(shown) < len(serious):
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in serious).most_common())
        lines.insert(0, f"{len(serious) - len(shown)} more, in all: {kinds} (--json lists each).")
    columns = [
        Column("level", [f.level for f in shown]),
        Column("kind", [f.kind for f in shown], left=True),
        Column("modality", [f.modality or None for f in shown], left=True),
        Column("where", [f.where for f in shown], left=True, wrap=True),
        Column("why", [f.reason for f in shown], left=True, wrap=True),
    ]
    return [Table.of(columns, title=plural(len(serious), "finding"))], lines


def drawn(view: Store) -> Table:
    """The train samples of a view by modality discrepancy, before and after they were drawn."""
    told = view.meta["discrepancy"]
    edges = [f"{b / told['bins']:.1f} to {(b + 1) / told['bins']:.1f}" for b in range(told["bins"])]
    cells = [(m, b) for m in told["before"] for b in range(told["bins"])]
    return Table.of(
        [
            Column("preferred modality", [m for m, _ in cells]),
            Column("discrepancy", [edges[b] for _, b in cells], left=True),
            Column("samples", [told["before"][m][b] for m, b in cells]),
            Column("drawn", [told["after"][m][b] for m, b in cells]),
        ],
        title=f"{view.name}: train samples by modality discrepancy",
        caption=f"Confidences: {told['confidences']}. A sample is drawn at most {told['repeats']} times.",
    )


def data_sets() -> Table:
    """The data sets that mmbal knows."""
    known = list(datasets)
    return Table.of(
        [
            Column("name", [e.name for e in known]),
            Column("title", [e.about.title for e in known], left=True, wrap=True),
            Column("modalities", [", ".join(e.about.modalities) for e in known], left=True),
            Column("classes", [e.about.classes for e in known]),
            Column("licence", [e.about.licence for e in known], left=True, wrap=True, drop=1),
        ]
    )
