"""What is read from the files before they are encoded: the length of clips and the shape of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbal.data.media.container import duration
from mmbal.data.media.decode import Unusable
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.media.recipe_feature import FeatureRecipe, read_array
from mmbal.data.preparation.manifest import MEDIA, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError

LONGEST = 10.0  # seconds of sound kept by default at most
PROBED = 64  # clips whose headers are read to learn how long clips are


def recipes_for(rows: Sequence[Row], options: Options) -> dict[str, Recipe]:
    """A recipe for every modality that a row has; how long clips are and what shape arrays have is looked up in them."""
    names = [m for m in dict.fromkeys(m for row in rows for m in row.sources) if _wanted(m, options)]
    recipes: dict[str, Recipe] = {}
    longest = None
    if options.duration is None and {"audio", "video"} & set(names):
        longest = longest_clip(rows)
    for m in names:
        if m not in MEDIA:
            recipes[m] = FeatureRecipe(size=_feature_size(rows, m))
        elif m == "audio":
            recipes[m] = options.audio(longest)
        elif m == "image":
            recipes[m] = options.image()
        elif m == "text":
            recipes[m] = options.text()
        else:
            recipes[m] = options.video(longest)
    return recipes


def _wanted(m: str, options: Options) -> bool:
    return not options.modality or m in options.modality


def _spread(rows: Sequence[Row], m: str) -> list[Source]:
    """At most ``PROBED`` sources of a modality, evenly over the rows."""
    having = [row.sources[m] for row in rows if m in row.sources]
    return having[:: max(1, -(-len(having) // PROBED))]


def longest_clip(rows: Sequence[Row]) -> float | None:
    """Seconds of the longest time range, or of the longest of some clips; at most ``LONGEST``, None where unknown."""
    ranges = [s.end - (s.start or 0.0) for row in rows for s in row.sources.values() if s.end is not None]
    if ranges:
        return min(round(max(ranges), 3), LONGEST)
    found = 0.0
    for source in dict.fromkeys(source for m in ("audio", "video") for source in _spread(rows, m)):
        try:
            found = max(found, duration(Path(source.path)) - (source.start or 0.0))
        except Unusable:
            continue
    return min(round(found, 3), LONGEST) or None


def _feature_size(rows: Sequence[Row], m: str) -> tuple[int, ...]:
    """Shape of one sample of features: that of the first readable array; sequences get the longest length seen."""
    shapes = []
    for source in _spread(rows, m):
        try:
            shapes.append(read_array(Path(source.path), source.key).shape)
        except Unusable:
            continue
    if not shapes:
        raise DataError(
            f"No array of modality '{m}' can be read.", f"The first is {next(s.path for s in _spread(rows, m))}."
        )
    common = max(set(shapes), key=shapes.count)
    if len(common) == 2:
        return (max(s[0] for s in shapes if len(s) == 2 and s[1] == common[1]), common[1])
    if len(common) != 1:
        raise DataError(f"Arrays of modality '{m}' have shape {common}; (D,) or (T, D) is needed.")
    return common
