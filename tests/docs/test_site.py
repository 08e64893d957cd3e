"""The site of the documentation builds without a warning, has every page, and works from disk."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the site needs the extra 'docs'")
pytest.importorskip("myst_parser", reason="the site needs the extra 'docs'")
pytest.importorskip("furo", reason="the site needs the extra 'docs'")

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_is_whole(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = {p.stem for p in (ROOT / "docs").glob("*.md")}
    for page in pages:
        html = (tmp_path / "site" / f"{page}.html").read_text("utf-8")
        assert "<h1>" in html, page
        assert not re.search(r'<(script|link)[^>]+(src|href)="https?:', html), page  # nothing from a network
    api = (tmp_path / "site" / "api.html").read_text("utf-8")
    assert "mmbal.diagnose" in api
    assert "Fused log-probabilities" in api  # the docstring of Rule.apply
    assert (tmp_path / "site" / "searchindex.js").exists()
