"""`mmbal diagnose`: which modality the model follows, whether the evidence supports that, and what it costs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Force, Json
from mmbal.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from mmbal.diagnosis.comparison import SideBySide
    from mmbal.diagnosis.schema import Diagnosis
    from mmbal.diagnosis.significance import Estimate
    from mmbal.predictions.format import Predictions

NO_BREAK = "\u00a0"


def diagnose(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Runs, checkpoints, predictions or feature files (.npz); two or more: side by side."),
    ],
    split: Annotated[str, typer.Option(help="Split to diagnose.")] = "test",
    reference: Annotated[
        Path | None,
        typer.Option(help="Separately trained encoders: a run of `mmbal pretrain`, or a file with the same ids."),
    ] = None,
    human: Annotated[bool, typer.Option("--human", help="CREMA-D: put the human raters beside the model.")] = False,
    rule: Annotated[str, typer.Option(help="Decision rule to compare the model's own decision with.")] = "adaptive",
    full: Annotated[
        bool, typer.Option("--full", help="All tables: Shapley, samples, missing modalities, norms, geometry.")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if", help="Exit 3 where this holds: 'index > 0.2', 'contribution.video < 0.3'. Repeatable."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the bootstrap replicates; the verdict does not depend on it.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the diagnosis (JSON) to this file.", dir_okay=False)] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Say which modality decides, class by class, whether the evidence supports that, and what it costs.

    Of a run, the diagnosis is also written to diagnosis.json in its folder.
    """
    from mmbal.diagnosis import diagnose as examine
    from mmbal.diagnosis.comparison import compare_diagnoses
    from mmbal.diagnosis.gate import Condition
    from mmbal.diagnosis.tails import with_tails
    from mmbal.engine.evaluate import run_folder
    from mmbal.files import write_json

    conditions = [Condition.parse(text) for text in fail_if or []]
    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} exists.", "Take another --out, or --force to replace it.")
    known = {str(path): _read(path) for path in paths}
    references = {str(path): _reference(path, reference) for path in paths}
    settings: dict[str, Any] = {
        "split": split,
        "human": human,
        "rule": rule,
        "bootstrap": bootstrap,
        "seed": seed,
        "confidence": confidence,
    }
    if len(known) > 1:
        compared = compare_diagnoses(known, references=references, **settings)
        diagnoses = {name: with_tails(d, run_folder(Path(name))) for name, d in compared.diagnoses.items()}
        compared = compared.model_copy(update={"diagnoses": diagnoses})
        document: Any = compared.model_dump(mode="json")
    else:
        (name, predictions), *_ = known.items()
        folder = run_folder(paths[0])
        diagnosis = with_tails(examine(predictions, reference=references[name], source=name, **settings), folder)
        document = diagnosis.model_dump(mode="json")
        diagnoses = {name: diagnosis}
        if folder is not None:
            diagnosis.save(folder / "diagnosis.json")
            console.note(f"Wrote {folder / 'diagnosis.json'}")
    if out is not None:
        write_json(out, document)
        console.note(f"Wrote {out}")
    if json:
        console.print_json(document)
    elif len(diagnoses) > 1:
        _side_by_side(compared)
    else:
        show(diagnosis, full)
    outcomes = [(name, c.judge(d)) for name, d in diagnoses.items() for c in conditions]
    failed = [
        f"{name}: {outcome}" if len(diagnoses) > 1 else str(outcome) for name, outcome in outcomes if outcome.holds
    ]
    if failed:
        raise GateFailed(". ".join(failed) + ".")


def _read(path: Path) -> Predictions:
    from mmbal.diagnosis.probes import is_feature_file, load_features
    from mmbal.engine.evaluate import find_predictions

    if not is_feature_file(path):
        return find_predictions(path)
    found = load_features(path)
    console.note(f"{path} holds features without decisions: {found.meta['heads']}.")
    return found


def _reference(path: Path, given: Path | None) -> Predictions | None:
    from mmbal.engine.evaluate import find_reference

    if given is not None:
        return _read(given)
    return find_reference(path)


