"""Warnings about the samples that a rule is fitted on: too few of a class, or unlike those that judge the rule."""

from __future__ import annotations

import numpy as np

from mmbal.decision.fused import as_it_is
from mmbal.predictions.format import Predictions

FEW = 5  # samples of a class below which little can be fitted to it
SHOWN = 5  # classes named in a sentence


def sparse(fitted: Predictions) -> str:
    """A warning that names the classes with few samples, or none, among those that a rule is fitted on; '' without any."""
    counts = np.bincount(fitted.labels, minlength=len(fitted.classes))
    told = []
    for names, what in (
        ([c for c, n in zip(fitted.classes, counts, strict=True) if n == 0], "no sample"),
        ([c for c, n in zip(fitted.classes, counts, strict=True) if 0 < n < FEW], f"fewer than {FEW} samples"),
    ):
        if names:
            some = ", ".join(f"'{name}'" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            told.append(f"{what} of {len(names)} {'class' if len(names) == 1 else 'classes'} ({some})")
    if not told:
        return ""
    return f"The split '{fitted.split[0]}' has {' and '.join(told)}: a rule fitted on it knows little about them."


def unlike(fitted: Predictions, judged: Predictions, times: float = 1.5, deviations: float = 4.0) -> str:
    """A warning where the decision is far more confident on the rows that rules are fitted on than on those that judge.

    "Far" means by the factor ``times`` in mean loss, and by ``deviations`` standard errors. Rows that the model was
    trained on look like that; a rule fitted on them learns how confident the model is on its training data.
    """
    losses = [-as_it_is(rows)[np.arange(len(rows)), rows.labels] for rows in (fitted, judged)]
    seen, new = (float(loss.mean()) for loss in losses)
    spread = np.sqrt(sum(loss.var() / len(loss) for loss in losses))
    if new <= times * seen or new - seen <= deviations * spread:
        return ""
    return (
        f"Mean NLL is {seen:.2f} on '{fitted.split[0]}' but {new:.2f} on '{judged.split[0]}'. "
        f"The '{fitted.split[0]}' samples were probably seen in training, or have another source. "
        "A rule fitted on them may not help on new samples."
    )
