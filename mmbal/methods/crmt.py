"""CRMT: orthonormal decision weights and a margin for each modality; then class-wise weights for certified robustness.

Yang, Wei, Liang and Hu, "Quantifying and Enhancing Multi-modal Robustness with Modality Preference", ICLR 2024, arXiv
2402.06244. V_m has orthonormal rows, h_m = V_m z_m, a_m is a weight for each class, k the best wrong class of o:

    o_c     = sum_m a_mc h_mc + b_c
    first:  L = CE(o, y) + rho mean_i log sum_m sum_{c != y} exp(h_mc - h_my)
    second: L = -mean_i r_i,  only the a_m learn
    r_i     = (sum_m (a_my h_my - a_mk h_mk) + b_y - b_k) / sqrt(sum_m (a_my l_my + a_mk l_mk)^2)
    l_mc    = max_i |d h_mc / d x_im|           the larger, the more a change of the input moves the score

Deviations: in the public code each row of V_m has unit length alone, so rows are not orthogonal (`norm = class`). Its rows
are centred, here too; 1e-5 stands in the logarithm. The code takes l from gradients of o, in which a stands already, and
clears the gradients of one modality only, so the other's add up; here they are those of h, from `rows` training rows. With
inputs that have no gradient (text), or `lipschitz = features`, l is that of h in z, the length of the row. The second step
has a quarter of the epochs, 0.03 of the learning rate, and a penalty `decay` / 2 |a|^2, as in the code. A missing modality
is left out of both sums. No option makes this joint training: the decision has another form.
"""

from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, Stage
from mmbal.methods.parts.crmt import input_sensitivity, orthonormal_rows, unit_rows
from mmbal.models.fusion import LinearFusion
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

FLOOR = 1e-5  # in the logarithm of the margin loss


def margin_loss(scores: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """``log sum_m sum_{c != y} exp(h_mc - h_my)`` by row ``(B,)``, of scores ``h (B, M, C)`` and ``present (B, M)``."""
    place = labels[:, None, None].expand(-1, scores.shape[1], 1)
    gaps = (scores - scores.gather(2, place)).scatter(2, place, -torch.inf)
    gaps = gaps.masked_fill(present[..., None] == 0, -torch.inf)
    floor = gaps.new_full((len(gaps), 1), FLOOR).log()
    return torch.cat([gaps.flatten(1), floor], dim=1).logsumexp(dim=1)


def certified_radius(
    weights: Tensor, scores: Tensor, bias: Tensor, sensitivity: Tensor, labels: Tensor, present: Tensor
) -> Tensor:
    """``r (B,)`` of ``a (M, C)``, ``h (B, M, C)``, ``b (C,)``, ``l (M, C)``, labels ``(B,)`` and ``present (B, M)``."""
    parts = weights * scores * present[..., None]
    fused = parts.sum(dim=1) + bias
    truth = labels[:, None]
    rival = fused.scatter(1, truth, -torch.inf).argmax(dim=1, keepdim=True)
    gap = (fused.gather(1, truth) - fused.gather(1, rival)).squeeze(1)
    moved = (weights * sensitivity)[None].expand(len(labels), -1, -1)
    both = [moved.gather(2, c[:, None].expand(-1, moved.shape[1], 1)).squeeze(2) for c in (truth, rival)]
    return gap / (((both[0] + both[1]) * present).square().sum(dim=1) + 1e-12).sqrt()


@methods.register(
    family="decision layer",
    year=2024,
    paper="2402.06244",
    needs={"additive"},
    status="with stated deviations",
    off=None,
)
class CRMT(Method):
    """Learns orthonormal decision weights with a margin, then class-wise modality weights for certified robustness."""

    sensitivity: Tensor

    class Config(Config):
        norm: Literal["rows", "class"] = Field("rows", description="orthonormal rows, or unit rows (public code)")
        rho: float = Field(1.0, ge=0, description="rho: weight of the margin loss in the first step")
        start: float = Field(0.1, gt=0, description="a at first; 0.1 in the public code")
        second: float = Field(0.25, ge=0, lt=1, description="share of the epochs of the second step; 0: none")
        rate: float = Field(0.03, gt=0, description="learning rate of the second step, in units of the first's")
        decay: float = Field(0.01, ge=0, description="weight of |a|^2 / 2 in the second step")
        lipschitz: Literal["inputs", "features"] = Field("inputs", description="l: with respect to inputs, or features")
        rows: int = Field(512, ge=1, description="training rows from which l is measured")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        shape = len(self.names), model.fusion.classes
        self.weights = nn.Parameter(torch.full(shape, self.config.start))
        self.register_buffer("sensitivity", torch.ones(shape))

    def stages(self, epochs: int) -> list[Stage]:
        last = min(epochs - 1, max(1, round(self.config.second * epochs))) if self.config.second > 0 else 0
        return [Stage("margins", epochs - last), *([Stage("weights", last, ("method",))] if last else [])]

    def rows(self, m: str) -> Tensor:
        """``V_m (C, D_m)``."""
        weight = cast(LinearFusion, self.model.fusion).weight(m)
        return orthonormal_rows(weight) if self.config.norm == "rows" else unit_rows(weight)

    def scores(self, output: Output) -> Tensor:
        """``h (B, M, C)``, modalities in the order of their names."""
        return torch.stack([output.features[m].float() @ self.rows(m).T for m in self.names], dim=1)

    def bias(self) -> Tensor:
        """The shares of the bias ``(M, C)``, which sum to ``b``."""
        return torch.stack([cast(LinearFusion, self.model.fusion).bias(m) for m in self.names])

    def fuse(self, output: Output) -> Output:
        parts = self.weights * self.scores(output) + self.bias()
        return output.with_contributions(dict(zip(self.names, parts.unbind(dim=1), strict=True)))

    def on_epoch_start(self, run: Run) -> None:
        if run.stage is None or run.stage.name != "weights":
            return
        if run.epoch == run.epochs - run.stage.epochs and self.config.lipschitz == "inputs":
            self.measure(run)
        run.scale_learning_rate("method", self.config.rate)

    def measure(self, run: Run) -> None:
        """``l`` from rows spread over the training split; the same in every process."""
        spread = np.linspace(0, run.train.n_samples - 1, min(self.config.rows, run.train.n_samples)).astype(np.int64)
        rows = run.train.split_rows[spread]
        found = torch.zeros_like(self.sensitivity)
        with evaluating(self.model):
            for part in np.array_split(rows, -(-len(rows) // run.train.batch_size)):
                batch = run.train.gather(part)
                for k, m in enumerate(self.names):
                    there = batch.inputs[m][batch.present[m]]
                    if len(there):
                        steepest = input_sensitivity(self.model.encoders[m], self.rows(m).detach(), there)
                        found[k] = torch.maximum(found[k], steepest)
        self.sensitivity.copy_(found)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        scores, present = self.scores(output), output.stacked()[1]
        if run.stage is not None and run.stage.name == "weights":
            radius = certified_radius(
                self.weights, scores, self.bias().sum(dim=0), self.sensitivity, batch.labels, present
            )
            run.log("certified_radius", radius.mean())
            found = {"radius": -radius.mean()}
            if self.config.decay > 0:
                found["decay"] = self.config.decay / 2 * self.weights.square().sum()
            return found
        found = super().losses(output, batch, phase, run)
        if self.config.rho > 0:
            found["margin"] = self.config.rho * margin_loss(scores, batch.labels, present).mean()
        return found
