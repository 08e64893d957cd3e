"""AMCo: hide a growing part of the modality that the decision depends on, and give every modality its own loss.

Zhou, Liang, Zheng, Xuan and Kumada, "Adaptive Mask Co-optimization for Modal Dependence in Multimodal Learning",
ICASSP 2023, doi 10.1109/ICASSP49357.2023.10096641.

    share_m = mean_i sum_c softmax([o_1, ..., o_M])[i, m c]          softmax over all M C logits of a sample
    m is depended on where share_m > 2 sigma / M                     for M = 2: > sigma
    p       = ceiling sin(pi / 2 min(l, eps) / eps)                  l: share of the training that is over
    L       = CE(o', y) + lambda sum_m CE(o_m, y)                    o': int(p D_m) features of such m set to zero

Deviations: our instantiation, since the paper's text could not be obtained: the formulas are those of a public benchmark. It
masks int(p C) of the modality's logits (`mask = logits`, for additive fusions); its unused setting U = 512, the
width of a feature, suggests that the paper masks features, which is the default. There l grows by epoch / 10 with every
batch, so p is at its end after a few batches of the second epoch; here l is a share of the epochs. There the modalities
depended on are those of the batch before; here those of the batch itself. The threshold for M > 2 and `ceiling` are ours.
A step hides the same entries in every sample. Samples without m do not count in share_m.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError
from mmbal.maths.confidence import means
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.draws import named_generator
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def dependence(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each modality's share ``(B,)`` of the softmax over all modalities' logits ``(B, C)``."""
    names = sorted(logits)
    joint = torch.cat([logits[m] for m in names], dim=1).softmax(dim=1)
    return {
        m: part.sum(dim=1) for m, part in zip(names, joint.split([logits[m].shape[1] for m in names], 1), strict=True)
    }


def masked_share(progress: float, eps: float, ceiling: float = 1.0) -> float:
    """``p``: the share of entries to hide, from 0 at the start to ``ceiling`` from progress ``eps`` on."""
    return ceiling * math.sin(math.pi / 2 * min(progress, eps) / eps)


@methods.register(
    family="modality dropout",
    year=2023,
    paper="10.1109/ICASSP49357.2023.10096641",
    status="our instantiation",
    off={"own": 0.0, "ceiling": 0.0},
)
class AMCo(Method):
    """Masks the modality depended on in the fused loss, and adds own losses."""

    at_least = 2

    class Config(Config):
        own: float = Field(1.0, ge=0, description="lambda: weight of the modalities' own losses (co-optimisation)")
        sigma: float = Field(0.5, ge=0, description="sigma: share from which a modality is depended on, for M = 2")
        eps: float = Field(0.3, gt=0, le=1, description="eps: share of the training after which p is at its end")
        ceiling: float = Field(1.0, ge=0, le=1, description="p at its end; 1 hides all entries, 0 none")
        mask: Literal["features", "logits"] = Field(
            "features", description="what is hidden: features, or the code's logits"
        )

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(self.masked(output, run), batch, phase, run) | own_losses(
            output, batch.labels, self.config.own
        )

    def masked(self, output: Output, run: Run) -> Output:
        """The decision with part of the modalities depended on hidden."""
        config = self.config
        share = masked_share(run.epoch / run.epochs, config.eps, config.ceiling)
        shares = means(dependence({m: o.detach().float() for m, o in output.logits.items()}), output.present, run.sum)
        strong = [m for m, value in shares.items() if value > 2 * config.sigma / len(output.logits)]
        for m in output.logits:
            run.log(f"masked_share/{m}", share if m in strong else 0.0)
        if share == 0 or not strong:
            return output
        if config.mask == "logits":
            if output.contribution is None:
                raise ConfigError(
                    "amco.mask=logits needs an additive fusion.", "Use --fusion concat, or mask=features."
                )
            parts = output.contribution | {m: self.hide(m, output.contribution[m], share, run) for m in strong}
            return output.with_contributions(parts)
        inputs = output.inputs | {m: self.hide(m, output.inputs[m], share, run) for m in strong}
        return self.model.decide(inputs, output.present)

    def hide(self, m: str, values: Tensor, share: float, run: Run) -> Tensor:
        """``values (..., W)`` with int(share W) entries of the last axis set to zero, the same for all samples."""
        width = values.shape[-1]
        order = torch.randperm(width, generator=named_generator(f"amco.{run.step}.{m}"))
        kept = torch.ones(width, dtype=values.dtype)
        kept[order[: int(share * width)]] = 0
        return values * kept.to(values.device)
