"""The registry tells what is wrong with a module; a plug-in needs to state nothing."""

import sys
from dataclasses import asdict

import pytest

from mmbal.engine.config import require_fusion
from mmbal.errors import UsageError
from mmbal.registry import AboutMethod, AboutRule, Registry, datasets, encoders, fusions, methods, rules
from mmbal.report.members import describe


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
    things = Registry("thing", source, AboutMethod)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has"):
            things.get("a_good_one")


def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    rules = Registry("rule", "mmbal.decision.rules", AboutRule)
    rules.register("adaptive")(type("Adaptive", (), {}))
    with pytest.raises(UsageError, match="no rule 'adaptve'"):
        rules.get("adaptve")


def test_an_unknown_fact_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="A method has no field 'famly'; its fields are: family, year"):
        methods.register("plugged", famly="boosting")


def test_a_plug_in_that_states_nothing_works():
    added = {methods: "plugged_method", fusions: "plugged_fusion", encoders: "plugged_encoder"}
    for registry, name in added.items():
        registry.register(name)(type(name, (), {}))
    try:
        require_fusion("plugged_method", "plugged_fusion")
        found = describe("method", methods.entry("plugged_method"))
        assert (found["family"], found["status"], found["off"]) == ("other", "not stated", None)
        assert "image" in encoders.entry("plugged_encoder").about.kinds
    finally:
        for registry, name in added.items():
            del registry._entries[name]


@pytest.mark.parametrize("registry", [methods, fusions, rules, encoders, datasets], ids=lambda registry: registry.kind)
def test_the_outline_says_what_the_imported_members_say(registry):
    told = {one.name: one for one in registry.outline()}
    assert list(told) == registry.names()
    for entry in registry:
        assert told[entry.name].facts == asdict(entry.about), entry.name
        assert told[entry.name].summary == describe(registry.kind, entry)["summary"], entry.name
