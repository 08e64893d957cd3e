"""`mmbal predict` on real clips after `mmbal calibrate`: the fitted rule decides, and says what each modality had in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile
from scipy.special import log_softmax
from terminal import as_json, mmbal, ok

from mmbal.decision import rule_from_json
from mmbal.files import read_tensors, write_tensors
from mmbal.predictions.format import Predictions

CLIPS = 40  # more than one batch of prediction


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of 40 clips of the GRID corpus, whose classes are the first words spoken, and a run on them."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "clips").mkdir()
    lines = ["path,label,split"]
    for letter, word in {"b": "bin", "l": "lay", "p": "place", "s": "set"}.items():
        for k, file in enumerate(sorted((shared_data / "grid_s1" / "clips").glob(f"{letter}*.mpg"))[: CLIPS // 4]):
            shutil.copy(file, folder / "clips")
            lines.append(f"clips/{file.name},{word},{('train', 'val', 'test')[k % 3]}")
    (folder / "words.csv").write_text("\n".join(lines))
    store, out = folder / "store", folder / "run"
    ok("prepare", folder / "words.csv", "--out", store, "--size", "32", "--sample-rate", "8000", "--mels", "24")
    late = ["--method", "unimodal", "--fusion", "sum", "--encoder", "cnn", "--batch-size", "8", "--epochs", "2"]
    ok("train", "--data", store, *late, "--device", "cpu", "--out", out)
    return folder / "clips", out


def votes(out: Path, files: list[str]) -> tuple[list[int], Predictions]:
    """Which of ``files`` the run held out, and what it recorded of these."""
    both = Predictions.concatenate(
        [Predictions.load(out / "predictions" / f"{split}.npz") for split in ("val", "test")]
    )
    row = {name: k for k, name in enumerate(both.ids)}
    held_out = [k for k, file in enumerate(files) if Path(file).stem in row]
    return held_out, both.take(np.array([row[Path(files[k]).stem] for k in held_out]))


def test_the_fitted_rule_decides_a_folder(run):
    """By hand, for the pool: log p = sum_m w_m beta_m log p_m, up to a constant."""
    clips, out = run
    ok("calibrate", out, "--rule", "pool", "--force")
    told = as_json("predict", out, clips, "--device", "cpu")
    assert told["rule"] == "pool"
    assert told["failed"] == []
    files = [file for clip in told["clips"] for file in clip["files"]]
    assert files == [str(file) for file in sorted(clips.iterdir())]
    assert len(files) == CLIPS
    held_out, recorded = votes(out, files)
    assert len(held_out) == 24  # six of ten clips of each word
    state = json.loads((out / "rule.json").read_text())["state"]
    parts = {
        m: weight * beta * log_softmax(recorded.logits[m], axis=-1)
        for m, weight, beta in zip(recorded.modalities, state["weight"], state["beta"], strict=True)
    }
    expected = log_softmax(sum(parts.values()), axis=-1)
    for row, k in enumerate(held_out):
        clip = told["clips"][k]
        found = np.log([clip["probabilities"][name] for name in told["classes"]])
        assert found == pytest.approx(expected[row], abs=1e-4)
        assert clip["class"] == told["classes"][expected[row].argmax()]
        # A modality's contribution is its part, up to the same constant for all classes; they sum to the decision.
        for m, part in parts.items():
            share = np.array(clip["contribution"][m])
            assert share - share.mean() == pytest.approx(part[row] - part[row].mean(), abs=1e-4)
            best = expected[row].argmax()
            assert clip["margin"][m] == pytest.approx(part[row][best] - np.delete(part[row], best).mean(), abs=1e-4)
        assert sum(map(np.array, clip["contribution"].values())) == pytest.approx(found, abs=1e-4)


def test_the_flagship_rule_decides_too(run):
    clips, out = run
    ok("calibrate", out, "--force")
    told = as_json("predict", out, clips, "--device", "cpu")
    assert told["rule"] == "adaptive"
    held_out, recorded = votes(out, [clip["files"][0] for clip in told["clips"]])
    rule = rule_from_json(json.loads((out / "rule.json").read_text()), recorded.classes)
    found = np.array([list(told["clips"][k]["probabilities"].values()) for k in held_out])
    assert np.log(found) == pytest.approx(rule.apply(recorded), abs=1e-4)


def test_a_sound_alone_is_decided_by_the_rule_for_sound_alone(run, tmp_path):
    clips, out = run
    ok("calibrate", out, "--rule", "pool", "--force")
    state = json.loads((out / "rule.json").read_text())["state"]
    held_out, recorded = votes(out, [str(file) for file in sorted(clips.iterdir())])
    clip = sorted(clips.iterdir())[held_out[0]]
    with av.open(str(clip)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    wavfile.write(tmp_path / "sound.wav", 44100, sound.T)
    table = " ".join(ok("predict", out, tmp_path / "sound.wav", "--device", "cpu").split())
    assert "Decided by the stored rule 'pool'" in table
    assert "margin of" in table
    assert "video" not in table
    (found,) = as_json("predict", out, tmp_path / "sound.wav", "--device", "cpu")["clips"]
    k = recorded.modalities.index("audio")
    alone = log_softmax(recorded.logits["audio"][:1], axis=-1)
    expected = log_softmax(state["weight"][k] * state["beta"][k] * alone, axis=-1)
    assert np.log(list(found["probabilities"].values())) == pytest.approx(expected[0], abs=1e-3)


def test_inputs_can_be_normalised_in_another_way(run, tmp_path):
    clips, out = run
    plain = shutil.copytree(out, tmp_path / "run")  # without a rule, which might leave a modality out
    write_tensors(plain / "checkpoint.pt", read_tensors(plain / "checkpoint.pt") | {"rule": None})
    file = next(iter(sorted(clips.iterdir())))
    as_trained = as_json("predict", plain, file)
    assert as_json("predict", plain, file, "--normalise", "audio=dataset") == as_trained
    assert as_json("predict", plain, file, "--like", "ogm_ge") != as_trained
    assert "no modality 'sound'" in mmbal("predict", plain, file, "--normalise", "sound=none").stderr
