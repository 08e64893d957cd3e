"""`mmbal init`, what a shell completes, and the pages that errors name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from terminal import mmbal, ok, refused

from mmbal.cli import app, completion
from mmbal.config import keys, validate
from mmbal.engine.config import TrainConfig
from mmbal.registry import methods

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_file_has_every_key_and_is_a_configuration():
    assert "mmbal train --config config.yaml" in ok("init", "--method", "ogm_ge", "--data", "stores/x")
    text = Path("config.yaml").read_text(encoding="utf-8")
    found = validate(TrainConfig, yaml.safe_load(text))
    assert (found.data, found.method.name, found.fusion.name) == ("stores/x", "ogm_ge", "concat")
    assert found.method.options.items() <= found.method.resolved(methods).options.items(), (
        "its keys have their defaults"
    )
    rest = found.model_copy(update={"method": TrainConfig(data="").method, "fusion": TrainConfig(data="").fusion})
    assert rest == TrainConfig(data="stores/x"), "nothing else differs from the defaults"
    for key in keys(TrainConfig):
        assert f"{key.rsplit('.', 1)[-1]}:" in text, key
    lines = text.splitlines()
    assert lines[lines.index("epochs: 30") - 1] == "# number of epochs"


def test_every_method_has_a_file_and_a_file_is_not_overwritten():
    for entry in methods:
        ok("init", f"{entry.name}.yaml", "--method", entry.name)
        given = yaml.safe_load(Path(f"{entry.name}.yaml").read_text(encoding="utf-8"))
        validate(TrainConfig, given | {"data": "s"})
    assert "exists" in refused(2, "init", "joint.yaml")
    assert "Did you mean ogm_ge" in refused(2, "init", "--method", "ogmge")


def test_what_a_shell_completes(tmp_path: Path):
    for path in ("stores/a/meta.json", "runs/one/config.yaml"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (tmp_path / "one.npz").touch()
    assert completion.stores("") == ["stores/a", "runs/", "stores/"]
    assert completion.runs("one") == ["runs/one", "one.npz"]
    assert completion.members("rule")("adap") == ["adaptive"]
    context = SimpleNamespace(params={"method": "ogm_ge"})
    assert completion.keys(context, "method.al") == ["method.alpha="]
    assert "optimiser.lr=" in completion.keys(context, "opt")
    assert completion.words("pass", "fail")("f") == ["fail"]


def test_an_error_names_the_page_that_helps():
    assert mmbal("train", "--method", "nothing").stderr.rstrip().endswith("See docs/training.md.")
    assert mmbal("diagnose", "none.npz").stderr.rstrip().endswith("See docs/diagnosis.md.")
    for place in (*app.Commands.places.values(), *app.Prepare.places.values(), *app.Methods.places.values()):
        assert (ROOT / place.page).is_file()
