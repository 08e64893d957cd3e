"""Means over the rows that have a modality, against plain sums."""

from __future__ import annotations

import math

import pytest
import torch

from mmbal.maths.confidence import accuracy, mean_cross_entropy, means

LOG = math.log
LOGITS = {"audio": torch.tensor([[LOG(3.0), 0.0], [0.0, LOG(4.0)]]), "video": torch.tensor([[0.0, 1.0], [0.0, 0.0]])}
LABELS = torch.tensor([0, 1])


def test_loss_and_accuracy_are_means_over_the_rows_that_have_the_modality():
    present = {"audio": torch.tensor([True, True]), "video": torch.tensor([True, False])}
    found = mean_cross_entropy(LOGITS, LABELS, present)
    assert found == pytest.approx({"audio": (LOG(4 / 3) + LOG(5 / 4)) / 2, "video": LOG(1 + math.e)})
    assert accuracy(LOGITS, LABELS, present) == {"audio": 1.0, "video": 0.0}


def test_a_modality_that_no_row_has_is_left_out_and_processes_are_summed():
    present = {"audio": torch.tensor([True, False]), "video": torch.tensor([False, False])}
    values = {"audio": torch.tensor([2.0, 9.0]), "video": torch.tensor([1.0, 1.0])}
    assert means(values, present) == {"audio": 2.0}
    # Another process has the sum 4 over 3 rows of audio, and one row of video with 7.
    assert means(values, present, lambda x: x + torch.tensor([[4.0, 3.0], [7.0, 1.0]])) == {"audio": 1.5, "video": 7.0}
