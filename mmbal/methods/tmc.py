"""TMC: each modality gathers evidence for the classes, and Dempster's rule combines the opinions that follow from it.

Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification", ICLR 2021, arXiv 2102.02051. With e_m = softplus(o_m),
alpha_m = e_m + 1, S_m = sum_c alpha_m(c), and (b, u) the Dempster combination of the opinions (mmbal/decision/rules/tmc.py):

    L(alpha) = psi(S) - psi(alpha_y) + lambda_t KL(Dir(e (1 - y) + 1) || Dir(1)),      lambda_t = min(1, t / T)
    L        = sum_m L(alpha_m) + L(alpha),     alpha = b S + 1,  S = C / u            t: the epoch, from 0
    p        = b + u / C

Deviations: T is counted in epochs, as in the public code, where it is 50 or 10; here a fifth of the epochs if not set. The
evidence of a modality is that of its part of an additive fusion; a modality's logits are o_m, so that the rule `tmc` on a
run's predictions gives its decision. More than two opinions are combined one after the other, as in the paper. A missing
modality has no evidence and no loss. No option makes this joint training: the decision has another form.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.decision.rules.tmc import combined
from mmbal.maths.evidence import evidential_loss
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def combined_evidence(evidence: Tensor) -> Tensor:
    """``e (B, C) = b S`` of the combined opinion, from the evidence ``(B, M, C)`` of M views."""
    belief, uncertainty = combined(evidence)
    return belief * evidence.shape[-1] / uncertainty


def annealing(epoch: int, epochs: int, length: int | None) -> float:
    """``lambda_t`` in an epoch (from 0) of ``epochs``; T is ``length``, or a fifth of the epochs."""
    length = epochs // 5 if length is None else length
    return min(1.0, epoch / length) if length else 1.0


@methods.register(
    family="decision layer",
    year=2021,
    paper="2102.02051",
    needs={"additive"},
    status="with stated deviations",
    off=None,
)
class TMC(Method):
    """Trains each modality to state evidence, and combines the opinions by Dempster's rule."""

    class Config(Config):
        own: float = Field(1.0, ge=0, description="weight of the modalities' losses L(alpha_m); 1 in the paper")
        annealing: int | None = Field(None, ge=0, description="T: epochs until lambda_t is 1; a fifth if not set")

    def evidence(self, output: Output) -> dict[str, Tensor]:
        """``e (B, C)`` of each view: the modalities, 0 where one is missing."""
        logits, present = output.stacked()
        return dict(zip(sorted(output.logits), (softplus(logits) * present[..., None]).unbind(dim=1), strict=True))

    def fuse(self, output: Output) -> Output:
        belief, uncertainty = combined(torch.stack([*self.evidence(output).values()], dim=1))
        return output.with_fused(torch.log(belief + uncertainty / belief.shape[-1]))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        views = self.evidence(output)
        strength = annealing(run.epoch, run.epochs, self.config.annealing)
        run.log("annealing", strength)
        whole = combined_evidence(torch.stack([*views.values()], dim=1))
        found = {"fused": evidential_loss(whole, batch.labels, strength).mean()}
        if self.config.own > 0:
            every = torch.ones_like(batch.labels, dtype=torch.bool)
            for name, evidence in views.items():
                there = output.present.get(name, every)
                each = evidential_loss(evidence, batch.labels, strength)
                found[f"own/{name}"] = self.config.own * mean_over(each, there)
        return found
