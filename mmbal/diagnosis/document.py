"""The diagnosis as a typed, versioned document: what every diagnosis holds, and the keys of all sections.

Keys of modalities and classes are their names. A figure that can't be computed is left out of its table (or null), and
``not_computed`` gives the reason and the array that is needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from mmbal.config import Frozen, validate
from mmbal.diagnosis.schema import SCHEMA_VERSION, Advice, Data, NotComputed, Settings
from mmbal.diagnosis.section import all_sections
from mmbal.diagnosis.tables import tables_of, title_of
from mmbal.errors import DataError
from mmbal.files import read_json, write_json
from mmbal.notebook import Content, Shown, plots_of, plotted

BASICS = {r"^data\.absent\b": "data.missing"}  # renamed since version 0.1.0


class Document(Frozen, Shown):
    """What every diagnosis holds, whatever its sections."""

    schema_version: int = SCHEMA_VERSION
    mmbal: str = Field(description="version of mmbal that wrote it")
    verdict: list[str]
    advice: list[Advice]
    classes: dict[str, Any]
    not_computed: list[NotComputed]
    data: Data
    settings: Settings

    if TYPE_CHECKING:  # the sections' keys

        def __getattr__(self, name: str) -> Any: ...

    def __str__(self) -> str:
        title = f"Diagnosis of {self.data.samples} samples of the split '{self.data.split}'"
        return "\n".join([title, *self.verdict, *(f"{one.command}: {one.purpose}" for one in self.advice)])

    __repr__ = __str__

    def sampled(self) -> dict[str, Any]:
        """The figures of the classes that have samples."""
        return {name: found for name, found in self.classes.items() if found.samples}

    def shown(self) -> Content:
        """The verdict and the main tables, as a notebook shows them."""
        return Content(title_of(self), self.verdict, tables_of(self, full=False))

    def plot(self, name: str = "balance", ax: Any = None, panel: str | None = None) -> Any:
        """Draw one of the pictures of :meth:`plots` with matplotlib, and return its axes.

        ``ax``: axes to draw on, new ones where not given. ``panel``: which of several drawings, the first where not given
        (a modality's name). Raises UsageError for an unknown name, and where there is nothing to draw.
        """
        return plotted(self, "diagnosis", name, ax, panel)

    @staticmethod
    def plots() -> list[str]:
        """The names that :meth:`plot` takes."""
        return plots_of("diagnosis")

    def save(self, path: str | Path) -> None:
        """Write the diagnosis as JSON, atomically."""
        write_json(Path(path), self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read a diagnosis; raises UsageError (no file), DataError (not JSON, another version), ConfigError (keys)."""
        document = read_json(Path(path))
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{path} is not a diagnosis of schema version {SCHEMA_VERSION} (it says: {version}).",
                "Write it anew with `mmbal diagnose`.",
            )
        document.pop("gates", None)  # of `mmbal diagnose --fail-if ... --json`
        return validate(cls, document, str(path))


SECTIONS = tuple(all_sections())


class OfClass(Frozen):
    """The figures of one class, whatever the sections."""

    samples: int

    if TYPE_CHECKING:  # the sections' keys

        def __init__(self, **figures: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...


_class_fields: dict[str, Any] = {key: field for section in SECTIONS for key, field in section.class_fields.items()}
ClassDiagnosis = create_model("ClassDiagnosis", __base__=OfClass, **_class_fields)

if TYPE_CHECKING:
    Diagnosis = Document
else:
    Diagnosis = create_model(
        "Diagnosis",
        __base__=Document,
        __doc__="Which modality a model follows, and what that costs: every figure with its interval (docs/diagnosis.md).",
        classes=(dict[str, ClassDiagnosis], ...),
        **{key: field for section in SECTIONS for key, field in section.fields.items()},
    )


def renamed(path: str) -> str:
    """The path of a figure by its name of today, from that or from an older name."""
    for names in (BASICS, *(section.renamed for section in SECTIONS)):
        for old, new in names.items():
            path = re.sub(old, new, path)
    return path