def show(diagnosis: Diagnosis, full: bool = False) -> None:
    """Print the verdict, what to type next, and the tables: the main ones, or all."""
    console.say(_title(diagnosis), style="bold")
    console.say()
    console.say(_paragraph(diagnosis.verdict))
    width = max((len(advice.command) for advice in diagnosis.advice), default=0)
    for advice in diagnosis.advice:
        line = f"  {advice.command:<{width}}  {advice.purpose}"
        fits = len(line) <= console.out.width
        console.say(line if fits else f"  {advice.command}\n      {advice.purpose}", style="cyan")
    _modalities(diagnosis)
    _classes(diagnosis)
    _losses(diagnosis)
    _tails(diagnosis)
    if full:
        _class_losses(diagnosis)
        _sample_level(diagnosis)
        _discrepancy(diagnosis)
        _missing(diagnosis)
        _norms(diagnosis)
    if diagnosis.human is not None:
        _human(diagnosis)
    _not_computed(diagnosis, full)


def _paragraph(sentences: Sequence[str]) -> str:
    """The sentences as lines of the terminal's width; a number and its percent sign stay together."""
    text = textwrap.fill(" ".join(sentences).replace(" %", NO_BREAK + "%"), console.out.width)
    return text.replace(NO_BREAK, " ")


def _title(d: Diagnosis) -> str:
    told = [str(d.data.meta[k]) for k in ("dataset", "fusion", "method", "rule", "heads") if d.data.meta.get(k)]
    classes = sum(1 for n in d.data.classes.values() if n)
    counts = f"{_count(d.data.samples, 'sample')}, {_count(classes, 'class', 'classes')}"
    return " · ".join([*told, f"{d.data.split} split, {counts}"])


def _count(n: int, one: str, several: str = "") -> str:
    return f"{n} {one if n == 1 else several or one + 's'}"


def _percent(estimate: Estimate | None, intervals: bool = False) -> str | None:
    if estimate is None:
        return None
    text = f"{100 * estimate.value:.1f} %"
    if intervals and estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return text


def _signed(estimate: Estimate | None, scale: float = 100.0, digits: int = 1, intervals: bool = True) -> str | None:
    if estimate is None:
        return None
    text = f"{scale * estimate.value:+.{digits}f}"
    if not intervals:
        return text + ("*" if estimate.sign else "")
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{scale * estimate.low:+.{digits}f}, {scale * estimate.high:+.{digits}f}]"


def _number(value: float | None, digits: int = 2) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _share(estimate: Estimate | None, width: int) -> str | None:
    return None if estimate is None else f"{100 * estimate.value:.0f} % {console.bar(estimate.value, width):<{width}}"


Column = tuple[str, Sequence[str | int | None]]


def _columns(columns: Sequence[Column], drop: Sequence[str] = (), **options: Any) -> None:
    """Print those columns that hold anything, without the first of ``drop`` that the terminal has no room for."""
    filled = [(name, cells) for name, cells in columns if any(cell is not None for cell in cells)]
    for name in drop:
        if _width(filled) > console.out.width:
            filled = [column for column in filled if column[0] != name]
    heads = _heads(filled)
    # bars and marks start at the left
    right = [head for head in heads[1:] if head and not head.startswith("contribution")]
    console.table(heads, zip(*(cells for _, cells in filled), strict=True), numeric=right, **options)


def _heads(columns: Sequence[Column]) -> list[str]:
    """The names of columns, but for the first on several lines where they are wider than what stands below them."""
    heads = [columns[0][0]]
    for name, cells in columns[1:]:
        widest = max((len(str(cell)) for cell in (*cells, *name.split()) if cell is not None), default=1)
        heads.append(textwrap.fill(name, widest, break_long_words=False))
    return heads


def _width(columns: Sequence[Column]) -> int:
    total = 1
    for head, (_, cells) in zip(_heads(columns), columns, strict=True):
        texts = [*head.splitlines(), *(str(cell) for cell in cells if cell is not None)]
        total += max(map(len, texts), default=0) + 3  # a cell's own padding, and a rule between cells
    return total


