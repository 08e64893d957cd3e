"""The diagnosis: which modality a model listens to, whether the evidence supports that, and what it costs.

diagnosis = diagnose(Predictions.load("predictions.npz"))
print("\\n".join(diagnosis.verdict), diagnosis.index.value)
diagnosis.save("diagnosis.json")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import diagnose
    from mmbal.predictions.heads import predictions_from_features

# Imported at first use: the document takes the keys of all sections, and a plug-in's module that defines one imports
# mmbal.diagnosis.section before its section is there.
_HOME = {
    "Diagnosis": "mmbal.diagnosis.document",
    "diagnose": "mmbal.diagnosis.examine",
    "predictions_from_features": "mmbal.predictions.heads",
}

__all__ = ["Diagnosis", "diagnose", "predictions_from_features"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
