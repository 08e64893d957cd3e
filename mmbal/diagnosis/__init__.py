"""The diagnosis: which modality a model listens to, whether that is deserved, and what it costs.

diagnosis = diagnose(Predictions.load("predictions.npz"))
print("\\n".join(diagnosis.verdict), diagnosis.index.value)
diagnosis.save("diagnosis.json")
"""

from mmbal.diagnosis.examine import diagnose
from mmbal.diagnosis.probes import predictions_from_features
from mmbal.diagnosis.schema import Diagnosis

__all__ = ["Diagnosis", "diagnose", "predictions_from_features"]
