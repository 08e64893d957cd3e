import itertools
import threading

import numpy as np
import pytest
import torch

from mmbal.data.store.loader import Loader, crop_and_flip, middle_frames, random_crops, random_frames
from mmbal.data.store.store import ModalitySpec, Store, seal, write_view
from mmbal.errors import UsageError

ROWS = 37


@pytest.fixture
def store(tmp_path):
    """37 rows (27 train, 10 test): features = the row's number, 5 frames of which an encoder sees 2; row 3 has no video."""
    folder = tmp_path / "store"
    folder.mkdir()
    np.save(folder / "number.npy", np.arange(ROWS, dtype=np.float32)[:, None])
    frames = (
        np.arange(5, dtype=np.uint8)[None, :, None, None, None] * 10
        + np.arange(ROWS, dtype=np.uint8)[:, None, None, None, None]
    )
    np.save(folder / "video.npy", np.broadcast_to(frames, (ROWS, 5, 3, 8, 8)))
    augment = {"crop": [0.5, 1.0], "flip": True}
    seal(
        folder,
        name="numbers",
        classes=("even", "odd"),
        modalities={
            "number": ModalitySpec(kind="features", shape=(1,), preprocessing={"mean": [10.0], "std": [2.0]}),
            "video": ModalitySpec(
                kind="frames",
                shape=(2, 3, 8, 8),
                preprocessing={"mean": [0.0] * 3, "std": [1.0] * 3, "augment": augment},
            ),
        },
        rows={
            "labels": np.arange(ROWS) % 2,
            "ids": np.array([f"r{i}" for i in range(ROWS)]),
            "split": np.array(["train"] * 27 + ["test"] * 10),
            "present_number": np.ones(ROWS, bool),
            "present_video": np.arange(ROWS) != 3,
        },
        meta={},
    )
    return Store.open(folder)


def same(a, b):
    pairs = itertools.chain(((a.inputs[m], b.inputs[m]) for m in a.inputs), [(a.labels, b.labels), (a.index, b.index)])
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_batch_is_the_rows_normalised_with_their_labels(store):
    batches = list(Loader(store, "test", 4).epoch(0))
    assert [b.index.tolist() for b in batches] == [[27, 28, 29, 30], [31, 32, 33, 34], [35, 36]]
    first = batches[0]
    assert first.inputs["number"][:, 0].tolist() == [8.5, 9.0, 9.5, 10.0]  # (27 - 10) / 2, ...
    assert first.labels.tolist() == [1, 0, 1, 0]
    # Of five frames the middles of two halves: numbers 1 and 3, always.
    assert first.inputs["video"][0, :, 0, 0, 0].tolist() == [37, 57]
    assert first.inputs["video"].shape == (4, 2, 3, 8, 8)


def test_a_missing_modality_is_zeros_and_not_present(store):
    batch = next(Loader(store, "train", 6).epoch(0))
    assert batch.present["video"].tolist() == [True, True, True, False, True, True]
    assert (batch.inputs["video"][3] == 0).all()
    assert batch.present["number"].all()


def test_an_epoch_is_every_row_once_and_another_order_each_time(store):
    loader = Loader(store, "train", 4, shuffle=True, seed=5)
    orders = [torch.cat([b.index for b in loader.epoch(e)]).tolist() for e in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(27))
    assert orders[0] != orders[1]
    assert len(loader) == len(list(loader.epoch(0)))


