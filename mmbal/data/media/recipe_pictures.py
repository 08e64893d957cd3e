"""The recipes of pictures: images, frames of a video, and optical flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from mmbal.data.media.decode import Decoded
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.store.store import Kind

if TYPE_CHECKING:
    from mmbal.data.media.container import Clips

BLACK = 6.0  # mean of the brightest picture, of 255


class PictureRecipe(Recipe):
    """Base of the recipes of pictures: bytes of a square, cropped and mirrored at random in training."""

    size: int = Field(224, ge=8, le=1024, description="pixels of a picture's side")
    crop: tuple[float, float] | None = Field(
        (0.5, 1.0), description="shares of the picture's area that random crops in training have"
    )
    flip: bool = Field(True, description="mirror pictures at random in training")

    @field_validator("crop")
    @classmethod
    def _shares(cls, crop: tuple[float, float] | None) -> tuple[float, float] | None:
        if crop is not None and not 0 < crop[0] <= crop[1] <= 1:
            raise ValueError("two shares above 0 and up to 1 are needed, the smaller first")
        return crop

    @property
    def dtype(self) -> str:
        return "uint8"

    @property
    def augment(self) -> dict[str, Any]:
        return ({"crop": self.crop} if self.crop else {}) | ({"flip": True} if self.flip else {})


class FramesRecipe(PictureRecipe):
    """Frames of a video, or of a folder of pictures: ``keep`` are stored, an encoder sees ``frames`` of them."""

    type: Literal["frames"] = "frames"
    frames: int = Field(3, ge=1, le=256, description="frames that an encoder sees")
    keep: int = Field(3, ge=1, le=1024, description="frames stored, among which training draws where they are more")
    fps: float | None = Field(None, gt=0, description="frames a second")

    @property
    def kind(self) -> Kind:
        return "frames"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, 3, self.size, self.size)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return (self.keep, 3, self.size, self.size)

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        from mmbal.data.media.frames import read_frames

        decoded = read_frames(
            source.place(clips), self.keep, self.size, start=source.start, end=source.end, fps=self.fps
        )
        pictures = decoded.array
        if pictures[:, :, ::8, ::8].mean(axis=(1, 2, 3)).max() < BLACK:
            decoded.remarks.append(("black", "no frame is brighter than black"))
        elif decoded.distinct > 1 and (pictures == pictures[0]).all():
            decoded.remarks.append(("frozen", "all frames are the same picture"))
        return decoded


class FlowRecipe(FramesRecipe):
    """Optical flow computed elsewhere, as grey pictures: horizontal ones in ``Source.path`` and vertical ones in
    ``Source.key``, or ``flow_x*`` and ``flow_y*`` in one folder. Two channels; never mirrored, since that turns its sign.
    """

    type: Literal["flow"] = "flow"  # type: ignore[assignment]
    flip: Literal[False] = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, 2, self.size, self.size)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return (self.keep, 2, self.size, self.size)

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        from mmbal.data.media.pictures import read_pictures

        folder = Path(source.path)
        patterns = (
            [(folder, "*"), (Path(source.key), "*")] if source.key else [(folder, "flow_x*"), (folder, "flow_y*")]
        )
        across, up = (read_pictures(place, self.keep, self.size, pattern) for place, pattern in patterns)
        return Decoded(np.stack([across.array[:, 0], up.array[:, 0]], axis=1), None, across.remarks + up.remarks)


class ImageRecipe(PictureRecipe):
    """A picture."""

    type: Literal["image"] = "image"

    @property
    def kind(self) -> Kind:
        return "image"

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def encode(self, source: Source, clips: Clips | None = None) -> Decoded:
        from mmbal.data.media.pictures import read_picture

        decoded = read_picture(Path(source.path), self.size)
        if decoded.array.mean() < BLACK:
            decoded.remarks.append(("black", "the picture is black"))
        return decoded
