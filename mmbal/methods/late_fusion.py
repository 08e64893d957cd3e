"""Late fusion, the baseline to beat: own encoders, one head, own losses, and modalities dropped in training.

Rheude, Eils and Wild, "Fusion or Confusion? Multimodal Complexity Is Not All You Need", 2025, arXiv 2512.22991: tuned like
19 published methods, none of which reliably beat it.

    L = CE(o, y) + lambda sum_m CE(o_m, y)
    each modality of a sample is missing in a step with chance r; the last one that a sample has is never dropped

o is the decision of one head on the features of the modalities that are kept, and o_m the same head's decision on m alone.
The fusion is the head: `concat` a linear one, `late_transformer` that of the paper.

Deviations: the paper trains the fused decision; own losses and dropping are stated here with weights of our own, which a
search should set. A dropped modality counts as missing: its feature is zero, it is no key of the transformer, and it has
no own loss in that step. Its encoder still runs, so batch normalisation sees every input.
"""

from dataclasses import replace

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import kept_at_random
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


@methods.register(
    family="baseline",
    year=2025,
    paper="2512.22991",
    status="with stated deviations",
    off={"own": 0.0, "drop": 0.0},
)
class LateFusion(Method):
    """Adds own losses, and trains with modalities missing at random."""

    class Config(Config):
        own: float = Field(0.5, ge=0, le=4, description="lambda: weight of the modalities' own losses")
        drop: float = Field(0.1, ge=0, lt=1, description="r: chance that a modality of a sample is dropped in a step")

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        if self.config.drop == 0:
            return batch
        rows = len(run.train.store)
        kept = kept_at_random(batch.present, self.config.drop, f"late.{run.step}", batch.index, rows)
        return replace(batch, present=kept)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        for m, present in output.present.items() if self.config.own > 0 else ():
            own = cross_entropy(output.logits[m], batch.labels, reduction="none")
            found[f"own/{m}"] = self.config.own * mean_over(own, present)
        return found
