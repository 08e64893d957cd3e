"""`mmbal prepare`: media, features or a known data set into a store."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.options import Force, Json
from mmbal.errors import DataError, UsageError

if TYPE_CHECKING:
    from mmbal.data.preparation.findings import Finding
    from mmbal.data.prepare import Preparation

DOING = {"rows": "Preparing", "files": "Comparing", "bytes": "Downloading"}
SHOWN_CLASSES = 40
SHOWN_FINDINGS = 40

SOUND, PICTURE, TEXT, SPLIT, SAFETY = "Sound", "Pictures", "Text and arrays", "Splits", "Checks"


def prepare(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A known data set (mmbal prepare --list), MANIFEST.csv|.tsv|.jsonl, FEATURES.npz|.mat, "
            "`init DIR` to write a manifest of a folder, or a store with --balance-discrepancy.",
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="With init: a folder of class folders.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where a known data set lies.")] = None,
    out: Annotated[Path | None, typer.Option(help="The store to write. Default: stores/NAME.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode. Default: one a core.")] = None,
    audio_features: Annotated[
        str | None, typer.Option(help="spectrogram, logmel or fbank.", rich_help_panel=SOUND)
    ] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Hz.", rich_help_panel=SOUND)] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Seconds kept. Default: the longest range or clip, at most 10.", rich_help_panel=SOUND),
    ] = None,
    n_fft: Annotated[int | None, typer.Option("--n-fft", help="Samples a window.", rich_help_panel=SOUND)] = None,
    hop: Annotated[int | None, typer.Option(help="Samples between windows.", rich_help_panel=SOUND)] = None,
    mels: Annotated[int | None, typer.Option(help="Mel bands.", rich_help_panel=SOUND)] = None,
    fill: Annotated[
        str | None, typer.Option(help="zeros or repeat: what fills up a short sound.", rich_help_panel=SOUND)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second. Default: evenly over the clip.", rich_help_panel=PICTURE)
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames that an encoder sees (3).", rich_help_panel=PICTURE)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Frames stored; training draws among them.", rich_help_panel=PICTURE)
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels of the side (224; 64 is fast on a CPU).", rich_help_panel=PICTURE)
    ] = None,
    flip: Annotated[
        bool | None, typer.Option(help="Mirror pictures at random in training.", rich_help_panel=PICTURE)
    ] = None,
    tokens: Annotated[str | None, typer.Option(help="words (hashed), bytes or ids.", rich_help_panel=TEXT)] = None,
    length: Annotated[int | None, typer.Option(help="Tokens kept of a text.", rich_help_panel=TEXT)] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Different tokens.", rich_help_panel=TEXT)] = None,
    label: Annotated[str | None, typer.Option(help="Column or array of the class.", rich_help_panel=TEXT)] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME=ARRAY, repeatable. Default: all.", rich_help_panel=TEXT)
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="MODALITY=features|sequence|spectrogram|image|frames|text for arrays, repeatable.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Leave out samples that lack a modality.", rich_help_panel=SPLIT)
    ] = False,
    split: Annotated[str | None, typer.Option(help="Which list of a known data set.", rich_help_panel=SPLIT)] = None,
    subset: Annotated[str | None, typer.Option(help="Which part of a known data set.", rich_help_panel=SPLIT)] = None,
    val: Annotated[
        float | None, typer.Option(help="Share of train that becomes val where there is none.", rich_help_panel=SPLIT)
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share that becomes test where there is none.", rich_help_panel=SPLIT)
    ] = None,
    resplit: Annotated[bool, typer.Option("--resplit", help="Ignore the splits given.", rich_help_panel=SPLIT)] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of carved splits.", rich_help_panel=SPLIT)] = 0,
    balance_discrepancy: Annotated[
        bool,
        typer.Option(
            "--balance-discrepancy",
            help="SOURCE is a store: write a view of it whose train samples are drawn so that each modality is preferred "
            "as often, and by as much (2302.10912).",
            rich_help_panel=SPLIT,
        ),
    ] = False,
    confidences: Annotated[
        Path | None,
        typer.Option(
            metavar="PREDICTIONS",
            help="With --balance-discrepancy: unimodal decisions on the train split by models that did not train on it. "
            "Default: cross-fitted linear heads.",
            rich_help_panel=SPLIT,
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Read a store again and prove its hashes.", rich_help_panel=SAFETY),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 where anything was found.", rich_help_panel=SAFETY)
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the files with published hashes.", rich_help_panel=SAFETY)
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a known data set's files to --root first.", rich_help_panel=SAFETY)
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Fetch from here instead of the files' home.", rich_help_panel=SAFETY)
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the known data sets.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Decode media, or take features, once: into a store that all other commands read.

    Interrupted, the same command goes on where it was. One bad file never stops the others: it becomes a finding.
    """
    if listing:
        _list(as_json)
        return
    if check is not None:
        _check(check, as_json)
        return
    if source == "init":
        _init(folder, out, force, as_json)
        return
    if source is None:
        raise UsageError("What shall be prepared?", "mmbal prepare NAME|MANIFEST.csv|FEATURES.npz, or --list.")
    if balance_discrepancy:
        _balance(Path(source), out, confidences, seed, as_json)
        return
    from mmbal.data.prepare import prepare as run

    options: dict[str, Any] = {
        "audio_features": audio_features,
        "sample_rate": sample_rate,
        "duration": duration,
        "n_fft": n_fft,
        "hop": hop,
        "mels": mels,
        "fill": fill,
        "fps": fps,
        "frames": frames,
        "keep": keep,
        "size": size,
        "flip": flip,
        "tokens": tokens,
        "length": length,
        "vocabulary": vocabulary,
        "label": label,
        "modality": tuple(modality) if modality else None,
        "kind": dict(_pair(text) for text in kind or []) or None,
        "complete": complete or None,
        "split": split,
        "subset": subset,
        "val": val,
        "test": test,
        "resplit": resplit or None,
        "seed": seed or None,
    }
    with ExitStack() as stack:
        result = run(
            source,
            out=out,
            root=root,
            workers=workers,
            force=force,
            verify=verify,
            download=download,
            base_url=base_url,
            progress=_Bars(stack),
            **options,
        )
    if as_json:
        console.print_json(result.to_dict())
    else:
        _show(result)
    result.check(strict)


