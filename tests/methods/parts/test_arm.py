"""A systematic draw by hand."""

import torch

from mmbal.methods.parts.arm import systematic_draw


def test_a_draw_keeps_every_row_near_its_expected_count():
    assert systematic_draw(torch.ones(5), 0.3).tolist() == [0, 1, 2, 3, 4]
    # Shares 1/8, 1/8, 1/4, 1/2 of four draws: 0.5, 0.5, 1 and 2 copies.
    for start in (0.0, 0.4, 0.6, 0.99):
        drawn = systematic_draw(torch.tensor([1.0, 1.0, 2.0, 4.0]), start).tolist()
        assert [drawn.count(0) + drawn.count(1), drawn.count(2), drawn.count(3)] == [1, 1, 2]
