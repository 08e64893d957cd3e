"""AIM: let the strong modality enter the joint decision, for some samples, by those of its units that have learned least.

After Shen, Chen and Zhang, "AIM: Adaptive Intra-Network Modulation for Balanced Multimodal Learning", 2025, arXiv
2508.19769; our instantiation, since its formulas could not be had.

    A_m^d = accuracy of the nearest class prototype on what stage d of encoder m gives (running, before each update)
    s_m^d = tanh(alpha relu(A_m^d - min_k A_k^d))                        stages are compared at the same relative depth
    U_m^d = the fraction rho of the stage's units with the lowest variance between / variance within classes
    h_m^d <- h_m^d (1 - s_m^d) on units outside U_m^d,                      for a random share p of the samples

U is the auxiliary block. Where the strong modality speaks by it alone, the others must decide and get the gradient, and
so do the units of U, which the best units otherwise leave without one. The other samples train the whole network, which
is the one that is tested, so neither side is held back for good. The larger a stage's gap, the more it is changed; the
weakest modality never is.

Deviations: from the abstract we take auxiliary blocks of under-optimised parameters, strength by depth and prototypes as
the probe; the block as output units, the Fisher ratio, the strength and the share of samples are ours. Comparing stages
at the same relative depth stands for the paper's account of what a depth can do.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.loader import Batch
from mmbal.methods.base import Method, Phase, Run, require_modalities
from mmbal.models.draws import uniform_by_row
from mmbal.models.encoders import Encoder
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.prototypes import ScoredPrototypes
from mmbal.models.stages import by_sample, watch, widths
from mmbal.registry import methods


def strengths(accuracy: Mapping[str, Sequence[float | None]], alpha: float) -> dict[str, list[float]]:
    """``s_m^d`` of each stage from the stages' accuracies ``A_m^d``, None where not known.

    Encoders may have different numbers of stages. What is not known is neither the weakest nor changed.
    """

    def gap(a: float | None, depth: float) -> float:
        same_depth = [stages[math.ceil(depth * len(stages) - 1e-9) - 1] for stages in accuracy.values()]
        return 0.0 if a is None else a - min(x for x in same_depth if x is not None)

    return {
        m: [math.tanh(alpha * max(0.0, gap(a, (d + 1) / len(stages)))) for d, a in enumerate(stages)]
        for m, stages in accuracy.items()
    }


@methods.register(
    family="intra-network modulation",
    year=2025,
    paper="2508.19769",
    needs=set(),
    status="our instantiation",
    off={"alpha": 0.0},
)
class AIM(Method):
    """Measures each stage of each encoder with prototypes, and quietens what the strong one has learned best."""

    class Config(Config):
        alpha: float = Field(2.0, ge=0, description="alpha: how fast the strength grows with the gap; 0: no change")
        block: float = Field(0.5, ge=0, le=1, description="rho: share of a stage's units in the auxiliary block")
        share: float = Field(0.5, ge=0, lt=1, description="p: share of samples that the strong modality enters by it")
        momentum: float = Field(0.9, ge=0, lt=1, description="what prototypes and accuracies keep at each step")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        require_modalities(self)
        self.encoders = cast(Mapping[str, Encoder], dict(model.encoders))
        self.probes = nn.ModuleDict()
        self.strength = {m: [0.0] * len(encoder.stages) for m, encoder in self.encoders.items()}
        self.drawn: dict[str, Tensor] = {}  # rows that enter by the auxiliary block; empty outside of a training step
        self.given: dict[str, dict[int, Tensor]] = {m: {} for m in model.modalities}  # by stage and sample

    def setup(self, run: Run) -> None:
        if not self.config.alpha:
            return
        sample = run.train.gather(run.train.split_rows[:2]).to(run.device)
        classes, momentum = self.model.fusion.classes, self.config.momentum
        for m, encoder in self.encoders.items():
            found = [ScoredPrototypes(classes, w, momentum) for w in widths(encoder, sample.inputs[m])]
            self.probes[m] = nn.ModuleList(found)
            watch(encoder, partial(self.visit, m))

    def visit(self, m: str, depth: int, units: Tensor) -> Tensor | None:
        """Note what a stage gives ``(N, ..., W)``; quieten what it has learned best, in the rows drawn."""
        if not self.drawn:
            return None
        drawn, strength = self.drawn[m], self.strength[m][depth]
        self.given[m][depth] = by_sample(units, len(drawn))
        if not strength:
            return None
        learned = self.probe(m, depth).best_units(1 - self.config.block)
        rows = drawn.repeat_interleave(len(units) // len(drawn)).view(-1, *[1] * (units.dim() - 1))
        return units * (1 - strength * (rows & learned))

    def probe(self, m: str, depth: int) -> ScoredPrototypes:
        """What is known of a stage."""
        return cast(ScoredPrototypes, cast(nn.ModuleList, self.probes[m])[depth])

    def accuracy(self) -> dict[str, list[float | None]]:
        """``A_m^d`` of every stage."""
        return {m: [self.probe(m, d).accuracy for d in range(len(s))] for m, s in self.strength.items()}

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        if self.config.alpha:
            self.strength = strengths(self.accuracy(), self.config.alpha)
            for m in self.model.modalities:
                draw = uniform_by_row(f"aim.{run.step}.{m}", batch.index, len(run.train.store))
                self.drawn[m] = draw < self.config.share
        return batch

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        for m, drawn in self.drawn.items():
            for depth, units in self.given[m].items():
                self.probe(m, depth).update(units, batch.labels, batch.present[m] & ~drawn, run.sum)
        self.drawn = {}

    def on_epoch_end(self, run: Run) -> None:
        if self.config.alpha:
            for m, stages in self.accuracy().items():
                for depth, accuracy in enumerate(stages):
                    run.log(f"strength.{depth + 1}/{m}", self.strength[m][depth])
                    if accuracy is not None:
                        run.log(f"prototypes.{depth + 1}/{m}", accuracy)
