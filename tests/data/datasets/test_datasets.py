"""The known data sets, in layouts as they lie on users' disks, made of clips encoded here."""

import numpy as np
import pytest

from mmbal import embedded
from mmbal.data.datasets.kinetics_sounds import CLASSES
from mmbal.data.datasets.lists import read_list
from mmbal.data.prepare import prepare
from mmbal.errors import DataError, UsageError
from mmbal.registry import datasets

FAST = {"size": 16, "workers": 0, "sample_rate": 8000, "frames": 2, "keep": 2}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cremad_names():
    """Clips of the shipped lists: of every emotion two of train and one of test, whose actor is in train too."""
    train, test = (dict(read_list(embedded.path(f"cremad_{part}.csv"))) for part in ("train", "test"))
    chosen = [clip for label in sorted(set(train.values())) for clip in [c for c in train if train[c] == label][:2]]
    actors = {clip[:4] for clip in chosen}
    both = [clip for clip in test if clip[:4] in actors]
    return chosen + [next(clip for clip in both if test[clip] == label) for label in sorted(set(test.values()))]


@pytest.fixture
def flash(tmp_path, clip):
    """CREMA-D as its repository has it: AudioWAV and VideoFlash, a few clips of it."""
    for k, name in enumerate(cremad_names()):
        clip(tmp_path / "CREMA-D" / "AudioWAV" / f"{name}.wav", seconds=0.6, rate=16000, tone=300 + 40 * k)
        clip(
            tmp_path / "CREMA-D" / "VideoFlash" / f"{name}.flv",
            seconds=0.6,
            audio=False,
            picture=lambda i, k=k: np.full((64, 64, 3), 40 + 10 * k + 3 * i, np.uint8),
        )
    return tmp_path / "CREMA-D"


def notes(result):
    return " | ".join(f.reason for f in result.findings if f.level == "note")


def test_the_shipped_lists_are_the_field_s():
    train, test = (read_list(embedded.path(f"cremad_{part}.csv")) for part in ("train", "test"))
    assert (len(train), len(test)) == (6698, 744)
    counts = {label: sum(its == label for _, its in train) for _, label in train}
    assert counts == {"ANG": 1166, "DIS": 1142, "FEA": 1138, "HAP": 1148, "NEU": 973, "SAD": 1131}
    assert not {clip for clip, _ in train} & {clip for clip, _ in test}
    ks = [read_list(embedded.path(f"kinetics_sounds_{part}.txt")) for part in ("train", "test")]
    assert [len(part) for part in ks] == [14799, 2597]
    assert {int(number) for part in ks for *_, number in part} == set(range(31)) == set(range(len(CLASSES)))


def test_cremad_from_its_repository(flash):
    result = prepare("cremad", root=flash.parent, **FAST)  # a folder above is enough
    store = result.store
    assert store.classes == ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
    assert len(store) == 18
    assert store.splits()["test"] == 6
    assert {m: s.shape for m, s in store.modalities.items()} == {"audio": (1, 257, 68), "video": (2, 3, 16, 16)}
    assert store.group[0] == store.ids[0][:4]
    assert store.meta["source"]["groups"]["1001"] == {
        "Age": "51",
        "Sex": "Male",
        "Race": "Caucasian",
        "Ethnicity": "Not Hispanic",
    }
    assert "VideoFlash" in notes(result)
    assert "shipped" in notes(result)
    again = prepare("cremad", root=flash.parent, **FAST)
    assert again.existed
    assert again.findings == result.findings[:1000]  # what a store keeps
    assert notes(again) == notes(result)
    missing = [f for f in result.findings if f.kind == "missing"]
    assert len(missing) == 2 * (7442 - 18)  # both modalities of every clip that is not there


def test_cremad_in_the_layout_of_frames(shared_data):
    result = prepare("cremad", root=shared_data / "grid_s1" / "cremad_like_digit", **FAST)
    assert len(result.store) == 200
    assert len(result.store.classes) == 10  # its own stat.csv
    assert result.store.splits()["test"] == 50
    assert "Image-03-FPS" in notes(result)
    assert "'folder'" in notes(result)
    with pytest.raises(UsageError, match="no frames at 2 a second"):
        prepare("cremad", root=shared_data / "grid_s1" / "cremad_like_digit", fps=2, **FAST)


