import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from terminal import as_json, ok

from mmbal.data.media.clip import collate, encode_clip
from mmbal.data.prepare import prepare
from mmbal.data.store.loader import Loader
from mmbal.engine.config import TrainConfig
from mmbal.engine.predict import find_samples, predict
from mmbal.engine.train import train
from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import Predictions


@pytest.fixture(scope="module")
def made(tmp_path_factory, clip):
    """Clips of two classes, their store, and a run on it."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split"]
    for k in range(24):
        high = k % 2
        clip(
            folder / f"c{k}.mp4",
            seconds=0.6,
            rate=16000,
            tone=300 + 1500 * high + 10 * k,
            picture=lambda i, k=k, high=high: np.full((64, 64, 3), 50 + 90 * high + 2 * k + i, np.uint8),
        )
        split = "test" if k % 4 == 3 else "val" if k % 4 == 2 else "train"
        lines.append(f"c{k}.mp4,{'high' if k % 4 in (1, 2) else 'low'},{split}")
    (folder / "m.csv").write_text("\n".join(lines))
    store = prepare(
        folder / "m.csv", out=folder / "store", size=24, workers=0, sample_rate=8000, mels=16, frames=2, keep=5
    ).store
    config = TrainConfig(
        data=str(store.path),
        epochs=2,
        batch_size=6,
        device="cpu",
        encoder={m: {"name": "cnn"} for m in store.modalities},
    )
    return folder, store, train(config, out=folder / "run").folder


def test_a_clip_is_made_into_what_its_store_holds(made):
    folder, store, _ = made
    row = int(np.flatnonzero(store.ids == "c3")[0])
    batch = Loader(store, "test", 4).gather(np.array([row]))
    inputs = encode_clip(folder / "c3.mp4", store.modalities)
    assert inputs.keys() == batch.inputs.keys()
    for m, x in inputs.items():
        assert torch.equal(x, batch.inputs[m][0])


def test_new_clips_are_decided_as_the_run_decided_them(made):
    folder, store, run = made
    known = Predictions.load(run / "predictions" / "test.npz")
    result = predict(run, [folder / f"{name}.mp4" for name in known.ids], device="cpu")
    assert result.classes == store.classes
    assert result.rule is None
    found = np.stack([d.probabilities for d in result.decisions])
    assert found == pytest.approx(np.exp(log_softmax(known.fused, axis=-1)), abs=1e-5)
    for k, decision in enumerate(result.decisions):
        assert set(decision.contribution) == {"audio", "video"}
        total = sum(decision.contribution.values())
        assert total == pytest.approx(known.fused[k], abs=1e-4)  # concat is additive
        # Two classes: the margins of all modalities add up to the difference of the logits.
        gap = abs(known.fused[k][0] - known.fused[k][1])
        assert sum(decision.margin(m) for m in decision.contribution) == pytest.approx(gap, abs=1e-4)


def test_a_sound_alone_is_decided_by_what_it_has(made, tmp_path, clip):
    _, _, run = made
    sound = clip(tmp_path / "sub" / "a.wav", seconds=0.6)
    (tmp_path / "sub" / "broken.mp4").write_bytes(b"nothing")
    (tmp_path / "sub" / "notes.md").write_text("no media")
    result = predict(run, [tmp_path / "sub"], device="cpu")
    (decision,) = result.decisions
    assert decision.files == (str(sound),)
    assert list(decision.contribution) == ["audio"]
    assert [files for files, _ in result.failed] == [(str(tmp_path / "sub" / "broken.mp4"),)]
    batch = collate([encode_clip(sound, made[1].modalities)], made[1].modalities)
    assert {m: p.tolist() for m, p in batch.present.items()} == {"audio": [True], "video": [False]}
    assert (batch.inputs["video"] == 0).all()


def test_files_of_one_name_are_one_sample(made, tmp_path, clip):
    """The sound of one class beside a clip of the other: sound from the one, pictures from the other."""
    folder, _, run = made
    for name in ("a.mp4", "b.mp4", "b.avi", "sub/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / "c1.mp4").read_bytes() if name != "sub/a.txt" else b"words")
    sound = clip(tmp_path / "a.wav", seconds=0.6, rate=16000, tone=300)
    names = [[path.relative_to(tmp_path).as_posix() for path in sample] for sample in find_samples([tmp_path])]
    assert names == [["a.wav", "a.mp4"], ["b.avi"], ["b.mp4"], ["sub/a.txt"]]
    both, alone, whole = (
        predict(run, [*files], device="cpu").decisions[0]
        for files in ((tmp_path / "a.mp4", sound), (sound,), (tmp_path / "b.mp4",))
    )
    assert both.files == (str(sound), str(tmp_path / "a.mp4"))
    assert both.contribution["video"] == pytest.approx(whole.contribution["video"], abs=1e-5)
    assert both.contribution["audio"] != pytest.approx(whole.contribution["audio"], abs=1e-3)
    assert set(alone.contribution) == {"audio"}


def test_what_cannot_be_classified_is_said(made, tmp_path):
    _, _, run = made
    with pytest.raises(UsageError, match="no file"):
        find_samples([tmp_path / "nowhere.mp4"])
    with pytest.raises(UsageError, match="no media"):
        find_samples([tmp_path])
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match="None of the 1 samples"):
        predict(run, [tmp_path], device="cpu")
    np.savez(tmp_path / "f.npz", a=np.random.default_rng(0).normal(size=(30, 3)), label=np.arange(30) % 2)
    arrays = prepare(tmp_path / "f.npz", out=tmp_path / "arrays").store
    with pytest.raises(UsageError, match="given arrays"):
        encode_clip(tmp_path / "a.mp4", arrays.modalities)


def test_the_command_prints_a_table_or_json(made):
    folder, _, run = made
    told = as_json("predict", run, folder / "c0.mp4", folder / "c1.mp4", "--device", "cpu")
    assert [c["files"] for c in told["clips"]] == [[str(folder / "c0.mp4")], [str(folder / "c1.mp4")]]
    assert sum(told["clips"][0]["probabilities"].values()) == pytest.approx(1)
    table = ok("predict", run, folder / "c0.mp4", "--device", "cpu")
    assert "margin" in table
    assert "as it is" in table


def test_a_part_of_a_clip_is_that_part(made, tmp_path, clip):
    """Half a second of the tone of one class, then of the other: each part is heard as what it is."""
    _, store, _ = made
    t = np.arange(9600) / 16000
    wave = 0.5 * np.concatenate([np.sin(2 * np.pi * 350 * t), np.sin(2 * np.pi * 1850 * t)])
    path = clip(tmp_path / "both.wav", rate=16000, wave=wave)
    early, late = (encode_clip(path, store.modalities, *time)["audio"][0] for time in ((0.0, 0.6), (0.6, 1.2)))
    # 350 Hz lies in a lower mel band than 1,850 Hz.
    assert early.mean(dim=1).argmax() < late.mean(dim=1).argmax()
