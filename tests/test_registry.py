"""The registry tells what is wrong with a module, also when it is asked again."""

import sys

import pytest

from mmbal.errors import UsageError
from mmbal.registry import Registry


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A package of two files, the second of which asks for a library that is not there."""
    folder = tmp_path / "some_things"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a_good_one.py").write_text("")
    (folder / "broken.py").write_text("import a_library_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_things"
    for name in [name for name in sys.modules if name.startswith("some_things")]:
        del sys.modules[name]


def test_a_module_that_cannot_be_imported_is_not_forgotten(source):
    things = Registry("thing", source)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has"):
            things.get("a_good_one")


def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    rules = Registry("rule", "mmbal.decision.rules")
    rules.register("adaptive")(type("Adaptive", (), {}))
    with pytest.raises(UsageError, match="no rule 'adaptve'"):
        rules.get("adaptve")
