"""mmbal: which modality a multimodal classifier follows, what that costs, and how to mend it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmbal.version import __version__ as __version__

if TYPE_CHECKING:
    from mmbal.data.prepare import prepare
    from mmbal.data.store.store import Store
    from mmbal.decision import cross_fit, fit_rule
    from mmbal.decision.calibration import calibrate
    from mmbal.decision.export import export_rule
    from mmbal.deployment import apply_rule, load_rule
    from mmbal.diagnosis import diagnose
    from mmbal.diagnosis.without import without
    from mmbal.engine.checkpoint import load_model
    from mmbal.engine.config import TrainConfig
    from mmbal.explain.ask import explain
    from mmbal.models.collect import collect
    from mmbal.predictions.format import Predictions
    from mmbal.report.compare import compare
    from mmbal.runs import find_predictions as load
    from mmbal.training import pretrain, train

# Imported at first use: `import mmbal` and `mmbal --help` stay fast, since torch comes with the first of these.
_PUBLIC = {
    "Predictions": ("mmbal.predictions.format", "Predictions"),
    "Store": ("mmbal.data.store.store", "Store"),
    "TrainConfig": ("mmbal.engine.config", "TrainConfig"),
    "apply_rule": ("mmbal.deployment", "apply_rule"),
    "calibrate": ("mmbal.decision.calibration", "calibrate"),
    "collect": ("mmbal.models.collect", "collect"),
    "compare": ("mmbal.report.compare", "compare"),
    "cross_fit": ("mmbal.decision", "cross_fit"),
    "diagnose": ("mmbal.diagnosis", "diagnose"),
    "explain": ("mmbal.explain", "explain"),
    "export_rule": ("mmbal.decision.export", "export_rule"),
    "fit_rule": ("mmbal.decision", "fit_rule"),
    "load": ("mmbal.runs", "find_predictions"),
    "load_model": ("mmbal.engine.checkpoint", "load_model"),
    "load_rule": ("mmbal.deployment", "load_rule"),
    "prepare": ("mmbal.data.prepare", "prepare"),
    "pretrain": ("mmbal.training", "pretrain"),
    "train": ("mmbal.training", "train"),
    "without": ("mmbal.diagnosis.without", "without"),
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmbal' has no attribute '{name}'")
    module, attribute = _PUBLIC[name]
    if module == f"{__name__}.{name}":  # the package is the function
        return import_module(module)
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*_PUBLIC, "__version__"]
