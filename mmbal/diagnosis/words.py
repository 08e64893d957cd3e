"""How the sentences of a verdict write names, lists and numbers; :mod:`mmbal.text` has the forms of figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from mmbal.maths.bootstrap import Estimate
from mmbal.text import PP, WHOLE

MOST_NAMES = 4  # named in a sentence; more are counted


def size(estimate: Estimate) -> str:
    """How large a difference is, without its sign and its interval: ``3.1 pp``."""
    return PP.text(abs(estimate.value))


def loss(estimate: Estimate) -> str:
    """A loss with its interval: ``3.1 pp [1.8, 4.4]``."""
    return PP.text(estimate)


def percent(estimate: Estimate) -> str:
    """A share without its interval: ``31 %``."""
    return WHOLE.text(estimate, interval=False)


def capital(name: str) -> str:
    """A name at the beginning of a sentence."""
    return name[:1].upper() + name[1:]


def listed(names: Sequence[str]) -> str:
    """``a, b and c``; of many names the first few, and how many more there are."""
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return joined(names)


def joined(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def rounded_up(n: float) -> int:
    """A number of samples, rounded up to two figures."""
    unit = 10 ** max(floor(log10(max(n, 1))) - 1, 0)
    return ceil(n / unit) * unit
