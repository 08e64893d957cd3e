"""Pictures, alone or as the frames in a folder, as a viewer shows them."""

from __future__ import annotations

import io
import re
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from mmbal.data.media.decode import (
    PICTURE_SUFFIXES,
    Decoded,
    Matrix,
    Unusable,
    check_file,
    is_beside,
    natural,
    reason_of,
    spread,
    upright,
)

ORIENTATION = 0x0112  # the EXIF tag
PHOTOMETRIC = 0x0106  # the TIFF tag: whether 0 is white (0) or black (1)
SHOWN: dict[int, Matrix] = {  # its value -> how a viewer turns and mirrors the stored picture
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
MOVING = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")  # formats of which a file may hold several pictures to be seen
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour spaces of profiles -> modes of pictures
COPY = re.compile(
    r"(.+?)( \(\d+\)| - (Copy|Kopie|Copia|Copie)( \(\d+\))?| copy( \d+)?)"
)  # names that systems give to copies
SMALL = re.compile(r"\.?(thumb|preview)", re.IGNORECASE)  # folders of small copies of pictures
ENDS = 32  # part of a picture's height at its end that must be there
FULL = 65535.0  # white, of 16 bits
DIM = 1 / 16  # share of the range below which the brightest sample of a deep picture is said
FEW_KINDS = 4  # kinds of names in a folder, up to which the largest kind of numbered ones are its frames


def read_picture(path: Path, size: int) -> Decoded:
    """A picture as ``(3, size, size)`` uint8, turned as its EXIF says, transparency on white. Raises Unusable."""
    check_file(path)
    made = Decoded(np.empty(0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.draft("RGB", (2 * size, 2 * size))
                if picture.format in MOVING and getattr(picture, "is_animated", False):
                    made.remarks.append(("animated", "several pictures in one file; the first is taken"))
                _load(picture, made)  # some formats have their EXIF behind the pixels
                turn = SHOWN.get(picture.getexif().get(ORIENTATION, 1))
                pixels = np.asarray(_colours(picture, made).resize((size, size), Image.Resampling.BILINEAR))
    except Unusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable("corrupt", f"too large: {str(error).partition(',')[0].lower()}") from None
    except UnidentifiedImageError:
        raise Unusable("corrupt", "not a picture of a known format") from None
    except Exception as error:  # Pillow's decoders raise kinds of their own and of Python's on damaged files
        raise Unusable("corrupt", reason_of(error)) from None
    made.array = np.moveaxis(pixels, -1, 0)
    if turn:
        made.array = upright(made.array, turn)
    return made


def _load(picture: Image.Image, made: Decoded) -> None:
    """Decode the pixels; of a file that ends early what is there, where that is nearly all (which is told)."""
    try:
        picture.load()
    except OSError as error:
        if picture.format != "JPEG" or "truncated" not in str(error):
            raise
        with warnings.catch_warnings():
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                picture.load()
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        end = np.asarray(picture)[-max(1, picture.height // ENDS) :]
        if (end == end.flat[0]).all():  # what a decoder puts where nothing is
            raise
        made.remarks.append(("truncated", "the file ends early; what is there of it is taken"))


def _colours(picture: Image.Image, made: Decoded) -> Image.Image:
    """A picture of any mode in 8-bit RGB; ``made`` is told what had to be chosen for that."""
    profile = picture.info.get("icc_profile")
    if picture.mode in DEEP:
        return _shallow(picture, made)
    if picture.mode == "LAB":
        return _managed(picture, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    elif picture.mode not in ("L", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = SPACES.get(source.profile.xcolor_space.strip())
            if space == picture.mode and "srgb" not in ImageCms.getProfileDescription(source).lower():
                return _managed(picture, source)
        except (ImageCms.PyCMSError, OSError, ValueError):
            made.notes.append(("colours", "the colour profile is damaged, so it is not applied"))
    return picture.convert("RGB")


def _managed(picture: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    """A picture in sRGB, by its own colour profile."""
    shown = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None
    return shown


def _shallow(picture: Image.Image, made: Decoded) -> Image.Image:
    """A picture of one channel of more than 8 bits: its range goes from black to white.

    The range is that of 16 bits, or the one that the numbers suggest (0 to 1, 0 to 255, their own), which is told.
    """
    values = np.asarray(picture).astype(np.float32)
    low, top = 0.0, FULL
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise Unusable("corrupt", "no pixel is a number")
        least, most = float(finite.min()), float(finite.max())
        full = next((top for top in (1.0, 255.0, FULL) if least >= 0 and most <= top), None)
        low, top = (least, most) if full is None else (0.0, full)
        told = ("range", f"pixels are numbers from {least:g} to {most:g}: {low:g} is shown black, {top:g} white")
        (made.remarks if full is None else made.notes).append(told)
        values = np.nan_to_num(values, nan=low, posinf=top, neginf=low)
    elif 0 < values.max() < DIM * FULL:
        made.remarks.append(("dim", f"16 bits, but the brightest pixel is {values.max():.0f} of 65535"))
    scaled = np.clip((values - low) / ((top - low) or 1.0), 0, 1) * 255
    if picture.format == "TIFF" and picture.tag_v2.get(PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
        scaled = 255 - scaled  # 0 is white, as scanners and X-rays have it; of 8 bits Pillow knows it
    return Image.fromarray(np.round(scaled).astype(np.uint8)).convert("RGB")


def picture_files(folder: Path, pattern: str = "*") -> tuple[list[Path], list[tuple[str, str]]]:
    """The files of a folder that are its frames, in the order people number them, and remarks on those that are not.

    Hidden files are passed over. Of two files of one name (``1.jpg``, ``1.png``, ``1 (1).jpg``) the first is taken. Where
    names are numbered, the frames are the names that differ in their number alone and are most. Raises Unusable where
    several folders in it could be meant.
    """
    found = sorted(_pictures_in(folder, pattern), key=lambda file: (natural(file.stem), file.name))
    remarks = []
    named: dict[str, Path] = {}
    stems = {file.stem for file in found}
    for file in found:
        copied = COPY.fullmatch(file.stem)
        if copied is None or copied[1] not in stems:
            named.setdefault(file.stem, file)
    files = list(named.values())
    if len(files) == 1 and len(found) > 2:  # image, image (1), image (2)... are no copies of one another
        files = found
    if len(files) < len(found):
        remarks.append(("twice", f"{len(found) - len(files)} frames are there twice; one of each is taken"))
    kinds: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        kinds["".join(filter(str.isalpha, file.stem.lower()))].append(file)
    numbered = [name for name, its in kinds.items() if len(its) > 1 and all(any(map(str.isdigit, f.stem)) for f in its)]
    if len(kinds) > 1 and numbered:
        name = max(numbered, key=lambda name: (len(kinds[name]), -len(name)))
        if len(kinds) <= FEW_KINDS or 2 * len(kinds[name]) >= len(files):
            other = next(file for file in files if file not in set(kinds[name]))
            left = len(files) - len(kinds[name])
            remarks.append(
                ("other pictures", f"{left} of {len(files)} pictures are not among the frames: {other.name}")
            )
            files = kinds[name]
    return _by_number(files), remarks


def _pictures_in(folder: Path, pattern: str) -> list[Path]:
    """The pictures of a folder; where it has none, those of the one folder in it that has some (thumbnails aside).

    Raises Unusable where several have some.
    """

    def inside(place: Path) -> list[Path]:
        return [f for f in place.glob(pattern) if f.suffix.lower() in PICTURE_SUFFIXES and not is_beside(f.name)]

    if found := inside(folder):
        return found
    below = sorted(place for place in folder.iterdir() if place.is_dir() and not is_beside(place.name))
    several = {place.name: some for place in below if (some := inside(place))}
    frames = {name: some for name, some in several.items() if not SMALL.match(name)} or several
    if len(frames) > 1:
        raise Unusable("empty", f"the pictures are in several folders: {', '.join(frames)}")
    return next(iter(frames.values()), [])


def _by_number(files: list[Path]) -> list[Path]:
    """Files whose names are one word and a number, by the number; others as they are.

    A number may be negative (``-3``), or a time as a program writes it (``0.25``, ``10.0``).
    """
    stems = [file.stem for file in files]
    word = re.sub(r"((?<![^\W_])-)?(\d+\.)?\d+$", "", stems[0]) if stems else ""
    ends = [stem.removeprefix(word) for stem in stems]
    if not all(re.fullmatch(r"-?\d+(\.(0|\d*[1-9]))?", end) for end in ends):
        return files
    return [file for _, file in sorted(zip(map(float, ends), files, strict=True), key=lambda pair: pair[0])]


def read_pictures(path: Path, n: int, size: int, pattern: str = "*") -> Decoded:
    """``n`` pictures ``(n, 3, size, size)`` of a folder, taken evenly from :func:`picture_files`. Raises Unusable."""
    if not path.is_dir():
        raise Unusable("missing", "no such folder")
    files, remarks = picture_files(path, pattern)
    if not files:
        raise Unusable("empty", "a folder without pictures")
    taken = spread(files, n)
    pictures: list[np.ndarray] = []
    notes: list[tuple[str, str]] = []
    for file in dict.fromkeys(taken):
        try:
            decoded = read_picture(file, size)
        except Unusable as error:
            remarks.append((error.kind, f"{file.name}: {error.reason}"))
            continue
        pictures += [decoded.array] * taken.count(file)
        remarks += [(kind, f"{file.name}: {reason}") for kind, reason in decoded.remarks]
        notes += [note for note in decoded.notes if note not in notes]
    if not pictures:
        raise Unusable("corrupt", f"no picture of the folder can be read ({remarks[-1][1]})")
    return Decoded(np.stack(spread(pictures, n)), None, remarks, distinct=len(set(taken)), notes=notes)
