"""TCMax: maximise the total correlation of the modalities and the label: the information that they share.

Yu, Wu, Yang and Lu, "Multimodal Classification via Total Correlation Maximization", ICLR 2026, arXiv 2602.13015. With f
the fused logits, over all combinations of the batch's features and all classes:

    L = -mean_i log [ exp f(z_i1, ..., z_iM)[y_i]  /  sum_{j_1, ..., j_M, c} exp f(z_j1, ..., z_jM)[c] ]  -  M log B - log C
      = -mean_i f_i[y_i]  +  log mean_c prod_m mean_j exp o_m[j, c]          for additive decisions f = sum_m o_m

Deviations: the paper has M = 2. The public code subtracts log B alone, which changes no gradient (`constant = code` of the
function). A modality's mean is over the rows that have it. Where several processes share a batch the combinations are
those of the whole batch. The paper has no hyper-parameter; `share` below 1 mixes the loss with the fused cross-entropy.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import total
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods


def total_correlation_loss(
    logits: Mapping[str, Tensor],
    labels: Tensor,
    present: Mapping[str, Tensor],
    constant: Literal["paper", "code"] = "paper",
) -> Tensor:
    """``L`` of the contributions ``logits[m] (B, C)`` to an additive decision, where ``present[m] (B,)``.

    Zero where all combinations and classes are equally likely. With ``constant`` as in the public code it is larger by
    ``(M - 1) log B + log C``.
    """
    there = {m: o.where(present[m][:, None], 0.0) for m, o in logits.items()}
    truth = total(there).gather(1, labels[:, None]).mean()
    rows, classes = total(there).shape
    some = [m for m in logits if bool(present[m].any())]
    each = {
        m: logits[m].masked_fill(~present[m][:, None], -torch.inf).logsumexp(0) - present[m].sum().log() for m in some
    }
    loss = total(each).logsumexp(dim=0) - math.log(classes) - truth
    return loss if constant == "paper" else loss + (len(logits) - 1) * math.log(rows) + math.log(classes)


@methods.register(
    family="loss",
    year=2026,
    paper="2602.13015",
    needs={"additive"},
    status="exact",
    off={"share": 0.0},
)
class TCMax(Method):
    """Replaces the cross-entropy by the total-correlation loss over all combinations of features in a batch."""

    at_least = 2

    class Config(Config):
        share: float = Field(1.0, ge=0, le=1, description="share of this loss; the rest is the fused cross-entropy")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        share = self.config.share
        found: dict[str, Tensor] = {}
        if share < 1:
            found = {name: (1 - share) * loss for name, loss in super().losses(output, batch, phase, run).items()}
        if share > 0:
            whole = WholeBatch(batch.index, len(run.train.store), run.sum)
            logits = {m: whole.gather(o.float()) for m, o in (output.contribution or {}).items()}
            present = {m: whole.gather(p) for m, p in output.present.items()}
            found["correlation"] = share * total_correlation_loss(logits, whole.gather(batch.labels), present)
        return found
