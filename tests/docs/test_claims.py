"""What the README says of numbers is so."""

import re
from pathlib import Path

import mmbal
from mmbal.registry import methods

ROOT = Path(__file__).parents[2]


def test_the_number_of_methods():
    own = [entry for entry in methods if entry.cls.__module__.startswith("mmbal.methods.")]
    published = [entry for entry in own if entry.about.paper and entry.about.family != "baseline"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"with (\d+) methods of the literature", readme) == [str(len(published))]
    (row,) = re.findall(r"^\| mmbal \|.*\| (\d+) \|$", readme, re.MULTILINE)
    assert row == str(len(published))


def test_every_extra_is_in_the_table():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    table = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", project, re.MULTILINE | re.DOTALL)
    assert table is not None
    extras = set(re.findall(r"^(\w+) = \[", table[1], re.MULTILINE))
    told = (ROOT / "README.md").read_text("utf-8").split("## Extras")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == extras


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: mmbal\.(?:\w+\.)*(\w+)$", page, re.MULTILINE))
    assert set(mmbal.__all__) <= listed
    assert all((getattr(mmbal, name).__doc__ or "").strip() for name in mmbal.__all__)
