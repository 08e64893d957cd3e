"""Tables and pages: what they hold, that they are well formed, that nothing in a name breaks them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from mmbal.errors import UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.report import render
from mmbal.report.compare import Comparison, Entry, Figure, Row, read_source
from mmbal.report.html import comparison_html, diagnosis_html
from mmbal.report.pages import write_pages
from mmbal.report.paired import PairedTest
from mmbal.report.tables import csv

VOID = {"meta"}


def row(label: str, accuracy: Figure, **more) -> Row:
    figures = dict.fromkeys(("accuracy", "nll", "ece", "weak_accuracy", "index", "decision_gap"))
    figures |= {"accuracy": accuracy, "index": Figure(value=0.224, low=0.18, high=0.26)}
    entry = Entry(path=label, samples=10, weak_modality="video", figures={}, best_epoch=4)
    return Row(label=label, meta={}, entries=[entry], figures=figures, weak_modality="video", **more)


@pytest.fixture
def comparison() -> Comparison:
    test = PairedTest(
        samples=10,
        accuracy=Estimate(value=-0.031, low=-0.044, high=0.002),
        nll=Estimate(value=0.1),
        p=0.0001,
        p_holm=0.0002,
        mcnemar=0.04,
    )
    rows = [
        row("joint · concat", Figure(value=0.655, low=0.62, high=0.69)),
        row("a|b & <c> 5%_x", Figure(value=0.624, spread=0.012), test=test, optimistic=Figure(value=0.7)),
    ]
    return Comparison(split="test", confidence=0.95, rows=rows, notes=["a note"])


def test_cells_are_readable(comparison):
    table = render.table_of(comparison)
    at = {name: k for k, name in enumerate(table.head)}
    first, second = table.rows()
    assert first[at["accuracy %"]] == "65.5 [62.0, 69.0]"
    assert second[at["accuracy %"]] == "62.4 ± 1.2"
    assert second[at["gain (pp)"]] == "−3.1 [−4.4, +0.2]"
    assert second[at["p"]] == "< 0.001"
    assert first[at["p"]] == "–"
    assert first[at["imbalance index"]] == "0.22 [0.18, 0.26]"
    assert "NLL" not in at, "a column that no row has anything for is left out"
    assert not any("optimistic" in name for name in at), "only where it was asked for"


def test_a_line_of_what_the_method_recorded():
    entries = [
        Entry(path=f"s{k}", samples=10, weak_modality=None, figures={}, method={f"share/{n}": n + k for n in range(14)})
        for k in (0, 1)
    ]
    seeds = Row(label="mine", meta={}, entries=entries, figures={}, weak_modality=None)
    assert render.method_line(seeds).startswith("mine, last epoch: share/0 0.5, share/1 1.5, ")
    assert render.method_line(seeds).endswith("share/11 11.5 and 2 more in --json.")
    entries[1].method.clear()
    assert render.method_line(seeds) == ""  # not all seeds have them


def test_the_optimistic_figure_is_called_so(comparison):
    text = render.markdown(render.table_of(comparison, optimistic=True), comparison)
    assert "best test epoch % (optimistic)" in text


def test_markdown_is_a_table_whatever_the_names(comparison):
    lines = render.markdown(render.table_of(comparison), comparison).splitlines()
    assert lines[3].startswith("| a\\|b & \\<c> 5%\\_x |")
    assert len({line.replace("\\|", "").count("|") for line in lines[:4]}) == 1
    assert "- a note" in lines


def test_latex_escapes(comparison):
    text = render.latex(render.table_of(comparison), comparison)
    assert r"a\textbar{}b \& $<$c$>$ 5\%\_x & 62.4 $\pm$ 1.2" in text
    assert text.count(r"\\") == 3
    assert r"\begin{tabular}{lrrrrrr}" in text
    assert r"joint $\cdot$ concat & \textbf{65.5 [62.0, 69.0]} & \textbf{0.22 [0.18, 0.26]}" in text, "the best is bold"
    assert r"\begin{table}" not in text
    with_caption = render.latex(render.table_of(comparison), comparison, "All methods")
    assert r"\caption{All methods. Test split. Brackets hold 95 \% intervals over samples." in with_caption
    assert "%" not in with_caption.replace(r"\%", ""), "nothing is left as a comment"


def test_columns_are_chosen_and_rows_sorted_by_the_names_on_the_screen(comparison):
    table = render.table_of(comparison)
    assert table.of_columns(["p", "Accuracy"]).head == ["model", "p", "accuracy %"]
    assert table.sorted("accuracy").column("model").cells[0] == "joint · concat"
    reverse = comparison.model_copy(update={"rows": comparison.rows[::-1]})
    assert render.table_of(reverse).sorted("accuracy").column("model").cells[0] == "joint · concat"
    with pytest.raises(UsageError, match="no column 'accurracy'") as caught:
        table.sorted("accurracy")
    assert "accuracy" in caught.value.hint


def test_csv_holds_the_numbers_in_the_units_of_the_heads(comparison):
    head, first, second = csv(render.table_of(comparison)).splitlines()
    assert head.startswith("model,accuracy %,accuracy % low,accuracy % high,accuracy % spread,imbalance index")
    assert first.startswith("joint · concat,65.5,62.0,69.0,,0.224,0.18,0.26")
    assert second.startswith("a|b & <c> 5%_x,62.4,,,1.2,0.224")


def test_a_narrow_terminal_keeps_what_matters(comparison):
    table = render.table_of(comparison)
    narrow = table.fitting(60)
    assert narrow.table.head[:2] == ["model", "accuracy %"]
    assert "McNemar p" in narrow.dropped
    assert table.fitting(500).table == table
    assert table.fitting(1).table.head == ["model", "accuracy %"]


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
        self.text += data


def parse(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    assert parser.open == []
    links = [value for _, attributes in parser.seen for key, value in attributes.items() if key in ("src", "href")]
    assert links == [], "nothing is loaded from anywhere"
    return parser


def test_the_comparison_page_is_well_formed_and_says_its_figures(comparison):
    page = parse(comparison_html(comparison))
    assert "a|b & <c> 5%_x" in page.text
    assert "62.4 ± 1.2" in page.text
    (chart,) = [attributes for tag, attributes in page.seen if tag == "svg"]
    assert chart["role"] == "img"
    assert "joint · concat 65.5 % [62.0, 69.0]" in chart["aria-label"]
    bars = [float(attributes["width"]) for tag, attributes in page.seen if tag == "rect"]
    assert bars[0] / bars[1] == pytest.approx(0.655 / 0.624, rel=1e-2)


def test_the_page_of_one_model_leads_with_the_verdict(tmp_path):
    world = GaussianWorld(["<i>", "no"], ["audio & co", "video"], [[1.5, 1.0], [1.0, 1.5]], [3.0, 1.0])
    world.sample(300, seed=0).save(tmp_path / "p.npz")
    diagnosis = read_source(tmp_path / "p.npz", replicates=100).diagnosis
    page = parse(diagnosis_html(diagnosis, "mine"))
    assert " ".join(diagnosis.verdict) in page.text
    assert page.text.index(diagnosis.verdict[0]) < page.text.index("Classes")
    assert "<i>" in page.text


def test_a_run_gets_its_card_and_page(toy, tmp_path):
    from mmbal.engine.config import TrainConfig
    from mmbal.engine.train import train

    store = toy({"audio": 6, "video": 4})
    run = train(TrainConfig(data=str(store.path), epochs=1, device="cpu"), out=tmp_path / "run")
    written = write_pages(read_source(run.folder, replicates=100))
    assert [path.name for path in written] == ["CARD.md", "report.html"]
    card = written[0].read_text(encoding="utf-8")
    assert store.hash[:12] in card
    assert f"{100 * run.summary['test']['accuracy']:.1f}" in card
    assert f"`mmbal train --config {run.folder / 'config.yaml'} --data {store.path}`" in card
    parse(written[1].read_text(encoding="utf-8"))


def test_only_a_finished_run_has_a_card(tmp_path):
    GaussianWorld("ab", ["m", "n"], [[1, 1], [1, 1]]).sample(60, seed=0).save(tmp_path / "p.npz")
    with pytest.raises(UsageError, match="not a finished run"):
        write_pages(read_source(tmp_path / "p.npz", replicates=100))
