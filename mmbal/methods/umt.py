"""UMT: unimodal teachers hold each encoder to the features that its modality gives when it is trained alone.

Du, Teng, Li, Liu, Yuan, Wang, Yuan and Zhao, "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023,
arXiv 2305.01233; first in Du et al., "Improving Multi-Modal Learning with Uni-Modal Teachers", 2021, arXiv 2106.11059.

    L = CE(o, y) + lambda sum_m mean_i ||z_m,i - t_m,i||^2 / D_m           t_m: the features of m's frozen teacher

Deviations: the paper trains the teachers apart. Here they are made in the run, in its first `teacher_epochs` epochs, by own
losses; then the model starts again from where it began (as in `g2d`). The squared distance is a mean over entries. lambda
= 10 is the weight of a public benchmark; the papers' own could not be had. A sample without m is left out of m's term. The
checkpoint is of an epoch of the student. The teachers cost one more forward pass of the encoders.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Run
from mmbal.methods.parts.teachers import Taught, feature_distance
from mmbal.models.multimodal import Output
from mmbal.registry import methods


@methods.register(
    family="distillation",
    year=2023,
    paper="2305.01233",
    status="with stated deviations",
    off={"teacher_epochs": 0},
)
class UMT(Taught):
    """Distils the features of unimodal teachers into the encoders of joint training."""

    class Config(Config):
        teacher_epochs: int | None = Field(
            None, ge=0, description="epochs of the teachers; a third if not set; 0: joint"
        )
        strength: float = Field(10.0, ge=0, le=100, description="lambda: weight of the distance to the teachers")

    def taught_losses(self, output: Output, teachers: Output, batch: Batch, run: Run) -> dict[str, Tensor]:
        strength = self.config.strength
        return {
            f"feature/{m}": strength * feature_distance(output.features[m], teachers.features[m], there)
            for m, there in output.present.items()
        }
