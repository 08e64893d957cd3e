import numpy as np

from mmbal.predictions.splits import carve, complete, split_hash


def test_every_class_gives_its_share():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = carve(labels, None, 0.1)
    assert np.bincount(labels[chosen]).tolist() == [5, 3, 2]
    assert (carve(labels, None, 0.1) == chosen).all()
    assert (carve(labels, None, 0.1, seed=1) != chosen).any()


def test_rounding_keeps_the_total_and_no_class_is_emptied():
    labels = np.repeat(np.arange(10), 15)  # 10 x 15 rows at 0.1: 1.5 each, 15 in all
    chosen = carve(labels, None, 0.1)
    assert chosen.sum() == 15
    assert set(np.bincount(labels[chosen], minlength=10)) == {1, 2}
    assert not carve(np.array([0, 1]), None, 0.9).any()  # a single row stays


def test_groups_stay_whole_and_shares_near():
    rng = np.random.default_rng(0)
    group = np.repeat([f"actor{i}" for i in range(20)], 30)
    labels = rng.integers(0, 4, len(group))
    chosen = carve(labels, group, 0.2)
    for name in np.unique(group):
        assert chosen[group == name].all() or not chosen[group == name].any()
    assert abs(chosen.mean() - 0.2) < 0.03


def test_only_what_is_missing_is_carved():
    labels = np.tile([0, 1], 50)
    none = np.full(100, "")
    split, done = complete(labels, none, None, val=0.2, test=0.2)
    assert {s: int((split == s).sum()) for s in ("train", "val", "test")} == {"train": 64, "val": 16, "test": 20}
    assert len(done) == 2
    given = np.array(["train"] * 80 + ["test"] * 20)
    split, done = complete(labels, given, None, val=0.25, test=0.2)
    assert (split[80:] == "test").all()
    assert (split == "val").sum() == 20
    assert len(done) == 1
    untouched = np.array(["train"] * 60 + ["val"] * 20 + ["test"] * 20)
    split, done = complete(labels, untouched, None, val=0.25, test=0.2)
    assert (split == untouched).all()
    assert done == []


def test_too_few_groups_are_said():
    labels = np.tile([0, 1], 10)
    group = np.repeat(["a", "b"], 10)
    split, done = complete(labels, np.full(20, ""), group, val=0, test=0.2)
    assert (split == "test").sum() == 4
    assert "fewer than three" in done[0]


def test_too_few_rows_are_said():
    split, done = complete(np.arange(3), np.full(3, ""), None, val=0.2, test=0.2)
    assert (split == "train").all()
    assert done == [f"no {name} split: 3 samples are too few to carve one from" for name in ("test", "val")]


def test_the_hash_does_not_depend_on_order():
    assert split_hash(["a", "b"], ["train", "test"]) == split_hash(["b", "a"], ["test", "train"])
    assert split_hash(["a", "b"], ["train", "test"]) != split_hash(["a", "b"], ["test", "train"])
