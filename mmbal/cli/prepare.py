"""`mmbal prepare`: media, features or a known data set into a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import completion, console
from mmbal.cli.elsewhere import Ray, pool_of
from mmbal.cli.options import Force, Json, from_model
from mmbal.cli.progress import Counted
from mmbal.data.preparation.options import SPLITS, Options
from mmbal.errors import DataError, UsageError
from mmbal.text import duration, plural

if TYPE_CHECKING:
    from mmbal.data.prepare import Preparation

DOING = {"rows": "Preparing", "pictures": "Compressing", "files": "Comparing", "bytes": "Downloading"}
CHECKS = "Checks"


def complete_source(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a shell may complete a source to: known data sets and the other sub-commands."""
    group: Any = ctx.parent.command if ctx.parent else None
    others = [] if group is None else group.list_commands(ctx)[1:]
    return [*completion.members("dataset")(incomplete), *(name for name in others if name.startswith(incomplete))]


Store = Annotated[Path, typer.Argument(metavar="STORE", help="A store.", show_default=False)]


@from_model(Options)
def prepare(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A known data set (mmbal prepare list), MANIFEST.csv|.tsv|.jsonl, FEATURES.npz|.mat, or a store with "
            "--balance-discrepancy.",
            autocompletion=complete_source,
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The folder of a known data set.")] = None,
    out: Annotated[Path | None, typer.Option(help="The store to write. Default: stores/NAME.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode. Default: one for each core.")
    ] = None,
    ray: Ray = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Prepare as a published repository does, for a checkpoint of it: ogm_ge, ast. Other options come first.",
            autocompletion=completion.words("ogm_ge", "ast"),
        ),
    ] = None,
    options: dict[str, Any] = {},  # noqa: B006, never changed
    balance_discrepancy: Annotated[
        bool,
        typer.Option(
            "--balance-discrepancy",
            help="SOURCE is a store: write a view of it whose train samples are drawn so that each modality is preferred "
            "as often, and by as much (2302.10912).",
            rich_help_panel=SPLITS,
        ),
    ] = False,
    confidences: Annotated[
        Path | None,
        typer.Option(
            metavar="PREDICTIONS",
            help="With --balance-discrepancy: unimodal decisions on the train split by models that did not train on it. "
            "Default: cross-fitted linear heads.",
            rich_help_panel=SPLITS,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 where anything was found.", rich_help_panel=CHECKS)
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the files with published hashes.", rich_help_panel=CHECKS)
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a known data set's files to --root first.", rich_help_panel=CHECKS)
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Fetch from this address instead of the original one.", rich_help_panel=CHECKS)
    ] = None,
    check_store: Annotated[
        Path | None,
        typer.Option("--check", metavar="STORE", help="The same as `mmbal prepare check STORE`.", hidden=True),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="The same as `mmbal prepare list`.", hidden=True)] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Decode media, or read features, once, into a store that all other commands read.

    Run an interrupted command again: it goes on where it stopped.
    A bad file never stops the others. It becomes a finding.

    `mmbal prepare list` lists the known data sets.
    `mmbal prepare init DIR` writes a manifest of a folder of class folders.
    `mmbal prepare check STORE` proves that a store is unchanged.
    """
    if listing:
        list_sets(as_json)
        return
    if check_store is not None:
        check(check_store, as_json)
        return
    if source is None:
        raise UsageError(
            "No SOURCE given.",
            "Give a known data set, a manifest or a feature file: mmbal prepare cremad|clips.csv|features.npz. "
            "The known data sets: mmbal prepare list.",
        )
    if balance_discrepancy:
        _balance(Path(source), out, confidences, options.get("seed", 0), as_json)
        return
    from mmbal.data.prepare import prepare as run

    with pool_of(ray, None, None if ray is None else 0, workers=workers) as pool, Counted(DOING) as counted:
        result = run(
            source,
            out=out,
            root=root,
            workers=pool or workers,
            force=force,
            verify=verify,
            download=download,
            base_url=base_url,
            like=like,
            progress=counted,
            **options,
        )
    if as_json:
        console.print_json(result.to_dict())
    else:
        _show(result)
    result.check(strict)


def init(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="A folder of class folders: DIR/CLASS/FILE or DIR/train/CLASS/FILE."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The manifest to write. Default: DIR/manifest.csv.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a manifest of a folder of class folders, to look at and then prepare."""
    from mmbal.data.preparation.scan import write_manifest

    if folder is None:
        raise UsageError("No DIR given.", "Give a folder with a folder for each class: mmbal prepare init DIR.")
    written = write_manifest(folder, out, force=force)
    if as_json:
        console.print_json(
            {"manifest": str(written.path), "samples": written.samples, "speakers": list(written.speakers)}
        )
        return
    if written.speakers:
        console.say(
            f"The names of the files show {len(written.speakers)} speakers (the first: {written.speakers[0]}), now the "
            "column 'group': a carved split has each speaker on one side only."
        )
    console.say(
        f"{plural(written.samples, 'sample')} in {written.path}. Look at it, then: mmbal prepare {written.path}"
    )


def check(store: Store, as_json: Json = False) -> None:
    """Read a store again and prove that it is as it was written, by its hashes."""
    from mmbal.data.store.store import Store as Opened

    opened = Opened.open(store)
    problems = opened.verify()
    files = len(opened.meta["files"])
    if as_json:
        console.print_json({"store": str(store), "hash": opened.hash, "files": files, "problems": problems})
    elif not problems:
        console.say(f"{store}: all {files} files are as they were written (hash {opened.hash[:12]}).")
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{store}: {problems[0]}{more}", "Prepare it again with --force.")


def list_sets(as_json: Json = False) -> None:
    """List the data sets that mmbal knows."""
    from mmbal.registry import datasets
    from mmbal.report.preparation import data_sets

    if as_json:
        console.print_json({entry.name: asdict(entry.about) for entry in datasets})
        return
    console.show(data_sets())


def _show(result: Preparation) -> None:
    from mmbal.report.preparation import findings, modalities, samples

    store = result.store
    tables, lines = findings(result.findings)
    console.show(samples(store), modalities(store), *tables)
    for line in lines:
        console.note(line)
    if result.existed:
        console.note(f"{store.path} was prepared from the same source before; nothing was done.")
    elif result.resumed:
        console.note(f"An interrupted run had encoded {plural(result.resumed, 'sample')}.")
    console.say(f"{result.verdict} Store: {store.path} ({duration(result.seconds)}, hash {store.hash[:12]})")


def _balance(source: Path, out: Path | None, confidences: Path | None, seed: int, as_json: bool) -> None:
    from mmbal.data.store.balanced import balance_discrepancy
    from mmbal.data.store.store import Store, remember
    from mmbal.files import locked
    from mmbal.predictions.format import Predictions
    from mmbal.report.preparation import drawn

    store = Store.open(source)
    given = None if confidences is None else Predictions.load(confidences)
    target = out or store.path.with_name(f"{store.path.name}-balanced")
    with locked(target):
        view = balance_discrepancy(store, target, predictions=given, seed=seed)
    remember(view.path)
    if as_json:
        told = {"store": str(view.path), "hash": view.hash, "splits": view.splits()}
        console.print_json(told | view.meta["discrepancy"])
        return
    console.show(drawn(view))
    console.say(f"Store: {view.path}, a view of {store.path} (hash {view.hash[:12]})")
