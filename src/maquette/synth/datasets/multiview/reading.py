"""Reading objects seen from many sides: this generator's folders, and the published ShapeNet-SRN cars and chairs.

An object is a folder with `rgb/`, `pose/` and `intrinsics.txt`; `normals/` and `mask/` are ours. Its category and its
split are told by the folder `{category}_{split}` that it lies in, at any depth (`chairs_train/chairs_2.0_train/...`).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.decode import read_pixels
from maquette.synth.datasets.multiview.cameras import read_intrinsics, read_pose
from maquette.synth.datasets.multiview.spec import SPLITS
from maquette.types import Camera

_SPLIT = re.compile(rf"(.+)_({'|'.join(SPLITS)})")
_DEEPEST = 4  # folders between the one that is given and an object's


@dataclass(frozen=True)
class ObjectViews:
    """Some or all views of an object.

    Attributes:
        name, category, split: of the object; the last two are empty if no folder says them.
        views: numbers of the views, in their order here.
        rgb: 0 to 1, display-encoded, on white.
        camera_to_world: camera axes x right, y up, z back; the world is the files' own, z up.
        focal_px, center_px: of all views.
        mask: share of a pixel that the object covers; None if there are no masks.
        normals: unit, each in its camera's frame; zero where there is none. None if there are no normals.
    """

    name: str
    category: str
    split: str
    views: tuple[int, ...]
    rgb: Float[Tensor, "views 3 height width"]
    camera_to_world: Float[Tensor, "views 4 4"]
    focal_px: float
    center_px: tuple[float, float]
    mask: Float[Tensor, "views 1 height width"] | None = None
    normals: Float[Tensor, "views 3 height width"] | None = None

    def camera(self, place: int) -> Camera:
        """The camera of the view at a place in `views`."""
        height, width = self.rgb.shape[-2:]
        return Camera(width, height, self.focal_px, self.center_px, self.camera_to_world[place])


class ViewsDataset:
    """Objects on disk, by name within category and split; nothing is read but their folders' names.

    Attributes:
        folders, names, categories, splits: of each object.

    Args:
        folder: of a data set, of one category and split (`cars_train`), or of one object.
        category: only this one.
        split: only this one: train, val or test.
        white_is_background: of an object without masks, take what isn't purely white for the object; white spots
            of it are then holes.

    Raises:
        InputError: there is no such folder, or no such object in it.
    """

    def __init__(
        self,
        folder: Path | str,
        category: str | None = None,
        split: str | None = None,
        white_is_background: bool = False,
    ) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give one of objects with rgb, pose and intrinsics.txt")
        found = []
        for path in _object_folders(folder, _DEEPEST):
            told = _category_and_split(folder, path)
            if category in (None, told[0]) and split in (None, told[1]):
                found.append((*told, path.name, path))
        if not found:
            wanted = " ".join(word for word in (category, split) if word)
            raise InputError(
                f"{folder}: holds no object{f' of {wanted}' if wanted else ''};"
                " an object is a folder with rgb, pose and intrinsics.txt"
            )
        found.sort()
        self.folders = [path for *_, path in found]
        self.categories, self.splits, self.names = ([row[k] for row in found] for k in range(3))
        self._white_is_background = white_is_background

    def __len__(self) -> int:
        return len(self.folders)

    def view_count(self, index: int) -> int:
        """How many views an object has.

        Raises:
            InputError: it has not as many poses as images, or none.
        """
        return len(self._stems(index))

    def poses(self, index: int) -> Float[Tensor, "views 4 4"]:
        """camera_to_world of all views of an object, as in `ObjectViews`; no image is read.

        Raises:
            InputError: a file is missing or damaged.
        """
        return _poses(self.folders[index], self._stems(index))

    def object(self, index: int, views: Sequence[int] | None = None) -> ObjectViews:
        """Read an object, all of its views or some.

        Raises:
            InputError: a file is missing or damaged, images differ in size, or there is no such view.
        """
        folder = self.folders[index]
        stems = self._stems(index)
        wanted = tuple(range(len(stems))) if views is None else tuple(int(view) for view in views)
        for view in wanted:
            if not 0 <= view < len(stems):
                raise InputError(f"{folder}: has no view {view}; its views are 0..{len(stems) - 1}")
        if not wanted:
            raise InputError(f"{folder}: no view is asked for; at least one is needed")
        focal_px, center_px, width, height = read_intrinsics(folder / "intrinsics.txt")
        chosen = [stems[view] for view in wanted]
        rgb = _images(folder, "rgb", chosen, width, height)[:, :3]
        mask = normals = None
        if (folder / "mask").is_dir():
            mask = _images(folder, "mask", chosen, width, height)[:, :1]
        elif self._white_is_background:
            mask = (rgb < 1).any(1, keepdim=True).float()
        if (folder / "normals").is_dir():
            codes = _images(folder, "normals", chosen, width, height)
            covered = codes[:, 3:] if codes.shape[1] == 4 else torch.ones_like(codes[:, :1])
            normals = torch.nn.functional.normalize(codes[:, :3] * 2 - 1, dim=1) * (covered > 0.5)
        poses = _poses(folder, chosen)
        told = (self.names[index], self.categories[index], self.splits[index])
        return ObjectViews(*told, wanted, rgb, poses, focal_px, center_px, mask, normals)

    def _stems(self, index: int) -> list[str]:
        """Names of an object's views, in their order."""
        folder = self.folders[index]
        images, poses = (
            sorted(path.stem for path in (folder / kind).iterdir() if not path.name.startswith("."))
            for kind in ("rgb", "pose")
        )
        if images != poses or not images:
            raise InputError(f"{folder}: has {len(images)} images and {len(poses)} poses; one pose an image is needed")
        return images


