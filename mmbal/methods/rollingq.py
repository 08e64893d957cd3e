"""RollingQ: when the class token's query attends mostly to one modality, rotate it towards the keys of the others.

Ni, Wei, Liu, Chen, Peng, Lin and Hu, "RollingQ: Reviving the Cooperation Dynamics in Multimodal Transformer", ICML 2025,
arXiv 2506.11465; for the fusion `class_token`. After an epoch, with k_m the mean key of modality m:

    s_m = mean_i cos(q, k_im),   AIR = s_a - s_v;          where |AIR| > beta:
    target = alpha k_a / |k_a| + (1 - alpha) k_v / |k_v|,   alpha = (1 + tanh(-sigma AIR)) / 2
    R <- T R,   T the rotation that takes q to the direction of the target,   q = R W_q c

Deviations: alpha is the first of softmax(-2 sigma s), which gives the weights of any M; AIR is then the difference of the
largest and the smallest s. T turns in the plane of q and the target alone. The public code takes T from the singular
vectors of a matrix of rank one, whose other directions are arbitrary: it turns those at random. It measures AIR on the
last batch and the keys in another pass over the training rows; here both are means over the batches of the epoch. Its
defaults of beta and sigma are zero, which rotates in every epoch to the even mixture; the paper sets them for each data
set, so those here are ours. Rows without m do not count for m.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.class_token import ClassTokenFusion
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def target_direction(keys: Tensor, cosines: Tensor, sigma: float) -> Tensor:
    """The direction ``(d,)`` between mean keys ``(M, d)``, nearer to those whose cosine ``s (M,)`` is smaller."""
    weights = (-2 * sigma * cosines).softmax(dim=0)
    return normalize((weights[:, None] * normalize(keys, dim=1)).sum(dim=0), dim=0)


def rotation(source: Tensor, target: Tensor) -> Tensor:
    """The rotation ``(d, d)`` in their plane that takes the direction of ``source (d,)`` to that of ``target (d,)``."""
    u, v = normalize(source, dim=0), normalize(target, dim=0)
    if 1 + u @ v < 1e-6:  # opposite: half a turn, in a plane with the axis that u is furthest from
        axis = torch.zeros_like(u)
        axis[u.abs().argmin()] = 1
        w = normalize(axis - (axis @ u) * u, dim=0)
        return torch.eye(len(u)).to(u) - 2 * torch.outer(u, u) - 2 * torch.outer(w, w)
    turn = torch.outer(v, u) - torch.outer(u, v)
    return torch.eye(len(u)).to(u) + turn + turn @ turn / (1 + u @ v)


@methods.register(
    family="fusion",
    year=2025,
    paper="2506.11465",
    needs={"class_token"},
    fusion="class_token",
    status="with stated deviations",
    off={"times": 0},
)
class RollingQ(Method):
    """Rotates the query of a class-token fusion towards neglected modalities."""

    at_least = 2
    summed = ("seen",)

    rotations: Tensor

    class Config(Config):
        beta: float = Field(0.1, ge=0, description="beta: difference of cosines above which the query is rotated")
        sigma: float = Field(1.0, ge=0, description="sigma: how much nearer the target is to the neglected modality")
        times: int = Field(1, ge=0, description="most rotations in a training; 0 none")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("rotations", torch.tensor(0))

    def on_epoch_start(self, run: Run) -> None:
        dim = cast(ClassTokenFusion, self.model.fusion).config.dim
        # By modality: the sum of its keys, of their cosines with the query, and the number of rows.
        self.seen = torch.zeros(len(self.model.modalities), dim + 2, device=run.device)

    @torch.no_grad()
    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        fusion = cast(ClassTokenFusion, self.model.fusion)
        query, keys = fusion.query(), fusion.mean_keys(output.inputs)
        for k, m in enumerate(self.model.modalities):
            there = output.present[m][:, None].float()
            cosine = cosine_similarity(keys[m], query[None], dim=1)[:, None]
            self.seen[k] += (torch.cat([keys[m], cosine, torch.ones_like(cosine)], dim=1) * there).sum(dim=0)

    @torch.no_grad()
    def on_epoch_end(self, run: Run) -> None:
        found = run.sum(self.seen)
        some = found[:, -1] > 0
        means = found[some, :-1] / found[some, -1:]
        cosines = means[:, -1]
        for m, cosine in zip(
            (m for m, on in zip(self.model.modalities, some, strict=True) if on), cosines, strict=True
        ):
            run.log(f"cosine/{m}", cosine)
        if len(means) < 2 or self.rotations >= self.config.times or cosines.max() - cosines.min() <= self.config.beta:
            return
        fusion = cast(ClassTokenFusion, self.model.fusion)
        turn = rotation(fusion.query(), target_direction(means[:, :-1], cosines, self.config.sigma))
        fusion.rotation.copy_(turn @ fusion.rotation)
        self.rotations += 1
        run.log("rotated", 1.0)
