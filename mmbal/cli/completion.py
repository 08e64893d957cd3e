"""What a shell may complete: names of the registries, stores, runs, files, and keys of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

MOST = 50  # completions of paths


def members(kind: str) -> Callable[[str], list[str]]:
    """Names of one registry: method, fusion, rule, encoder or dataset."""

    def complete(incomplete: str) -> list[str]:
        from mmbal import registry

        return [one.name for one in getattr(registry, f"{kind}s").outline() if one.name.startswith(incomplete)]

    return complete


def words(*known: str) -> Callable[[str], list[str]]:
    """The few values that an option takes."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def stores(incomplete: str) -> list[str]:
    """Stores of the folder ``stores``, and folders."""
    folders = (path for path in _paths(incomplete) if path.endswith("/"))
    return [*_known("stores", "meta.json", incomplete), *folders][:MOST]


def runs(incomplete: str) -> list[str]:
    """Runs of the folder ``runs``, and files."""
    return [*_known("runs", "config.yaml", incomplete), *_paths(incomplete)][:MOST]


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys of the configuration as ``--set`` takes them, those of the chosen method and fusion among them."""
    from mmbal import registry
    from mmbal.config import keys as keys_of
    from mmbal.engine.config import TrainConfig

    known = [key for key in keys_of(TrainConfig) if key not in ("method", "fusion", "data")]
    chosen = {"method": ctx.params.get("method") or "joint", "fusion": ctx.params.get("fusion") or "concat"}
    for kind, name in chosen.items():
        found: dict[str, Any] = {e.name: e.cls for e in getattr(registry, f"{kind}s")}
        if name in found:
            known += [f"{kind}.{key}" for key in found[name].Config.model_fields]
    return [f"{key}=" for key in known if key.startswith(incomplete)]


def _known(folder: str, file: str, incomplete: str) -> Iterator[str]:
    for path in sorted(Path(folder).glob(f"**/{file}")):
        name = str(path.parent)
        if name.startswith(incomplete) or path.parent.name.startswith(incomplete):
            yield name


def _paths(incomplete: str) -> Iterator[str]:
    for path in sorted(Path().glob(f"{incomplete}*")) if not incomplete.startswith("/") else []:
        yield f"{path}/" if path.is_dir() else str(path)
