"""Pages for a browser: what they hold and in which order, that they are well formed, and that nothing is loaded."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mmbal.diagnosis.schema import NotComputed
from mmbal.errors import UsageError
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.report.html import comparison_html, diagnosis_html, source_html
from mmbal.report.pages import write_pages
from mmbal.report.sources import read_source

VOID = {"meta", "input", "img", "wbr"}


class WellFormed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data


def parse(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    assert parser.open == []
    links = [value for _, attributes in parser.seen for key, value in attributes.items() if key in ("src", "href")]
    assert not [link for link in links if not link.startswith(("#", "data:"))], "nothing is loaded from anywhere"
    ids = [attributes["id"] for _, attributes in parser.seen if "id" in attributes]
    assert len(ids) == len(set(ids)), "pictures on one page must not share ids"
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    used = set(re.findall(r"url\(#([^)]*)\)", page))
    assert used <= set(ids)
    return parser


def headings(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


def test_the_comparison_page_says_its_figures(comparison):
    page = parse(comparison_html(comparison))
    assert "a|b & <c> 5%_x" in page.text
    assert "62.4 ± 1.2" in page.text
    charts = [attributes for tag, attributes in page.seen if tag == "svg"]
    assert all(chart["role"] == "img" for chart in charts)
    assert "joint · concat 65.5 % [62.0, 69.0]" in charts[0]["aria-label"]
    assert not re.search("#0[12]0[0-9]{3}", comparison_html(comparison)), "every colour is the page's"


def test_the_page_of_one_model_leads_with_the_verdict_and_keeps_its_order(source):
    page = source_html(source, "mine")
    text = parse(page).text
    assert all(sentence in text for sentence in source.diagnosis.verdict)
    assert "<i>" in text
    assert text.index(source.diagnosis.verdict[0]) < text.index(source.diagnosis.advice[0].command)
    order = [
        "What to do next",
        "Contribution and capability",
        "What is lost, and where",
        "Lost by class",
        "Calibration",
        "Accuracy by preferred modality",
        "Missing modalities",
        "Norms",
        "Samples that one modality saves",
        "Samples that one modality sinks",
        "Not computed",
        "How to reproduce this page",
    ]
    found = headings(page)
    assert [name for name in found if name in order] == order
    assert found.index("Calibration") < found.index("Shapley values") < found.index("Missing modalities")


def test_paths_of_figures_are_told_in_words(source):
    lacking = NotComputed(what="missing.video.zeroed", reason="the head's bias is not known", needs="bias")
    found = source.diagnosis.model_copy(update={"not_computed": [lacking]})
    text = parse(diagnosis_html(found, "mine")).text
    assert "missing.video" not in text
    assert "Missing modalities: video, zeroed" in text


def test_a_run_gets_its_card_and_page(toy, tmp_path):
    from mmbal.engine.config import TrainConfig
    from mmbal.engine.train import train

    store = toy({"audio": 6, "video": 4})
    run = train(TrainConfig(data=str(store.path), epochs=2, device="cpu"), out=tmp_path / "run")
    written = write_pages(read_source(run.folder, replicates=100))
    assert [path.name for path in written] == ["CARD.md", "report.html"]
    card = written[0].read_text(encoding="utf-8")
    assert store.hash[:12] in card
    assert f"{100 * run.summary['test']['accuracy']:.1f}" in card
    again = f"mmbal train --config {run.folder / 'config.yaml'} --data {store.path}"
    assert f"`{again}`" in card
    from huggingface_hub import ModelCard

    (result,) = [found for found in ModelCard(card).data.eval_results if found.metric_type == "accuracy"]
    assert result.metric_value == pytest.approx(run.summary["test"]["accuracy"], abs=1e-4)
    assert (result.dataset_name, result.dataset_split) == (store.name, "test")
    assert "audio" in ModelCard(card).data.tags
    page = parse(written[1].read_text(encoding="utf-8")).text
    assert again in page
    assert store.hash in page
    assert "of each epoch" in page
    assert "audio alone" in page


def test_only_a_finished_run_has_a_card(tmp_path):
    GaussianWorld("ab", ["m", "n"], [[1, 1], [1, 1]]).sample(60, seed=0).save(tmp_path / "p.npz")
    with pytest.raises(UsageError, match="not a finished run"):
        write_pages(read_source(tmp_path / "p.npz", replicates=100))
