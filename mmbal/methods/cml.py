"""CML: no decision may become more confident when a modality is removed.

Ma, Zhang, Wu, Fu, Zhang and Hu, "Calibrating Multimodal Learning", ICML 2023, arXiv 2306.01265. With conf(S) the largest
probability of the decision with the modalities S alone, along a chain of sets S_M > S_{M-1} > ... > S_1, each without one
modality of the one before, drawn anew in each step:

    L = CE(o, y) + lambda sum_k mean_i relu( conf_i(S_{k-1}) - conf_i(S_k) - epsilon )

Deviations: a pair is left out where the smaller set is right and the larger one wrong, as in the public code (`skip =
false` keeps it): there the smaller set deserves its confidence. A public benchmark computes that mask with the roles
exchanged, never applies it, and takes the relu of the sum over the batch, in which rows cancel; here it is taken row by
row. Another variant in the authors' repository holds the larger set's confidence constant where that set is wrong
(`detach = true`); epsilon is that variant's, 0 in the paper. The code sums over rows, here it is their mean. A row takes
part in a pair where it has the modality that goes and another one that stays.
"""

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import named_generator
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def rank_loss(
    larger: Tensor, smaller: Tensor, labels: Tensor, epsilon: float = 0.0, skip: bool = True, detach: bool = False
) -> Tensor:
    """``relu(conf(smaller) - conf(larger) - epsilon)`` by row ``(B,)``, of the logits ``(B, C)`` of two nested sets.

    With ``skip``, 0 where only the smaller set is right; with ``detach``, ``conf(larger)`` is constant where it is wrong.
    """
    sure, unsure = larger.softmax(dim=1).amax(dim=1), smaller.softmax(dim=1).amax(dim=1)
    wrong = larger.argmax(dim=1) != labels
    found = (unsure - (torch.where(wrong, sure.detach(), sure) if detach else sure) - epsilon).relu()
    if skip:
        found = found * ~((smaller.argmax(dim=1) == labels) & wrong)
    return found


@methods.register(family="regularisation", year=2023, paper="2306.01265", status="exact", off={"strength": 0.0})
class CML(Method):
    """Adds a penalty on confidence that grows when a modality is removed."""

    at_least = 2

    class Config(Config):
        strength: float = Field(0.1, ge=0, description="lambda: weight of the penalty; 0 none")
        epsilon: float = Field(0.0, ge=0, description="epsilon: by how much confidence may rise unpunished")
        skip: bool = Field(True, description="leave out pairs whose smaller set is right and whose larger one is wrong")
        detach: bool = Field(False, description="hold the confidence of a larger set that is wrong constant")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found, config = super().losses(output, batch, phase, run), self.config
        if config.strength == 0:
            return found
        names = self.model.modalities
        order = torch.randperm(len(names), generator=named_generator(f"cml.{run.step}")).tolist()
        larger = output.fused
        absent: list[str] = []
        penalties: list[Tensor] = []
        for position in order[:-1]:
            gone = names[position]
            absent.append(gone)
            smaller = self.model.without(output, absent).fused
            stays = torch.stack([output.present[m] for m in names if m not in absent]).any(dim=0)
            each = rank_loss(larger, smaller, batch.labels, config.epsilon, config.skip, config.detach)
            penalties.append((each * (output.present[gone] & stays)).mean())
            larger = smaller
        return found | {"rank": config.strength * torch.stack(penalties).sum()}