class _Bars:
    """A progress bar as soon as it is known how much there is to do, with the rate; a new one for each new task."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._shown: tuple[int, str] | None = None

    def __call__(self, steps: int, total: int, of: str) -> None:
        if (total, of) != self._shown:
            self._stack.close()
            bar = console.progress(DOING[of], total, of_bytes=of == "bytes")
            self._advance = self._stack.enter_context(bar)
            self._shown, self._done, self._began = (total, of), -steps, time.perf_counter()
        self._done += steps
        rate = self._done / max(time.perf_counter() - self._began, 1e-3)
        text = f"{rate / 1e6:.1f} MB/s" if of == "bytes" else f"{rate:.0f}/s"
        self._advance(steps, text if console.err.is_terminal else "")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--kind {text} is not of the form MODALITY=KIND.")
    return name, value


def _show(result: Preparation) -> None:
    store = result.store
    splits = list(store.splits())
    counts = store.counts()

    def cell(split: str, name: str) -> str:
        n = counts[split][name]
        lacking = [f"{m} {n[m]}" for m in store.modalities if n[m] != n["rows"]]
        return f"{n['rows']}" + (f" ({', '.join(lacking)})" if lacking else "")

    rows: list[list[Any]] = [[name, *(cell(s, name) for s in splits)] for name in store.classes[:SHOWN_CLASSES]]
    if len(store.classes) > SHOWN_CLASSES:
        rows.append([f"... {len(store.classes) - SHOWN_CLASSES} more", *("" for _ in splits)])
    rows.append(["all", *store.splits().values()])
    lacking = "In brackets: how many have a modality that some lack."
    some_lack = any(not mask.all() for mask in store.present.values())
    console.table(
        ["class", *splits], rows, title=f"{store.name}: {len(store)} samples", caption=lacking if some_lack else ""
    )
    console.table(
        ["modality", "kind", "shape", "made by"],
        [[m, s.kind, " x ".join(map(str, s.shape)), _recipe(s.preprocessing)] for m, s in store.modalities.items()],
        numeric=(),
    )
    _show_findings(result.findings)
    for finding in result.findings:
        if finding.level == "note":
            console.note(f"{finding.where}: {finding.reason}")
    if result.existed:
        console.note(f"{store.path} was prepared from the same source before; nothing was done.")
    elif result.resumed:
        console.note(f"{result.resumed} samples were encoded by an interrupted run.")
    console.say(f"{result.verdict} Store: {store.path} ({result.seconds:.1f} s, hash {store.hash[:12]})")


def _recipe(preprocessing: dict[str, Any]) -> str:
    recipe = preprocessing.get("recipe") or {}
    names = ("features", "sample_rate", "duration", "frames", "keep", "fps", "size", "tokens", "length")
    return ", ".join(f"{k} {recipe[k]}" for k in names if recipe.get(k) is not None) or "given arrays"


def _show_findings(findings: list[Finding]) -> None:
    serious = [f for f in findings if f.level != "note"]
    if not serious:
        return
    console.table(
        ["level", "kind", "modality", "where", "why"],
        [[f.level, f.kind, f.modality or None, f.where, f.reason] for f in serious[:SHOWN_FINDINGS]],
        title=f"{len(serious)} finding{'s' * (len(serious) > 1)}",
        numeric=(),
    )
    if len(serious) > SHOWN_FINDINGS:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in serious).most_common())
        console.note(f"{len(serious) - SHOWN_FINDINGS} more, in all: {kinds} (--json lists each).")


def _list(as_json: bool) -> None:
    from mmbal.registry import datasets

    if as_json:
        console.print_json({entry.name: entry.metadata for entry in datasets})
        return
    columns = ("title", "modalities", "classes", "licence")
    rows = [
        [e.name, *(", ".join(v) if isinstance(v := e.metadata[c], tuple) else v for c in columns)] for e in datasets
    ]
    console.table(["name", *columns], rows, numeric=("classes",))


def _check(path: Path, as_json: bool) -> None:
    from mmbal.data.store.store import Store

    store = Store.open(path)
    problems = store.verify()
    if as_json:
        console.print_json(
            {"store": str(path), "hash": store.hash, "files": len(store.meta["files"]), "problems": problems}
        )
    elif not problems:
        console.say(f"{path}: all {len(store.meta['files'])} files are as they were written (hash {store.hash[:12]}).")
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{path}: {problems[0]}{more}", "Prepare it again with --force.")


def _balance(source: Path, out: Path | None, confidences: Path | None, seed: int, as_json: bool) -> None:
    from mmbal.data.store.balanced import balance_discrepancy
    from mmbal.data.store.store import Store, remember
    from mmbal.predictions.format import Predictions

    store = Store.open(source)
    given = None if confidences is None else Predictions.load(confidences)
    target = out or store.path.with_name(f"{store.path.name}-balanced")
    view = balance_discrepancy(store, target, predictions=given, seed=seed)
    remember(view.path)
    told = view.meta["discrepancy"]
    if as_json:
        console.print_json({"store": str(view.path), "hash": view.hash, "splits": view.splits(), **told})
        return
    edges = [f"{b / told['bins']:.1f} to {(b + 1) / told['bins']:.1f}" for b in range(told["bins"])]
    rows = [
        [m, edge, before, after]
        for m in told["before"]
        for edge, before, after in zip(edges, told["before"][m], told["after"][m], strict=True)
    ]
    console.table(
        ["preferred", "by", "samples", "drawn"],
        rows,
        title=f"{store.name}: train samples by modality discrepancy",
        caption=f"Confidences: {told['confidences']}. A sample is drawn at most {told['repeats']} times.",
    )
    console.say(f"Store: {view.path}, a view of {store.path} (hash {view.hash[:12]})")


def _init(folder: Path | None, out: Path | None, force: bool, as_json: bool) -> None:
    from mmbal.data.preparation.scan import write_manifest

    if folder is None:
        raise UsageError("Which folder?", "mmbal prepare init DIR, with a folder per class inside.")
    path, rows = write_manifest(folder, out, force=force)
    if as_json:
        console.print_json({"manifest": str(path), "rows": rows})
    else:
        console.say(f"{rows} samples in {path}. Look at it, then: mmbal prepare {path}")
