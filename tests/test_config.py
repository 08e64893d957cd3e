"""Configuration: overrides, and words for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbal.config import override, read_yaml, validate, write_yaml
from mmbal.engine.config import Choice, TrainConfig, resolve
from mmbal.errors import ConfigError, UsageError


def test_dotted_overrides_read_values_as_yaml():
    values = override({"optimiser": {"lr": 0.1}}, ["optimiser.lr=0.5", "method.name=joint", "patience=null"])
    assert values == {"optimiser": {"lr": 0.5}, "method": {"name": "joint"}, "patience": None}


def test_overrides_leave_the_original_alone():
    original = {"optimiser": {"lr": 0.1}}
    override(original, ["optimiser.lr=0.5"])
    assert original == {"optimiser": {"lr": 0.1}}


@pytest.mark.parametrize("text", ["lr", "=3", "a..b=1", ".a=1"])
def test_a_malformed_override_is_refused(text: str):
    with pytest.raises(UsageError, match="not of the form"):
        override({}, [text])


def test_an_unknown_key_offers_the_nearest():
    with pytest.raises(ConfigError) as caught:
        validate(TrainConfig, {"data": "s", "optimiser": {"momentun": 0.5}})
    assert "optimiser.momentun" in caught.value.message
    assert "optimiser.momentum" in caught.value.hint


def test_a_value_out_of_bounds_names_key_and_value():
    with pytest.raises(ConfigError, match=r"'epochs'.*-3"):
        validate(TrainConfig, {"data": "s", "epochs": -3})


def test_a_zero_is_a_value(toy):
    config = TrainConfig(data=str(toy({"a": 3, "b": 2}).path), method=Choice(name="ogm_ge", alpha=0))
    assert resolve(config, toy({"a": 3, "b": 2})).method.options["alpha"] == 0


def test_method_keys_are_checked_like_the_config_itself(toy):
    store = toy({"a": 3, "b": 2})
    with pytest.raises(ConfigError) as caught:
        resolve(TrainConfig(data="s", method=Choice(name="ogm_ge", alhpa=1)), store)
    assert "alhpa" in caught.value.message
    assert "alpha" in caught.value.hint
    with pytest.raises(UsageError, match="no method 'ogm_gee'") as unknown:
        resolve(TrainConfig(data="s", method=Choice(name="ogm_gee")), store)
    assert "ogm_ge" in unknown.value.hint


def test_a_resolved_config_survives_its_file(toy, tmp_path: Path):
    store = toy({"a": 3, "b": 2})
    config = resolve(TrainConfig(data=str(store.path), method=Choice(name="ogm_ge")), store)
    write_yaml(tmp_path / "c.yaml", config)
    assert validate(TrainConfig, read_yaml(tmp_path / "c.yaml")) == config


def test_a_broken_config_file_is_named(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("a: [1, 2")
    with pytest.raises(ConfigError, match=r"c\.yaml is not valid YAML"):
        read_yaml(tmp_path / "c.yaml")
    with pytest.raises(UsageError, match="no config file"):
        read_yaml(tmp_path / "d.yaml")


def test_a_method_says_which_fusions_it_can_take(toy):
    store = toy({"a": 3, "b": 2})
    with pytest.raises(
        ConfigError, match="'mods' needs a fusion with 'selector', which 'film' does not have"
    ) as caught:
        resolve(TrainConfig(data="s", method=Choice(name="mods"), fusion=Choice(name="film")), store)
    assert "mods, mods_light" in caught.value.hint
    assert resolve(TrainConfig(data="s", method=Choice(name="mods"), fusion=Choice(name="mods_light")), store)