def _modalities(d: Diagnosis) -> None:
    from mmbal.diagnosis.verdict import interval

    names = [*d.data.modalities, "fused"]
    follows = d.preference.follows if d.preference else {}
    changes = d.preference.changes_without if d.preference else {}
    calibration = {name: d.calibration.get(name) for name in names}
    temperature = [c.temperature.value if c and c.temperature else None for c in calibration.values()]

    def columns(intervals: bool) -> list[Column]:
        alone = [_percent(d.accuracy.alone.get(m), intervals) for m in d.data.modalities]
        return [
            ("modality", names),
            ("accuracy alone", [*alone, _percent(d.accuracy.fused, intervals)]),
            ("probe", [_percent(d.accuracy.probe.get(m)) for m in names]),
            ("reference", [_percent(d.accuracy.reference.get(m)) for m in names]),
            ("capability", [_percent(d.capability.get(m), intervals) for m in names]),
            ("contribution", [_share(d.contribution.get(m), 8) for m in names]),
            ("follows", [_percent(follows.get(m)) for m in names]),
            ("changes without", [_percent(changes.get(m)) for m in names]),
            ("temperature", [_number(value) for value in temperature]),
            ("ECE", [_number(c.ece.value if c else None) for c in calibration.values()]),
        ]

    wide = columns(intervals=True)
    shown = wide if _width(wide) <= console.out.width else columns(intervals=False)
    caption = f"imbalance index {d.index.value:.2f} {interval(d.index, digits=2)}".rstrip() if d.index else ""
    _columns(shown, drop=("ECE", "temperature", "changes without", "probe", "reference", "follows"), caption=caption)


def _classes(d: Diagnosis) -> None:
    known = {name: c for name, c in d.classes.items() if c.samples}
    if len(known) < 2:
        return
    focus = _focus(d)

    def columns(intervals: bool) -> list[Column]:
        alone: list[Column] = [
            (f"{m} alone", [_percent(c.alone.get(m), intervals) for c in known.values()]) for m in d.data.modalities
        ]
        found: list[Column] = [("class", list(known)), ("n", [c.samples for c in known.values()]), *alone]
        found.append(("fused", [_percent(c.fused, intervals) for c in known.values()]))
        if focus is not None:
            marks = [c.balance[focus].flag if focus in c.balance else None for c in known.values()]
            found += [
                (f"contribution of {focus}", [_share(c.contribution.get(focus), 6) for c in known.values()]),
                ("capability", [_percent(c.capability.get(focus), intervals) for c in known.values()]),
                ("", [f"◀ {mark}" if mark else "" for mark in marks] if any(marks) else [None] * len(marks)),
            ]
        return found

    wide = columns(intervals=True)
    shown = wide if _width(wide) <= console.out.width else columns(intervals=False)
    others = [f"{m} alone" for m in sorted(d.data.modalities, key=lambda m: m == focus)]
    _columns(shown, drop=("n", *others))


def _focus(d: Diagnosis) -> str | None:
    """The modality whose contribution by class is shown: the one that is furthest below its capability."""
    if not d.balance:
        return None
    return min(d.balance, key=lambda m: d.balance[m].difference.value)


def _losses(d: Diagnosis) -> None:
    rows: list[tuple[str, Any]] = []
    if d.decision_gap is not None:
        rows.append(("decision gap", d.decision_gap))
    if d.representation_gap is not None:
        rows.append(("representation gap", d.representation_gap))
        rows += [(f"  {m} alone", gap) for m, gap in d.representation_gap.modalities.items()]
    if d.total is not None:
        rows.append(("total", d.total))
    if not rows:
        return
    how = "fitted on the calibration split" if d.settings.fitted_on == "calibration split" else d.settings.fitted_on
    console.table(
        ["lost", "accuracy (pp)", "log-likelihood (nats)"],
        [(name, _signed(gap.accuracy), _signed(gap.nats, 1.0, 3)) for name, gap in rows],
        caption=f"decision gap: to the rule '{d.settings.rule}', {how}",
    )


def _class_losses(d: Diagnosis) -> None:
    known = {name: c for name, c in d.classes.items() if c.samples}
    decision = [c.decision_gap for c in known.values()]
    encoders = [c.representation_gap for c in known.values()]
    _columns(
        [
            ("lost by class", list(known)),
            ("decision gap (pp)", [_signed(g.accuracy if g else None) for g in decision]),
            ("", [f"◀ the rule {g.flag}" if g and g.flag else None for g in decision]),
            ("representation gap (pp)", [_signed(g.accuracy if g else None) for g in encoders]),
        ]
    )


