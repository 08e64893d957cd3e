"""`mmbal prepare` at the terminal: tables, JSON alone on stdout, exit codes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from terminal import as_json, mmbal, refused

from mmbal.data.preparation.options import Options
from mmbal.data.store.store import Store
from mmbal.files import locked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of class folders: 16 pictures with a text each, one picture broken, one text missing."""
    monkeypatch.chdir(tmp_path)
    for k in range(16):
        folder = tmp_path / "pets" / ("cat", "dog")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 12, 3), 30 + 12 * k, np.uint8)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(f"this is number {k}")
    (tmp_path / "pets" / "cat" / "4.png").write_bytes(b"broken")
    (tmp_path / "pets" / "dog" / "5.txt").unlink()
    return tmp_path / "pets"


def test_from_a_folder_to_a_store(pets):
    said = mmbal("prepare", "init", pets)
    assert said.exit_code == 0, said.output
    assert "16 samples" in said.stdout
    result = mmbal("prepare", pets / "manifest.csv", "--size", 16, "--length", 8, "--out", "s", "--workers", 1)
    assert result.exit_code == 0, result.output
    for text in ("cat", "dog", "train", "test", "image", "text", "corrupt", "4.png", "Usable; 1 file or sample lost"):
        assert text in result.stdout
    checked = mmbal("prepare", "--check", "s")
    assert checked.exit_code == 0
    assert "as they were written" in checked.stdout


def test_the_sub_commands_and_the_spellings_of_before(pets):
    mmbal("prepare", "init", pets)
    document = as_json("prepare", "source", pets / "manifest.csv", "--size", 16)
    store = document["store"]
    assert mmbal("prepare", "check", store).stdout == mmbal("prepare", "--check", store).stdout
    assert mmbal("prepare", "list").stdout == mmbal("prepare", "--list").stdout
    assert "exists already" in refused(2, "prepare", "init", pets)
    assert mmbal("prepare", "init", pets, "--force").exit_code == 0
    # A file may be called as a sub-command is.
    Path("list").write_text("image,label\n")
    assert "not of a kind that can be prepared" in refused(2, "prepare", "./list")
    assert "not of a kind that can be prepared" in refused(2, "prepare", "source", "list")


def test_help_shows_every_option_with_its_choices_bounds_and_default(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = " ".join(mmbal("prepare", "--help").stdout.split())
    assert "prepare [OPTIONS] [SOURCE]" in shown
    for key in Options.model_fields:
        assert f"--{key.replace('_', '-')}" in shown
    assert "--fill zeros|repeat What a shorter clip is filled up with. Default: zeros." in shown
    assert "--val NUMBER Share of train that becomes val where there is none. [≥ 0, < 1] Default: 0.2." in shown
    assert "--flip / --no-flip" in shown
    for command in ("init", "check", "list"):
        assert f"mmbal prepare {command}" in shown


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mmbal prepare cr", ["cremad"]),
        ("mmbal prepare in", ["init"]),
        ("mmbal prepare avmnist --audio-features ", ["spectrogram", "logmel", "fbank"]),
        ("mmbal prepare --crop", ["--crop"]),
        ("mmbal prepare check --js", ["--json"]),
    ],
)
def test_a_shell_completes_names_options_and_choices(typed, offered):
    words = typed.split(" ")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_MMBAL_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from mmbal.cli.app import app; app(prog_name='mmbal')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert [line for line in done.stdout.split() if line] == offered


def test_options_that_were_not_on_the_command_line_reach_the_store(pets):
    (pets / "m.csv").write_text(
        "image,label\n" + "".join(f"{c}/{k}.png,{c}\n" for k, c in enumerate(["cat", "dog"] * 3))
    )
    mmbal("prepare", pets / "m.csv", "--size", 16, "--crop", 0.25, 0.5, "--no-flip", "--out", "s")
    assert Store.open("s").modalities["image"].preprocessing["augment"] == {"crop": [0.25, 0.5]}
    assert "the smaller first" in refused(5, "prepare", pets / "m.csv", "--crop", 0.5, 0.25, "--out", "t")


def test_names_are_printed_as_they_are(pets, monkeypatch):
    """Rich would take them for styles, or end in an error."""
    names = ["[bold]x", "[/x]", "<b>", "a|b"]
    rows = [f'cat/{2 * k}.png,"{names[k % 4]}",{("train", "test")[k // 4]}' for k in range(8)]
    (pets / "m.csv").write_text("\n".join(["image,label,split", *rows, '"gone [/b].png","[/x]",train']))
    monkeypatch.chdir(pets)
    said = mmbal("prepare", "m.csv", "--size", 16, "--out", "s", "--workers", 1)
    assert said.exit_code == 0, said.output
    for name in (*names, "gone [/b].png"):
        assert name in said.stdout


