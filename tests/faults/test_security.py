"""Files can be from anybody: no code in them runs, nothing is written outside, and no header takes the memory."""

from __future__ import annotations

import io
import json
import pickle
import re
import resource
import shutil
import zipfile
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from counting import count
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from terminal import mmbal as command

import mmbal
from mmbal.config import read_yaml
from mmbal.data.describe import describe_any
from mmbal.data.media.decode import Unusable
from mmbal.data.media.pictures import read_picture
from mmbal.data.media.recipe_feature import read_array
from mmbal.errors import DataError, MmbalError
from mmbal.files import read_json, read_json_lines, read_npz, read_tensors
from mmbal.predictions.format import Predictions

pytestmark = pytest.mark.counted("attacks")


class Bomb:
    """What a pickle runs when it is read: it makes the file ``went_off``."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.write_text, (self.place, "boom"))


@pytest.fixture
def went_off(tmp_path) -> Path:
    return tmp_path / "went_off"


def test_no_pickle_runs_in_any_file_that_is_read(tmp_path, went_off):
    bomb = pickle.dumps(Bomb(went_off))
    (tmp_path / "a.pkl").write_bytes(bomb)
    (tmp_path / "a.npz").write_bytes(bomb)
    (tmp_path / "a.json").write_bytes(bomb)
    (tmp_path / "a.csv").write_bytes(bomb)
    torch.save({"model": Bomb(went_off)}, tmp_path / "a.pt")
    np.savez(tmp_path / "objects.npz", labels=np.array([Bomb(went_off)], dtype=object), allow_pickle=True)
    for file in sorted(tmp_path.iterdir()):
        for arguments in (("diagnose",), ("doctor",), ("prepare",), ("import",), ("calibrate",)):
            result = command(*arguments, file)
            assert result.exit_code in (0, 2, 4, 5), (file, arguments, result.output)
            assert "Traceback" not in result.output
            assert not went_off.exists(), (file, arguments)


def test_no_yaml_tag_makes_an_object(tmp_path, went_off):
    (tmp_path / "c.yaml").write_text(f"data: !!python/object/apply:os.system ['touch {went_off}']\n")
    with pytest.raises(MmbalError):
        read_yaml(tmp_path / "c.yaml")
    assert not went_off.exists()


def test_names_of_arrays_and_modalities_lead_to_no_file_outside(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    rng = np.random.default_rng(0)
    for name in ("../escaped", "/tmp/escaped", "a/../../escaped", "..\\escaped", "x\0y"):
        with zipfile.ZipFile(inside / "f.npz", "w") as archive:
            for key, array in ((name, rng.normal(size=(20, 3))), ("label", np.arange(20) % 2)):
                stream = io.BytesIO()
                np.save(stream, array)
                archive.writestr(f"{key}.npy", stream.getvalue())
        before = set(tmp_path.rglob("*"))
        result = command("prepare", inside / "f.npz", "--out", inside / "store")
        assert result.exit_code in (0, 2, 4), result.output
        assert {p.relative_to(tmp_path).parts[0] for p in set(tmp_path.rglob("*")) - before} <= {"inside"}


def test_a_store_s_modalities_lead_to_no_file_outside(tmp_path):
    np.savez(tmp_path / "f.npz", label=np.arange(20) % 2, a=np.random.default_rng(0).normal(size=(20, 3)))
    store = mmbal.prepare(tmp_path / "f.npz", out=tmp_path / "store").store.path
    meta = json.loads((store / "meta.json").read_text())
    meta["modalities"]["../../secret"] = meta["modalities"].pop("a")
    (store / "meta.json").write_text(json.dumps(meta))
    np.save(tmp_path.parent / "secret.npy", np.ones((20, 3), np.float32))
    try:
        with pytest.raises(MmbalError):
            mmbal.data.Store.open(store)
    finally:
        (tmp_path.parent / "secret.npy").unlink()


def test_giant_arrays_and_archives_are_refused_before_they_are_read(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)})
    with zipfile.ZipFile(tmp_path / "header.npz", "w") as archive:
        archive.writestr("labels.npy", head.getvalue())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"unpacks to .* GiB"):
        read_npz(tmp_path / "header.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # KiB


def test_an_archive_of_features_that_a_manifest_names_is_bounded_too(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("a.npy", head.getvalue())
    with pytest.raises(Unusable, match=r"unpacks to .* GiB"):
        read_array(tmp_path / "bomb.npz", "a")


def test_no_configuration_and_no_json_takes_the_memory_or_the_stack(tmp_path):
    parts = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    parts += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(12)]
    for text, told in (
        ("\n".join(parts), "repeats its parts"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: " + 1_200 * "[" + 1_200 * "]", "nested too deeply"),
    ):
        (tmp_path / "c.yaml").write_text(text)
        assert told in describe_any(tmp_path / "c.yaml").problem
        with pytest.raises(MmbalError, match=told):
            read_yaml(tmp_path / "c.yaml")
    for text in (3_000 * "[", 3_000 * "[" + 3_000 * "]", '{"a":' * 3_000, "1" * 5000):
        (tmp_path / "d.json").write_text(text)
        assert describe_any(tmp_path / "d.json").problem
        if text != "1" * 5000:
            with pytest.raises(DataError, match="not valid JSON"):
                read_json(tmp_path / "d.json")
        with pytest.raises(DataError):
            Predictions.from_arrays({"labels": [0, 1], "logits_a": np.zeros((2, 2)), "meta": text})
    (tmp_path / "lines.jsonl").write_text('{"a": 1}\n[]\n')
    with pytest.raises(DataError, match="Line 2"):
        read_json_lines(tmp_path / "lines.jsonl")


def test_links_where_a_store_is_made_lead_to_no_file_outside(tmp_path):
    """In the folder of an interrupted preparation, in the store that is replaced, and as a member of an archive."""
    outside = tmp_path / "outside"
    outside.mkdir()
    np.save(outside / "a.npy", np.arange(3.0))
    before = (outside / "a.npy").read_bytes()
    for k in range(8):
        np.save(tmp_path / f"{k}.npy", np.full(3, k, np.float32))
    rows = "\n".join(f"{k}.npy,{'xy'[k % 2]},{'train' if k < 6 else 'test'}" for k in range(8))
    (tmp_path / "m.csv").write_text(f"a,label,split\n{rows}\n")
    made = mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "store", workers=0).store
    partial = tmp_path / ".again.partial"
    for links in ("inside", "itself"):
        if links == "inside":
            partial.mkdir()
            (partial / "a.npy").symlink_to(outside / "a.npy")
            (partial / "journal.jsonl").symlink_to(outside / "new")
        else:
            partial.symlink_to(outside)
        again = mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "again", workers=0).store
        assert again.hash == made.hash
        shutil.rmtree(tmp_path / "again")
    shutil.copytree(tmp_path / "store", tmp_path / "again")
    (tmp_path / "again" / "a.npy").unlink()
    (tmp_path / "again" / "a.npy").symlink_to(outside / "a.npy")
    mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "again", workers=0, force=True)
    assert not (tmp_path / "again" / "a.npy").is_symlink()
    link = zipfile.ZipInfo("labels.npy")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.npz", "w") as archive:
        archive.writestr(link, str(outside / "a.npy"))
    with pytest.raises(DataError, match="'labels' is no array"):
        read_npz(tmp_path / "link.npz")
    assert [file.name for file in outside.iterdir()] == ["a.npy"]
    assert (outside / "a.npy").read_bytes() == before


EVIL = [
    "<script>boom()</script>",
    "<img src=x onerror=boom()>",
    "a|b`$x$`[link](javascript:boom())",
    "\\input{/etc/passwd} %_&#{}",
]


class Tags(HTMLParser):
    """The tags and attributes of a page that could run something."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []

    def handle_starttag(self, tag, attrs):
        calls = [(key, value or "") for key, value in attrs if key.startswith("on") or key in ("href", "src", "style")]
        self.running += [f"{tag} {key}={value}" for key, value in calls if "boom" in value]

    def handle_data(self, data):
        if self.cdata_elem is not None and data.strip().startswith("boom"):
            self.running.append(f"{self.cdata_elem}: {data}")


