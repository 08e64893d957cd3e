"""Look inside any model: ``mmbal.explain(predict, data, labels)`` asks it, a monitor watches it while it trains.

The package itself is the function: calling it calls :func:`mmbal.explain.ask.explain`. ``Monitor`` watches a loop of one's
own; the callbacks for Lightning and transformers have modules of their own. ``Mended`` puts a fitted rule back.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmbal.explain.ask import explain

if TYPE_CHECKING:
    from mmbal.explain.mended import Mended
    from mmbal.explain.monitor import Monitor

_HOME = {"Mended": "mmbal.explain.mended", "Monitor": "mmbal.explain.monitor"}  # these import torch

__all__ = ["Mended", "Monitor", "explain"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


class _Package(ModuleType):
    __call__ = staticmethod(explain)


sys.modules[__name__].__class__ = _Package