def test_actors_are_kept_apart_where_asked(flash):
    leaky = prepare("cremad", root=flash, out="leaky", val=0, **FAST)
    apart = prepare("cremad", root=flash, out="apart", split="actor", **FAST).store
    assert [f.where for f in leaky.findings if f.kind == "group leak" and f.level == "note"] == ["test"]
    parts = [set(apart.group[apart.split == part]) for part in ("train", "val", "test")]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(set(apart.group))  # nobody is in two
    assert apart.meta["split"]["hash"] != leaky.store.meta["split"]["hash"]
    with pytest.raises(UsageError, match="no split 'actors'"):
        prepare("cremad", root=flash, split="actors", **FAST)


def test_pointers_are_recognised(flash):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    files = sorted(flash.rglob("*.flv"))
    files[0].write_bytes(pointer)
    result = prepare("cremad", root=flash, **FAST)
    assert [f.where for f in result.findings if f.kind == "pointer"] == [str(files[0])]
    for file in files:
        file.write_bytes(pointer)
    with pytest.raises(DataError, match="LFS pointers") as caught:
        prepare("cremad", root=flash, out="again", **FAST)
    assert "git lfs pull" in caught.value.hint


def test_verify_compares_with_the_published_hashes(flash):
    result = prepare("cremad", root=flash, verify=True, **FAST)
    changed = [f for f in result.findings if f.kind == "changed"]
    assert len(changed) == 36  # none of these clips is the published one
    assert "published with" in changed[0].reason


def test_what_is_no_cremad_is_said(tmp_path):
    with pytest.raises(UsageError, match="not shipped"):
        prepare("cremad")
    with pytest.raises(UsageError, match="no folder AudioWAV"):
        prepare("cremad", root=tmp_path)
    (tmp_path / "AudioWAV").mkdir()
    with pytest.raises(UsageError, match="neither VideoFlash nor"):
        prepare("cremad", root=tmp_path)


def test_kinetics_sounds_under_every_name(tmp_path, clip):
    train = read_list(embedded.path("kinetics_sounds_train.txt"))
    test = read_list(embedded.path("kinetics_sounds_test.txt"))
    picked = [
        next(row for row in rows if int(row[2]) == label) for rows in (train, train[50:], test) for label in (0, 4)
    ]
    a, b, c, d, e, f = (row[0] for row in picked)
    make = {"seconds": 0.5, "rate": 16000}
    clip(tmp_path / "train" / "blowing_nose" / f"{a}.mp4", tone=300, **make)
    clip(tmp_path / "train" / f"{b[:11]}.mkv", tone=400, **make)  # the bare id, already cut
    clip(tmp_path / f"{c[:11]}_{int(c[12:18])}.webm", tone=500, **make)  # seconds without zeros
    clip(tmp_path / "train_wav" / f"{d}.wav", tone=600, **make)  # sound apart, no picture
    clip(tmp_path / "test" / f"{e[:11]}_{int(e[12:]):06d}_{int(e[12:]) + 10:06d}.mp4", tone=700, **make)
    frames = tmp_path / "Image-01-FPS" / f
    frames.mkdir(parents=True)
    from PIL import Image

    for k in range(3):
        Image.fromarray(np.full((20, 20, 3), 50 * k + 40, np.uint8)).save(frames / f"{k}.jpg")
    result = prepare("kinetics_sounds", root=tmp_path, **FAST)
    store = result.store
    assert set(store.ids) == {a, b, c, d, e, f}
    assert store.modalities["audio"].shape == (1, 128, 1024)
    have = {
        str(i): (bool(x), bool(y))
        for i, x, y in zip(store.ids, store.present["audio"], store.present["video"], strict=True)
    }
    assert have == {
        a: (True, True),
        b: (True, True),
        c: (True, True),
        d: (True, False),
        e: (True, True),
        f: (False, True),
    }
    assert store.classes[int(store.labels[store.ids == a][0])] == "blowing nose"
    assert store.classes[int(store.labels[store.ids == b][0])] == "dribbling basketball"
    assert "17390 of 17396 clips are missing" in notes(result)
    assert f"blowing nose {268 + 81 - 3} of {268 + 81}" in notes(result)
    with pytest.raises(DataError, match="29 findings"):
        result.check(strict=False)  # 29 of the 31 classes are empty


