"""`mmbal explain`: ask any model about its inputs with modalities taken away, and say which of them it follows."""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from mmbal.cli import console
from mmbal.cli.elsewhere import Ray, TaskCpus, TaskGpus, pool_of
from mmbal.cli.options import Force, Json, Scores
from mmbal.cli.progress import counting, working
from mmbal.errors import DataError, UsageError, did_you_mean

TABLES = (".csv", ".tsv", ".txt")


def explain(
    function: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION", help="Your function of a batch, as my_model:predict or model.py:predict."
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="What the model gets: arrays (.npz), or a table (.csv), as of clips and their files.")
    ],
    modality: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMNS", help="audio=mfcc,pitch or audio='a_*'. Repeatable. Default for .npz: each array."
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="What stands in for an absent modality: zero, mean, missing, shuffled, conditional... Repeatable."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The column of the labels. Default: label, labels, y, target...")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Names of the classes in the order of the model's columns.")
    ] = None,
    scores: Annotated[Scores, typer.Option(help="What the function returns.")] = Scores.auto,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Coalitions asked of each sample, for more than five modalities.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the baselines that draw.")] = 5,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps the answers: a stopped call goes on.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a call.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    ray: Ray = None,
    task_cpus: TaskCpus = None,
    task_gpus: TaskGpus = None,
    out: Annotated[Path, typer.Option(help="Predictions file to write.", dir_okay=False)] = Path("explained.npz"),
    force: Force = False,
    json: Json = False,
) -> None:
    """Ask any model about coalitions of modalities, write its answers as predictions, and print the verdict.

    It imports MODULE and calls FUNCTION(batch), which returns logits or probabilities (B, C). A batch is a dict of
    arrays for .npz and a pandas DataFrame for a table.

    Example:
        mmbal explain my_model:predict --data test.npz
    """
    from mmbal.diagnosis import diagnose
    from mmbal.explain import explain as ask
    from mmbal.explain.baselines import check_name
    from mmbal.files import locked, refuse_existing

    for name in baseline or []:  # names are checked before files
        check_name(name)
    predict = imported(function)
    given, of_samples = read(data, label)
    names = modalities(modality, given, list(of_samples.values()))
    refuse_existing(out, force)
    with pool_of(ray, task_cpus, task_gpus) as pool, ExitStack() as stack:
        found = ask(
            predict,
            given,
            of_samples["labels"],
            modalities=names,
            baseline=baseline or ["zero"],
            split=of_samples.get("split"),
            groups=of_samples.get("group"),
            ids=of_samples.get("ids"),
            classes=None if classes is None else classes.split(","),
            scores=scores.value,
            budget=budget,
            draws=draws,
            cache=cache,
            batch_size=batch_size,
            seed=seed,
            report=counting(stack, f"Asking {function}"),
            meta={"dataset": data.stem, "function": function},
            workers=pool,
        )
    console.warn(found.warnings)
    with locked(out):
        refuse_existing(out, force)
        found.save(out)
    split = "test" if "test" in found.splits() else next(iter(found.splits()))
    with working(f"Diagnosing {found.splits()[split]} samples"):
        diagnosis = diagnose(found, source=str(out), split=split)
    if json:
        console.print_json({"predictions": str(out), **diagnosis.model_dump(mode="json")})
        return
    told = f"{found.meta['calls']} calls, {found.meta['rows']} rows"
    told += f", {found.meta['rows_cached']} rows from the cache" if cache is not None else ""
    console.note(f"Wrote {out} ({told})")
    console.paragraph(diagnosis.verdict)
    console.commands(
        [(f"mmbal diagnose {out}", "prints all figures"), *((a.command, a.purpose) for a in diagnosis.advice)]
    )


def imported(text: str) -> Any:
    """The function that MODULE:FUNCTION names; the module is a name to import from here, or a file."""
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name:
        raise UsageError(
            f"'{text}' is not of the form MODULE:FUNCTION.", "For example my_model:predict, or model.py:predict."
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = _of_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == module.split(".")[0]:
            raise UsageError(
                f"There is no module '{module}' here.", "Give it as it is imported, or its file."
            ) from None
        raise UsageError(f"{module} needs the module '{error.name}', which is not installed.") from None
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{module} can't be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{module} has no '{part}'.", did_you_mean(part, [n for n in dir(found) if n[0] != "_"]))
        found = getattr(found, part)
    return found


def _of_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    sys.path.insert(0, str(path.resolve().parent))  # where its own imports may lie, and where a task finds it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def read(path: Path, label: str | None) -> tuple[Any, dict[str, str]]:
    """The data, and the columns of labels, split, group and ids that they have."""
    from mmbal.files import read_npz
    from mmbal.predictions.columns import ALIASES, key_of

    given: Any
    if path.suffix.lower() in TABLES:
        given = _frame(path)
        names = [str(name) for name in given.columns]
    else:
        given = {
            key: value for key, value in read_npz(path).items() if value.ndim and key not in ("modalities", "classes")
        }
        names = list(given)
    found = {what: key for what in ALIASES if (key := key_of(names, what)) and what != "classes"}
    if label is not None:
        if label not in names:
            raise UsageError(f"{path} has no column '{label}'.", did_you_mean(label, names))
        found["labels"] = label
    if "labels" not in found:
        raise DataError(f"{path} has no column of labels.", "Name it with --label.")
    return given, found


def _frame(path: Path) -> Any:
    """A table as a DataFrame; columns of which every cell is a number are numbers."""
    from mmbal.predictions.tables import number, read_table

    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError("A table of inputs needs pandas, which is not installed.", "pip install pandas") from None
    table = read_table(path)
    columns: dict[str, Any] = {}
    for name in table.header:
        cells = table.column(name)
        try:
            columns[name] = [number(cell) if cell else float("nan") for cell in cells]
        except ValueError:
            columns[name] = list(cells)
    return pandas.DataFrame(columns)


def modalities(given: list[str] | None, data: Any, of_samples: list[str]) -> Mapping[str, list[str]]:
    """``NAME=COLUMNS`` as a table; every array that is of no sample where nothing is given."""
    names = [str(name) for name in data]
    if not given:
        if hasattr(data, "columns"):
            raise UsageError("A table needs the columns of each modality.", "For example --modality audio=mfcc,pitch.")
        return {name: [name] for name in names if name not in of_samples}
    found: dict[str, list[str]] = {}
    for text in given:
        modality, equals, patterns = text.partition("=")
        for pattern in (patterns if equals else modality).split(","):
            matching = fnmatch.filter(names, pattern)
            if not matching:
                raise UsageError(f"--modality {text}: there is no column '{pattern}'.", did_you_mean(pattern, names))
            found.setdefault(modality, []).extend(matching)
    return found
