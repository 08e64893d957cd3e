"""Unimodal training: every modality learns from its own decision alone; summed, the unimodal ensemble (UME).

Du et al., "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023, arXiv 2305.01233.

    L = sum_m CE(softmax(o_m), y),      o = sum_m o_m

Deviations: UME trains separate networks; here they share one loop, which is the same, since no parameter is shared:
exactly so with the fusion `sum`, and up to the shared bias with `concat`. A sample without modality m is left out of
m's loss. For fusions that are not additive, o_m is the fusion's decision on m with the other features at zero.
"""

from torch import Tensor

from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.multimodal import Output
from mmbal.registry import methods


@methods.register(family="baseline", year=2023, paper="2305.01233", status="exact", off=None)
class Unimodal(Method):
    """The sum of the modalities' own losses."""

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return {m: masked_cross_entropy(o, batch.labels, output.present[m]) for m, o in output.logits.items()}
