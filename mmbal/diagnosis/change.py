"""What changed from one diagnosis to another, such as the one of the main branch: ``change.<path of the figure>``.

Of two estimates with intervals, the interval of the difference joins the distances of both from their values (Zou and
Donner, "Construction of confidence intervals about effect measures: a simple approach", Statistics in Medicine 27,
2008, equation 3, for independent samples):

    low = d - sqrt((x - x_low)^2 + (y_high - y)^2),     high = d + sqrt((x_high - x)^2 + (y - y_low)^2),     d = x - y

Two diagnoses of the same samples are not independent, and usually depend positively: the interval is then too wide, never
too narrow. ``mmbal diagnose A B`` has the paired one, from the predictions of both.
"""

from __future__ import annotations

import math

from mmbal.diagnosis.conditions import Figure, figures_of
from mmbal.diagnosis.document import Diagnosis

CHANGE = "change."


def changes(diagnosis: Diagnosis, baseline: Diagnosis) -> dict[str, Figure]:
    """Every figure that both have, as ``diagnosis`` minus ``baseline``, by ``change.<path>``."""
    now, before = figures_of(diagnosis), figures_of(baseline)
    return {f"{CHANGE}{path}": _difference(now[path], before[path]) for path in now if path in before}


def _difference(x: Figure, y: Figure) -> Figure:
    d = x[0] - y[0]
    if x[1] is None or x[2] is None or y[1] is None or y[2] is None:
        return d, None, None
    return d, d - math.hypot(x[0] - x[1], y[2] - y[0]), d + math.hypot(x[2] - x[0], y[0] - y[1])
