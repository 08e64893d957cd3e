"""The pages in a real browser: Debian's Chromium, without a network; skipped where it is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmbal.maths.bootstrap import Estimate
from mmbal.report.compare import FIGURES, Comparison, Figure
from mmbal.report.html import comparison_html, source_html, study_html
from mmbal.report.study import Pair, Standing, Study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'mmbal[dev]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
]
WIDTHS = {"wide": 1280, "tablet": 900, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as run:
        found = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def files(source, comparison, tmp_path) -> dict[str, Path]:
    pages = {
        "model": source_html(source, "mine"),
        "comparison": comparison_html(over_seeds(comparison)),
        "sweep": study_html(sweep(), "a sweep"),
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: tmp_path / f"{name}.html" for name in pages}


def over_seeds(comparison: Comparison) -> Comparison:
    """Three seeds a row, with every column that a comparison can have."""
    known = {name: Figure(value=0.655, spread=0.01) for name in FIGURES}
    more = {"figures": known, "last": known["nll"], "weak_modality": "video or audio"}
    rows = [row.model_copy(update={**more, "entries": row.entries * 3}) for row in comparison.rows]
    return comparison.model_copy(update={"rows": rows})


def sweep() -> Study:
    """Six variants on four data sets, two of which are not told apart."""
    names = [f"method_{k}" for k in range(6)]
    told = {"method": "joint", "weak_accuracy": 0.5, "best_for_weak": True, "best_for_seconds": False}
    rows = [
        Standing(variant=v, rank=k + 1, accuracy=0.9 - k / 50, by_set=dict.fromkeys("abcd", 0.9), seconds=9.5, **told)
        for k, v in enumerate(names)
    ]
    gain = Estimate(value=-0.02, low=-0.03, high=-0.01)
    p = {True: 0.2, False: 0.01}
    pairs = [
        Pair(first=a, second=b, gain=gain, p=p[near], p_holm=p[near], equal=False)
        for k, a in enumerate(names)
        for b in names[k + 1 :]
        for near in [b == names[1]]
    ]
    basic = {"split": "test", "confidence": 0.95, "within": 0.01, "sets": dict.fromkeys("abcd", 90), "seeds": [0, 1]}
    return Study(rows=rows, pairs=pairs, groups=[names[:2]], notes=[], **basic)


def opened(browser: Any, file: Path, **options: Any) -> Any:
    """The page, which must not complain and must not ask for anything but itself."""
    page = browser.new_context(bypass_csp=True, **options).new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if request.url.startswith("http") else None)
    page.goto(file.as_uri())
    assert told == []
    return page


@pytest.mark.parametrize(
    ("size", "scheme"), [("wide", "light"), ("tablet", "dark"), ("phone", "light"), ("phone", "dark")]
)
def test_nothing_is_cut_and_no_rule_of_accessibility_is_broken(browser, files, scheme, size):
    from axe_playwright_python.sync_playwright import Axe

    for file in files.values():
        page = opened(browser, file, viewport={"width": WIDTHS[size], "height": 900}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[size]
        cut = "[...document.querySelectorAll('.wide')].filter(x => x.scrollWidth > x.clientWidth).length"
        assert page.evaluate(cut) == 0
        found = Axe().run(page)
        assert [(v["id"], v["nodes"][0]["html"]) for v in found.response["violations"]] == []
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            == {
                "light": "rgb(255, 255, 255)",
                "dark": "rgb(13, 17, 23)",
            }[scheme]
        )
        page.context.close()


def column(page: Any, table: Any, k: int) -> list[str]:
    return [row.locator("th, td").nth(k).inner_text().split()[0] for row in table.locator("tbody tr").all()]


def test_a_click_and_a_key_sort_a_table(browser, files, source):
    page = opened(browser, files["model"], viewport={"width": 1280, "height": 900})
    table = page.locator("table", has_text="preferred modality").filter(has_text="discrepancy").first
    at = [head.inner_text().strip() for head in table.locator("thead th").all()].index("samples")
    counts = [b.samples for parts in source.diagnosis.discrepancy.bins.values() for b in parts.values()]
    assert len(counts) >= 3
    button = table.locator("thead th").nth(at).get_by_role("button")
    button.click()
    assert column(page, table, at) == [str(n) for n in sorted(counts)]
    assert table.locator("thead th").nth(at).get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert column(page, table, at) == [str(n) for n in sorted(counts, reverse=True)]


def test_a_long_table_filters_its_rows(browser, comparison, tmp_path):
    rows = [comparison.rows[0].model_copy(update={"label": f"model {k}"}) for k in range(20)]
    file = tmp_path / "long.html"
    file.write_text(comparison_html(comparison.model_copy(update={"rows": rows})), encoding="utf-8")
    page = opened(browser, file, viewport={"width": 1280, "height": 900})
    page.get_by_role("searchbox").fill("MODEL 7")
    shown = [row for row in page.locator("tbody tr").all() if row.is_visible()]
    assert [row.locator("th").inner_text() for row in shown] == ["model 7", "model 17"]


def test_all_is_there_without_scripts(browser, files, source):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["model"].as_uri())
    assert source.diagnosis.verdict[0] in page.locator("main").inner_text()
    assert page.get_by_role("button").count() == 0
    assert page.locator("table").count() >= 8


def test_the_keyboard_reaches_the_content_first(browser, files):
    page = opened(browser, files["model"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_it_prints_on_a4(browser, files):
    wide = "[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > innerWidth).length"
    for file in files.values():
        page = opened(browser, file, color_scheme="dark")
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "ink on paper"
        page.set_viewport_size({"width": 688, "height": 1000})  # 182 mm between the margins
        assert page.evaluate(wide) == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
