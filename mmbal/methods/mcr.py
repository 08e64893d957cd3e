"""MCR: each modality increases its influence on the decision, as a player in a game with the others.

Kontras, Strypsteen, Chatzichristos, Liang, Blaschko and De Vos, "Multimodal Fusion Balancing Through Game-Theoretic
Regularization", NeurIPS 2025, arXiv 2411.07335. With o~(m) the fused logits once o_m is exchanged for that of another row:

    J_m   = mean JS(softmax o, softmax o~(m)), by which m alone learns;  J'_m the same, by which all others learn
    game  = -sum_m J_m + sum_m J'_m (greedy)      -sum_m J_m (independent)      -sum_m J''_m (collaborative: all learn)
    L     = CE(o, y) + lambda game + mu NTX + nu mean |z - G(o)|^2
    NTX   = mean over pairs of one class of -log [ e_ij / (e_ij + sum_{k of other classes} e_ik) ],  e = exp(cos / .5)

NTX runs over the features of all modalities and rows of the batch, as if they were one set. G is a small network without
biases that predicts the features z from the logits o, held constant: a bound on the information in z beyond the decision (a
conditional entropy bottleneck).

Deviations: in the public code's branch for three modalities one term stands three times; here each modality has its own, for
any M. Option names there differ between the code and its description. o itself learns from every term, as in the code.
Rows are exchanged by `shuffles` permutations, without rows that stay in place, rows without m, and rows
that would get the m of a row without m. lambda and the number of shuffles are those of the code's description for
CREMA-D; its published files name no mu and nu, so those are ours. Features of different widths are first mapped to one.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.divergences import jensen_shannon
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import named_generator
from mmbal.models.fusion import linear, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods

Game = Literal["greedy", "independent", "collaborative"]


def exchange_divergence(
    logits: Mapping[str, Tensor], m: str, source: Tensor, rows: Tensor, learns: Literal["own", "others", "all"]
) -> Tensor:
    """Mean JS between the decisions ``sum_m o_m`` of ``rows`` and those with ``o_m`` of the rows ``source``.

    ``logits[m] (B, C)``; the second decision has a gradient by m alone, by all others, or by all.
    """
    own, rest = logits[m][source], total({n: o for n, o in logits.items() if n != m})[rows]
    own = own.detach() if learns == "others" else own
    rest = rest.detach() if learns == "own" else rest
    plain = total(logits)[rows].log_softmax(dim=1)
    return jensen_shannon(plain, (own + rest).log_softmax(dim=1)).mean()


def contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """``NTX`` of features ``(N, D)`` and their classes ``(N,)``; zero where no two are of one class."""
    unit = normalize(features, dim=1)
    similarity = unit @ unit.T / temperature
    same = labels[:, None] == labels[None, :]
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    pairs = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    losses = torch.logaddexp(similarity, others) - similarity
    return (losses * pairs).sum() / pairs.sum().clamp(min=1)


@methods.register(
    family="game",
    year=2025,
    paper="2411.07335",
    needs={"additive"},
    status="with stated deviations",
    off={"strength": 0.0, "contrast": 0.0, "bottleneck": 0.0},
)
class MCR(Method):
    """Adds what a decision changes when one modality is exchanged, a contrast of features, and a bottleneck."""

    at_least = 2

    class Config(Config):
        game: Game = Field("greedy", description="who learns from what an exchange changes")
        strength: float = Field(0.01, ge=0, description="lambda: weight of the game; 0 none")
        shuffles: int = Field(32, ge=1, description="permutations of the batch in a step")
        contrast: float = Field(0.1, ge=0, description="mu: weight of the contrast between features; 0 none")
        temperature: float = Field(0.5, gt=0, description="temperature of the contrast")
        bottleneck: float = Field(0.1, ge=0, description="nu: weight of the bottleneck; 0 none")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dims, classes = model.fusion.dims, model.fusion.classes
        width = max(dims.values())
        self.map = nn.ModuleDict(
            {m: linear(d, width, f"mcr.{m}", bias=False) for m, d in dims.items() if len(set(dims.values())) > 1}
        )
        self.hidden = linear(classes, width, "mcr.hidden", bias=False)
        self.expected = nn.ModuleDict({m: linear(width, d, f"mcr.expected.{m}", bias=False) for m, d in dims.items()})

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found, config = super().losses(output, batch, phase, run), self.config
        whole = WholeBatch(batch.index, len(run.train.store), run.sum)
        there = {m: whole.gather(p) for m, p in output.present.items()}
        if config.strength > 0 and len(whole) > 1:
            found["game"] = config.strength * self.play(whole, output, there, run)
        if config.contrast > 0:
            mapped = {m: self.map[m](z) if m in self.map else z for m, z in output.features.items()}
            names, labels = self.model.modalities, whole.gather(batch.labels)
            features = torch.cat([whole.gather(mapped[m].float())[there[m]] for m in names])
            classes = torch.cat([labels[there[m]] for m in names])
            found["contrast"] = config.contrast * contrast(features, classes, config.temperature)
        if config.bottleneck > 0:
            seen = self.hidden(output.fused.detach()).relu()
            apart = {m: mse_loss(self.expected[m](seen), z, reduction="none") for m, z in output.features.items()}
            widths = sum(z.shape[1] for z in apart.values())
            each = total({m: (a * output.present[m][:, None]).sum(dim=1) for m, a in apart.items()})
            found["bottleneck"] = config.bottleneck * each.mean() / widths
        return found

    def play(self, whole: WholeBatch, output: Output, there: Mapping[str, Tensor], run: Run) -> Tensor:
        """The game's loss of a batch."""
        assert output.contribution is not None
        logits = {m: whole.gather(o.float()) for m, o in output.contribution.items()}
        chance = named_generator(f"mcr.{run.step}")
        source = torch.cat([torch.randperm(len(whole), generator=chance) for _ in range(self.config.shuffles)])
        source = source.to(run.device)
        rows = torch.arange(len(whole), device=run.device).repeat(self.config.shuffles)
        parts = []
        for m in self.model.modalities:
            count = (source != rows) & there[m][source] & there[m][rows]
            if bool(count.any()):
                who: Literal["own", "all"] = "all" if self.config.game == "collaborative" else "own"
                gain = exchange_divergence(logits, m, source[count], rows[count], who)
                run.log(f"exchange/{m}", gain)
                parts.append(-gain)
                if self.config.game == "greedy":
                    parts.append(exchange_divergence(logits, m, source[count], rows[count], "others"))
        return torch.stack(parts).sum() if parts else 0 * output.fused.sum()
