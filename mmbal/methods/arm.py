"""ARM: reinforce the modalities that contribute little, by what they tell about the decision alone and given the others.

After Gao, Cao, Zhu, Wang and Hu, "Asymmetric Reinforcing against Multi-modal Representation Bias", AAAI 2025,
arXiv 2501.01240; the loss and the resampling are our instantiation.

    c_m = p NMI(o_m; o) + p_m NCMI(o_m; o | o_rest)         marginal and joint contribution (mmbal/models/contribution.py)
    z_m <- k_m z_m,   k_m = (mean of the others' c / c_m)^alpha, within [1/limit, limit]      dynamic fusion
    L = CE(o, y) + beta max_m CE(o_m, y)                                                      min-max loss
    row i is drawn in proportion to 1 + gamma (1 - c_i / max c)                               dynamic resampling

p and p_m are the mean probabilities of the true class, fused and by m alone; o_rest is the sum of the others' logits; c_i
is the mean of c_m with row i's own probabilities in the place of the means.

No label at test time: c needs the true class, so k_m is a buffer, made of running averages over the training batches
like the statistics of batch normalisation, and frozen in evaluation. The public code takes the test labels there.

Deviations: information is that of all class-wise logits, centred and binned: features of different widths have no
joint histogram. Histograms are averaged over batches, entropies are true ones (the public conditional entropy lacks
the weights p(z)), p_m is m's own (the public code crosses the two). The public code has another joint part, NMI - NCMI / 2
(`joint = interaction`; its NCMI lacks the factor 2), which is negative where modalities complement one another. For M = 2
k_m is its ratio; the bound `limit` is ours. Its resampling repeats rows by thresholds on c_i; ours keeps the epoch's length.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import mean_cross_entropy
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.arm import RunningContribution, fusion_factors, rarity, systematic_draw
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


@methods.register(
    family="fusion",
    year=2025,
    paper="2501.01240",
    status="our instantiation",
    off={"alpha": 0.0, "beta": 0.0, "gamma": 0.0},
)
class ARM(Method):
    """Scales features by contribution, minimises the worst modality's loss, and repeats samples with low contributions."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(1.0, ge=0, description="strength of the dynamic fusion; 1 in the public code, 0 for none")
        beta: float = Field(1.0, ge=0, description="weight of the worst modality's own loss")
        gamma: float = Field(1.0, ge=0, description="how much more often a row with no contribution is drawn")
        limit: float = Field(2.0, ge=1, description="bound of the factors k_m and of 1 / k_m")
        bins: int = Field(8, ge=2, le=32, description="bins of a logit (the public code: 30 for NMI, 2 for NCMI)")
        momentum: float = Field(0.9, ge=0, lt=1, description="of the running averages")
        joint: Literal["conditional", "interaction"] = Field(
            "conditional", description="joint part: NCMI, or the public code's NMI - NCMI / 2"
        )

    factor: Tensor  # k_m (M,), modalities by name
    contribution: Tensor  # c_i, by row of the store

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        interaction = self.config.joint == "interaction"
        self.running = RunningContribution(self.names, self.config.bins, self.config.momentum, interaction)
        self.register_buffer("factor", torch.ones(len(self.names)))

    def setup(self, run: Run) -> None:
        self.register_buffer("contribution", torch.zeros(len(run.train.store)))

    def sampler(self, run: Run) -> np.ndarray | None:
        if self.config.gamma == 0:
            return None
        rows = run.train.split_rows
        weights = rarity(self.contribution[rows].cpu(), self.config.gamma)
        drawn: np.ndarray = rows[systematic_draw(weights, float(torch.rand(()))).numpy()]
        return drawn

    def on_features(self, features: dict[str, Tensor], batch: Batch, run: Run) -> dict[str, Tensor]:
        return self.scaled(features)

    def predict(self, output: Output) -> Output:
        return self.model.decide(self.scaled(output.inputs), output.present)

    def scaled(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``k_m z_m``, with the factors of the batches before this one."""
        factors = dict(zip(self.names, self.factor.tolist(), strict=True))
        return {m: factors[m] * z for m, z in features.items()}

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        self.observe(output, batch, run)
        if self.config.beta > 0:
            own = mean_cross_entropy(output.logits, batch.labels, output.present, run.sum)
            m = max(self.names, key=lambda name: own.get(name, 0.0))
            found["worst"] = self.config.beta * masked_cross_entropy(output.logits[m], batch.labels, output.present[m])
        return found

    def observe(self, output: Output, batch: Batch, run: Run) -> None:
        """Bring the running averages, the factors and the rows' contributions up to date with a batch."""
        contribution, each = self.running.update(output, batch.labels, run.sum)
        factors = fusion_factors(contribution, self.config.alpha, self.config.limit)
        self.factor.copy_(torch.tensor([factors[m] for m in self.names]))
        for m in self.names:
            run.log(f"contribution/{m}", contribution[m])
            run.log(f"factor/{m}", factors[m])
        # Summed over processes, each of which has other rows; a row drawn twice counts by its mean.
        seen = torch.zeros(2, len(self.contribution), device=each.device)
        value, times = run.sum(seen.index_add_(1, batch.index, torch.stack([each, torch.ones_like(each)])))
        self.contribution.copy_(torch.where(times > 0, value / times.clamp(min=1), self.contribution))
