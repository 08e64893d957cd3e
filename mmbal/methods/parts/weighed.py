"""Logits weighed sample by sample, and each modality's own loss: what QMF and PDF have in common."""

from pydantic import Field
from torch import Tensor

from mmbal import config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import Output


class WeighedLogits(Method):
    """Decides by ``sum_m w_m o_m``, and learns from that decision and from the modalities' own."""

    class Config(config.Config):
        weigh: bool = Field(True, description="weigh the logits, in the loss and in the test")
        own: float = Field(1.0, ge=0, description="weight of the modalities' own losses")

    def weights(self, output: Output) -> Tensor:
        """``w (B, M)`` in the loss, modalities in the order of the names."""
        raise TypeError(f"{type(self).__name__} defines no weights")

    def fuse(self, output: Output) -> Output:
        return output.weighted(self.weights(output)) if self.config.weigh else output

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.own)
