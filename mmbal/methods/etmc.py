"""ETMC: TMC with one view more, which sees the features of all modalities.

Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification With Dynamic Evidential Fusion", TPAMI 2022, arXiv 2204.11423.
With V a linear layer of its own on the features side by side, the pseudo-view has the evidence e_0 and is combined last:

    e_0 = softplus(V [z_1, ..., z_M] + c),      L = sum_m L(alpha_m) + L(alpha_0) + L(alpha)        L(.) as in `tmc`

Deviations: those of `tmc`. The order of the combination does not matter, since Dempster's rule is associative. A missing
modality is zeros in the pseudo-view. The rule `tmc`, which does not see the pseudo-view, does not give this decision.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mmbal.methods.tmc import TMC
from mmbal.models.fusion import linear
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

PSEUDO = "all modalities"  # the name of the pseudo-view


@methods.register(
    family="decision layer",
    year=2022,
    paper="2204.11423",
    needs={"additive"},
    status="with stated deviations",
    off=None,
)
class ETMC(TMC):
    """TMC with a pseudo-view, a head on the features of all modalities."""

    at_least = 2

    def __init__(self, model: MultimodalClassifier, config: TMC.Config | None = None) -> None:
        super().__init__(model, config)
        self.heads = nn.ModuleDict(
            {m: linear(d, model.fusion.classes, f"etmc.{m}") for m, d in model.fusion.dims.items()}
        )

    def evidence(self, output: Output) -> dict[str, Tensor]:
        parts = [self.heads[m](output.features[m]) for m in sorted(output.features)]
        return super().evidence(output) | {PSEUDO: softplus(torch.stack(parts).sum(dim=0).float())}
