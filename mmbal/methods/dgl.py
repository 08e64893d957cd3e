"""DGL: encoders learn from their own losses alone, and the fusion from the fused loss alone.

Wei, Luo and Luo, "Boosting Multimodal Learning via Disentangled Gradient Learning", ICCV 2025, arXiv 2507.10213.

    gradient of encoder m  = that of  alpha CE(o_m, y)
    gradient of the fusion = that of  CE(o(sg(z)), y)       sg: no gradient to the features

Fusion weakens the gradient that an encoder gets from a fused loss, and own losses disturb the fusion; so neither loss
reaches the other's parameters. o_m is the fusion's decision on the features of m, the others being zero.

Deviations: none in the formula. The public code sets the fusion's gradients to none between two backward passes; here the
first pass reaches the encoders only. It clips the gradient norm at 40: use `optimiser.clip`. For M > 2 the sum runs over all
modalities. A sample without m is left out of m's loss. `disentangle = false` (ours) lets both losses reach everything.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.fusion import Fusion
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def fused_loss(fusion: Fusion, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """``CE(o(sg(z)), y)``: the fusion's loss on features that get no gradient."""
    output = fusion.decide({m: z.detach() for m, z in inputs.items()}, present)
    return torch.stack(list(fusion.losses(output, labels).values())).sum()


@methods.register(
    family="gradient modulation",
    year=2025,
    paper="2507.10213",
    status="exact",
    off={"alpha": 0.0, "disentangle": False},
)
class DGL(Method):
    """Keeps the gradients of encoders and fusion apart."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(1.0, ge=0, description="alpha: weight of the own losses (CREMA-D 4 to 5, KS 2 to 3)")
        disentangle: bool = Field(True, description="keep each loss from the other's parameters")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        own = own_losses(output, batch.labels, self.config.alpha)
        if not self.config.disentangle:
            return super().losses(output, batch, phase, run) | own
        return {"fused": fused_loss(self.model.fusion, output.inputs, output.present, batch.labels)} | own

    def backward(self, losses: Mapping[str, Tensor], run: Run) -> None:
        if not self.config.disentangle:
            super().backward(losses, run)
            return
        encoders = [p for p in self.model.encoders.parameters() if p.requires_grad]
        own = [loss for name, loss in losses.items() if name != "fused"]
        if encoders and own:
            torch.stack(own).sum().backward(inputs=encoders)
        if losses["fused"].requires_grad:
            losses["fused"].backward()
