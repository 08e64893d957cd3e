"""The decision layer: rules that turn the decisions of single modalities into one.

rule = fit_rule(predictions.select("calibration"), "adaptive")
log_probabilities = rule.apply(predictions.select("test"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmbal.decision.base import Rule
    from mmbal.decision.calibration import calibrate
    from mmbal.decision.comparison import at_least_as_good, compare_rules
    from mmbal.decision.fitting import cross_fit, cross_fitted_rules, fit_rule, rule_from_json, rule_to_json
    from mmbal.maths.scoring import scores

# Imported at first use: a list of the rules, as a shell completes it, needs none of them.
_HOME = {
    "Rule": "mmbal.decision.base",
    "at_least_as_good": "mmbal.decision.comparison",
    "calibrate": "mmbal.decision.calibration",
    "compare_rules": "mmbal.decision.comparison",
    "cross_fit": "mmbal.decision.fitting",
    "cross_fitted_rules": "mmbal.decision.fitting",
    "fit_rule": "mmbal.decision.fitting",
    "rule_from_json": "mmbal.decision.fitting",
    "rule_to_json": "mmbal.decision.fitting",
    "scores": "mmbal.maths.scoring",
}

__all__ = [
    "Rule",
    "at_least_as_good",
    "calibrate",
    "compare_rules",
    "cross_fit",
    "cross_fitted_rules",
    "fit_rule",
    "rule_from_json",
    "rule_to_json",
    "scores",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
