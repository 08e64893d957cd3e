"""What a section of a diagnosis is: one figure, or a few that belong together, on one page of ``sections/``.

A section names its keys of the document, states when it can be measured, measures it, and returns its tables. Everything
else (diagnosis.json, ``--fail-if``, the terminal, HTML, Markdown, the intervals of ``diagnose A B``) follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

Fields = Mapping[str, tuple[Any, Any]]  # key -> type, and default or pydantic's Field


class Section(ABC):
    """A page of the diagnosis. ``measure`` is needed, the rest where there is something to show.

    Every figure of a table is a figure of the document: its path can be given to ``--fail-if``.
    """

    order: ClassVar[int] = 1000  # sections are measured and shown in this order; a later one may use an earlier one
    title: ClassVar[str] = ""  # heading of its tables on a page
    full: ClassVar[bool] = False  # whether its tables are printed with --full only
    on_request: ClassVar[bool] = False  # whether it is measured only where the user or the training run asked for it
    effort: ClassVar[float] = 1.0  # how long it takes beside the others, for the time that is left
    needs_labels: ClassVar[bool] = True  # whether nothing of it can be measured without labels
    fields: ClassVar[Fields] = {}  # of the document
    class_fields: ClassVar[Fields] = {}  # of the document's ``classes.<class>``
    renamed: ClassVar[Mapping[str, str]] = {}  # pattern of a path in older documents -> its name now

    @abstractmethod
    def measure(self, e: Examination) -> Mapping[str, Any]:
        """The section's keys with their figures; ``e.file`` takes the figures by class.

        What can't be computed is left out, and ``e.lacks`` notes the reason.
        """

    def tables(self, d: Diagnosis) -> list[Table]:
        """The section's own tables; none where it has nothing to show."""
        return []

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        """Columns of the table of modalities: one cell for each modality, and one for ``fused``."""
        return []

    def class_columns(self, d: Diagnosis, wide: bool) -> list[Column]:
        """Columns of the table of classes, one cell for each class that has samples; ``wide``: of any width."""
        return []

    def sentences(self, d: Diagnosis) -> list[str]:
        """What the section adds to the verdict. No sentence, and no number in one, may depend on the bootstrap's seed."""
        return []

    def monitored(self, d: Diagnosis) -> dict[str, str]:
        """The figures that need no labels and may be followed over time: path -> label. All are shares."""
        return {}

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        """What ``diagnose A B`` shows side by side: path of a figure -> its label and form."""
        return {}


def all_sections() -> list[Section]:
    """Every section, in order."""
    return [entry.cls() for entry in sorted(sections, key=lambda entry: (entry.cls.order, entry.name))]
