"""SNR debiasing by hand: margins, weights, their running sums, and the loss that comes of them."""

import math

import pytest
import torch

from mmbal.data.store.loader import Batch
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.snr_debias import margin_sums, modality_weights
from mmbal.models.multimodal import Output


def test_margins_by_hand():
    logits = torch.tensor([[3.0, 0.0, 1.0], [0.0, 2.0, 4.0], [9.0, 9.0, 9.0]])
    sums = margin_sums(logits, torch.tensor([0, 1, 2]), torch.tensor([True, True, False]))
    # 3 - 1/2 = 2.5 and 2 - 4/2 = 0; the third row lacks the modality
    assert sums.tolist() == [2.5, 6.25, 2.0]


def test_weights_by_hand_have_mean_one_and_favour_the_noisy():
    found = modality_weights(torch.tensor([4.0, 0.25]), "debias")  # 1/2 and 2, times 2 / 2.5
    assert found.tolist() == pytest.approx([0.4, 1.6])
    assert modality_weights(torch.tensor([4.0, 0.25]), "constant").tolist() == [1, 1]
    silent = modality_weights(torch.tensor([100.0, 0.0]), "debias")  # 0 counts as 1/100
    assert silent.tolist() == pytest.approx([2 * 0.1 / 10.1, 2 * 10 / 10.1])


def test_the_loss_of_a_batch_by_hand(toy):
    store = toy({"audio": 6, "video": 4})
    session = Session(TrainConfig(data=str(store.path), method=Choice(name="snr_debias", alpha=0.5), device="cpu"))
    labels = torch.tensor([0, 1, 0, 1])
    audio = torch.tensor([[2.0, 0.0], [0.0, 2.0], [4.0, 0.0], [0.0, 4.0]])  # margins 2, 2, 4, 4: SNR 9
    video = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])  # margins 1, -1, 3, 1: SNR 1/2
    everyone = torch.ones(4, dtype=torch.bool)
    output = Output({}, {"audio": audio, "video": video}, audio + video, None, {"audio": everyone, "video": everyone})
    batch = Batch({}, labels, torch.arange(4), output.present)
    losses = session.method.losses(output, batch, session.method.phases(session.run)[0], session.run)

    def soft(margin):
        return math.log1p(math.exp(-margin))

    own = {"audio": sum(map(soft, (2, 2, 4, 4))) / 4, "video": sum(map(soft, (1, -1, 3, 1))) / 4}
    raw = {"audio": 9**-0.5, "video": 0.5**-0.5}
    for m in ("audio", "video"):
        assert float(losses[f"own/{m}"]) == pytest.approx(0.5 * 2 * raw[m] / sum(raw.values()) * own[m], rel=1e-5)
    assert float(losses["fused"]) == pytest.approx(sum(map(soft, (3, 1, 7, 5))) / 4, rel=1e-5)
