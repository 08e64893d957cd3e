"""AIM: at every depth, add a loss of one modality combined with only the least discriminative units of the others.

After Shen, Chen and Zhang, "AIM: Adaptive Intra-Network Modulation for Balanced Multimodal Learning", 2025, arXiv
2508.19769; our instantiation, since its formulas could not be obtained.

    A_m^d = the accuracy of the nearest class prototype on h_m^d
    A^d = the same for all modalities together
    s_m^d = (d / D) tanh(alpha (A^d - A_m^d) / (1 - A_m^d))
    U_m^d = the fraction rho of the units of h_m^d with the lowest variance between / variance within classes
    u_m^d = h_m^d, together with every other h_n^d, in which the units outside U_n^d are set to zero
    L = CE(fusion(h), y) + sum_d sum_m s_m^d CE(head_d(u_m^d), y)

h_m^d is what depth d of the encoder of m gives, and D is the number of depths. The accuracies are running figures, taken
before each update. The units in U form the auxiliary block. The fused loss gives no gradient where the decision is already
right. The added losses still train m there, and the auxiliary blocks of the others. The strength s is the share of
m's errors that all modalities together repair. It is large for a weak modality, and it does not fade as training
accuracies grow. Shallow depths classify badly alone, so they count less. Each head is a sum of linear decisions; at the last
depth it is the model's own fusion. With rho = 0 and s = 1 there, this is joint training with own losses.

Deviations: these parts are in the paper's abstract: auxiliary blocks that are trained jointly with the weak modality, a
strength that depends on the depth, and prototypes that probe the modalities. These parts are ours: blocks made of units, the
ratio of variances, the formula of the strength, the heads, the sum of the losses, and the matching of depths by relative
position. It gains over tuned joint training on a real set, mostly through the own losses alone: docs/study.md.
"""

import math
from collections.abc import Mapping
from typing import cast

from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.aim import AlignedStages, by_sample
from mmbal.models.encoders import Encoder
from mmbal.models.fusion import SumFusion, named_seed, total
from mmbal.models.multimodal import MultimodalClassifier, Output, mask_absent
from mmbal.models.prototypes import ComparedPrototypes
from mmbal.registry import methods


@methods.register(
    family="intra-network modulation",
    year=2025,
    paper="2508.19769",
    status="our instantiation",
    off={"alpha": 0.0},
)
class AIM(Method):
    """Probes each depth with prototypes, and adds losses of each modality with auxiliary blocks of the others."""

    at_least = 2
    accumulates = False  # what it masks by is of one forward pass

    class Config(Config):
        alpha: float = Field(5.0, ge=0, description="alpha: how fast the strength grows with the gap; 0: no change")
        block: float = Field(0.1, ge=0, le=1, description="rho: share of a depth's units in the auxiliary block")
        momentum: float = Field(0.9, ge=0, lt=1, description="what prototypes and accuracies keep at each step")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.probes = nn.ModuleList()  # prototypes, by depth
        self.heads = nn.ModuleList()  # decisions, by depth but for the last
        self.units: list[dict[str, Tensor]] = []  # of the batch, by depth and modality

    def setup(self, run: Run) -> None:
        if not self.config.alpha:
            return
        sample = run.train.gather(run.train.split_rows[:2]).to(run.device)
        self.below = AlignedStages(cast(Mapping[str, Encoder], dict(self.model.encoders)), sample.inputs)
        classes, keep = self.model.fusion.classes, self.config.momentum
        for dims in [*self.below.dims, self.model.fusion.dims]:
            self.probes.append(ComparedPrototypes(classes, dims, keep))
        for d, dims in enumerate(self.below.dims):
            with named_seed(f"aim.{d}"):
                self.heads.append(SumFusion(dims, classes, None))

    def probe(self, depth: int) -> ComparedPrototypes:
        """What is known of a depth (from 0) of all encoders."""
        return cast(ComparedPrototypes, self.probes[depth])

    def strengths(self, depth: int) -> dict[str, float]:
        """``s_m^d`` as they are now."""
        probe, share = self.probe(depth), (depth + 1) / len(self.probes)
        return {m: share * math.tanh(self.config.alpha * probe.repaired(m)) for m in self.model.modalities}

    def decision_loss(self, depth: int, units: dict[str, Tensor], output: Output, labels: Tensor) -> Tensor:
        """The loss of the decision by the units of one depth."""
        head = self.model.fusion if depth == len(self.heads) else cast(SumFusion, self.heads[depth])
        return total(head.losses(head.decide(units, output.present), labels))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.config.alpha:
            below = [{m: mask_absent(u, output.present[m]) for m, u in d.items()} for d in self.below.take(len(batch))]
            self.units = [*below, output.inputs]
        for depth, units in enumerate(self.units):
            blocks = {n: u * ~self.probe(depth)[n].best_units(1 - self.config.block) for n, u in units.items()}
            for m, weight in self.strengths(depth).items():
                if weight:
                    loss = self.decision_loss(depth, blocks | {m: units[m]}, output, batch.labels)
                    found[f"depth.{depth + 1}/{m}"] = weight * loss
        return found

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        for depth, units in enumerate(self.units):
            values = {m: by_sample(u.detach(), len(batch)) for m, u in units.items()}
            self.probe(depth).update(values, batch.labels, batch.present, run.sum)
        self.units = []

    def on_epoch_end(self, run: Run) -> None:
        for depth, probe in enumerate(map(self.probe, range(len(self.probes)))):
            for m, weight in self.strengths(depth).items():
                run.log(f"strength.{depth + 1}/{m}", weight)
            accuracies = {f"/{m}": probe[m].accuracy for m in self.model.modalities} | {"": probe.accuracy}
            for name, accuracy in accuracies.items():
                if accuracy is not None:
                    run.log(f"prototypes.{depth + 1}{name}", accuracy)
