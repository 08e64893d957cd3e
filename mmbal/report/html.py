"""One self-contained page, without network or scripts: the diagnosis of a run, or a comparison of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mmbal.diagnosis.schema import ClassDiagnosis, Diagnosis
from mmbal.maths.bootstrap import Estimate
from mmbal.report.compare import Comparison
from mmbal.report.render import cells, columns, legend, number, percent, points
from mmbal.version import __version__

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #fff;
  --a: #0969da; --b: #bf8700; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --a: #58a6ff; --b: #d29922; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.verdict { font-size: 1.15rem; border-left: .3rem solid var(--a); padding-left: 1rem; }
.soft, caption, footer { color: var(--soft); } caption { text-align: left; padding-bottom: .4rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
svg { width: 100%; height: auto; max-width: 32rem; } svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
.a { fill: var(--a); } .b { fill: var(--b); } .whisker { stroke: var(--ink); stroke-width: 1.5; }
.axis { stroke: var(--line); }
footer { margin-top: 3rem; font-size: .9rem; }
"""
WIDTH, STEP, BAR, MARGIN = 340, 42, 14, 14  # of the bar charts, in SVG units: about a phone's pixels


@dataclass(frozen=True)
class Bar:
    """A bar with its interval; ``tone`` is ``a`` or ``b``."""

    label: str
    figure: Estimate
    tone: str = "a"


def diagnosis_html(diagnosis: Diagnosis, title: str) -> str:
    """The page of one run: verdict, what to do, contribution against capability, and the same by class."""
    modalities = diagnosis.data.modalities
    shares = [
        bar
        for m in modalities
        if m in diagnosis.contribution
        for bar in (
            Bar(f"{m}: contribution", diagnosis.contribution[m]),
            *([Bar(f"{m}: capability", diagnosis.capability[m], "b")] if m in diagnosis.capability else []),
        )
    ]
    body = [
        _verdict(diagnosis),
        _section("Contribution and capability", _bars("Share of the decision, and share of the evidence", shares)),
        _section("Modalities", _table("Shares in %, with intervals over samples", *_modality_rows(diagnosis))),
        _section(
            "Classes", _table("Contribution of each modality in %, in brackets its capability", *_class_rows(diagnosis))
        ),
    ]
    if diagnosis.discrepancy is not None:
        about = (
            f"Accuracy in %; gain: fused less the preferred modality alone, in pp. The confidences of "
            f"{diagnosis.discrepancy.by} also select the samples, so a negative gain is not a loss"
        )
        body.append(_section("Accuracy by preferred modality", _table(about, *_discrepancy_rows(diagnosis))))
    if diagnosis.tails is not None:
        tails = diagnosis.tails
        about = f"Smaller is heavier; learning rate {tails.learning_rate:g}, batches of {tails.batch_size}"
        body.append(_section("Tail index of the norms in training", _table(about, *_tail_rows(diagnosis))))
    if diagnosis.not_computed:
        lines = (f"{escape(n.what)}: {escape(n.reason)}" for n in diagnosis.not_computed)
        body.append(_section("Not computed", _list(lines)))
    data = diagnosis.data
    about = f"{data.split} split, {data.samples} samples, {len(data.classes)} classes, {len(modalities)} modalities"
    return _page(title, about, body)


def comparison_html(comparison: Comparison, optimistic: bool = False, title: str = "Comparison") -> str:
    """The page of a comparison: accuracies as bars, then the table."""
    bars = [
        Bar(row.label, Estimate(value=figure.mean, low=figure.low, high=figure.high))
        for row in comparison.rows
        if (figure := row.figures["accuracy"]) is not None
    ]
    head, *rows = cells(comparison, columns(comparison, optimistic))
    body = [
        _bars("Accuracy", bars),
        _section("Figures", _table("", head, rows)),
        _list(escape(line) for line in legend(comparison)),
    ]
    return _page(title, f"{len(comparison.rows)} rows, {comparison.split} split", body)


def _verdict(diagnosis: Diagnosis) -> str:
    text = f'<p class="verdict">{escape(" ".join(diagnosis.verdict))}</p>'
    return text + _list(f"<code>{escape(a.command)}</code> {escape(a.purpose)}" for a in diagnosis.advice)


