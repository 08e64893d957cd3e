"""FastPID scheduling: train modalities separately until they are equally unique and most synergetic, then jointly.

Tang, Xu, Liu and Chen, "Shaping Initial State Prevents Modality Competition in Multi-modal Fusion: A Two-stage Scheduling
Framework via Fast Partial Information Decomposition", 2025, arXiv 2509.20840. Features are read as codes (unit length, 5
principal components, k-means), and what the codes of m and of the rest tell about the class is decomposed (see
mmbal/methods/parts/fastpid.py) into redundancy, unique shares U_m and U_rest, and synergy S:

    first stage:   L = sum of CE(o_m, y) over the active modalities;  m stops while U_m > threshold U_other
    second stage:  L = CE(o, y) + beta sum_m CE(o_m, y),   from when S < drop max S, or the active set has changed twice

Deviations: the public code counts a table of 20 x 20 x C cells from 20 batches, which is biased towards synergy; here all
training rows are counted, in evaluation mode, with no more clusters than leave five rows to a cell (20 at most). Its
decomposition takes gradient steps with the margins projected; ours is solved to its optimum. For M > 2 m is set against
all others together, S is the mean over m, and m stops where U_m exceeds the smallest. It looks every 5 epochs, and its
first stage has at most two thirds of all: here a twentieth of the epochs if not set, and a half. It starts the second
stage with a twentieth of the learning rate, where both share one schedule here. Its validation set is the test set; here
training rows decide. Rows with a missing modality are not counted.
"""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.methods.parts.fastpid import clusters_for, codes, joint_table, partial_information
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def stopped(unique: Mapping[str, float], threshold: float) -> set[str]:
    """The modalities whose unique share is more than ``threshold`` times the smallest."""
    least = min(unique.values())
    return {m for m, value in unique.items() if value > max(threshold * least, 0.0)}


@methods.register(
    family="alternating",
    year=2025,
    paper="2509.20840",
    status="with stated deviations",
    off={"first": 0.0, "beta": 0.0},
)
class FastPID(Method):
    """Schedules modalities, and the change to joint training, by what their features tell about the class."""

    at_least = 2

    active: Tensor
    joint: Tensor
    peak: Tensor
    changes: Tensor

    class Config(Config):
        threshold: float = Field(3.0, gt=1, description="how much more unique a modality is where it stops")
        drop: float = Field(0.8, ge=0, le=1, description="share of its peak below which synergy ends the first stage")
        beta: float = Field(0.6, ge=0, description="beta: weight of the own losses in the second stage")
        first: float = Field(0.5, ge=0, le=1, description="most of the epochs in the first stage; 0: none")
        every: int | None = Field(
            None, ge=1, description="epochs between decompositions; a twentieth of all if not set"
        )
        clusters: int = Field(20, ge=2, description="most clusters of a modality")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("active", torch.ones(len(model.modalities), dtype=torch.bool))
        self.register_buffer("joint", torch.tensor(False))
        self.register_buffer("peak", torch.tensor(-1.0, dtype=torch.double))
        self.register_buffer("changes", torch.tensor(0))

    def on_epoch_start(self, run: Run) -> None:
        if run.epoch >= int(self.config.first * run.epochs):
            self.joint.fill_(True)

    def learning(self) -> tuple[str, ...]:
        """The modalities that learn now."""
        flags = [True] * len(self.active) if bool(self.joint) else self.active.tolist()
        return tuple(m for m, on in zip(self.model.modalities, flags, strict=True) if on)

    def phases(self, run: Run) -> Sequence[Phase]:
        return [Phase(self.learning(), alone=not bool(self.joint))]

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        if bool(self.joint):
            own = own_losses(output, batch.labels, self.config.beta)
            return super().losses(output, batch, phase, run) | own
        own = own_losses(output, batch.labels, 1.0)
        return {name: own[name] for name in (f"own/{m}" for m in phase.modalities)}

    def on_epoch_end(self, run: Run) -> None:
        every = self.config.every or max(1, run.epochs // 20)
        if bool(self.joint) or (run.epoch + 1) % every:
            return
        unique, synergy = self.decomposed(run)
        for m, value in unique.items():
            run.log(f"unique/{m}", value)
        run.log("synergy", synergy)
        off = stopped(unique, self.config.threshold)
        active = self.active.new_tensor([m not in off for m in self.model.modalities])
        if off and not torch.equal(active, self.active):
            self.active.copy_(active)
            self.changes += 1
        self.peak.fill_(max(float(self.peak), synergy))
        fallen = self.peak > 0 and synergy < self.config.drop * float(self.peak)
        self.joint.fill_(fallen or int(self.changes) > 1)

    def decomposed(self, run: Run) -> tuple[dict[str, float], float]:
        """The unique share of each modality against all others, and the mean synergy, in bits, of the training rows."""
        names, rows = self.model.modalities, torch.from_numpy(run.train.split_rows)
        store = run.train.store
        found = {m: torch.zeros(len(store), d, device=run.device) for m, d in self.model.fusion.dims.items()}
        for output, batch in run.evaluate(run.train, run.epoch):
            for m in names:
                found[m][batch.index] = output.features[m].float()
        complete = torch.stack([torch.from_numpy(store.present[m])[rows] for m in names]).all(dim=0)
        rows = rows[complete] if int(complete.sum()) > 1 else rows
        features = {m: run.sum(z).cpu()[rows] for m, z in found.items()}
        labels, classes = torch.from_numpy(store.labels)[rows].long(), len(run.train.classes)
        clusters = clusters_for(len(rows), classes, self.config.clusters)
        unique, synergy = {}, []
        for m in names:
            rest = torch.cat([features[n] for n in names if n != m], dim=1)
            pair = [codes(z.numpy(), clusters) for z in (features[m], rest)]
            parts = partial_information(joint_table(pair[0], pair[1], labels, classes))
            unique[m] = parts["unique1"]
            synergy.append(parts["synergy"])
        return unique, sum(synergy) / len(synergy)
