"""OPM: in some batches, drop the features of the modality that is ahead, sample by sample, so that the others must decide.

Wei, Hu, Du and Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024, arXiv 2410.11582.

    r_m = tanh(relu(s_m / s_other - 1)),   s_m = sum_i softmax(o_m)[i, y_i]
    q_m = min(1, q_base (1 + lambda r_m)) where r_m > 0, else 0
    with probability p_exe a batch:  z_im <- b_im z_im / (1 - theta),   b_im ~ Bernoulli(1 - q_m),
                                     theta = sum_m q_m D_m / sum_m D_m;   samples that lose all modalities are left out

Deviations: for M modalities the other side of the ratio is the mean score of the others (a public benchmark takes their
sum, which with M > 2 only a modality far ahead exceeds). Scores are means over the rows that have the modality. At a
tie nothing is dropped. The first `warm_up` epochs drop nothing (6 in the public code).
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run, share_of
from mmbal.models.draws import named_generator, uniform_by_row
from mmbal.models.multimodal import Output, mask_absent
from mmbal.registry import methods


def drop_rates(scores: Mapping[str, float], q_base: float, strength: float) -> dict[str, float]:
    """``q_m`` for each modality's score ``s_m``: 0 for those that are not ahead of the mean of the others."""

    def rate(m: str) -> float:
        others = [score for name, score in scores.items() if name != m]
        mean = sum(others) / len(others) if others else math.inf
        if scores[m] <= mean:
            return 0.0
        ahead = math.tanh(scores[m] / mean - 1) if mean > 0 else 1.0
        return min(1.0, q_base * (1 + strength * ahead))

    return {m: rate(m) for m in scores}


def dropped_share(rates: Mapping[str, float], dims: Mapping[str, int]) -> float:
    """``theta``: the expected share of the feature entries that is dropped."""
    return sum(rate * dims[m] for m, rate in rates.items()) / sum(dims.values())


@methods.register(family="modality dropout", year=2024, paper="2410.11582", status="exact", off={"q_base": 0.0})
class OPM(Method):
    """Trains on decisions in which the modality ahead is sometimes missing."""

    at_least = 2

    class Config(Config):
        q_base: float = Field(0.5, ge=0, le=1, description="q_base: chance to drop a modality that is barely ahead")
        strength: float = Field(0.5, ge=0, description="lambda: how fast that chance grows with the lead")
        p_exe: float = Field(0.7, ge=0, le=1, description="p_exe: chance that a batch drops at all")
        warm_up: int = Field(5, ge=0, description="epochs without dropping")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        scores = true_class_confidence(output.logits, batch.labels, output.present, run.sum)
        rates = drop_rates(scores, self.config.q_base, self.config.strength)
        for m, rate in rates.items():
            run.log(f"drop/{m}", rate)
        executed = float(torch.rand((), generator=named_generator(f"opm.{run.step}"))) < self.config.p_exe
        if run.epoch < self.config.warm_up or not executed or not any(rates.values()):
            return super().losses(output, batch, phase, run)
        present = dict(output.present)
        for m, rate in rates.items():
            draw = uniform_by_row(f"opm.{run.step}.{m}", batch.index, len(run.train.store))
            present[m] = present[m] & (draw >= rate)
        kept = torch.stack(list(present.values())).any(dim=0)
        weight = share_of(kept, run)
        if not kept.any():
            kept[:1] = True  # for nothing: its weight is zero
        scale = 1 / (1 - dropped_share(rates, self.model.fusion.dims))
        features = {m: scale * mask_absent(z, present[m])[kept] for m, z in output.inputs.items()}
        decision = self.model.decide(features, {m: p[kept] for m, p in present.items()})
        return {name: weight * x for name, x in self.model.fusion.losses(decision, batch.labels[kept]).items()}