def _sample_level(d: Diagnosis) -> None:
    names = d.data.modalities
    if d.shapley is not None:
        s = d.shapley
        _columns(
            [
                ("Shapley value", names),
                ("of accuracy", [_percent(s.accuracy.get(m), True) for m in names]),
                ("of log-likelihood", [_signed(s.log_likelihood.get(m), 1.0, 3) for m in names]),
                ("helps", [_percent(s.helps.get(m)) for m in names]),
            ]
        )
    if d.samples is None:
        return
    preferred = d.samples.preferred
    if preferred:
        _columns(
            [
                ("preferred modality", list(preferred)),
                ("share", [_percent(p.share) for p in preferred.values()]),
                ("fused there", [_percent(p.fused, True) for p in preferred.values()]),
                ("alone there", [_percent(p.alone, True) for p in preferred.values()]),
            ]
        )
    _columns(
        [
            ("pair", list(d.samples.agreement)),
            ("agree", [_percent(e, True) for e in d.samples.agreement.values()]),
            ("both wrong", [_percent(e, True) for e in d.samples.double_fault.values()]),
        ],
        caption=f"at least one modality is right in {_percent(d.samples.oracle, True)}",
    )


def _discrepancy(d: Diagnosis) -> None:
    if d.discrepancy is None:
        return
    rows = [(m, part) for m, parts in d.discrepancy.bins.items() for part in parts.values()]
    _columns(
        [
            ("preferred modality", [m for m, _ in rows]),
            ("discrepancy", [f"{part.low:.2f} to {part.high:.2f}" for _, part in rows]),
            ("samples", [part.samples for _, part in rows]),
            ("fused", [_percent(part.fused) for _, part in rows]),
            *((f"{m} alone", [_percent(part.alone.get(m)) for _, part in rows]) for m in d.data.modalities),
            ("gain (pp)", [_signed(part.gain) for _, part in rows]),
        ],
        drop=[f"{m} alone" for m in d.data.modalities],
        caption=f"gain: fused less the preferred modality alone. The confidences of {d.discrepancy.by} also select the "
        "samples, so a negative gain is not a loss; use it only to compare models",
    )


def _tails(d: Diagnosis) -> None:
    if d.tails is None:
        return

    def index(estimate: Estimate | None) -> str | None:
        return None if estimate is None else f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"

    kinds = {"gradient noise": d.tails.gradient_noise, "updates": d.tails.update_norm, "weights": d.tails.weight_norm}
    _columns(
        [("tail index", d.data.modalities)]
        + [(kind, [index(found.get(m)) for m in d.data.modalities]) for kind, found in kinds.items()],
        caption=f"smaller is heavier; learning rate {d.tails.learning_rate:g}, batches of {d.tails.batch_size}: a larger "
        "rate or a smaller batch tends to make tails heavier",
    )


def _missing(d: Diagnosis) -> None:
    if d.missing:
        ways = ("removed", "zeroed", "mean", "shuffled")
        columns = [(way, [_percent(getattr(found, way), True) for found in d.missing.values()]) for way in ways]
        _columns([("accuracy, missing", list(d.missing)), *columns])


def _norms(d: Diagnosis) -> None:
    rows = [
        (f"{symbol} {m}", *(_number(e and e.value) for e in (norm.raw, norm.standardised)), _number(norm.effect))
        for symbol, part in (("z", "features"), ("W", "weights"), ("W z", "contribution"))
        for m, norms in d.norms.items()
        if (norm := getattr(norms, part)) is not None
    ]
    if rows:
        console.table(["norm of", "raw", "standardised", "effect (d)"], rows)
    if d.geometry:
        found = d.geometry.values()
        _columns(
            [
                ("features", list(d.geometry)),
                ("separability", [_number(g.separability, 3) for g in found]),
                ("effective rank", [f"{g.effective_rank:.1f} of {g.dimensions}" for g in found]),
                ("nearest centroid", [_percent(g.nearest_centroid, True) for g in found]),
            ]
        )


