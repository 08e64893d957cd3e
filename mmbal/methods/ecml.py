"""ECML: gather evidence by modality, average it, and train the modalities not to contradict one another.

Xu, Si, Guan, Zhao, Wu and Gao, "Reliable Conflictive Multi-View Learning", AAAI 2024, arXiv 2402.16897. With e_m =
softplus(o_m), alpha_m = e_m + 1, p_m = alpha_m / S_m, u_m = C / S_m, and L(alpha) as in `tmc`:

    e    = (1 / M) sum_m e_m                                            (mmbal/decision/rules/ecml.py)
    L    = L(alpha) + beta sum_m L(alpha_m) + gamma sum_m 1 / (M - 1) sum_{k != m} c_mk
    c_mk = (1 - u_m) (1 - u_k) sum_c |p_m(c) - p_k(c)| / 2              the degree of conflict

Deviations: the public code averages recursively, ((e_1 + e_2) / 2 + e_3) / 2, which favours the last view of more than two;
here all count alike, as in the paper. It also divides the sum of the L by M + 1 (`divide = true`), so that gamma weighs
more. There, evidence comes from a multi-layer head with dropout; here from the modality's part of an additive fusion. Means
over modalities and pairs are over those that a sample has. T is a fifth of the epochs if not set. No option makes this
joint training: the decision has another form.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.decision.rules.ecml import average_evidence
from mmbal.maths.evidence import evidential_loss
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.tmc import annealing
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def conflict(evidence: Tensor, present: Tensor) -> Tensor:
    """``sum_m 1 / (M - 1) sum_{k != m} c_mk`` by row ``(B,)``, of evidence ``(B, M, C)`` and ``present (B, M)``."""
    alpha = evidence + 1
    total = alpha.sum(dim=-1, keepdim=True)
    sure = (1 - evidence.shape[-1] / total[..., 0]) * present  # 1 - u; 0 where the modality is missing
    p = alpha / total
    apart = (p[:, :, None] - p[:, None]).abs().sum(dim=-1) / 2
    pairs = (apart * sure[:, :, None] * sure[:, None]).sum(dim=(1, 2))  # a modality never contradicts itself
    return pairs / (present.sum(dim=1) - 1).clamp(min=1)


@methods.register(
    family="decision layer",
    year=2024,
    paper="2402.16897",
    needs={"additive"},
    status="with stated deviations",
    off=None,
)
class ECML(Method):
    """Averages the modalities' evidence, and penalises conflict between them."""

    at_least = 2

    class Config(Config):
        beta: float = Field(1.0, ge=0, description="beta: weight of the modalities' losses L(alpha_m)")
        gamma: float = Field(1.0, ge=0, description="gamma: weight of the conflict")
        annealing: int | None = Field(None, ge=0, description="T: epochs until lambda_t is 1; a fifth if not set")
        divide: bool = Field(False, description="divide all L by M + 1, as the public code does")

    def fuse(self, output: Output) -> Output:
        logits, present = output.stacked()
        return output.with_fused(torch.log(average_evidence(softplus(logits), present) + 1))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        logits, present = output.stacked()
        evidence, config = softplus(logits), self.config
        strength = annealing(run.epoch, run.epochs, config.annealing)
        run.log("annealing", strength)
        scale = 1 / (len(self.model.modalities) + 1) if config.divide else 1.0
        whole = evidential_loss(average_evidence(evidence, present), batch.labels, strength)
        found = {"fused": scale * whole.mean()}
        if config.beta > 0:
            for m, e, there in zip(sorted(output.logits), evidence.unbind(1), present.unbind(1), strict=True):
                own = evidential_loss(e, batch.labels, strength)
                found[f"own/{m}"] = scale * config.beta * mean_over(own, there)
        if config.gamma > 0:
            found["conflict"] = config.gamma * conflict(evidence, present).mean()
        return found
