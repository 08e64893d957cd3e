"""Training from Python and from the terminal: the same files, each made once, and pages that tell the run as it is now."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from terminal import mmbal as program
from terminal import ok

import mmbal
from mmbal.data.store.loader import Loader
from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.decision import fit_rule, rule_to_json
from mmbal.diagnosis import Diagnosis
from mmbal.diagnosis.stored import diagnosis_of, keep
from mmbal.engine import decisions
from mmbal.engine import train as engine
from mmbal.engine.checkpoint import attach_rule
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.pretrain import pretrain as engine_pretrain
from mmbal.engine.session import Session
from mmbal.engine.study import read_study
from mmbal.errors import ConfigError, MmbalError, UsageError
from mmbal.report.sources import read_source
from mmbal.runs import find_predictions, read_summary, subject
from mmbal.training import pretrain, resume, sweep, train

DIMS = {"audio": 6, "video": 4}
FAST = ["--epochs", "2", "--batch-size", "16", "--device", "cpu"]


def test_a_configuration_is_also_a_mapping_or_a_path(tmp_path: Path):
    with pytest.raises(UsageError, match="There is no config file"):
        train(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="there is no key 'epoch'"):
        pretrain({"data": "S", "epoch": 3})
    (tmp_path / "c.yaml").write_text(f"data: {tmp_path / 'S'}\n")
    for given in ({"data": tmp_path / "S"}, str(tmp_path / "c.yaml")):
        with pytest.raises(MmbalError, match="S is not a store"):
            train(given, out=tmp_path / "R")


def config(store: Store, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"data": str(store.path), "epochs": 2, "batch_size": 16, "device": "cpu"}
    return TrainConfig(**(values | changes))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def counted_passes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each split is read from now on, by its name."""
    passes: Counter[str] = Counter()
    epoch = Loader.epoch

    def counted(self: Loader, *given: Any, **options: Any) -> Iterator[Any]:
        passes[self.split] += 1
        return epoch(self, *given, **options)

    monkeypatch.setattr(Loader, "epoch", counted)
    return passes


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(toy(DIMS), fusion=Choice(name="sum")), out=tmp_path_factory.mktemp("runs") / "run").folder


