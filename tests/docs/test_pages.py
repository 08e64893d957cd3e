"""What the pages point to is there: links, headings, files of mmbal, examples; and every dependency has its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_links_to_other_sites_are_well_formed():
    """`make docs-links` asks for each; this asks nobody."""
    found = [(page.name, link) for page in PAGES for link in re.findall(r"\]\((http[^)]+)\)", page.read_text("utf-8"))]
    assert len(found) > 10
    for page, link in found:
        assert re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[\w./~%#?=&+-]*)?", link), (page, link)
        if link.startswith("https://arxiv.org"):
            assert re.fullmatch(r"https://arxiv\.org/(abs|pdf)/\d{4}\.\d{4,5}(v\d+)?", link), (page, link)


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    named = r"\b(?:mmbal|examples|benchmarks)(?:/\w+)+\.(?:py|yaml|sh)\b"
    for name in re.findall(named, page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


def test_every_example_says_what_it_shows_and_how_long_it_takes():
    """Its row has its name, a sentence, and a time or a number of runs."""
    rows = re.findall(r"^\| (`.+`) \| (.+) \| (.+) \|$", (ROOT / "examples/README.md").read_text("utf-8"), re.M)
    told = {name for cell, _, _ in rows for name in re.findall(r"`([^`]+)`", cell)}
    there = {f"{p.name}/" if p.is_dir() else p.name for p in (ROOT / "examples").iterdir()} - {
        "README.md",
        "__pycache__/",
    }
    assert told == there
    assert all(re.search(r"\d|seconds|minute|hour", cost) for _, _, cost in rows)


def test_the_readme_gives_a_reason_for_every_dependency():
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    needed = set(re.findall(r'"([\w-]+)', listed.group(1)))
    table = (ROOT / "README.md").read_text("utf-8").split("## Dependencies, and why")[1]
    told = {word for cell in re.findall(r"^\| ([^|]+) \|", table, re.M) for word in re.findall(r"[\w-]+", cell)}
    assert len(needed) > 10
    assert needed <= told, needed - told
