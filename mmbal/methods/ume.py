"""Unimodal ensemble (UME): separately trained encoders and heads, whose decisions are averaged.

Du, Teng, Li, Liu, Yuan, Wang, Yuan and Zhao, "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023,
arXiv 2305.01233.

    L = sum_m CE(softmax(o_m), y)          no parameter is shared, so each modality trains alone
    o = mean_m o_m    or, with `average = probabilities`,    o = log mean_m softmax(o_m)

Deviations: the modalities train in one loop, with one number of epochs and one checkpoint; `mmbal pretrain` gives each its
own. The mean is over the modalities that a sample has; one without m is left out of m's loss. `unimodal` is the same
training with the sum of the logits as the decision. The mean of probabilities is the rule `mean`.
"""

from typing import Literal

from pydantic import Field

from mmbal.config import Config
from mmbal.decision.rules.mean import mean_log_probabilities
from mmbal.methods.unimodal import Unimodal
from mmbal.models.multimodal import Output
from mmbal.registry import methods


@methods.register(family="baseline", year=2023, paper="2305.01233", fusion="sum", status="exact", off=None)
class UME(Unimodal):
    """The modalities' own losses, and the mean of their decisions."""

    class Config(Config):
        average: Literal["logits", "probabilities"] = Field("logits", description="what is averaged")

    def fuse(self, output: Output) -> Output:
        if self.config.average == "logits":
            return output.averaged()
        logits, present = output.stacked()
        return output.with_fused(mean_log_probabilities(logits.log_softmax(dim=-1), present).log_softmax(dim=-1))
