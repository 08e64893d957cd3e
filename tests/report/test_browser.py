"""The pages in a real browser: Debian's Chromium, without a network; skipped where it is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmbal.report.html import comparison_html, source_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'mmbal[dev]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
]
WIDTHS = {"wide": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as run:
        found = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def files(source, comparison, tmp_path) -> dict[str, Path]:
    pages = {"model": source_html(source, "mine"), "comparison": comparison_html(comparison)}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: tmp_path / f"{name}.html" for name in pages}


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
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
    page = opened(browser, files["model"], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "ink on paper"
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.set_viewport_size({"width": 688, "height": 1000})  # 182 mm between the margins
    wide = "[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > innerWidth).length"
    assert page.evaluate(wide) == 0