def test_a_whole_video_is_cut_at_the_clip_s_time(tmp_path, clip):
    row = next(
        row for row in read_list(embedded.path("kinetics_sounds_test.txt")) if row[0].endswith("_2") and row[2] == "23"
    )
    train = next(row for row in read_list(embedded.path("kinetics_sounds_train.txt")) if row[2] == "23")
    clip(tmp_path / f"{train[0]}.mp4", seconds=0.5)
    wave = np.zeros(14 * 8000)
    wave[2 * 8000 : 12 * 8000] = 0.5 * np.sin(np.arange(80000) / 3)  # loud from 2 s to 12 s
    clip(tmp_path / f"{row[0][:11]}.mkv", seconds=14.0, rate=8000, wave=wave, fps=5)
    store = prepare("kinetics_sounds", root=tmp_path, audio_features="logmel", hop=80, **FAST).store
    levels = store.arrays["audio"][store.ids == row[0]][0].astype(float).max(axis=0)
    assert levels[20:-20].min() > levels.max() - 6  # loud throughout: nothing of the silence around it


def test_ravdess_by_its_file_names(tmp_path, clip):
    for actor in range(1, 7):
        for emotion in (1, 3, 5):
            name = f"01-{emotion:02d}-01-01-01-{actor:02d}"
            tone = 300 + 50 * actor + 7 * emotion
            clip(tmp_path / f"Actor_{actor:02d}" / f"01-{name}.mp4", seconds=0.5, rate=16000, tone=tone)
            clip(tmp_path / f"Actor_{actor:02d}" / f"02-{name}.mp4", seconds=0.5, audio=False)
        clip(tmp_path / f"Actor_{actor:02d}" / f"03-02-03-01-01-01-{actor:02d}.wav", seconds=0.5, rate=16000)
    result = prepare("ravdess", root=tmp_path, **FAST)
    store = result.store
    assert len(store) == 18
    assert {store.classes[i] for i in store.labels} == {"neutral", "happy", "angry"}
    parts = [set(store.group[store.split == part]) for part in ("train", "val", "test")]
    assert all(parts)
    assert sum(len(part) for part in parts) == 6
    sung = prepare("ravdess", root=tmp_path, subset="song", out="song", **FAST).store
    assert list(sung.modalities) == ["audio"]
    assert len(sung.classes) == 6
    with pytest.raises(UsageError, match="no part 'speach'"):
        prepare("ravdess", root=tmp_path, subset="speach", **FAST)


def test_ave_by_its_lists(tmp_path, clip):
    lines = {"trainSet.txt": ["Church bell&aaaaaaaaaaa&good&0&10", "Male speech, man speaking&bbbbbbbbbbb&good&1&3"]}
    lines |= {"valSet.txt": ["Church bell&ccccccccccc&good&0&10"], "testSet.txt": ["Church bell&ddddddddddd&good&0&10"]}
    for name, its in lines.items():
        (tmp_path / name).write_text("\n".join(its))
    for k, name in enumerate(["a" * 11, "b" * 11, "d" * 11]):
        clip(tmp_path / "AVE_Dataset" / "AVE" / f"{name}.mp4", seconds=0.5, rate=16000, tone=300 + 90 * k)
    result = prepare("ave", root=tmp_path, **FAST)
    assert result.store.classes == ("Church bell", "Male speech, man speaking")
    assert dict(zip(result.store.ids, result.store.split, strict=True)) == {
        "a" * 11: "train",
        "b" * 11: "train",
        "d" * 11: "test",
    }
    (tmp_path / "valSet.txt").unlink()
    with pytest.raises(UsageError, match=r"no list valSet\.txt"):
        prepare("ave", root=tmp_path, out="b", **FAST)


