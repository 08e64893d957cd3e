"""The options of preparation; an option that is not given has the data set's default, or follows from the data."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from mmbal.config import Config, validate
from mmbal.data.media.recipe import Recipe
from mmbal.data.media.recipe_audio import AudioRecipe
from mmbal.data.media.recipe_pictures import FlowRecipe, FramesRecipe, ImageRecipe
from mmbal.data.media.recipe_text import TextRecipe
from mmbal.errors import UsageError

SOUND, PICTURES, ARRAYS, SPLITS = "Sound", "Pictures", "Text and arrays", "Splits"


def of(recipe: type[Recipe], key: str, group: str, *, default: Any = None, metavar: str = "") -> Any:
    """The field of an option that a recipe has too: None where it is left open, with the recipe's bounds and meaning.

    ``default`` describes its value then, where that is not the recipe's default.
    """
    field = recipe.model_fields[key]
    bounds = {name: getattr(b, name) for b in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(b, name)}
    shown = {"group": group, "default": field.default if default is None else default, "metavar": metavar}
    return Field(None, description=field.description, json_schema_extra=shown, **bounds)


def own(default: Any, description: str, group: str, metavar: str = "", **bounds: Any) -> Any:
    """The field of an option that preparation alone has."""
    return Field(default, description=description, json_schema_extra={"group": group, "metavar": metavar}, **bounds)


class Options(Config):
    """Options of preparation.

    The command line is made of these fields: name, type, default, bounds and description; ``json_schema_extra`` holds the
    group in which help shows an option, and what stands for its value and its default there.
    """

    audio_features: Literal["spectrogram", "logmel", "fbank"] | None = of(AudioRecipe, "features", SOUND)
    sample_rate: int | None = of(AudioRecipe, "sample_rate", SOUND)
    duration: float | None = of(AudioRecipe, "duration", SOUND, default="the longest range or clip, at most 10")
    n_fft: int | None = of(AudioRecipe, "n_fft", SOUND)
    hop: int | None = of(AudioRecipe, "hop", SOUND)
    mels: int | None = of(AudioRecipe, "mels", SOUND)
    steps: int | None = of(AudioRecipe, "steps", SOUND, default="follows from the duration")
    fill: Literal["zeros", "repeat"] | None = of(AudioRecipe, "fill", SOUND)
    fps: float | None = of(FramesRecipe, "fps", PICTURES, default="evenly over the clip")
    frames: int | None = of(FramesRecipe, "frames", PICTURES)
    keep: int | None = of(FramesRecipe, "keep", PICTURES, default="as many as --fps gives")
    size: int | None = of(FramesRecipe, "size", PICTURES, default="224; 64 is fast on a CPU")
    crop: tuple[float, float] | None = of(FramesRecipe, "crop", PICTURES, metavar="LOW HIGH")
    flip: bool | None = of(FramesRecipe, "flip", PICTURES)
    codec: Literal["raw", "jpeg", "webp"] = own(
        "raw", "how pictures are kept: as they are, or as files that a loader decodes", PICTURES
    )
    quality: int = own(90, "quality of --codec jpeg and webp", PICTURES, ge=1, le=100)
    tokens: Literal["words", "bytes", "ids"] | None = of(TextRecipe, "tokens", ARRAYS)
    length: int | None = of(TextRecipe, "length", ARRAYS)
    vocabulary: int | None = of(TextRecipe, "vocabulary", ARRAYS)
    label: str | None = own(None, "column or array of the class", ARRAYS)
    modality: tuple[str, ...] = own(
        (), "column or array to take, repeatable; all where not given", ARRAYS, "NAME[=KEY]"
    )
    kind: dict[str, str] = own(
        {},
        "what an array is, repeatable: features, sequence, spectrogram, image, frames or text",
        ARRAYS,
        "MODALITY=KIND",
    )
    normalise: dict[str, str] = own(
        {},
        "how a modality's values are normalised, repeatable: dataset, none, imagenet or MEAN,STD",
        ARRAYS,
        "MODALITY=HOW",
    )
    complete: bool = own(False, "leave out samples with a missing modality", SPLITS)
    split: str | None = own(None, "which list of a known data set", SPLITS)
    subset: str | None = own(None, "which part of a known data set", SPLITS)
    val: float = own(0.2, "share of train that becomes val where there is none", SPLITS, ge=0, lt=1)
    test: float = own(0.2, "share that becomes test where there is none", SPLITS, ge=0, lt=1)
    resplit: bool = own(False, "ignore the given splits and make new ones", SPLITS)
    seed: int = own(0, "seed of the splits that are made", SPLITS, ge=0)

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def audio(self, longest: float | None = None) -> AudioRecipe:
        """The sound's recipe; ``longest`` (seconds) is the duration where none is given."""
        values = self._given("sample_rate", "duration", "n_fft", "hop", "mels", "steps", "fill")
        if self.audio_features is not None:
            values["features"] = self.audio_features
        if longest is not None:
            values.setdefault("duration", longest)
        return validate(AudioRecipe, values, "options")

    def video(self, longest: float | None = None) -> FramesRecipe:
        """The frames' recipe; ``longest`` (seconds) tells how many frames are due at a given rate."""
        frames = self.frames or 3
        keep = self.keep or frames
        seconds = self.duration or longest
        if self.keep is None and self.fps is not None and seconds is not None:
            keep = max(frames, math.ceil(self.fps * seconds))
        values = self._given("fps", "size", "crop", "flip")
        return validate(FramesRecipe, {"frames": frames, "keep": max(keep, frames), **values}, "options")

    def flow(self) -> FlowRecipe:
        """The optical flow's recipe."""
        frames = self.frames or 3
        values = self._given("size", "crop")
        return validate(FlowRecipe, {"frames": frames, "keep": max(self.keep or frames, frames), **values}, "options")

    def image(self) -> ImageRecipe:
        return validate(ImageRecipe, self._given("size", "crop", "flip"), "options")

    def text(self) -> TextRecipe:
        values = self._given("tokens", "length", "vocabulary")
        if values.get("tokens") == "bytes":
            if "vocabulary" in values:
                raise UsageError("Bytes have no vocabulary to choose: there are 256.", "Leave --vocabulary out.")
            values["vocabulary"] = 257
        return validate(TextRecipe, values, "options")