def _human(d: Diagnosis) -> None:
    h = d.human
    assert h is not None
    console.table(
        ["", "voice: model", "raters", "face: model", "raters", "follows voice: model", "raters"],
        [
            (
                name,
                _percent(c.model.get("voice")),
                _percent(c.raters.get("voice")),
                _percent(c.model.get("face")),
                _percent(c.raters.get("face")),
                _percent(c.model_follows_voice),
                _percent(c.raters_follow_voice),
            )
            for name, c in h.classes.items()
        ],
        caption=f"where voice and face disagree, the model follows the voice in {_percent(h.model_follows.get('voice'))}, "
        f"people who had both in {_percent(h.raters_follow.get('voice'))} ({h.clips} clips)",
    )


def _not_computed(d: Diagnosis, full: bool) -> None:
    if full:
        for n in d.not_computed:
            console.note(f"Not computed: {n.what}: {n.reason}{f'; needs {n.needs}' if n.needs else ''}.")
    elif d.not_computed:
        whats = list(dict.fromkeys(n.what.split(".")[0] for n in d.not_computed))
        console.note(f"Not computed: parts of {', '.join(whats)}; why: --full. All figures: --json or --out FILE.")


def _side_by_side(compared: SideBySide) -> None:
    for name, d in compared.diagnoses.items():
        console.say(f"{name}: {_title(d)}", style="bold")
        console.say(_paragraph(d.verdict))
        console.say()
    first = next(iter(compared.diagnoses.values()))
    figures = {
        "accuracy.fused": ("accuracy", 100, 1),
        "calibration.fused.nll": ("NLL", 1, 3),
        "index": ("imbalance index", 1, 2),
        **{f"contribution.{m}": (f"contribution of {m}", 100, 1) for m in first.data.modalities},
        **{f"capability.{m}": (f"capability of {m}", 100, 1) for m in first.data.modalities},
        **{f"accuracy.alone.{m}": (f"{m} alone", 100, 1) for m in first.data.modalities},
        **{f"accuracy.probe.{m}": (f"{m}, probe", 100, 1) for m in first.data.modalities},
        **{f"preference.follows.{m}": (f"follows {m}", 100, 1) for m in first.data.modalities},
        "decision_gap.accuracy": ("decision gap", 100, 1),
        **{f"classes.{c}.fused": (f"class {c}", 100, 1) for c in first.classes},
        **{f"discrepancy.preferred.{m}.gain": (f"gain where {m} is preferred", 100, 1) for m in first.data.modalities},
        **{f"tails.gradient_noise.{m}": (f"tail index, {m}", 1, 1) for m in first.data.modalities},
        "tails.learning_rate": ("learning rate", 1, 3),
        "tails.batch_size": ("batch size", 1, 0),
    }
    names = [Path(name).name if Path(name).is_dir() else Path(name).stem for name in compared.diagnoses]

    def columns(intervals: bool) -> list[Column]:
        shown = {path: label for path, label in figures.items() if _figure(first, path) is not None}
        found: list[Column] = [("", [label for label, _, _ in shown.values()])]
        for d, short, name in zip(compared.diagnoses.values(), names, compared.diagnoses, strict=True):
            values = [(_figure(d, path), scale, digits) for path, (_, scale, digits) in shown.items()]
            found.append((short, [None if v is None else f"{scale * v:.{n}f}" for v, scale, n in values]))
            if name in compared.differences:
                change = compared.differences[name].figures
                rows = [(change.get(path), scale, digits) for path, (_, scale, digits) in shown.items()]
                found.append(("difference", [_signed(e, scale, n, intervals) for e, scale, n in rows]))
        return found

    how = f"paired on {compared.samples} samples" if compared.paired else "on different samples, so not paired"
    wide = columns(intervals=True)
    if _width(wide) <= console.out.width:
        _columns(wide, caption=how)
    else:
        _columns(columns(intervals=False), caption=f"{how}; * interval of the difference excludes zero")
    for name, difference in compared.differences.items():
        if difference.mcnemar is not None:
            console.say(f"{name} against the first: McNemar's p of equal accuracy {difference.mcnemar:.3g}")


def _figure(d: Diagnosis, path: str) -> float | None:
    from mmbal.diagnosis.gate import figures_of

    found = figures_of(d).get(path)
    return None if found is None else found[0]