def test_vggsound_by_its_list(tmp_path, clip):
    (tmp_path / "vggsound.csv").write_text(
        'aaaaaaaaaaa,30,"playing bongo",train\nbbbbbbbbbbb,5,"people eating, apples",train\n'
        "ccccccccccc,0,playing bongo,test\nddddddddddd,x,playing bongo,test\n"
    )
    for k, name in enumerate(["a" * 11 + "_000030", "b" * 11 + "_5", "c" * 11 + "_000000_000010"]):
        clip(tmp_path / "clips" / f"{name}.mp4", seconds=0.5, rate=16000, tone=300 + 90 * k)
    result = prepare("vggsound", root=tmp_path, **FAST)
    assert result.store.splits() == {"train": 2, "test": 1}
    assert result.store.classes == ("people eating, apples", "playing bongo")
    assert [f.where for f in result.findings if f.kind == "row"] == ["vggsound.csv line 4"]


@pytest.mark.parametrize("layout", ["u/v", "flow_x", "sound"])
def test_ucf101_with_flow_or_with_sound(tmp_path, clip, layout):
    from PIL import Image

    lists = {"train": [], "test": []}
    for label in ("Archery", "YoYo"):
        for g in range(1, 7):
            name = f"v_{label}_g{g:02d}_c01"
            lists["test" if g == 6 else "train"].append(f"{label}/{name}.avi" + (" 1" if g < 6 else ""))
            clip(
                tmp_path / "UCF-101" / label / f"{name}.avi",
                seconds=0.5,
                rate=16000,
                tone=300 + 9 * g,
                audio=label == "YoYo",
            )
            for axis in ("u", "v") if layout == "u/v" else ("x", "y") if layout == "flow_x" else ():
                folder = tmp_path / axis / name if layout == "u/v" else tmp_path / "flow" / name
                folder.mkdir(parents=True, exist_ok=True)
                for k in range(3):
                    prefix = "frame" if layout == "u/v" else f"flow_{axis}_"
                    Image.fromarray(np.full((20, 20), 100 + 10 * g + k, np.uint8)).save(folder / f"{prefix}{k:04d}.jpg")
    for part, its in lists.items():
        (tmp_path / f"{part}list01.txt").write_text("\n".join(its))
    store = prepare("ucf101", root=tmp_path, **FAST).store
    assert store.classes == ("Archery", "YoYo")
    assert store.splits()["test"] == 2
    assert not set(store.group[store.split == "val"]) & set(store.group[store.split == "train"])
    if layout == "sound":
        assert store.present["audio"].sum() == 6
        whole = prepare("ucf101", root=tmp_path, out="complete", complete=True, **FAST).store
        assert whole.classes == ("YoYo",)
        return
    assert store.modalities["flow"].shape == (2, 2, 16, 16)
    assert store.present["flow"].all()
    assert store.arrays["flow"][0, 0, 0, 0, 0] == pytest.approx(110, abs=2)


def test_every_known_set_says_what_it_is(tmp_path):
    for entry in datasets:
        about = entry.about
        assert all((about.title, about.modalities, about.classes))
        assert about.licence
        assert entry.cls.__module__.rsplit(".", 1)[-1] == entry.name
        if not about.shipped:
            with pytest.raises(UsageError, match="not shipped"):
                prepare(entry.name)
            with pytest.raises(UsageError, match="no folder"):
                prepare(entry.name, root="nowhere")
            with pytest.raises((UsageError, DataError)):
                prepare(entry.name, root=tmp_path)


MAC = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(100)


def test_what_an_archive_from_a_mac_brings_along_is_passed_over(tmp_path, clip):
    from PIL import Image

    root = tmp_path / "cremad"
    ids = [f"100{k}_DFA_{emotion}_XX" for k in (1, 2, 3) for emotion in ("ANG", "HAP")]
    for k, name in enumerate(ids):
        clip(root / "AudioWAV" / f"{name}.wav", seconds=0.5, rate=16000, tone=300 + 50 * k)
        for frame in range(2):
            file = root / "Image-03-FPS" / name / f"{frame:05d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20, 3), 40 + 20 * k + frame, np.uint8)).save(file)
            for place in (file.parent, tmp_path / "__MACOSX" / "cremad" / "Image-03-FPS" / name):
                place.mkdir(parents=True, exist_ok=True)
                (place / f"._{file.name}").write_bytes(MAC)
    for part, its in (("train", ids[:4]), ("test", ids[4:])):
        (root / f"{part}.csv").write_text("".join(f"{name},{name[9:12]}\n" for name in its))
    (root / "stat.csv").write_text("ANG\nHAP\n")
    result = prepare("cremad", root=tmp_path, **FAST)
    assert len(result.store) == 6
    assert [f for f in result.findings if f.level != "note"] == []
    for k in range(3):
        clip(tmp_path / "vgg" / f"{'abc'[k] * 11}_000030.mp4", seconds=0.5, rate=16000, tone=300 + 90 * k)
        (tmp_path / "vgg" / f"._{'abc'[k] * 11}_000030.mp4").write_bytes(MAC)
    (tmp_path / "vgg" / "vggsound.csv").write_text(
        "# YouTube ID,start seconds,label,train/test split\n"
        + "".join(f"{'abc'[k] * 11},30.0,{'xyx'[k]},{('train', 'train', 'test')[k]}\n" for k in range(3))
    )
    result = prepare("vggsound", root=tmp_path / "vgg", **FAST)
    assert "3 videos and 0 sounds" in notes(result)
    assert [f for f in result.findings if f.level == "error"] == []


