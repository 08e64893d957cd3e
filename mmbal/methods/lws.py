"""LWS: learn features and classifier, then rescale each class's decision weights with every class equally frequent.

Kang, Xie, Rohrbach, Yan, Gordo, Feng and Kalantidis, "Decoupling Representation and Classifier for Long-Tailed Recognition",
ICLR 2020, arXiv 1910.09217. After joint training, with all else frozen and rows drawn as in `crt`:

    o_c = sum_m f_mc W_m[c] . z_m + b_c,         min over f of mean_i CE(o_i, y_i),     f = 1 at first

Deviations: those of `crt`. The paper has one modality and a scale for each class; here it is one for each class and
modality, so that a class can rest on another modality than the next (`shared = true`: one for each class). The bias is not
scaled. The rule `lws` fits the same scales on calibration rows, with a prior, to the optimum.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.methods.crt import TwoStages
from mmbal.models.fusion import LinearFusion
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def scaled_part(part: Tensor, bias: Tensor, factor: Tensor) -> Tensor:
    """``f_c W[c] . z + b_c (B, C)`` of the part ``W z + b (B, C)``, its share of the bias and the scales ``(C,)``."""
    return part + (factor - 1) * (part - bias)


@methods.register(
    family="decision layer",
    year=2020,
    paper="1910.09217",
    needs={"additive"},
    status="with stated deviations",
    off={"head": 0.0},
)
class LWS(TwoStages):
    """Learns a scale for each class and modality on frozen decision weights and class-balanced rows."""

    second = ("method",)

    class Config(TwoStages.Config):
        shared: bool = Field(
            False, description="one scale for each class, the same for all modalities, as in the paper"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        names = ["shared"] if self.config.shared else model.modalities
        self.factor = nn.ParameterDict({m: nn.Parameter(torch.ones(model.fusion.classes)) for m in names})

    def fuse(self, output: Output) -> Output:
        head = self.model.fusion
        if self.config.head == 0 or output.contribution is None or not isinstance(head, LinearFusion):
            return output
        factor = {m: self.factor["shared" if self.config.shared else m] for m in output.contribution}
        return output.with_contributions(
            {m: scaled_part(part, head.bias(m), factor[m]) for m, part in output.contribution.items()}
        )
