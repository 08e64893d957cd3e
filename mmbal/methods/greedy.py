"""Greedy: when a modality learns faster through the others than from its own input, it learns alone for some steps.

After Wu, Jastrzebski, Cho and Geras, "Characterizing and overcoming the greedy nature of learning in multi-modal deep neural
networks", ICML 2022, arXiv 2202.05306; our instantiation.

    z'_m = gate_m(z_1, ..., z_M) z_m                 cross-modal gates, which the decision takes instead of z
    mu(theta) = ||grad theta||^2 / ||theta||^2       how fast parameters learn
    speed_m   = log( sum_t mu(gates that m passes) / sum_t mu(encoder m) )       conditional learning speed
    where max_m speed_m - min_m speed_m > eps: for the next `window` steps, gate_m of the fastest m is its running mean

While the gate is a mean, m gets nothing from the other modalities and must learn from its own input.

Deviations: the paper has MMTM modules between the layers of two networks; here one such module gates the features, for any
encoder (mmbal/methods/parts/greedy.py), and M modalities share its squeeze. It starts at gates of one, so at joint training.
The logarithm is the natural one, as in the paper; the public code takes log10, where a threshold of 0.01 is 0.023 here. That
code brings the second modality's running mean up to date with the first one's gate; here each has its own. Speeds are
summed over the steps outside windows, as there. Tests use the gates as they are. A missing modality gives the gates zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.greedy import CrossGates
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def learning_speed(*modules: nn.Module) -> float:
    """``mu``: the squared norm of all gradients over that of all parameters of the modules; 0 without gradients."""
    found = [
        torch.stack([parameter.grad.square().sum(), parameter.detach().square().sum()])
        for module in modules
        for parameter in module.parameters()
        if parameter.grad is not None
    ]
    steep, size = torch.stack(found).sum(dim=0).tolist() if found else (0.0, 0.0)
    return float(steep / size) if size > 0 else 0.0


def conditional_speeds(bypass: Tensor, main: Tensor) -> Tensor:
    """``speed (M,)`` of the summed ``mu`` of what a modality gets from the others and of its own encoder."""
    return (bypass.clamp(min=1e-38) / main.clamp(min=1e-38)).log()


@methods.register(
    family="gradient modulation",
    year=2022,
    paper="2202.05306",
    status="our instantiation",
    off={"gates": False},
)
class Greedy(Method):
    """Gates features across modalities, and closes the gates of the modality that learns through them fastest."""

    at_least = 2

    class Config(Config):
        gates: bool = Field(True, description="cross-modal gates; without them it is joint training")
        ratio: float = Field(4.0, gt=0, description="how much narrower the gates' hidden layer is; 4 in MMTM")
        epsilon: float = Field(0.01, ge=0, description="eps: difference of speeds that opens a window")
        window: int = Field(5, ge=1, description="steps of a window")
        starts: int = Field(2, ge=0, description="first epoch with windows; 2 in the public code")

    speeds: Tensor  # summed mu (2, M): of the gates and of the encoders, modalities by name
    alone: Tensor  # place of the modality that learns by itself; -1 for none
    left: Tensor  # steps of the window that are left

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        if self.config.gates:
            self.cross = CrossGates(model.fusion.dims, self.config.ratio)
            self.register_buffer("speeds", torch.zeros(2, len(self.names)))
            self.register_buffer("alone", torch.tensor(-1))
            self.register_buffer("left", torch.tensor(0))

    def fuse(self, output: Output) -> Output:
        if not self.config.gates:
            return output
        together = self.decide(output.inputs, output.present)
        own = {}
        for m in self.names:
            alone = {n: x if n == m else torch.zeros_like(x) for n, x in output.inputs.items()}
            own[m] = self.decide(alone, output.present).logits[m]
        return replace(together, logits=own, inputs=output.inputs)

    def decide(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Output:
        """The decision on gated features."""
        gates = self.cross(inputs)
        if self.training and int(self.left) > 0:
            m = self.names[int(self.alone)]
            gates[m] = self.cross.average(m).expand_as(gates[m])
        gated = {m: x * (gates[m][:, None] if x.dim() == 3 else gates[m]) for m, x in inputs.items()}
        return self.model.decide(gated, present)

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        if not self.config.gates:
            return
        with torch.no_grad():
            gates = self.cross(output.inputs)
        rows = run.sum(torch.tensor(float(len(batch)), device=run.device))
        self.cross.observe({m: run.sum(gates[m].sum(dim=0)) / rows for m in self.names})
        for place, m in enumerate(self.names):
            run.log(f"alone/{m}", float(int(self.left) > 0 and int(self.alone) == place))
        if int(self.left) > 0:
            self.left -= 1
            return
        model, cross = self.model, self.cross
        bypass = [learning_speed(cross.squeeze, cross.excite[m]) for m in self.names]
        main = [learning_speed(model.encoders[m]) for m in self.names]
        self.speeds += torch.tensor([bypass, main]).to(self.speeds)
        speed = conditional_speeds(*self.speeds)
        run.log("speed_difference", speed.max() - speed.min())
        if run.epoch >= self.config.starts and float(speed.max() - speed.min()) > self.config.epsilon:
            self.alone.copy_(speed.argmax())
            self.left.fill_(self.config.window)
