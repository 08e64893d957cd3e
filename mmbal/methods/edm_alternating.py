"""Alternating training, weak before strong: one modality a step, in an order that Shapley values set anew each epoch.

After Shi, Zhang, Liu, Liu, Cheng and Lu, "Modality Equilibrium Matters: Minor-Modality-Aware Adaptive Alternating for
Cross-Modal Memory Enhancement", 2025, arXiv 2506.00030; our instantiation, since its formulas could not be obtained.

    phi_m = exact Shapley value of m in the game v(S) = validation accuracy with the modalities S alone, v({}) = 0
    EDM   = sqrt( mean_m ( phi_m / sum_k phi_k - 1/M )^2 )          0: all Shapley values are equal
    steps on each batch, m in order of growing phi_m; only encoder m learns:
    L_m   = CE(o_m, y) + gamma CE(o, y) + alpha mean_{k != m} CE(cos(G_m z_m, G_k mu_k) / tau, y)
                                        + beta  mean_{k != m} ( 1 - cos(G_m z_m, G_k z_k) )

mu_k (C, D_k) is the memory of modality k, running class means of its features, written in k's own step; G_m is a linear
map into a space that all share. In joint training the weak modality learns only what the strong one leaves; here each has
a step of its own, and the weak one has the first. What the others have learned reaches it through their memories (by class)
and their mapped features (by sample), neither of which it can change in its step.

Deviations: all that goes beyond the abstract is ours: the game, EDM, memory, map and losses. In EDM a modality that harms
counts as 0. The validation split sets the order; the test split nothing. A batch is encoded once: a step sees the features
of the modalities that stepped before it as they were before their own step.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.prototypes import prototype_cross_entropy
from mmbal.maths.shapley import shapley_values
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import linear, masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.prototypes import RunningPrototypes
from mmbal.models.whole_batch import mean_over
from mmbal.predictions.format import subsets_of
from mmbal.registry import methods


def equilibrium_deviation(phi: Mapping[str, float]) -> float:
    """EDM of Shapley values: 0 for equal shares, ``sqrt(M - 1) / M`` where one modality has all of it."""
    positive = {m: max(value, 0.0) for m, value in phi.items()}
    whole = sum(positive.values())
    shares = [value / whole if whole else 1 / len(phi) for value in positive.values()]
    return float((sum((share - 1 / len(phi)) ** 2 for share in shares) / len(phi)) ** 0.5)


@methods.register(family="alternating", year=2025, paper="2506.00030", status="our instantiation", off=None)
class EDMAlternating(Method):
    """One step a modality, weak to strong, aligned with the memories of the others."""

    at_least = 2
    accumulates = False  # the memories move with each forward pass

    phi: Tensor

    class Config(Config):
        fused: float = Field(1.0, ge=0, description="gamma: weight of the fused decision in each step")
        recall: float = Field(0.1, ge=0, description="alpha: weight of finding the class in the others' memories")
        align: float = Field(0.1, ge=0, description="beta: weight of agreeing with the others on each sample")
        temperature: float = Field(0.1, gt=0, description="tau: sharpness of the softmax over cosines")
        dim: int = Field(64, ge=1, description="width of the space that modalities are mapped to")
        momentum: float = Field(0.9, ge=0, lt=1, description="what the memory keeps at each step")
        every: int = Field(1, ge=1, description="epochs between estimates of the order")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dims, classes = model.fusion.dims, model.fusion.classes
        self.map = nn.ModuleDict({m: linear(d, self.config.dim, f"edm.{m}", bias=False) for m, d in dims.items()})
        self.memories = nn.ModuleDict({m: RunningPrototypes(classes, d, self.config.momentum) for m, d in dims.items()})
        self.names = tuple(sorted(model.modalities))
        self.register_buffer("phi", torch.zeros(len(self.names)))

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        if run.epoch % self.config.every == 0:
            outputs = run.evaluate(run.validation)
            rows = sum(len(batch) for _, batch in outputs)
            value: dict[tuple[str, ...], float] = {(): 0.0}
            for names in subsets_of(self.names)[1:]:
                absent = set(self.names) - set(names)
                right = [(self.model.without(o, absent).fused.argmax(-1) == b.labels).sum() for o, b in outputs]
                value[names] = int(torch.stack(right).sum()) / rows
            shares = shapley_values(value, self.names)
            self.phi.copy_(torch.tensor([shares[m] for m in self.names]))
        phi = dict(zip(self.names, self.phi.tolist(), strict=True))
        run.log("edm", equilibrium_deviation(phi))
        for m in self.names:
            run.log(f"shapley/{m}", phi[m])

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        return self.model.encoded(batch)

    def phases(self, run: Run) -> Sequence[Phase]:
        return [Phase((self.names[i],)) for i in torch.argsort(self.phi, stable=True).tolist()]

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        (m,) = phase.modalities
        config, labels, present = self.config, batch.labels, output.present
        losses = {
            f"own/{m}": masked_cross_entropy(output.logits[m], labels, present[m]),
            f"fused/{m}": config.fused * cross_entropy(output.fused, labels),
        }
        mapped = self.map[m](output.features[m])
        recalled, aligned = [], []
        for k in self.names:
            if k != m:
                both, seen = present[m] & present[k], self.memory(k).seen
                with torch.no_grad():
                    memory, partner = self.map[k](self.memory(k).mean), self.map[k](output.features[k])
                surprise = prototype_cross_entropy(mapped, memory, seen, labels, config.temperature)
                recalled.append(mean_over(surprise, present[m]))
                aligned.append(mean_over(1 - cosine_similarity(mapped, partner), both))
        losses[f"recall/{m}"] = config.recall * torch.stack(recalled).mean()
        losses[f"align/{m}"] = config.align * torch.stack(aligned).mean()
        self.memory(m).update(output.features[m], labels, present[m], run.sum)
        return losses

    def memory(self, m: str) -> RunningPrototypes:
        """``mu_m``: what m remembers of each class."""
        return cast(RunningPrototypes, self.memories[m])
