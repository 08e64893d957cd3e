"""The comparison of rules that `calibrate` keeps in a run's folder is the one that the report shows."""

from pathlib import Path

import pytest

from mmbal import calibrate
from mmbal.errors import DataError
from mmbal.files import write_json
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.report.rules import Rules
from mmbal.runs import RULES


def test_the_kept_comparison_is_read_as_it_was_printed(tmp_path: Path) -> None:
    """Fails if `calibrate` renames a key that the report reads, or if the report rounds or drops a figure."""
    assert Rules.of(None) is None
    assert Rules.of(tmp_path) is None
    world = GaussianWorld(("x", "y", "z"), ("a", "b"), [[1.4] * 3, [1.2] * 3], overconfidence=[3.0, 1.0])
    predictions = world.sample(200, seed=0, calibration=0.6)
    for test in (False, True):
        result = calibrate(predictions, "pool", names=("temperature",), test=test)
        write_json(tmp_path / RULES, result.to_json())
        found = Rules.of(tmp_path)
        printed = result.tables()[2 if test else 0]
        assert found is not None
        (table,) = found.tables()
        assert [c.texts() for c in table.columns] == [c.texts() for c in printed.columns]
        assert table.title == printed.title.removesuffix(", 5 folds")
        assert found.sentence == result.sentence()


@pytest.mark.parametrize("found", [{}, {"test": None, "rule": "adaptive"}])
def test_a_file_that_calibrate_did_not_write_ends_in_a_sentence(tmp_path, found):
    write_json(tmp_path / RULES, {"schema_version": 1, **found})
    with pytest.raises(DataError, match=r"rules.json is not what this mmbal writes"):
        Rules.of(tmp_path)
