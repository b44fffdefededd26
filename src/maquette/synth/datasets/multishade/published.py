"""The published MultiShade (Hugging Face, `dennis98/MultiShade`) as a folder of photos and normal maps.

Its paper (Han et al. 2026, arXiv 2602.09929) says that it holds pairs of an image and a normal map, several photos of
each of six views (top, left, right, bottom, front, random) of each object, and that a shading frame is max(n . l, 0)
under the ring. How its files are named and which frame its normals are in, no text that we could read says, and the
released code reads no data set. So nothing here depends on a guess that isn't announced:

- A file `layout.json` in the folder says where things are (`Layout`), and is all that is used.
- Without it, one layout is tried, ours by assumption, with a warning: a folder for each view at any depth, in it
  `normal.png` (or .exr, .npy, .tif), `mask.png` if there is one, and photos of any other name.

The frames are computed from the normals, which is what they are by definition.
"""

import json
import re
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.io.decode import read_pixels
from maquette.io.images import read_mask
from maquette.io.normal_maps import read_normal_map
from maquette.shading.rigs import RING_LIGHTS, ring_lights, shading_frames

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")  # what the released test code takes, but for .bmp
_NORMAL_SUFFIXES = (".png", ".exr", ".npy", ".tif", ".tiff")
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Layout:
    """Where a folder's files are: templates of paths below it, whose `{name}`s stand for any text but a slash.

    A photo's normal map, mask and object are found by the texts that its own path gave the names.

    Attributes:
        photo: such as `{object}/{view}/{photo}.png`.
        normal: such as `{object}/{view}/normal.png`; it may use the photo's names.
        mask: as `normal`; None takes the normal map's.
        convention: the frame of the normals, as `maquette convert --from` calls it.
        group: the names that tell one object from another, for splitting.
    """

    photo: str
    normal: str
    mask: str | None = None
    convention: str = "opengl"
    group: tuple[str, ...] = ("object",)


@dataclass(frozen=True)
class _Pair:
    photo: Path
    normal: Path
    mask: Path | None
    group: str


class Published:
    """Photos and normal maps of a folder; see `open_published`."""

    def __init__(self, pairs: list[_Pair], convention: str, frames: int) -> None:
        self.frames = frames
        self._pairs, self._convention = pairs, convention
        self._lights = ring_lights(frames)
        groups = {name: number for number, name in enumerate(dict.fromkeys(pair.group for pair in pairs))}
        self.objects = np.array([groups[pair.group] for pair in pairs])

    def __len__(self) -> int:
        return len(self._pairs)

    def facts(self, index: int) -> dict[str, object]:
        """The files of a sample."""
        return {name: str(value) for name, value in asdict(self._pairs[index]).items() if value is not None}

    def read(self, index: int) -> dict[str, Tensor]:
        """One sample, as `maquette.synth.datasets.multishade.reading.ShadedPhotos` without its first axis."""
        pair = self._pairs[index]
        pixels = read_pixels(pair.photo)
        if pixels.dtype == np.float32:
            raise InputError(f"{pair.photo}: is a picture of light; a photo of 8 or 16 bits is needed")
        photo = torch.from_numpy(pixels[..., :3] / np.float32(np.iinfo(pixels.dtype).max)).permute(2, 0, 1)
        truth = read_normal_map(pair.normal, self._convention)  # pyright: ignore[reportArgumentType]
        mask = truth.mask if pair.mask is None else truth.mask & _same_size(pair, read_mask(pair.mask), truth.mask)
        _same_size(pair, photo[0], mask)
        normals = torch.where(mask[..., None], truth.normals, 0.0)
        return {
            "photo": photo,
            "mask": mask[None].float(),
            "normal": normals.permute(2, 0, 1),
            "shading": shading_frames(normals.double(), self._lights).float(),
        }


