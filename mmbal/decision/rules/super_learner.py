"""Super learner on the simplex: the mixture of the modalities' probabilities that held-out rows find most likely.

    p(c) = sum_m w_m p_m(c),    w = argmax sum_n log sum_m w_m p_m(y_n),    w_m >= 0, sum_m w_m = 1

Reference: van der Laan, Polley and Hubbard, "Super learner", Statistical Applications in Genetics and Molecular Biology
2007. The heads have not seen the calibration rows, so these are held out already and no inner folds are needed.
In a row with missing modalities, the others share their weight. One pseudo-row, equally likely under every modality,
keeps each weight above zero.
"""

import numpy as np

from mmbal.decision.base import Rule
from mmbal.maths.arrays import AnyArray, log, log_softmax, logsumexp, where
from mmbal.maths.mixture import mixture_weights
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.text import PLAIN


@rules.register(family="averaging", year=2007, paper="van der Laan et al. 2007", fitted=True)
class SuperLearner(Rule):
    """A weighted mean of probabilities."""

    @classmethod
    def estimate(cls, predictions: Predictions, config: object) -> dict[str, np.ndarray]:
        rows = np.arange(len(predictions))
        own = [log_softmax(predictions.logits[m], axis=-1)[rows, predictions.labels] for m in predictions.modalities]
        whole = predictions.present_mask().all(axis=1)
        # the pseudo-row keeps every weight above zero, for rows that have no other modality
        return {"weight": mixture_weights(np.stack(own, axis=1)[whole], prior=1 / len(own))}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        weight = self.tensor("weight", inputs) * present
        weight = where(weight.sum(axis=1, keepdims=True) > 0, weight, 1.0)
        return logsumexp(log(weight)[..., None] + log_softmax(inputs), axis=1)

    def explain(self) -> str:
        each = (f"{m} {PLAIN.number(w)}" for m, w in zip(self.modalities, self.parameters["weight"], strict=True))
        return f"Shares of the probabilities: {', '.join(each)}."
