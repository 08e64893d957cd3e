"""Look inside any model: ``mmbal.explain(predict, data, labels)`` asks it, monitors watch it while it trains.

The package itself is the function: calling it calls :func:`mmbal.explain.ask.explain`.
"""

from __future__ import annotations

import sys
from types import ModuleType

from mmbal.explain.ask import explain

__all__ = ["explain"]


class _Package(ModuleType):
    __call__ = staticmethod(explain)


sys.modules[__name__].__class__ = _Package