def of_split(folder: Path | str, split: str) -> ViewsDataset:
    """The objects of a split of a folder, or all of one that names no splits.

    Raises:
        InputError: there are none.
    """
    everything = ViewsDataset(folder)
    return ViewsDataset(folder, split=split) if any(everything.splits) else everything


def _object_folders(folder: Path, deeper: int) -> list[Path]:
    """Folders of objects in a folder and below it; what is hidden, such as half-written ones, is left out."""
    if all((folder / name).is_dir() for name in ("rgb", "pose")) and (folder / "intrinsics.txt").is_file():
        return [folder]
    if not deeper:
        return []
    try:
        with os.scandir(folder) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    return [found for path in below for found in _object_folders(path, deeper - 1)]


def _category_and_split(folder: Path, path: Path) -> tuple[str, str]:
    """By the outermost folder, from the one that was given down to the object, that names them."""
    above = [folder.resolve().name, *path.relative_to(folder).parts[:-1]]
    if folder == path:
        above = [folder.resolve().parent.name]
    for name in above:
        if match := _SPLIT.fullmatch(name):
            return match[1], match[2]
    return "", ""


def _poses(folder: Path, stems: list[str]) -> Float[Tensor, "views 4 4"]:
    return torch.stack([read_pose(folder / "pose" / f"{stem}.txt") for stem in stems]).float()


def _images(folder: Path, kind: str, stems: list[str], width: int, height: int) -> Tensor:
    """(n, C, H, W) codes as shares of the largest."""
    images = []
    for stem in stems:
        path = folder / kind / f"{stem}.png"
        pixels = read_pixels(path)
        if pixels.shape[:2] != (height, width):
            raise InputError(
                f"{path}: is {pixels.shape[1]}x{pixels.shape[0]}, but intrinsics.txt says {width}x{height}"
            )
        images.append(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)
    if len({image.shape for image in images}) != 1:
        raise InputError(f"{folder / kind}: some images have an alpha and some have none; they must agree")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