def test_what_another_process_writes_is_not_written(pets):
    """A view, and an import, as everything else that writes."""
    mmbal("prepare", "avmnist", "--out", "s")
    with locked(Path("view")):
        assert "Another mmbal process" in refused(2, "prepare", "s", "--balance-discrepancy", "--out", "view")
    assert not Path("view").exists()
    Path("scores.csv").write_text("label,split,a:x,a:y\n" + "x,val,0.9,0.1\ny,test,0.2,0.8\n" * 4)
    with locked(Path("scores.predictions.npz")):
        assert "Another mmbal process" in refused(2, "import", "scores.csv")
    assert mmbal("import", "scores.csv").exit_code == 0
    assert "exists already" in refused(2, "import", "scores.csv")
    assert not list(Path.cwd().glob(".*.lock"))


def test_json_is_one_document_alone(pets):
    assert as_json("prepare", "init", pets)["samples"] == 16
    result = mmbal("prepare", pets / "manifest.csv", "--size", 16, "--workers", 1, "--json")
    document = json.loads(result.stdout)
    assert document["samples"] == 16
    assert document["classes"] == ["cat", "dog"]
    assert [f["kind"] for f in document["findings"] if f["level"] == "error"] == ["corrupt"]
    assert as_json("prepare", "--check", document["store"])["problems"] == []
    assert set(as_json("prepare", "--list")) >= {"avmnist", "cremad", "kinetics_sounds"}


def test_strict_is_exit_code_4_after_the_store_is_there(pets):
    mmbal("prepare", "init", pets)
    manifest = pets / "manifest.csv"
    assert "1 finding, the first" in refused(
        4, "prepare", manifest, "--size", 16, "--strict", "--out", "s", "--workers", 1
    )
    assert (Path("s") / "meta.json").is_file()
    manifest.write_text(manifest.read_text() + "nowhere.png,,bird,\n")
    assert "bird: empty class" in refused(4, "prepare", manifest, "--size", 16, "--out", "t", "--workers", 1)


def test_what_is_wrong_is_said_in_a_sentence(pets):
    (pets / "t.csv").write_text("text,label\nhello,x\n")
    assert "No SOURCE given." in refused(2, "prepare")
    assert "avmnist" in refused(2, "prepare", "avmnst")
    assert "mmbal prepare init" in refused(2, "prepare", pets)
    assert "no file" in refused(2, "prepare", "nowhere.csv")
    assert "CREMA-D is not shipped" in refused(2, "prepare", "cremad")
    assert "not a store" in refused(2, "prepare", "--check", pets)
    assert "not a store" in refused(2, "prepare", "check", pets)
    assert "No DIR given." in refused(2, "prepare", "init")
    assert "No hashes" in refused(2, "prepare", "avmnist", "--verify")
    assert "--base-url needs --download" in refused(2, "prepare", "avmnist", "--base-url", "http://localhost/")
    assert "Bytes have no vocabulary" in refused(2, "prepare", pets / "t.csv", "--tokens", "bytes", "--vocabulary", 9)
    assert "MODALITY=KIND" in refused(2, "prepare", "avmnist", "--kind", "image")
    Path("m.csv").write_text("path,label\n,x\n")
    assert "no usable sample" in refused(4, "prepare", "m.csv")
    Path("mosi.pkl").write_bytes(b"\x80\x04.")
    assert "never reads one" in refused(4, "prepare", "mosi.pkl")
    assert "audio_features" in refused(5, "prepare", "avmnist", "--audio-features", "cepstrum")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("size", 4), ("frames", 0), ("keep", 0), ("fps", 0), ("sample-rate", 10), ("duration", 0), ("hop", 0)],
        *[("n-fft", 1), ("mels", 2), ("length", 0), ("vocabulary", 1), ("val", 1), ("test", -1)],
    ],
)
def test_a_value_that_is_out_of_range_is_named(pets, option, value):
    (pets / "m.csv").write_text("path,image,text,label\nclip.mp4,,,x\n,0.png,hello,y\n")
    assert option.replace("-", "_") in refused(5, "prepare", pets / "m.csv", f"--{option}", value)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("avmnist", ["--modality", "image"]),
        ("avmnist", ["--label", "digit"]),
        ("avmnist", ["--kind", "image=image"]),
        ("avmnist", ["--split", "actor"]),
        ("ravdess", ["--split", "actor"]),
        ("cremad", ["--subset", "song"]),
        ("m.csv", ["--subset", "song"]),
        ("m.csv", ["--split", "actor"]),
        ("m.csv", ["--kind", "image=frames"]),
        ("m.csv", ["--root", "."]),
        ("m.csv", ["--download"]),
        ("m.csv", ["--verify"]),
        ("m.csv", ["--base-url", "http://localhost/"]),
        ("f.npz", ["--verify"]),
    ],
)
def test_what_does_not_apply_is_refused_not_ignored(pets, source, options):
    Path("m.csv").write_text("image,label\npets/cat/0.png,x\n")
    np.savez("f.npz", x=np.ones((4, 2)), label=np.arange(4))
    assert f"{options[0]} does not apply to {source}" in refused(2, "prepare", source, *options)


