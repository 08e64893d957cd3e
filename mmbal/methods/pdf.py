"""PDF: predict from its features how sure each modality may be of the truth, and weigh the logits by that.

Cao, Xia, Ding, Zhang and Hu, "Predictive Dynamic Fusion", ICML 2024, arXiv 2406.04802. With t_m in (0, 1) predicted from the
constant feature z_m by a network of m's own, and p_m = softmax(o_m):

    o    = sum_m w_m o_m,   w = softmax_m(cb_m) in training, softmax_m(cb_m rc_m) in the test, constant in the gradient
    cb_m = t_m + sum_{k != m} log t_k / sum_k log t_k,    rc_m: less where p_m is flatter than the others
    L    = CE(o, y) + sum_m [ CE(o_m, y) + mean_i |t_im - p_im[y_i]| ]          p_im[y_i] constant

cb and rc are those of mmbal/decision/rules/pdf.py.

Deviations: the network is that of the public code: linear maps D -> 2 D -> D -> 1 without a non-linearity between, then a
sigmoid; so it is a linear map in the end. In cb, t is cut to [1e-4, 1 - 1e-4], where its logarithm is finite and not zero.
M > 2: the sums over the others, and the mean of their flatness. A sample without m has no weight and no loss of m.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.data.store.loader import Batch
from mmbal.decision.rules.pdf import belief_weights, collaborative_belief, relative_calibration
from mmbal.maths.confidence import true_class_probability
from mmbal.methods.base import Phase, Run
from mmbal.methods.parts.weighed import WeighedLogits
from mmbal.models.fusion import linear
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods

LEAST = 1e-4  # of t and of 1 - t


def confidence_loss(predicted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """``|t - softmax(o)[y]|`` by row ``(B,)``, of ``t (B,)`` and logits ``o (B, C)``, which are constant."""
    return (predicted - true_class_probability(logits, labels)).abs()


def weights(confidence: Tensor, present: Tensor, logits: Tensor | None = None) -> Tensor:
    """``w (B, M)`` of ``t (B, M)``; with the logits ``(B, M, C)`` also relatively calibrated, as in the test."""
    strength = collaborative_belief(confidence.clamp(LEAST, 1 - LEAST), present)
    if logits is not None:
        strength = strength * relative_calibration(logits.softmax(dim=-1), present)
    return belief_weights(strength, present)


@methods.register(
    family="decision layer",
    year=2024,
    paper="2406.04802",
    needs={"additive"},
    status="with stated deviations",
    off={"weigh": False, "own": 0.0, "confidence": 0.0},
)
class PDF(WeighedLogits):
    """Weighs logits by each modality's predicted confidence in the truth."""

    at_least = 2

    class Config(WeighedLogits.Config):
        confidence: float = Field(1.0, ge=0, description="weight of the loss of t")
        calibrate: bool = Field(True, description="rc: relative calibration in the test")

    def __init__(self, model: MultimodalClassifier, config: WeighedLogits.Config | None = None) -> None:
        super().__init__(model, config)
        self.predictors = nn.ModuleDict(
            {
                m: nn.Sequential(
                    linear(d, 2 * d, f"pdf.{m}.0"), linear(2 * d, d, f"pdf.{m}.1"), linear(d, 1, f"pdf.{m}.2")
                )
                for m, d in model.fusion.dims.items()
            }
        )

    def confidence(self, output: Output) -> Tensor:
        """``t (B, M)``, modalities in the order of the names."""
        each = [self.predictors[m](output.features[m].detach()) for m in sorted(output.features)]
        return torch.cat(each, dim=1).float().sigmoid()

    def weights(self, output: Output) -> Tensor:
        return weights(self.confidence(output), output.stacked()[1])

    def predict(self, output: Output) -> Output:
        if not (self.config.weigh and self.config.calibrate):
            return self.fuse(output)
        logits, present = output.stacked()
        return output.weighted(weights(self.confidence(output), present, logits))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.config.confidence > 0:
            each = zip(sorted(output.logits), self.confidence(output).unbind(dim=1), strict=True)
            for m, predicted in each:
                wrong = confidence_loss(predicted, output.logits[m], batch.labels)
                found[f"confidence/{m}"] = self.config.confidence * mean_over(wrong, output.present[m])
        return found
