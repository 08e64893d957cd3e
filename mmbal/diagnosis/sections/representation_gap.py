"""What separately trained encoders gain over the model's: what is lost in the encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmbal.diagnosis import decomposition
from mmbal.diagnosis.schema import NO_REFERENCE, Gap, RepresentationGap
from mmbal.diagnosis.section import Section
from mmbal.registry import sections

if TYPE_CHECKING:
    from mmbal.diagnosis.examine import Examination


@sections.register()
class RepresentationGapSection(Section):
    """The representation gap: fused, by modality and by class. The table of losses shows it."""

    order = 30
    fields = {"representation_gap": (RepresentationGap | None, None)}
    class_fields = {"representation_gap": (Gap | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if e.readout is None:
            e.lacks("representation_gap", *NO_REFERENCE)
            return {}
        gap, by_class = decomposition.representation_gap(e.figures, e.readout)
        e.file("representation_gap", by_class)
        lacking = [m for m in e.names if gap is not None and m not in gap.modalities]
        e.lacks(
            [f"representation_gap.modalities.{m}" for m in lacking],
            "no sample has the modality in both, the model and the reference",
        )
        return {"representation_gap": gap}
