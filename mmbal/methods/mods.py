"""MODS: select one primary modality per sample, train each to classify alone, and keep all in the fused feature.

After Yang et al., "Improving Multimodal Sentiment Analysis via Modality Optimization and Dynamic Primary Modality
Selection", AAAI 2026, arXiv 2511.06328: our instantiation.

    L = CE(o, y) + alpha mean_m NCE_m + beta mean_m CE(o_m, y),   o_m: the decision with m the only candidate
    NCE_m = -mean_i log [ exp(s_ii / t) / sum_{j in N(i)} exp(s_ij / t) ],   s_ij = cos(f_i P_m, h_mj)

The architecture (compression, selection by w, interaction around the primary modality) is a fusion, mmbal/models/mods.py:
`mods` on tokens, `mods_light` on pooled features; any method can train it. This page adds the paper's contrastive loss, from
the fused feature f to each modality's own h_m, and the report: in metrics.jsonl `primary/m` is the share of samples whose
primary modality argmax w is m, `primary[class]/m` the same by class, `weight/m` the mean of w_m. For single samples,
`model(batch).reading.weight` has w.

Deviations: classification in the place of regression. The losses CE(o_m, y) are ours: a selector trained by the fused loss
alone soon selects one modality, and the others, rarely selected, never learn enough. The h_mj are targets without
gradient: f must keep the information of each modality, and none is drawn towards a stronger one. N(i) is i and the batch's
rows of other classes that have m: to drive samples of one class apart would work against the classifier. alpha and t are
not public.
No gain over tuned joint training was found on the sets tried, of feature vectors and images: docs/study.md.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import linear, masked_cross_entropy, total
from mmbal.models.mods import MODSFusion, Selection
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def contrast(anchors: Tensor, keys: Tensor, own: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """``-log`` softmax of the cosine with the ``own (B,)`` key among the ``candidates (B, K)``: ``(B,)``."""
    similarity = normalize(anchors, dim=-1) @ normalize(keys, dim=-1).T / temperature
    return cross_entropy(similarity.masked_fill(~candidates, -torch.inf), own, reduction="none")


@methods.register(
    family="fusion",
    year=2026,
    paper="2511.06328",
    needs={"selector"},
    fusion="mods",
    status="our instantiation",
    off={"alpha": 0.0, "beta": 0.0},
)
class MODS(Method):
    """Trains a MODS fusion with the contrastive loss, and reports which modality is primary."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(0.1, ge=0, description="alpha: weight of the contrastive loss")
        beta: float = Field(1.0, ge=0, description="beta: weight of the modalities' own decisions")
        temperature: float = Field(0.2, gt=0, description="t: temperature of the contrastive loss")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dim = cast(MODSFusion, model.fusion).config.dim
        self.project = nn.ModuleDict({m: linear(dim, dim, f"project.{m}", bias=False) for m in model.modalities})

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        assert isinstance(output, Selection)
        found = super().losses(output, batch, phase, run)
        self.report(output, batch, run)
        count = len(self.project)
        if self.config.alpha:
            parts = {m: self.distance(m, output, batch, run) for m in self.project}
            found["contrast"] = self.config.alpha * total(parts) / count
        if self.config.beta:
            alone = {m: masked_cross_entropy(o, batch.labels, output.present[m]) for m, o in output.logits.items()}
            found["alone"] = self.config.beta * total(alone) / count
        return found

    def distance(self, m: str, output: Selection, batch: Batch, run: Run) -> Tensor:
        """``NCE_m`` over this process's rows that have m, against the keys of all processes."""
        times = run.sum(torch.bincount(batch.index, output.present[m].float(), len(run.train.store)))
        rows = times.nonzero().flatten()
        if not len(rows):
            return 0 * output.fused.sum()
        mine = batch.index[output.present[m]]
        own = torch.searchsorted(rows, mine)
        keys = torch.zeros(len(rows), output.reading.fused.shape[1], device=rows.device)
        keys.index_add_(0, own, output.reading.own[m][output.present[m]].detach().float())
        keys = run.sum(keys) / times[rows, None]
        labels = torch.from_numpy(run.train.store.labels[rows.cpu().numpy()]).to(rows.device)
        candidates = labels != labels[own, None]
        candidates.scatter_(1, own[:, None], True)
        anchors = self.project[m](output.reading.fused[output.present[m]])
        losses = contrast(anchors, keys, own, candidates, self.config.temperature)
        # The mean over all rows that have m, also where processes have not as many of them.
        counts = run.sum(torch.tensor([len(mine), len(batch)], device=rows.device))
        return losses.sum() * float(counts[1] / counts[0]) / len(batch)

    @torch.no_grad()
    def report(self, output: Selection, batch: Batch, run: Run) -> None:
        names = sorted(output.reading.weight)
        weights = torch.stack([output.reading.weight[m] for m in names], dim=1).float()
        primary = torch.zeros_like(weights).scatter_(1, weights.argmax(dim=1, keepdim=True), 1.0)
        classes = run.train.classes
        chosen = run.sum(
            torch.zeros(len(classes), len(names), device=weights.device).index_add_(0, batch.labels, primary)
        )
        mean = run.sum(weights.sum(dim=0)) / chosen.sum()
        for i, m in enumerate(names):
            run.log(f"weight/{m}", mean[i])
            run.log(f"primary/{m}", chosen[:, i].sum() / chosen.sum())
            for c in chosen.sum(dim=1).nonzero().flatten().tolist():
                run.log(f"primary[{classes[c]}]/{m}", chosen[c, i] / chosen[c].sum())