def test_a_clip_that_a_list_has_twice_is_named_with_both_labels(tmp_path, clip):
    for k in range(3):
        for path in (tmp_path / f"{'abc'[k] * 11}_000030.mp4", tmp_path / "AVE" / f"{'abc'[k] * 11}.mp4"):
            bright = 60 + 40 * k
            clip(
                path, seconds=0.5, tone=300 + 90 * k, picture=lambda i, b=bright: np.full((64, 64, 3), b + i, np.uint8)
            )
    rows = [("a", "bell", "train"), ("b", "horn", "train"), ("a", "horn", "train"), ("c", "bell", "test")]
    (tmp_path / "vggsound.csv").write_text("".join(f"{name * 11},30,{label},{part}\n" for name, label, part in rows))
    for part, name in (("train", "trainSet.txt"), ("test", "testSet.txt")):
        its = [f"{label}&{clip * 11}&good&0&10" for clip, label, where in rows if where == part]
        (tmp_path / name).write_text("\n".join(its))
    (tmp_path / "valSet.txt").write_text("")
    for source, name, lines in (("vggsound", "a" * 11 + "_30", " (lines 1 and 3)"), ("ave", "a" * 11, "")):
        result = prepare(source, root=tmp_path, val=0, **FAST)
        named = [(f.kind, f.where, f.reason) for f in result.findings if f.kind not in ("split", "too short")]
        told = f"the clip of {name}, listed twice{lines} with the labels 'bell' and 'horn'"
        assert ("two labels", f"{name}#2", told) in named
        assert not [reason for _, _, reason in named if "same content" in reason]
        assert len(set(result.store.ids.tolist())) == len(result.store)


def test_clips_behind_links_to_another_disk_are_found(tmp_path, clip):
    for k, label in enumerate(("Archery", "YoYo")):
        for g in range(1, 4):
            clip(tmp_path / "disk" / label / f"v_{label}_g{g:02d}_c01.avi", seconds=0.5, tone=300 + 90 * k + 9 * g)
    root = tmp_path / "root"
    root.mkdir()
    for label in ("Archery", "YoYo"):
        (root / label).symlink_to(tmp_path / "disk" / label)
    for part, groups in (("train", (1, 2)), ("test", (3,))):
        lines = [f"{label}\\v_{label}_g{g:02d}_c01.avi 1" for label in ("Archery", "YoYo") for g in groups]
        (root / f"{part}list01.txt").write_text("\r\n".join(lines))  # as a mirror made on Windows has them
    assert len(prepare("ucf101", root=root, val=0, **FAST).store) == 6


def test_a_clip_of_a_bare_id_that_is_too_short_to_be_the_whole_video_is_taken_whole(tmp_path, clip):
    from mmbal.data.datasets.layout import sources_of

    video = clip(tmp_path / "abcdefghijk.mp4", seconds=12.0, fps=2, rate=8000, size=16)
    files = {"abcdefghijk": video}
    late = sources_of("abcdefghijk_58", {}, {}, files)["video"]
    early = sources_of("abcdefghijk_1", {}, {}, files)["video"]
    assert (late.start, late.end) == (None, None)
    assert (early.start, early.end) == (1.0, 11.0)
