"""A fitted decision rule put back before a model that is only a function: same batches in, mended decisions out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.decision.base import Rule
from mmbal.decision.fused import FUSED
from mmbal.errors import UsageError
from mmbal.explain.baselines import Baseline, Constant, Own, stand_ins
from mmbal.explain.inputs import Inputs, Modalities
from mmbal.explain.model import Model, callable_of, evaluating
from mmbal.predictions.columns import Array


@dataclass(frozen=True)
class Mended:
    """Call it with a batch as ``predict`` takes it; it returns the rule's log-probabilities ``(B, C)``.

    The rule was fitted on what :func:`mmbal.explain.ask.explain` gave for the same ``predict``, ``modalities`` and
    ``baseline``. The model is asked once with all modalities, once with none, and once with each alone. ``scores``: what
    ``predict`` returns, as in ``explain``. Raises UsageError for a rule that takes features, and for a baseline that needs
    other samples (``mean``, ``shuffled``, ``conditional``, ``diffusion``).
    """

    predict: Callable[..., Any]
    rule: Rule
    modalities: Modalities = None
    baseline: Baseline = "zero"
    scores: str = "auto"

    def __post_init__(self) -> None:
        if self.rule.source != "logits":
            raise UsageError(
                "The rule takes features, which a function does not give.", "Fit 'adaptive', or another rule."
            )

    def __call__(self, batch: Any) -> Array:
        inputs = Inputs.of(batch, self.modalities)
        rows = np.arange(len(inputs))
        (stand_in,) = stand_ins(self.baseline, inputs, rows)
        alone = isinstance(stand_in, Own) or stand_in.name == "mask"
        if not alone and not (isinstance(stand_in, Constant) and "mean" not in stand_in.kinds.values()):
            raise UsageError(
                f"The baseline '{stand_in.name}' needs other samples, which a batch does not have.",
                "Explain with 'zero', 'missing', 'mask' or a function of your own to put a rule back.",
            )
        model = Model(callable_of(self.predict), inputs, batch_size=len(inputs), scores=self.scores)
        everything = inputs.names
        with evaluating(model.predict):
            fused = model.ask(stand_in, (), rows)
            nothing = model.ask(stand_in, everything, rows)
            logits = {
                m: model.ask(stand_in, tuple(n for n in everything if n != m), rows) - nothing for m in everything
            }
        found: Array = self.rule.apply(logits | ({FUSED: fused} if self.rule.takes_fused else {}))
        return found
