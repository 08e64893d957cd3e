"""Findings of preparation, one line each, from a lost file to a leak between splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
Counted = Literal["rows", "files", "bytes", "pictures"]
Progress = Callable[[int, int, Counted], None]  # steps just done, steps in all, of what


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed. error: something is lost or unusable; warning: kept, but suspicious; note: good to know."""

    level: Level
    kind: str
    where: str
    reason: str
    modality: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
