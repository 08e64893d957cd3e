"""cRT: learn the features on the data as they are, then a new classifier on frozen features and class-balanced rows.

Kang, Xie, Rohrbach, Yan, Gordo, Feng and Kalantidis, "Decoupling Representation and Classifier for Long-Tailed Recognition",
ICLR 2020, arXiv 1910.09217. In two stages:

    first:   min over encoders and fusion of  mean_i CE(o_i, y_i)                  i drawn from the rows
    second:  min over a new fusion of         mean_i CE(o_i, y_i)                  c = y_i drawn first, p(c) = 1 / C

Deviations: the stages share the epochs; in the public code the second is a training of its own. In an epoch of the second
stage each class has the same number of rows, up to one; a class's rows are used up before one comes again, as in the public
code. The paper has one modality; here the classifier is the fusion, of any kind, which starts again from the weights that it
had before training. A sample without a modality is trained on as the fusion does.
"""

import copy
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from mmbal.config import Config
from mmbal.maths.groups import members
from mmbal.methods.base import Method, Run, Stage
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import methods

HEAD = "head"  # the second stage


def balanced_draw(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Positions ``(N,)`` in labels ``(N,)``: as many as there are, of each class that occurs equally many, up to one."""
    positions = dict(members(labels))
    classes = random.permutation(list(positions))
    drawn = []
    for k, c in enumerate(classes):
        own = positions[c]
        wanted = len(labels) // len(classes) + (k < len(labels) % len(classes))
        rounds = [random.permutation(own) for _ in range(-(-wanted // len(own)))]
        drawn.append(np.concatenate([own[:0], *rounds])[:wanted])
    return np.concatenate(drawn)


class TwoStages(Method):
    """Joint training, then a stage on class-balanced rows in which the parts ``second`` learn alone."""

    second: ClassVar[tuple[str, ...]] = ("fusion",)

    class Config(Config):
        head: float = Field(0.3, ge=0, lt=1, description="share of the epochs of the second stage; 0: joint training")

    def stages(self, epochs: int) -> list[Stage]:
        last = min(epochs - 1, max(1, round(self.config.head * epochs))) if self.config.head > 0 else 0
        joint = Stage("joint", epochs - last, ("encoders", "fusion"))
        return [joint, Stage(HEAD, last, self.second)] if last else [joint]

    def sampler(self, run: Run) -> np.ndarray | None:
        if run.stage is None or run.stage.name != HEAD:
            return None
        rows = run.train.split_rows
        random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        chosen: np.ndarray = rows[balanced_draw(run.train.store.labels[rows], random)]
        return chosen


@methods.register(
    family="decision layer",
    year=2020,
    paper="1910.09217",
    status="with stated deviations",
    off={"head": 0.0},
)
class CRT(TwoStages):
    """Trains the fusion anew on frozen features and class-balanced rows."""

    def __init__(self, model: MultimodalClassifier, config: TwoStages.Config | None = None) -> None:
        super().__init__(model, config)
        if self.config.head > 0:
            self.start = copy.deepcopy(model.fusion).requires_grad_(False)

    def on_epoch_start(self, run: Run) -> None:
        if run.stage is not None and run.stage.name == HEAD and run.epoch == run.epochs - run.stage.epochs:
            self.model.fusion.load_state_dict(self.start.state_dict())