def test_names_run_nothing_in_pages_and_papers(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    scores = {f"logits_{m}": rng.normal(size=(80, 4)) + 2 * np.eye(4)[labels] for m in (EVIL[1], "v")}
    split = np.where(np.arange(80) < 40, "val", "test")
    names = {"classes": np.array(EVIL), "ids": np.array([f"{EVIL[0]}{k}" for k in range(80)])}
    np.savez(tmp_path / "p.npz", labels=labels, split=split, **names, **scores)
    diagnosis = tmp_path / "d.json"
    quick = ("--bootstrap", 100, "--rule", "temperature")
    assert command("diagnose", tmp_path / "p.npz", *quick, "--out", diagnosis).exit_code == 0
    for suffix in ("html", "md", "tex"):
        result = command("report", diagnosis, "--out", tmp_path / f"r.{suffix}")
        assert result.exit_code == 0, result.output
    page = Tags()
    page.feed((tmp_path / "r.html").read_text())
    assert page.running == []
    assert not re.search(r"(?<!\\)(<(script|img)|\]\(javascript)", (tmp_path / "r.md").read_text())
    assert "\\input{" not in (tmp_path / "r.tex").read_text()


def test_a_picture_of_too_many_pixels_is_refused(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    with pytest.raises(Unusable, match="too large"):
        read_picture(tmp_path / "bomb.png", 16)


def test_very_many_classes_are_told_before_the_memory_ends():
    found = Predictions.from_arrays({"labels": [0, 1], "logits_a": np.zeros((2, 3))})
    with pytest.raises(DataError, match="classes need"):
        replace(found, classes=range(10**9)).require_plausible()


BYTES = st.binary(max_size=300)


@settings(max_examples=60, deadline=None)
@given(
    data=BYTES,
    name=st.sampled_from(["a.npz", "a.json", "a.csv", "a.jsonl", "a.yaml", "a.pt", "a.png", "a.wav", "a.mat"]),
)
def test_no_bytes_give_a_traceback(tmp_path_factory, data, name):
    count("fuzz cases")
    file = tmp_path_factory.mktemp("fuzz") / name
    file.write_bytes(data)
    found = describe_any(file)
    assert found.problem or found.kind


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["labels", "logits_a", "logits_b", "fused", "split", "ids", "present_a", "classes", "group"]),
        st.one_of(
            st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.booleans(), st.text(max_size=3)), max_size=6),
            st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), max_size=6),
        ),
    )
)
def test_no_arrays_give_a_traceback(arrays):
    count("fuzz cases")
    try:
        found = Predictions.from_arrays(arrays, examine=True)
    except MmbalError:
        return
    assert len(found) == len(found.labels)
    assert all(np.isfinite(table).all() for table in found.logits.values())


def test_damaged_checkpoints_are_refused_in_a_sentence(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    for k in range(0, len(data), 97):
        (tmp_path / "d.pt").write_bytes(data[:k] + b"\xff\xff" + data[k + 2 :])
        with suppress(MmbalError):  # a changed number is no damage that can be seen
            read_tensors(tmp_path / "d.pt")
