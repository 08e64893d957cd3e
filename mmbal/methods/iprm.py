"""IPRM: mix the modalities' features on the sphere, by weights that a probe before each step sets anew.

Yang, Wu and Jiang, "Towards Equilibrium: An Instantaneous Probe-and-Rebalance Multimodal Learning Approach", IJCAI 2025,
doi.org/10.24963/ijcai.2025/395. For each pair (a, v) of modalities, in each step, with KL(p || q) a mean over the batch:

    mix(l) = [ sin(l_a t) z_a / |z_a| + sin(l_v t) z_v / |z_v| ] / sin t,    t the angle between z_a and z_v
    probe:       l = alpha l + (1 - alpha) l^  of the step before;   K_m = KL(softmax o_m || softmax H mix(l))
    rebalance:   l^_a = K_v / (K_a + K_v),   l^_v = K_a / (K_a + K_v)
    L = CE(H mix(l^), y) + CE(o_a, y) + CE(o_v, y),      decision:  H mix(l) + o_a + o_v,   o_m = H_m z_m

Deviations: none in the formulas. So the modality that is nearer to the mixture gets more weight, one weight serves the
whole batch, and the test mixes by l, training by l^: all three as in the public code, which keeps l of the last batch as
we do. For M > 2 each pair has a mixture, a head and weights of its own (`tri_cls` of the public code for three, where the
third modality's own loss reads the second one's head; here its own). Features of different widths are first mapped to one
width. A row without m has no mixture with m: the pair is left out of its decision and its losses. No option makes this
joint training, since the fusion's head is not used.
"""

from dataclasses import replace
from itertools import combinations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import linear, masked_cross_entropy, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def geodesic_mixture(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """``mix(l) (B, D)`` of features ``(B, D)``, for ``weights (2,)``; on the unit sphere where they sum to one."""
    a, v = normalize(first, dim=1), normalize(second, dim=1)
    # The angle in a form whose gradient is finite also where the features point the same way.
    angle = 2 * torch.atan2((a - v).norm(dim=1, keepdim=True), (a + v).norm(dim=1, keepdim=True))
    shares = [torch.where(angle < 1e-4, w, (w * angle).sin() / (angle.sin() + 1e-8)) for w in weights]
    return shares[0] * a + shares[1] * v


def divergence(logits: Tensor, mixed: Tensor) -> Tensor:
    """``KL(softmax(o) || softmax(mixed)) (B,)``, in nats, of logits ``(B, C)``."""
    log_p, log_q = logits.log_softmax(dim=1), mixed.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def rebalanced(distances: Tensor) -> Tensor:
    """``l^ (2,)`` of the distances ``K (2,)`` of two modalities from their mixture; even where both are zero."""
    whole = distances.sum()
    return distances.flip(0) / whole if whole > 0 else torch.full_like(distances, 0.5)


@methods.register(
    family="fusion",
    year=2025,
    paper="10.24963/ijcai.2025/395",
    status="with stated deviations",
    off=None,
)
class IPRM(Method):
    """Decides by the modalities and their geodesic mixtures, whose weights are probed before each step."""

    at_least = 2

    weights: Tensor
    probed: Tensor

    class Config(Config):
        alpha: float = Field(0.8, ge=0, lt=1, description="alpha: what the smoothed weights keep at each step")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dims, classes = model.fusion.dims, model.fusion.classes
        width = max(dims.values())
        self.map = nn.ModuleDict(
            {m: linear(d, width, f"iprm.{m}", bias=False) for m, d in dims.items() if len(set(dims.values())) > 1}
        )
        self.pairs = list(combinations(sorted(dims), 2))
        self.own = nn.ModuleDict({m: linear(width, classes, f"iprm.own.{m}") for m in dims})
        self.mixed = nn.ModuleList(linear(width, classes, f"iprm.mixed.{a}.{v}") for a, v in self.pairs)
        self.register_buffer("weights", torch.full((len(self.pairs), 2), 0.5))  # l
        self.register_buffer("probed", torch.full((len(self.pairs), 2), 0.5))  # l^ of the last step

    def features(self, output: Output) -> dict[str, Tensor]:
        """The features of all modalities in one width ``(B, D)``."""
        return {m: self.map[m](z) if m in self.map else z for m, z in output.features.items()}

    def both(self, output: Output) -> list[Tensor]:
        """For each pair, the rows that have both modalities ``(B,)``."""
        return [output.present[a] & output.present[v] for a, v in self.pairs]

    def fuse(self, output: Output) -> Output:
        features = self.features(output)
        own = {m: self.own[m](z) for m, z in features.items()}
        parts = {m: output.present[m][:, None] * o for m, o in own.items()}
        for k, ((a, v), there) in enumerate(zip(self.pairs, self.both(output), strict=True)):
            mixture = self.mixed[k](geodesic_mixture(features[a], features[v], self.weights[k]))
            parts[f"{a}.{v}"] = there[:, None] * mixture
        return replace(output, logits=own).with_fused(total(parts))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        features, labels, probed = self.features(output), batch.labels, []
        # New tensors: the mixtures keep the old ones for their gradients.
        self.weights = self.config.alpha * self.weights + (1 - self.config.alpha) * self.probed
        found = {f"own/{m}": masked_cross_entropy(o, labels, output.present[m]) for m, o in output.logits.items()}
        for k, ((a, v), there) in enumerate(zip(self.pairs, self.both(output), strict=True)):
            with torch.no_grad():
                probe = self.mixed[k](geodesic_mixture(features[a], features[v], self.weights[k]))
                apart = torch.stack([divergence(output.logits[m], probe) * there for m in (a, v)])
                probed.append(rebalanced(run.sum(apart.sum(dim=1))))
            run.log(f"weight.{a}.{v}", probed[k][0])
            mixture = self.mixed[k](geodesic_mixture(features[a], features[v], probed[k]))
            found[f"mixed.{a}.{v}"] = masked_cross_entropy(mixture, labels, there)
        self.probed = torch.stack(probed)
        return found
