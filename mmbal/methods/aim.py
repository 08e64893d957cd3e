"""AIM: beside the joint decision, at each depth one in which the strong modality has only its least learned units.

After Shen, Chen and Zhang, "AIM: Adaptive Intra-Network Modulation for Balanced Multimodal Learning", 2025, arXiv
2508.19769; our instantiation, since its formulas could not be had.

    A_m^d = accuracy of the nearest class prototype on what depth d of encoder m gives, h_m^d (running, before each update)
    s_m^d = tanh(alpha (A_m^d - min_k A_k^d)),   s^d = max_m s_m^d
    U_m^d = the fraction rho of the depth's units with the lowest variance between / variance within classes
    u_m^d = h_m^d on U_m^d,   (1 - s_m^d / s^d) h_m^d on the other units
    L = CE(fusion(h), y) + sum_d s^d CE(head_d(u^d), y)

U is the auxiliary block. Where the strong modality speaks by it alone, the weak one must decide and gets the gradient,
and so do the units of U, which the best otherwise leave without one. The joint loss sees the whole network: nothing is
held back. At the last depth head_d is the model's fusion itself; before it, linear layers of the method's own, summed.

Deviations: auxiliary blocks trained jointly with the weak modality, strength by depth, and prototypes as the probe are
the abstract's; blocks of units, Fisher ratio, strength, heads, sum of losses, and matching stages by relative depth, ours.
"""

import math
from collections.abc import Mapping
from typing import cast

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.loader import Batch
from mmbal.methods.base import Method, Phase, Run, require_modalities
from mmbal.models.encoders import Encoder
from mmbal.models.fusion import linear, total
from mmbal.models.multimodal import MultimodalClassifier, Output, mask_absent
from mmbal.models.prototypes import ScoredPrototypes
from mmbal.models.stages import AlignedStages, by_sample
from mmbal.registry import methods


def strengths(accuracy: Mapping[str, float | None], alpha: float) -> dict[str, float]:
    """``s_m`` at one depth from the accuracies ``A_m``; one not known (None) is neither the weakest nor cut."""
    weakest = min((a for a in accuracy.values() if a is not None), default=0.0)
    return {m: 0.0 if a is None else math.tanh(alpha * (a - weakest)) for m, a in accuracy.items()}


def auxiliary(units: Tensor, learned: Tensor, cut: float) -> Tensor:
    """``u`` from units ``(..., W)``: those in the mask ``learned (W,)`` lose the share ``cut``."""
    return units * (1 - cut * learned)


@methods.register(
    family="intra-network modulation",
    year=2025,
    paper="2508.19769",
    needs=set(),
    status="our instantiation",
    off={"alpha": 0.0},
)
class AIM(Method):
    """Measures each depth of each encoder with prototypes, and trains the strong one's least learned units apart."""

    class Config(Config):
        alpha: float = Field(5.0, ge=0, description="alpha: how fast the strength grows with the gap; 0: no change")
        block: float = Field(0.5, ge=0, le=1, description="rho: share of a depth's units in the auxiliary block")
        momentum: float = Field(0.9, ge=0, lt=1, description="what prototypes and accuracies keep at each step")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        require_modalities(self)
        self.probes = nn.ModuleList()  # prototypes by depth and modality
        self.heads = nn.ModuleList()  # likewise, but for the last depth
        self.units: list[dict[str, Tensor]] = []  # of the batch, by depth and modality

    def setup(self, run: Run) -> None:
        if not self.config.alpha:
            return
        sample = run.train.gather(run.train.split_rows[:2]).to(run.device)
        self.below = AlignedStages(cast(Mapping[str, Encoder], dict(self.model.encoders)), sample.inputs)
        classes, keep = self.model.fusion.classes, self.config.momentum
        for dims in [*self.below.dims, self.model.fusion.dims]:
            self.probes.append(nn.ModuleDict({m: ScoredPrototypes(classes, w, keep) for m, w in dims.items()}))
        for d, dims in enumerate(self.below.dims):
            self.heads.append(nn.ModuleDict({m: linear(w, classes, f"aim.{d}.{m}") for m, w in dims.items()}))

    def probe(self, depth: int, m: str) -> ScoredPrototypes:
        """What is known of a depth of an encoder."""
        return cast(ScoredPrototypes, cast(nn.ModuleDict, self.probes[depth])[m])

    def strength(self, depth: int) -> dict[str, float]:
        """``s_m^d`` as it is now."""
        return strengths({m: self.probe(depth, m).accuracy for m in self.model.modalities}, self.config.alpha)

    def decision_loss(self, depth: int, units: dict[str, Tensor], output: Output, labels: Tensor) -> Tensor:
        """The loss of the decision by the units of one depth."""
        if depth == len(self.heads):
            return total(self.model.fusion.losses(self.model.decide(units, output.present), labels))
        heads = cast(nn.ModuleDict, self.heads[depth]).items()
        return cross_entropy(total({m: mask_absent(h(units[m]), output.present[m]) for m, h in heads}), labels)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        self.units = [*self.below.take(len(batch)), output.inputs] if self.config.alpha else []
        for depth, units in enumerate(self.units):
            strength = self.strength(depth)
            if most := max(strength.values()):
                learned = {m: self.probe(depth, m).best_units(1 - self.config.block) for m in units}
                cut = {m: auxiliary(u, learned[m], strength[m] / most) for m, u in units.items()}
                found[f"depth.{depth + 1}"] = most * self.decision_loss(depth, cut, output, batch.labels)
        return found

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        for depth, units in enumerate(self.units):
            for m, u in units.items():
                self.probe(depth, m).update(by_sample(u.detach(), len(batch)), batch.labels, batch.present[m], run.sum)
        self.units = []

    def on_epoch_end(self, run: Run) -> None:
        for depth in range(len(self.probes)):
            for m, strength in self.strength(depth).items():
                run.log(f"strength.{depth + 1}/{m}", strength)
                if (accuracy := self.probe(depth, m).accuracy) is not None:
                    run.log(f"prototypes.{depth + 1}/{m}", accuracy)
