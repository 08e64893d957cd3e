"""What separately trained encoders gain over the model's: what is lost in the encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmbal.diagnosis import decomposition
from mmbal.diagnosis.schema import Gap, RepresentationGap
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
            needs = "predictions of separately trained encoders with the same ids (mmbal pretrain; --reference)"
            e.lacks("representation_gap", "no reference is known", needs)
            return {}
        gap, by_class = decomposition.representation_gap(e.figures, e.readout)
        e.file("representation_gap", by_class)
        return {"representation_gap": gap}
