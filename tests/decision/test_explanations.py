"""What fitted rules say of themselves."""

from __future__ import annotations

import numpy as np

from mmbal.decision import fit_rule
from mmbal.predictions.format import Predictions


def test_a_modality_that_temperature_scaling_silences_is_named_with_the_reason():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    video = rng.normal(size=(90, 3)) + np.eye(3)[labels]
    audio = -3 * np.eye(3)[labels] + rng.normal(size=(90, 3))
    silent = fit_rule(
        Predictions.from_arrays({"labels": labels, "logits_audio": audio, "logits_video": video}), "temperature"
    )
    assert silent.parameters["beta"][0] == 0
    assert "audio counts for nothing" in silent.explain()
    assert "no better than chance, or worse" in silent.explain()
    heard = fit_rule(
        Predictions.from_arrays({"labels": labels, "logits_audio": -audio, "logits_video": video}), "temperature"
    )
    assert "counts for nothing" not in heard.explain()
