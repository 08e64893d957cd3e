"""The best single modality: the one with the highest accuracy on the calibration rows, alone.

    p(c) = p_{m*}(c),    m* = argmax_m accuracy_m  (equal accuracies: the lower mean negative log-likelihood)

Where the best modality is missing, the next best one decides.
"""

import numpy as np

from mmbal.decision.base import Rule
from mmbal.maths.arrays import AnyArray, log_softmax, where, whole
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


@rules.register(family="fixed", fitted=True)
class Best(Rule):
    """Uses one modality and ignores the others."""

    @classmethod
    def estimate(cls, predictions: Predictions, config: object) -> dict[str, np.ndarray]:
        quality = []
        for m, logits in predictions.logits.items():
            rows = predictions.present.get(m, np.ones(len(predictions), dtype=bool))
            labels, log_p = predictions.labels[rows], log_softmax(logits[rows], axis=-1)
            own = log_p[np.arange(len(labels)), labels]
            quality.append((correct(log_p, labels).mean(), own.mean()) if len(labels) else (-1.0, -np.inf))
        order = sorted(range(len(quality)), key=lambda k: quality[k], reverse=True)
        return {"order": np.array(order, dtype=np.float64)}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        order = whole(self.parameters["order"], inputs)
        chosen = order[present[:, order].argmax(axis=1)]
        decides = chosen[:, None] == whole(np.arange(len(self.modalities)), inputs)
        return where(decides[..., None], inputs, 0.0).sum(axis=1)

    def explain(self) -> str:
        return f"Follows {self.modalities[int(self.parameters['order'][0])]} alone."
