"""What a model loses without a modality."""

import numpy as np
import pytest
from worlds import modular

import mmbal
from mmbal.errors import UsageError

# decisions of four samples of two classes: audio alone, video alone; their sum is the model's
AUDIO = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
VIDEO = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
LABELS = np.array([0, 0, 1, 1])


def arrays(times: int) -> dict[str, np.ndarray]:
    return {
        "labels": np.tile(LABELS, times),
        "logits_audio": np.tile(AUDIO, (times, 1)),
        "logits_video": np.tile(VIDEO, (times, 1)),
    }


def test_the_change_is_paired_and_has_an_interval():
    given = arrays(20)
    found = mmbal.without(given, "audio")
    # by hand: audio + video is right in all; video alone in the third of each four only
    assert (found.accuracy.value, found.without.value, found.change.value) == (1.0, 0.25, -0.75)
    assert found.change.low < -0.75 < found.change.high < 0
    assert {name: e.value for name, e in found.classes.items()} == {"0": -1.0, "1": -0.5}
    # of the third: with (0, 3), without (0, 1); the other way round of the fourth
    with_it = [-np.log(1 + np.exp(-1)), -np.log(1 + np.exp(-1)), -np.log(1 + np.exp(-3)), -np.log(1 + np.exp(-1))]
    less = [-np.log(1 + np.exp(1)), -np.log(1 + np.exp(1)), -np.log(1 + np.exp(-1)), -np.log(1 + np.exp(1))]
    assert found.nats.value == pytest.approx(np.mean(np.subtract(less, with_it)))
    assert str(found).startswith("Without audio the model is right in 25.0")
    assert found.table().columns[0].cells == ["0", "1"]
    present = np.arange(80) % 4 != 3
    assert mmbal.without(given | {"present_audio": present}, "audio").n == 60


def test_what_is_not_known_is_said():
    with pytest.raises(UsageError, match="The decision without a is not known"):
        mmbal.without(modular(), "a")
    with pytest.raises(UsageError, match="no modality 'adio'"):
        mmbal.without(arrays(20), "adio")
    with pytest.raises(UsageError, match="leave one"):
        mmbal.without(arrays(20), "audio", "video")


def test_a_network_is_asked_in_one_call():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    data = {m: (2.0 * y - 1)[:, None] * s + rng.normal(size=(100, 3)) for m, s in (("audio", 1.5), ("video", 0.2))}

    def predict(batch):
        score = batch["audio"].sum(axis=1) + batch["video"].sum(axis=1)
        return np.stack([-score, score], axis=1)

    found = mmbal.without(mmbal.explain(predict, data, y), "audio")
    alone = np.mean((data["video"].sum(axis=1) > 0) == y)
    assert found.without.value == pytest.approx(alone)
    assert found.change.high < 0
