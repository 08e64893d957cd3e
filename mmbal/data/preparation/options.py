"""What a user may say about preparation; what is left open is the data set's own default, or worked out from the data."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from mmbal.config import Config, validate
from mmbal.data.media.recipes import AudioRecipe, FlowRecipe, FramesRecipe, ImageRecipe, TextRecipe
from mmbal.errors import UsageError


class Options(Config):
    """Options of preparation."""

    audio_features: Literal["spectrogram", "logmel", "fbank"] | None = Field(
        None, description="picture made of the sound"
    )
    sample_rate: int | None = Field(None, description="Hz")
    duration: float | None = Field(
        None, description="seconds of sound kept; default: the longest time range or clip, at most 10"
    )
    n_fft: int | None = Field(None, description="samples a window of the sound's picture")
    hop: int | None = Field(None, description="samples between windows")
    mels: int | None = Field(None, description="mel bands")
    steps: int | None = Field(None, description="time steps of an fbank picture")
    fill: Literal["zeros", "repeat"] | None = Field(None, description="what short sounds are filled up with")
    fps: float | None = Field(None, description="frames a second; default: evenly over the clip")
    frames: int | None = Field(None, ge=1, description="frames that an encoder sees; default 3")
    keep: int | None = Field(
        None, ge=1, description="frames stored, of which training draws; default: as many as due at --fps"
    )
    size: int | None = Field(None, description="pixels of a picture's side; default 224")
    crop: tuple[float, float] | None = Field(None, description="area of random crops in training")
    flip: bool | None = Field(None, description="mirror pictures at random in training")
    tokens: Literal["bytes", "words", "ids"] | None = Field(None, description="how a text becomes numbers")
    length: int | None = Field(None, description="tokens of a text that are kept")
    vocabulary: int | None = Field(None, description="number of different tokens")
    label: str | None = Field(None, description="column or array that holds the class")
    modality: tuple[str, ...] = Field((), description="NAME or NAME=KEY: the arrays or columns to take; default: all")
    kind: dict[str, str] = Field({}, description="modality -> kind, where arrays alone do not tell")
    complete: bool = Field(False, description="leave out rows that lack a modality")
    split: str | None = Field(None, description="the known data set's list to use")
    subset: str | None = Field(None, description="the part of a known data set to use")
    val: float = Field(0.2, ge=0, lt=1, description="share of train that becomes val where there is none")
    test: float = Field(0.2, ge=0, lt=1, description="share that becomes test where there is none")
    resplit: bool = Field(False, description="ignore the splits given and carve new ones")
    seed: int = Field(0, description="of carved splits")

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def audio(self, longest: float | None = None) -> AudioRecipe:
        """The sound's recipe; ``longest`` (seconds) is the duration where none is asked for."""
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
