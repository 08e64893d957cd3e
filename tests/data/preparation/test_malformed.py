"""200 malformed inputs, 200 clear findings, no crash: real clips, sounds, pictures and arrays, damaged in many ways."""

import io
import zipfile

import numpy as np
import pytest
from counting import count
from PIL import Image

from mmbal.data.preparation.findings import Finding
from mmbal.data.prepare import prepare

KINDS = {"missing", "empty", "corrupt", "pointer", "truncated", "no audio", "no video", "no duration", "too short"}
KINDS |= {"silent", "black", "frozen", "clipped"}
CONTAINERS = (".mp4", ".mkv", ".avi", ".flv", ".webm", ".mpg", ".mov")


def damaged(data: bytes, how: str, seed: int) -> bytes:
    """``data`` after an accident; the same every time."""
    rng = np.random.default_rng(seed)
    if how == "cut":
        return data[: max(1, int(len(data) * rng.uniform(0.01, 0.5)))]
    if how == "head lost":
        return data[int(len(data) * 0.3) :]
    if how == "zeroed":
        return bytes(len(data))
    if how == "noise":
        return rng.bytes(min(len(data), 20_000))
    if how == "header scrambled":
        return rng.bytes(64) + data[64:]
    if how == "text":
        return b"<html><body>404 Not Found</body></html>\n" * 5
    if how == "empty":
        return b""
    if how == "pointer":
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    raise ValueError(how)


@pytest.mark.counted
def test_two_hundred_malformed_inputs(tmp_path, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hows = ("cut", "head lost", "zeroed", "noise", "header scrambled", "text", "empty", "pointer")
    rows: list[dict[str, str]] = []
    strange: dict[str, str] = {}  # file -> how

    def add(name: str, column: str, data: bytes | None, how: str) -> None:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        rows.append({column: name, "label": "xy"[len(rows) % 2], "split": "train"})
        strange[name] = how

    for suffix in CONTAINERS:
        good = clip(tmp_path / f"good{suffix}", seconds=0.6).read_bytes()
        for k, how in enumerate(hows):
            if (suffix, how) == (".mpg", "cut"):
                continue  # a cut MPEG stream is a shorter MPEG stream
            for again in (0, 1):
                add(f"{how.replace(' ', '-')}-{again}{suffix}", "path", damaged(good, how, 10 * k + again), how)
        add(f"gone{suffix}", "path", None, "missing")
    sound = clip(tmp_path / "good.wav", rate=16000).read_bytes()
    for k, how in enumerate(hows):
        for again in (0, 1):
            if how != "cut":  # a cut .wav is a shorter .wav
                add(f"s-{how.replace(' ', '-')}-{again}.wav", "audio", damaged(sound, how, 100 + k + again), how)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(buffer, "PNG")
    for k, how in enumerate(hows):
        for again in (0, 1):
            add(
                f"i-{how.replace(' ', '-')}-{again}.png", "image", damaged(buffer.getvalue(), how, 200 + k + again), how
            )
    np.savez(tmp_path / "good.npz", x=np.ones(4))
    archive = (tmp_path / "good.npz").read_bytes()
    for k, how in enumerate(hows):
        for again in (0, 1):
            add(f"f-{how.replace(' ', '-')}-{again}.npz", "gait", damaged(archive, how, 300 + k + again), how)
    arrays = {"nan": np.full(4, np.nan), "wide": np.ones(5), "deep": np.ones((2, 2, 2)), "words": np.array(["a"] * 4)}
    arrays |= {"inf": np.full(4, np.inf), "none": np.ones(0), "complex": np.ones(4, complex), "scalar": np.array(1.0)}
    for name, array in arrays.items():
        np.savez(tmp_path / f"a-{name}.npz", x=array)
        add(f"a-{name}.npz", "gait", None, name)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    add("object.npy", "gait", None, "pickle")
    with zipfile.ZipFile(tmp_path / "no-array.npz", "w") as made:
        made.writestr("x.npy", b"\x93NUMPY garbage")
    add("no-array.npz", "gait", None, "no array")
    for k in range(200 - len(rows)):
        add(f"nowhere/{k}.mp4", "path", None, "missing")
    assert len(rows) == 200

    columns = ["path", "audio", "image", "gait", "label", "split"]
    # Two samples that are well, so that there is a store at the end.
    for tone, label in ((300, "x"), (900, "y")):
        clip(tmp_path / f"well{tone}.mp4", seconds=0.6, tone=tone)
        Image.fromarray(np.full((9, 9, 3), tone % 255, np.uint8)).save(tmp_path / f"well{tone}.png")
        good_row = {
            "path": f"well{tone}.mp4",
            "image": f"well{tone}.png",
            "gait": "good.npz#x",
            "label": label,
            "split": "train",
        }
        rows += [good_row, good_row | {"path": "", "audio": "good.wav"}]
    lines = [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)]
    (tmp_path / "all.csv").write_text("\n".join(lines))

    result = prepare("all.csv", val=0, test=0, size=16, sample_rate=8000, workers=0)

    by_file: dict[str, list[Finding]] = {}
    for finding in result.findings:
        by_file.setdefault(finding.where, []).append(finding)
    assert [name for name in strange if name not in by_file] == []
    for name in strange:
        for finding in by_file[name]:
            assert finding.kind in KINDS, finding
            assert finding.reason
            assert "Traceback" not in finding.reason
            assert len(finding.reason) < 200
    assert {"well300", "well900"} <= set(result.store.ids)
    assert result.store.verify() == []
    count("bad inputs", len(strange))


@pytest.mark.parametrize("how", ["cut", "noise", "zeroed"])
def test_real_clips_damaged(how, shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["path,label,split"]
    for k, path in enumerate(sorted((shared_data / "grid_s1" / "clips").iterdir())[:6]):
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(damaged(data, how, k) if k > 1 else data)
        lines.append(f"{path.name},{'xy'[k % 2]},train")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    result = prepare("m.csv", val=0, test=0, size=16, sample_rate=8000, workers=0)
    assert len(result.store) >= 2
    if how != "cut":  # a cut MPEG stream is a shorter MPEG stream
        assert {f.where for f in result.findings if f.level == "error"} == {line.split(",")[0] for line in lines[3:]}
