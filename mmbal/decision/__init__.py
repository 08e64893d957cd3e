"""The decision layer: rules that turn the decisions of single modalities into one.

rule = fit_rule(predictions.select("calibration"), "adaptive")
log_probabilities = rule.apply(predictions.select("test"))
"""

from mmbal.decision.base import Rule
from mmbal.decision.calibration import calibrate
from mmbal.decision.comparison import at_least_as_good, compare_rules
from mmbal.decision.fitting import (
    cross_fit,
    cross_fitted_rules,
    fit_rule,
    rule_from_json,
    rule_to_json,
)
from mmbal.maths.scoring import scores

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