@pytest.mark.parametrize("name", ["../evil", "a/b", "my.feature", "a+b", "two words", ""])
def test_a_modality_s_name_is_a_plain_word(pets, name):
    """It becomes a file's name and a module's: an archive from the web must not choose where files are written."""
    np.savez("f.npz", **{name: np.ones((4, 2)), "label": np.arange(4) % 2})
    said = refused(2, "prepare", "f.npz", "--out", "deep/er/s")
    assert f"'{name}' can't name a modality" in said
    assert "--modality NAME=" in said
    assert not list(Path.cwd().rglob("*.npy"))
    done = mmbal("prepare", "f.npz", "--modality", f"gait={name}", "--out", "s", "--json")
    if name:
        assert list(json.loads(done.stdout)["modalities"]) == ["gait"]


def test_a_changed_store_is_exit_code_4(pets):
    mmbal("prepare", "avmnist", "--out", "s")
    with Path("s/image.npy").open("r+b") as stream:
        stream.seek(500)
        stream.write(b"\x99\x98\x97")
    assert "image.npy has changed" in refused(4, "prepare", "--check", "s")


PICKLES = [
    code
    for code in re.findall(
        r"^```bash\n(.*?)^```$", (ROOT / "docs" / "data.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    if "pickle" in code
]
ARRAYS = {
    "text": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    "audio": np.arange(8, dtype=np.float32).reshape(4, 2),
    "vision": np.ones((4, 1, 5), np.float32),
    "annotations": np.array(["Negative", "Positive"] * 2),
}


def shell(command: str) -> None:
    """Run a command that mmbal or its documentation tells the user, where `python` and `mmbal` are these here."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = re.sub(r"^mmbal", f"'{sys.executable}' -m mmbal", command, flags=re.MULTILINE)
    command = re.sub(r"^python", f"'{sys.executable}'", command, flags=re.MULTILINE)
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", ["pkl", "pt"])
def test_the_conversion_that_a_refused_pickle_is_answered_with_works(pets, suffix):
    if suffix == "pt":
        torch.save(ARRAYS, "mosi.pt")
    else:
        Path("mosi.pkl").write_bytes(pickle.dumps(ARRAYS))
    said = " ".join(refused(4, "prepare", f"mosi.{suffix}").split())
    shell(said[said.index("python -c") : said.index(" (one dictionary")])
    document = as_json("prepare", "mosi.npz", "--label", "annotations")
    assert document["classes"] == ["Negative", "Positive"]
    assert document["modalities"]["text"] == {"kind": "sequence", "shape": [3, 2]}


def test_pickles_are_converted_as_the_page_says(pets):
    flat, by_split = PICKLES
    Path("mosi.pkl").write_bytes(pickle.dumps(ARRAYS))
    shell(flat)
    assert set(np.load("mosi.npz")) == set(ARRAYS)
    # As MMSA's: real labels and raw texts (objects) beside what is taken.
    part = {**ARRAYS, "regression_labels": np.linspace(-1, 1, 4), "raw_text": np.array(["a", None, "b", "c"], object)}
    Path("mmsa.pkl").write_bytes(pickle.dumps({"train": part, "valid": part, "test": part}))
    shell(by_split)
    store = Store.open("stores/mmsa")
    assert store.splits() == {"train": 4, "val": 4, "test": 4}
    assert set(store.modalities) == {"text", "audio", "vision"}
    assert store.classes == ("Negative", "Positive")


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(pets):
    rows = [f"{k}.npy,{'ab'[k % 2]}" for k in range(10_000)]
    for k in range(10_000):
        np.save(pets / f"{k}.npy", np.full(3, k, np.float32))
    (pets / "many.csv").write_text("\n".join(["gait,label", *rows]))
    command = [sys.executable, "-m", "mmbal", "prepare", str(pets / "many.csv"), "--out", "s", "--workers", "1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a job of `nohup` ignores it
    )
    journal = Path(".s.partial/journal.jsonl")
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 1000):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "goes on where it stopped" in said
    assert "Traceback" not in said
    done = mmbal("prepare", pets / "many.csv", "--out", "s", "--workers", 1, "--json")
    assert json.loads(done.stdout)["resumed"] > 0
    assert json.loads(done.stdout)["samples"] == 10_000
    assert not [f for f in json.loads(done.stdout)["findings"] if f["kind"] == "crash"]