def test_batches_depend_on_seed_and_epoch_alone(store):
    loader = Loader(store, "train", 4, shuffle=True, augment=True, seed=1)
    list(loader.epoch(0))
    later = list(loader.epoch(3))
    fresh = list(Loader(store, "train", 4, shuffle=True, augment=True, seed=1).epoch(3))
    other = list(Loader(store, "train", 4, shuffle=True, augment=True, seed=2).epoch(3))
    assert all(same(a, b) for a, b in zip(later, fresh, strict=True))
    assert not all(same(a, b) for a, b in zip(later, other, strict=True))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_what_one_sees(store, world):
    whole = list(Loader(store, "train", 6, shuffle=True, augment=True).epoch(1))
    shares = [
        list(Loader(store, "train", 6, shuffle=True, augment=True, rank=r, world=world).epoch(1)) for r in range(world)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        for m in batch.inputs:
            assert torch.equal(batch.inputs[m], torch.cat([p.inputs[m] for p in parts]))
    assert sum(len(b) for b in whole) == sum(len(b) for share in shares for b in share) == 27


def test_several_batches_are_made_at_once_to_the_same_bits(store, monkeypatch):
    one = list(Loader(store, "train", 4, shuffle=True, augment=True, seed=3).epoch(2))
    assert len(one) == 7
    together, make = threading.Barrier(3), Loader._batch

    def waiting(self, rows, share, seed):
        if seed[2] < 6:  # the seventh is made alone
            together.wait(timeout=10)
        return make(self, rows, share, seed)

    monkeypatch.setattr(Loader, "_batch", waiting)
    several = list(Loader(store, "train", 4, shuffle=True, augment=True, seed=3, ahead=3).epoch(2))
    assert all(map(same, one, several))
    assert len(several) == 7


def test_what_one_modality_sees_does_not_depend_on_the_others(store):
    both = next(Loader(store, "train", 6, shuffle=True, augment=True).epoch(0))
    alone = next(Loader(store, "train", 6, shuffle=True, augment=True, modalities=["video"]).epoch(0))
    assert list(alone.inputs) == ["video"]
    assert torch.equal(both.inputs["video"], alone.inputs["video"])


def test_given_rows_replace_the_split_s(store):
    batches = list(Loader(store, "train", 2).epoch(0, rows=np.array([5, 5, 30, 1])))
    assert [b.index.tolist() for b in batches] == [[5, 5], [30, 1]]


def test_no_batch_has_rows_of_two_groups(store):
    groups = [np.arange(5), np.array([], dtype=np.int64), np.arange(10, 17)]
    batches = [b.index.tolist() for b in Loader(store, "train", 4, shuffle=True).epoch(1, groups)]
    assert [len(b) for b in batches] == [5, 4, 3]
    assert sorted(batches[0]) == list(range(5))
    assert sorted(batches[1] + batches[2]) == list(range(10, 17))
    shares = [list(Loader(store, "train", 4, shuffle=True, rank=r, world=2).epoch(1, groups)) for r in range(2)]
    assert [a.index.tolist() + b.index.tolist() for a, b in zip(*shares, strict=True)] == batches


def test_a_small_remainder_joins_the_batch_before(store):
    assert [len(b) for b in Loader(store, "train", 13).epoch(0)] == [13, 14]
    assert [len(b) for b in Loader(store, "train", 12).epoch(0)] == [12, 12, 3]
    assert [len(b) for b in Loader(store, "train", 25).epoch(0)] == [27]
    assert len(Loader(store, "train", 13)) == 2


def test_frames_are_random_in_training_only(store):
    test = Loader(store, "test", 10)
    assert same(next(test.epoch(0)), next(test.epoch(7)))
    # Without crops and flips a picture's value is ten times the frame's number, plus the row's.
    loader = Loader(store, "train", 20, augment=True)
    loader.specs["video"] = ModalitySpec(kind="frames", shape=(2, 3, 8, 8))
    loader._moments["video"] = None
    seen = set()
    for batch in itertools.chain.from_iterable(loader.epoch(e) for e in range(20)):
        numbers = (batch.inputs["video"][:, :, 0, 0, 0] - batch.index[:, None]) / 10
        seen |= {tuple(n) for n in numbers[batch.present["video"]].int().tolist()}
    assert seen == set(itertools.product((0, 1, 2), (2, 3, 4)))  # one from each half
    assert middle_frames(5, 2).tolist() == [1, 3]


def test_random_frames_come_one_from_each_part_in_order():
    drawn = random_frames(9, 3, 500, np.random.default_rng(0))
    assert all(set(drawn[:, k]) == set(range(3 * k, 3 * k + 3)) for k in range(3))


def test_a_crop_is_its_part_of_the_picture_and_a_flip_its_mirror():
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert torch.allclose(crop_and_flip(x, None, None), x, atol=1e-4)
    assert torch.allclose(crop_and_flip(x, None, np.array([True])), x.flip(-1), atol=1e-4)
    # The right half: output pixel 0 lies at 4.25 of the input's pixel borders, so its value is 4 - 0.25.
    half = crop_and_flip(x, np.array([[0.5, 0.0, 0.5, 1.0]]), None)
    assert half[0, 0, 0].tolist() == pytest.approx([3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.0], abs=1e-4)


def test_crops_keep_to_their_area_and_to_the_picture():
    left, top, width, height = random_crops(2000, (0.25, 0.81), np.random.default_rng(0)).T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 1 + 1e-12).all()
    assert (top + height <= 1 + 1e-12).all()
    assert (width * height).min() >= 0.2
    assert (width * height).max() <= 0.81 + 1e-12


def test_wrong_names_are_said(store):
    with pytest.raises(UsageError, match="no samples in split 'val'"):
        Loader(store, "val", 4)
    with pytest.raises(UsageError, match="no modality 'vidio'") as caught:
        Loader(store, "train", 4, modalities=["vidio"])
    assert "video" in caught.value.hint
    with pytest.raises(UsageError, match="2 processes"):
        Loader(store, "train", 1, world=2)


def test_a_view_is_rows_of_another_store_without_its_arrays(store, tmp_path):
    view = write_view(store, np.array([30, 2, 2, 3]), tmp_path / "view")
    assert not list((tmp_path / "view").glob("*.npy"))
    assert view.ids.tolist() == ["r30", "r2", "r2", "r3"]
    again = write_view(view, np.array([3, 1]), tmp_path / "again")  # a view of a view
    batch = next(Loader(again, "train", 4).epoch(0))
    assert batch.inputs["number"][:, 0].tolist() == [-3.5, -4.0]
    assert batch.present["video"].tolist() == [False, True]
    assert batch.inputs["video"][1, :, 0, 0, 0].tolist() == [12, 32]
    assert again.verify() == []
    with pytest.raises(UsageError, match="exists"):
        write_view(store, np.array([1]), tmp_path / "view")