def test_python_the_command_and_a_study_leave_the_same_files(toy, tmp_path: Path):
    store = toy(DIMS)
    assert mmbal.train is train
    train(config(store), out=tmp_path / "python")
    ok("train", "--data", store.path, *FAST, "--out", tmp_path / "command")
    base = {"epochs": 2, "batch_size": 16, "device": "cpu"}
    study = {"seeds": [0], "base": base, "data": {"toy": {"data": str(store.path)}}, "variants": {"joint": {}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    sweep(read_study(tmp_path / "study.yaml"), tmp_path / "study")
    expected = {"config.yaml", "env.json", "metrics.jsonl", "summary.json", "checkpoint.pt", "last.pt"}
    expected |= {f"predictions/{name}.npz" for name in ("val", "test", "last_val", "last_test")}
    expected |= {"diagnosis.json", "CARD.md", "report.html"}
    for folder in (tmp_path / "python", tmp_path / "command", tmp_path / "study" / "toy" / "joint-s0"):
        assert files(folder) == expected
    pretrained = pretrain(config(store), out=tmp_path / "pre").folder
    assert {"diagnosis.json", "CARD.md", "report.html"} <= files(pretrained)


def test_the_pages_of_a_run_that_is_trained_further_are_of_the_longer_one(toy, tmp_path: Path):
    run = train(
        config(toy(DIMS), epochs=1, optimiser=OptimiserConfig(schedule="constant")), out=tmp_path / "run"
    ).folder
    before = (run / "diagnosis.json").read_text()
    resume(run, epochs=4)
    assert (run / "diagnosis.json").read_text() != before
    accuracy = read_summary(run)["test"]["accuracy"]
    assert Diagnosis.load(run / "diagnosis.json").accuracy.fused.value == pytest.approx(accuracy)


@pytest.mark.parametrize("best_is_last", [True, False])
def test_a_split_runs_through_the_model_once_and_a_rule_is_fitted_once(
    best_is_last: bool, toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    passes = counted_passes(monkeypatch)
    fits: list[int] = []
    fit = decisions.fit_rule
    monkeypatch.setattr(decisions, "fit_rule", lambda rows, name: fits.append(len(rows)) or fit(rows, name))
    rate = OptimiserConfig(lr=0.05 if best_is_last else 3.0, schedule="constant", momentum=0.0)
    chosen = {"fusion": Choice(name="adaptive", rule="pool"), "optimiser": rate, "select": "nll"}
    found = engine.train(config(toy(DIMS), epochs=3, **chosen), out=tmp_path / "run")
    assert (found.summary["best_epoch"] == 3) is best_is_last
    states = 1 if best_is_last else 2  # of the model that are decided with in the end: the last, and the best
    assert passes == {"train": 3, "val": 3 + states, "test": states}
    assert len(fits) == states


def test_following_the_test_split_costs_one_pass_each(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    passes = counted_passes(monkeypatch)
    Session(config(toy(DIMS), fusion=Choice(name="adaptive", rule="pool"), optimistic=True)).fit()
    assert passes == {"train": 2, "val": 2, "test": 2}


def test_a_rule_on_features_can_be_the_rule_of_a_fusion(toy, tmp_path: Path):
    found = engine.train(config(toy(DIMS), fusion=Choice(name="adaptive", rule="crt")), out=tmp_path / "run")
    assert read_summary(found.folder)["val"]["accuracy"] > 1 / 3


def test_a_diagnosis_is_kept_until_something_it_follows_from_changes(toy, tmp_path: Path):
    folder = engine.train(config(toy(DIMS), fusion=Choice(name="sum")), out=tmp_path / "runs" / "run").folder

    def read(**settings: Any) -> Diagnosis:
        return diagnosis_of(subject(folder), **({"bootstrap": 100, "rule": "sum"} | settings))

    def marked() -> bool:
        """Whether the diagnosis of the folder is taken from diagnosis.json."""
        return read().verdict == ["as kept"]

    def mark() -> None:
        keep(read().model_copy(update={"verdict": ["as kept"]}), folder)

    mark()
    assert marked()
    for settings in ({"bootstrap": 101}, {"split": "val"}, {"confidence": 0.9}, {"rule": "mean"}, {"seed": 1}):
        assert read(**settings).verdict != ["as kept"]
    document = json.loads((folder / "diagnosis.json").read_text())
    (folder / "diagnosis.json").write_text(json.dumps(document | {"mmbal": "0.0.9"}))
    assert not marked(), "another mmbal measured it"
    mark()
    attach_rule(folder, rule_to_json(fit_rule(find_predictions(folder).select("val"), "pool")))
    assert not marked(), "a rule was stored"
    mark()
    assert marked()
    engine_pretrain(config(toy(DIMS), epochs=1), out=tmp_path / "runs" / "pre")
    assert not marked(), "a reference has come"
    assert read().data.reference.startswith(f"{tmp_path / 'runs' / 'pre'}, ")
    mark()
    for name in ("test", "rule_test"):
        file = folder / "predictions" / f"{name}.npz"
        mmbal.Predictions.load(file).take(np.arange(39)).save(file)
    assert not marked(), "the predictions have changed"


def test_a_kept_diagnosis_names_the_path_it_was_asked_for(run: Path, monkeypatch: pytest.MonkeyPatch):
    found = read_source(run).diagnosis
    monkeypatch.chdir(run.parent)
    again = read_source(run.name).diagnosis
    assert again.verdict == found.verdict
    assert [a.command.replace(run.name, str(run)) for a in again.advice] == [a.command for a in found.advice]


def test_after_calibrate_every_page_and_command_tells_of_the_rule(run: Path, tmp_path: Path):
    before = read_source(run).diagnosis
    assert "Decided by the model as it is." in (run / "CARD.md").read_text()
    assert "Decided by the model as it is." in ok("missing", run, "--impute", "zero", "--device", "cpu")
    assert "Decided by the model as it is." in ok("diagnose", run)
    calibrated = json.loads(ok("calibrate", run, "--rule", "pool", "--force", "--json"))
    told = "Decided by the stored rule 'pool'."
    assert told in (run / "CARD.md").read_text()
    kept = Diagnosis.load(run / "diagnosis.json")
    assert kept.data.meta["rule"] == "pool"
    assert kept.calibration["fused"].nll.value != pytest.approx(before.calibration["fused"].nll.value, abs=1e-4)
    accuracy, nll = kept.accuracy.fused.value, kept.calibration["fused"].nll.value
    assert f"| fused | {100 * accuracy:.1f} [" in (run / "CARD.md").read_text()
    assert kept.verdict[0] in re.sub(r"\s+", " ", unescape((run / "report.html").read_text()))

    diagnosed = json.loads(ok("diagnose", run, "--json"))
    reported = json.loads(ok("report", run, "--json"))
    missing = json.loads(ok("missing", run, "--impute", "zero", "--device", "cpu", "--json"))
    assert diagnosed["data"]["meta"]["rule"] == reported["rows"][0]["meta"]["rule"] == missing["rule"] == "pool"
    assert diagnosed["accuracy"]["fused"]["value"] == accuracy
    assert reported["rows"][0]["figures"]["accuracy"]["value"] == accuracy
    assert missing["complete"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert missing["complete"]["nll"]["value"] == pytest.approx(nll, abs=1e-4)
    assert any(told in note for note in reported["notes"])
    assert told in ok("diagnose", run)
    assert told in ok("missing", run, "--impute", "zero", "--device", "cpu")

    on_val = json.loads(ok("report", run, "--split", "val", "--json"))["rows"][0]["figures"]
    (row,) = (row for row in calibrated["cross_fitted"] if row["rule"] == "pool")
    assert on_val["accuracy"]["value"] == pytest.approx(row["accuracy"]["value"])
    assert on_val["nll"]["value"] == pytest.approx(row["nll"]["value"], abs=1e-5)


def test_the_card_s_command_makes_the_run_again_from_any_folder(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, elsewhere = tmp_path / "a home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(home)
    (home / "store").symlink_to(toy(DIMS).path)
    ok("pretrain", "--data", "store", *FAST, "--patience", "1", "--out", "pre")
    ok("train", "--data", "store", "--encoders", "pre", "--method", "ogm_ge", *FAST, "--out", "runs/mine")
    monkeypatch.chdir(elsewhere)
    for name in ("pre", "runs/mine"):
        made = home / name
        (command,) = re.findall(r"## Make it again\n\n`(.*)`\n", (made / "CARD.md").read_text())
        program, *arguments = shlex.split(command)
        assert program == "mmbal"
        ok(*arguments, "--out", "again", "--force")
        again = elsewhere / "again"
        kept = "checkpoint.pt" if name == "pre" else "last.pt"
        a, b = (torch.load(folder / kept, weights_only=True)["model"] for folder in (made, again))
        assert all(torch.equal(a[key], b[key]) for key in a)
        timeless = {"seconds": 0}
        assert read_summary(made) | timeless == read_summary(again) | timeless


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        self.text += data


NAMES = ("a|b", "<b>", "_x_ & `y`", "*z* [l](http://e.org) &amp;")


def test_names_of_any_kind_break_no_page(tmp_path: Path):
    """Read with the rules of Markdown: cells part at a bar without a backslash, and a backslash is not shown."""
    out, random = tmp_path / "store", np.random.default_rng(0)
    out.mkdir()
    labels, m = np.tile(np.arange(4), 40), "<i>in|put"
    np.save(out / f"{m}.npy", random.normal(size=(160, 3)).astype(np.float32))
    table = {"labels": labels, "ids": np.arange(160).astype(str), f"present_{m}": np.ones(160, dtype=bool)}
    table["split"] = np.repeat(["train", "val", "test", "train"], 40)
    seal(out, name="`o`", classes=NAMES, modalities={m: ModalitySpec(kind="features", shape=(3,))}, rows=table, meta={})
    run = train(config(Store.open(out)), out=tmp_path / "my `run`").folder
    card = (run / "CARD.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in card.splitlines() if line.startswith("|")]
    head = next(k for k, cells in enumerate(rows) if cells[0].strip() == "class")
    assert len({len(cells) for cells in rows[head:]}) == 1
    shown = [re.sub(r"\\(?=[!-/:-@\[-`{-~])", "", cells[0]).strip() for cells in rows[head + 2 :]]
    assert tuple(shown) == NAMES
    body = card.split("\n---\n", 1)[1]  # the front matter is YAML
    prose = re.sub(r"(`+)(.+?)\1(?!`)", "", body)  # without code spans, in which nothing is mark-up
    assert not re.search(r"(?<!\\)<[a-z/]|(?<!\\)[*`]|(?<!\\)&amp;|(?<!\\)\]\(", prose)
    assert "`` `o` ``" in card
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert "i" not in page.tags
    for name in (*NAMES, m):
        assert name in page.text


def test_progress_lines_say_what_they_are_about_and_how_long_it_takes(toy, tmp_path: Path):
    store = toy(DIMS)
    result = program("pretrain", "--data", store.path, *FAST, "--out", tmp_path / "pre")
    lines = [line for line in result.stderr.splitlines() if re.search(r"epoch \d", line)]
    assert [re.match(r"(\w+), epoch (\d): loss", line).groups() for line in lines] == [
        *(("audio", "1"), ("audio", "2")),
        *(("video", "1"), ("video", "2")),
    ]
    assert all(re.search(r"samples/s \(\d+ s left\)$", line) for line in lines[:-1]), lines
    assert "left" not in lines[-1]
    figures = r"accuracy [\d.]+ %, audio alone [\d.]+ %, learning rate 0.\d+, speed [\d,]+ samples/s"
    assert re.search(figures, lines[0])
    seeds = program("train", "--data", store.path, *FAST, "--seeds", "2", "--out", tmp_path / "r")
    assert re.findall(r"^(seed \d), epoch (\d)", seeds.stderr, re.MULTILINE) == [
        *(("seed 0", "1"), ("seed 0", "2")),
        *(("seed 1", "1"), ("seed 1", "2")),
    ]


def test_the_patience_of_a_config_file_counts_in_pretraining(toy, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(f"data: {toy(DIMS).path}\nepochs: 1\nbatch_size: 16\npatience: 3\ndevice: cpu\n")
    ok("pretrain", "--config", tmp_path / "c.yaml", "--out", tmp_path / "file")
    ok("pretrain", "--data", toy(DIMS).path, *FAST, "--out", tmp_path / "default")
    found = [yaml.safe_load((tmp_path / name / "config.yaml").read_text())["patience"] for name in ("file", "default")]
    assert found == [3, 10]
