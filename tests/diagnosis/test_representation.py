"""The representation gap's interval: a sample counts as one that is scored and as one that the probes were fitted to."""

import numpy as np
import pytest

from mmbal.diagnosis.decomposition import Reading, Readout, representation_gap
from mmbal.diagnosis.figures import Figures
from mmbal.maths.bootstrap import Bootstrap

N = 40


def gap_of(influence):
    """The gap of two encoders that are scored alike, one of whose probes depends on its samples as given."""
    labels = np.arange(N) % 2
    same = np.log(np.full((N, 2), 0.5))
    model, reference = Reading(same, np.zeros(N)), Reading(same, influence)
    readout = Readout(np.arange(N), {"a": model}, {"a": reference}, model, reference, {"a": np.ones(N, bool)}, "test")
    figures = Figures(Bootstrap.of(N, replicates=4000, seed=0), labels, ("x", "y"))
    return representation_gap(figures, readout)


def test_the_interval_holds_what_the_probes_owe_to_their_samples():
    influence = 3.0 + np.tile([1.0, -1.0], N // 2)  # its mean does not depend on which samples are drawn
    gap, by_class = gap_of(influence)
    half = 1.96 * 1.0 / np.sqrt(N)  # standard deviation 1 over N samples
    for found in (gap.nats, gap.modalities["a"].nats):
        assert found.value == pytest.approx(0)
        assert (found.low, found.high) == (pytest.approx(-half, rel=0.08), pytest.approx(half, rel=0.08))
    assert by_class["x"].nats.high == 0  # by class the scores alone are drawn again


def test_without_influence_there_is_nothing_to_draw():
    gap, _ = gap_of(np.zeros(N))
    assert (gap.nats.low, gap.nats.high) == (0, 0)