def open_published(folder: Path, frames: int | None = None) -> Published:
    """Find the samples of a folder; the page of this module says how.

    Args:
        folder: what was downloaded and unpacked.
        frames: lights of the ring.

    Raises:
        InputError: there is no sample in it, or its `layout.json` isn't one.
    """
    frames = RING_LIGHTS if frames is None else frames
    described = (folder / "layout.json").exists()
    layout = _read_layout(folder / "layout.json") if described else None
    pairs = _assumed_pairs(folder) if layout is None else _described_pairs(folder, layout)
    if not pairs and described:
        raise InputError(f"{folder / 'layout.json'}: no photo in {folder} fits it, or none has its normal map")
    if not pairs:
        raise InputError(
            f"{folder}: no MultiShade data set: ours has a manifest.json and tars; the published one a layout.json, or"
            " folders with a normal.png beside photos"
        )
    if layout is None:
        warnings.warn(
            f"{folder}: taken for the published MultiShade by an assumed layout: folders with a normal map of the frame"
            " opengl beside photos; a layout.json says it for certain",
            stacklevel=3,
        )
    return Published(pairs, "opengl" if layout is None else layout.convention, frames)


def _assumed_pairs(folder: Path) -> list[_Pair]:
    pairs = []
    for normal in sorted(path for path in folder.glob("**/normal.*") if path.suffix.lower() in _NORMAL_SUFFIXES):
        mask = normal.with_name("mask.png")
        for photo in sorted(normal.parent.iterdir()):
            if photo.suffix.lower() in PHOTO_SUFFIXES and photo.stem not in ("normal", "mask"):
                group = normal.parent.parent.relative_to(folder).as_posix()
                pairs.append(_Pair(photo, normal, mask if mask.exists() else None, group))
    return pairs


def _described_pairs(folder: Path, layout: Layout) -> list[_Pair]:
    """Photos that fit the template and whose normal map is there."""
    pattern = _pattern(layout.photo)
    pairs = []
    for photo in sorted(folder.glob(_PLACE.sub("*", layout.photo))):
        match = pattern.fullmatch(photo.relative_to(folder).as_posix())
        if match is None:
            continue
        names = match.groupdict()
        normal = folder / _filled(layout.normal, names)
        mask = None if layout.mask is None else folder / _filled(layout.mask, names)
        if normal.exists() and photo not in (normal, mask):
            pairs.append(_Pair(photo, normal, mask, "/".join(names[name] for name in layout.group)))
    return pairs


def _read_layout(path: Path) -> Layout:
    known = [field.name for field in fields(Layout)]
    try:
        values = json.loads(path.read_text())
        layout = Layout(**(values | ({"group": tuple(values["group"])} if "group" in values else {})))
        names = _PLACE.findall(layout.photo)
        used = [*_PLACE.findall(layout.normal), *_PLACE.findall(layout.mask or ""), *layout.group]
        missing = sorted(set(used) - set(names))
        if missing:
            raise ValueError(f"its photo has no {{{missing[0]}}}")
        if any(Path(template).is_absolute() for template in (layout.photo, layout.normal, layout.mask or "")):
            raise ValueError("its paths must lie below the folder")
        if layout.convention not in CAMERA_FRAMES:
            raise ValueError(f"its convention is none of {', '.join(CAMERA_FRAMES)}")
        return layout
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"{path}: not a layout ({error}); it may have {', '.join(known)}") from None


def _pattern(template: str) -> re.Pattern[str]:
    """A template as an expression; a name that comes again stands for the same text."""
    out, seen = "", set()
    for odd, part in enumerate(_PLACE.split(template)):
        if odd % 2 == 0:
            out += re.escape(part)
        else:
            out += f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+)"
            seen.add(part)
    return re.compile(out)


def _filled(template: str, names: dict[str, str]) -> str:
    return _PLACE.sub(lambda place: names[place[1]], template)


def _same_size(pair: _Pair, image: Tensor, mask: Tensor) -> Tensor:
    if image.shape != mask.shape:
        raise InputError(f"{pair.photo}: photo, normal map and mask must be of one size")
    return image
