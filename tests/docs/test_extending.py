"""docs/extending.md: its classes, as the modules of an installed package, are known to mmbal and work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
(PROJECT,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
POINTS = PROJECT[PROJECT.index("[project.entry-points") :]
MEMBERS = {"method": "own_losses", "rule": "most_confident", "dataset": "my_clips", "section": "confident"}
TRY = """
from pathlib import Path
import numpy as np
import mmbal
from mmbal.data.preparation.options import Options
from mmbal.registry import datasets, methods

arrays = {"labels": np.array([0, 0, 1, 1] * 5), "logits_a": np.tile([[9.0, 0], [0, 1], [0, 9], [0, 9]], (5, 1))}
arrays |= {"logits_b": np.tile([[0.0, 1], [3, 0], [1, 0], [0, 1]], (5, 1))}
p = mmbal.Predictions.of(arrays)
print(*mmbal.fit_rule(p, "most_confident").apply(p)[:4].argmax(axis=1))
print(mmbal.diagnose(arrays | {"fused": arrays["logits_a"]}, rule="sum", bootstrap=100).confident.value)
print(methods.get("own_losses").Config().weight)
found = datasets.get("my_clips")().read(Path("media"), Options())
print(*((row.id, row.label, row.split, *row.sources) for row in found.rows))
"""


def test_its_classes_are_found_and_work(tmp_path):
    package, told = tmp_path / "my_package", tmp_path / "my_package-1.dist-info"
    package.mkdir()
    told.mkdir()
    (package / "__init__.py").touch()
    for name, code in zip(MEMBERS.values(), BLOCKS, strict=False):
        (package / f"{name}.py").write_text(code, encoding="utf-8")
    points = re.sub(r'^\[project\.entry-points\."(.+)"\]$', r"[\1]", POINTS, flags=re.M).replace('"', "")
    (told / "entry_points.txt").write_text(points, encoding="utf-8")
    assert re.findall(r"^\[mmbal\.(\w+)\]\n(\w+) = ", points, re.M) == list(MEMBERS.items())
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n", encoding="utf-8")
    for clip in ("train/no/one.mp4", "test/yes/two.mp4"):
        (tmp_path / "media" / clip).parent.mkdir(parents=True)
        (tmp_path / "media" / clip).touch()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRY], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    decided, confident, weight, clips = done.stdout.splitlines()
    assert decided == "0 0 1 1"  # a, b, a and a are the more confident
    assert float(confident) == 0.75  # softmax of 9 and 0, but not of 0 and 1
    assert float(weight) == 0.5
    assert clips == "('two', 'yes', 'test', 'audio', 'video') ('one', 'no', 'train', 'audio', 'video')"
