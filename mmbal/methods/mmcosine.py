"""MMCosine: cosine logits, so that longer features or weights give no modality more influence.

Xu, Feng, Zhang and Hu, "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained Learning", ICASSP
2023, arXiv 2303.05338.

    o_c = s sum_m cos(W_m[c], z_m) = s sum_m  W_m[c] . z_m / (|W_m[c]| |z_m|),      p = softmax(o)

Deviations: none for two modalities. The sum runs over all M, and s is kept, so the range of the logits grows with M. A
feature of zeros, such as that of a missing modality, has no direction and adds nothing. Published scales are s = 10
(CREMA-D in a later comparison) and s = 15 (a public benchmark). The bias of the fusion takes no part. No option makes
this joint training: the decision has another form.
"""

from typing import cast

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from mmbal.config import Config
from mmbal.methods.base import Method
from mmbal.models.fusion import LinearFusion
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def cosine_logits(features: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Scaled cosines ``(B, C)``, within [-scale, scale], of features ``(B, D)`` and class weights ``(C, D)``."""
    return scale * normalize(features, dim=-1) @ normalize(weight, dim=-1).T


@methods.register(family="decision layer", year=2023, paper="2303.05338", needs={"additive"}, status="exact", off=None)
class MMCosine(Method):
    """Replaces the linear decision by the sum of the modalities' cosine logits, in the loss and in the test."""

    class Config(Config):
        scale: float = Field(10.0, gt=0, description="s: how sharp the softmax over cosines is")

    def fuse(self, output: Output) -> Output:
        head = cast(LinearFusion, self.model.fusion)
        return output.with_contributions(
            {m: cosine_logits(z, head.weight(m), self.config.scale) for m, z in output.features.items()}
        )