def _modality_rows(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    accuracy, preference = diagnosis.accuracy, diagnosis.preference
    columns: dict[str, Mapping[str, Estimate]] = {
        "accuracy alone": {**accuracy.alone, "fused": accuracy.fused},
        "probe": accuracy.probe,
        "reference": accuracy.reference,
        "follows": preference.follows if preference else {},
        "changes without": preference.changes_without if preference else {},
    }
    shown = {name: values for name, values in columns.items() if values}
    rows = []
    for m in [*diagnosis.data.modalities, "fused"]:
        honest = diagnosis.calibration.get(m)
        calibration = [number(honest.ece), number(honest.temperature, 2)] if honest else ["–", "–"]
        rows.append([m, *(percent(values.get(m)) for values in shown.values()), *calibration])
    return ["modality", *shown, "ECE", "temperature"], rows


def _class_rows(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    def share(found: ClassDiagnosis, m: str) -> str:
        own, best, flag = found.contribution.get(m), found.capability.get(m), found.balance.get(m)
        if own is None:
            return "–"
        text = f"{100 * own.value:.0f}" + (f" ({100 * best.value:.0f})" if best else "")
        return f"{text} {flag.flag}" if flag and flag.flag else text

    modalities = diagnosis.data.modalities
    rows = [
        [name, str(found.samples), percent(found.fused), *(percent(found.alone.get(m)) for m in modalities)]
        + [share(found, m) for m in modalities]
        for name, found in diagnosis.classes.items()
    ]
    head = [
        "class",
        "samples",
        "fused",
        *(f"{m} alone" for m in modalities),
        *(f"contribution of {m}" for m in modalities),
    ]
    return head, rows


def _discrepancy_rows(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    assert diagnosis.discrepancy is not None
    modalities = diagnosis.data.modalities
    rows = [
        [
            *(m, f"{part.low:.2f} to {part.high:.2f}", str(part.samples), percent(part.fused)),
            *(percent(part.alone.get(n)) for n in modalities),
            points(part.gain),
        ]
        for m, parts in diagnosis.discrepancy.bins.items()
        for part in parts.values()
    ]
    head = ["preferred modality", "discrepancy", "samples", "fused", *(f"{n} alone" for n in modalities), "gain (pp)"]
    return head, rows


def _tail_rows(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    assert diagnosis.tails is not None
    kinds = (diagnosis.tails.gradient_noise, diagnosis.tails.update_norm, diagnosis.tails.weight_norm)
    rows = [[m, *(number(kind.get(m), 1) for kind in kinds)] for m in diagnosis.data.modalities]
    return ["modality", "gradient noise", "updates", "weights"], rows


def _bars(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars from 0 to 100 % under their names, intervals as whiskers; told in words to those who can't see."""
    if not bars:
        return ""
    bottom = STEP * len(bars)
    parts = [
        f'<line class="axis" x1="{_x(tick)}" x2="{_x(tick)}" y1="0" y2="{bottom}"/>'
        f'<text x="{_x(tick)}" y="{bottom + 16}" text-anchor="middle">{100 * tick:.0f}</text>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    for k, bar in enumerate(bars):
        top, figure = STEP * k + 20, bar.figure
        parts.append(f'<text x="{_x(0)}" y="{top - 5}">{escape(bar.label)}</text>')
        parts.append(f'<text x="{_x(1)}" y="{top - 5}" text-anchor="end">{100 * figure.value:.1f} %</text>')
        length = _x(figure.value) - _x(0)
        parts.append(f'<rect class="{bar.tone}" x="{_x(0)}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>')
        if figure.low is not None and figure.high is not None:
            middle = top + BAR / 2
            ends = f'x1="{_x(figure.low):.1f}" x2="{_x(figure.high):.1f}" y1="{middle}" y2="{middle}"'
            parts.append(f'<line class="whisker" {ends}/>')
    words = "; ".join(f"{bar.label} {percent(bar.figure)} %" for bar in bars)
    return (
        f'<svg viewBox="0 0 {WIDTH + 2 * MARGIN} {bottom + 24}" role="img" aria-label="{escape(title)}: {escape(words)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _x(share: float) -> float:
    """Where a share in [0, 1] lies on the axis."""
    return MARGIN + WIDTH * min(max(share, 0.0), 1.0)


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for first, *rest in rows:
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(c)}</td>" for c in rest)}</tr>')
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0"><table>{named}<thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _list(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _page(title: str, about: str, body: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – mmbal</title><style>{STYLE}</style></head>\n<body><main>"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(about)}</p>\n' + "\n".join(body) + "</main>\n"
        f"<footer>Written by mmbal {__version__}. In brackets: intervals over samples.</footer></body></html>\n"
    )
