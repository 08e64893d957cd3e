"""The diagnosis: which modality a model listens to, whether the evidence supports that, and what it costs.

diagnosis = diagnose(Predictions.load("predictions.npz"))
print("\\n".join(diagnosis.verdict), diagnosis.index.value)
diagnosis.save("diagnosis.json")
"""

from mmbal.diagnosis.document import Diagnosis
from mmbal.diagnosis.examine import diagnose
from mmbal.predictions.heads import predictions_from_features

__all__ = ["Diagnosis", "diagnose", "predictions_from_features"]
