"""MIDAS: also train on misaligned samples, whose modalities come from two samples, with labels weighted by confidence.

After Hwang, Choi and Whang, "MIDAS: Misalignment-based Data Augmentation Strategy for Imbalanced Multimodal Learning",
NeurIPS 2025, arXiv 2509.25831; parts are our instantiation. A misaligned sample has modality m of a sample j of another
class and all others of sample i; y(k) is the class of the sample that its modality k is from:

    c_k = p_k[y(k)] / sum_n p_n[y(n)],    p_k = softmax of the decision by k alone, held constant
    L_mis = -h sum_k w_k c_k log p[y(k)],   p = softmax of the fused decision
    w_k = alpha for the least confident modality, else 1;      h = 1 + (1 + cos(z_mis, z_i)) / 2
    alpha <- max(1, alpha + eta sign(mean of p over the labels of the others - mean of p[y(weak)]))
    L   = CE(o, y) + lambda mean L_mis

Deviations: no public code was found; labels, both weights and alpha >= 1 are the paper's. What the sign is of, that z are
the concatenated features, and lambda are ours: alpha grows while the misaligned decision favours the labels of the other
modalities. For M > 2 one modality is exchanged, another in each step, by turns; each modality has the label of its
own sample, which for M = 2 is the paper's label. The partner is the next row of the batch, in a random order, that has
another class; rows with a missing modality, or without a partner, are left out.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_probability
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import named_generator
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods


def label_shares(confidence: Tensor) -> Tensor:
    """``c (M, B)``, summing to one over modalities, of each one's confidence ``(M, B)`` in its own sample's class."""
    return confidence / confidence.sum(dim=0).clamp(min=1e-12)


def misaligned_loss(
    fused: Tensor, labels: Tensor, shares: Tensor, weights: Tensor, hardness: Tensor | float = 1.0
) -> Tensor:
    """``L_mis (B,)`` of fused logits ``(B, C)``, classes ``y(k)`` and shares ``(M, B)``, and weights ``w (M,)``."""
    likelihood = fused.log_softmax(dim=1).gather(1, labels.T).T
    return -hardness * (weights[:, None] * shares * likelihood).sum(dim=0)


def hardness(misaligned: Tensor, aligned: Tensor) -> Tensor:
    """``h (B,)``, from 1 to 2, of the features ``(B, D)`` of misaligned samples and of those that they came from."""
    return 1 + (1 + cosine_similarity(misaligned.detach(), aligned.detach(), dim=1)) / 2


def partners(labels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """For each row the next one, in a cyclic ``order (B,)``, of another class, and whether there is one ``(B,)``."""
    differs = labels[order][:, None] != labels[order][None, :]
    steps = (torch.arange(len(order))[None, :] - torch.arange(len(order))[:, None]) % len(order)
    nearest = steps.to(labels.device).masked_fill(~differs, len(order)).min(dim=1)
    found, there = torch.empty_like(order), torch.empty_like(order, dtype=torch.bool)
    found[order], there[order] = order[nearest.indices], nearest.values < len(order)
    return found, there


@methods.register(family="augmentation", year=2025, paper="2509.25831", status="our instantiation", off={"weight": 0.0})
class MIDAS(Method):
    """Adds the loss of misaligned samples, weighted for the weak modality and for those that look aligned."""

    at_least = 2

    alpha: Tensor

    class Config(Config):
        weight: float = Field(1.0, ge=0, description="lambda: weight of the misaligned samples; 0 none")
        eta: float = Field(0.01, ge=0, description="eta: how fast the weak modality's weight alpha moves")
        hard: bool = Field(True, description="weigh misaligned samples by how much they look like aligned ones")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("alpha", torch.ones(()))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.config.weight == 0:
            return found
        whole = WholeBatch(batch.index, len(run.train.store), run.sum)
        names, classes = self.model.modalities, whole.gather(batch.labels)
        present = {m: whole.gather(p) for m, p in output.present.items()}
        inputs = {m: whole.gather(z) for m, z in output.inputs.items()}
        order = torch.randperm(len(whole), generator=named_generator(f"midas.{run.step}")).to(classes.device)
        partner, paired = partners(classes, order)
        swapped = names[run.step % len(names)]
        complete = torch.stack(list(present.values())).all(dim=0)
        rows = (paired & complete & present[swapped][partner]).nonzero().flatten()
        if not len(rows):
            return found
        source = {m: partner[rows] if m == swapped else rows for m in names}
        own = {m: whole.gather(output.logits[m].detach()) for m in names}
        mixed = self.model.decide({m: inputs[m][source[m]] for m in names}, {m: present[m][source[m]] for m in names})
        return found | {"misaligned": self.config.weight * self.mixed_loss(mixed, inputs, own, classes, source, run)}

    def mixed_loss(
        self,
        mixed: Output,
        inputs: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        classes: Tensor,
        source: Mapping[str, Tensor],
        run: Run,
    ) -> Tensor:
        """The mean of ``L_mis``, after which alpha takes its step; ``source[k]`` are the rows that modality k is from."""
        names = self.model.modalities
        labels = torch.stack([classes[source[m]] for m in names])
        sure = torch.stack([true_class_probability(own[m][source[m]], labels[k]) for k, m in enumerate(names)])
        weak = int(sure.mean(dim=1).argmin())
        weights = torch.ones(len(names), device=sure.device)
        weights[weak] = self.alpha
        rows = source[names[run.step % len(names) - 1]]  # of any modality that is not exchanged
        before = torch.cat([inputs[m][rows].flatten(1) for m in names], dim=1)
        after = torch.cat([mixed.inputs[m].flatten(1) for m in names], dim=1)
        hard = hardness(after, before) if self.config.hard else 1.0
        loss = misaligned_loss(mixed.fused, labels, label_shares(sure), weights, hard).mean()
        followed = torch.stack([true_class_probability(mixed.fused, label) for label in labels]).mean(dim=1)
        others = (followed.sum() - followed[weak]) / (len(names) - 1)
        self.alpha.copy_((self.alpha + self.config.eta * (others - followed[weak]).sign()).clamp(min=1.0))
        run.log("alpha", self.alpha)
        for m, confidence in zip(names, sure.mean(dim=1), strict=True):
            run.log(f"confidence/{m}", confidence)
        return loss
