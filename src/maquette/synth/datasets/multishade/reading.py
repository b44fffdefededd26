"""Reading MultiShade: any samples by number, from this generator's tars or from the published folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.tars import Member
from maquette.synth.datasets.multishade.published import Published, open_published
from maquette.synth.datasets.multishade.spec import read_manifest, shard_members, shard_path


@dataclass(frozen=True)
class ShadedPhotos:
    """A batch of samples, channels first, camera frame.

    Attributes:
        photo: 0 to 1, display-encoded.
        mask: 1 on the object.
        normal: unit; zero outside the mask. None if the data set has none.
        shading: max(n . l, 0) for each light of the ring, linear; 0 outside the mask.
    """

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    normal: Float[Tensor, "batch 3 height width"] | None
    shading: Float[Tensor, "batch frames height width"]


class _Sample(NamedTuple):
    """Its files by suffix, in the tar `path`."""

    path: Path
    key: str
    files: dict[str, Member]


class MultiShade:
    """A data set of photos and ring shadings on disk; a sample is read without the rest of its tar.

    Attributes:
        frames: shading frames of a sample.
        objects: (samples,) number of each sample's object: split by it, not by sample.

    Args:
        folder: what `maquette dataset multishade` wrote, all of it; or the published data set, as
            `maquette.synth.datasets.multishade.published` knows it.
        frames: of the published data set, whose frames are computed; of our own, only to be checked.

    Raises:
        InputError: the folder is neither, a shard is missing or damaged, or there is no sample in it.
    """

    def __init__(self, folder: Path | str, frames: int | None = None) -> None:
        folder = Path(folder)
        self._published: Published | None = None
        self._samples: list[_Sample] = []
        if not (folder / "manifest.json").exists():
            self._published = open_published(folder, frames)
            self.frames, self.objects = self._published.frames, self._published.objects
            return
        spec = read_manifest(folder)
        if frames not in (None, spec.frames):
            raise InputError(f"{folder}: holds {spec.frames} frames of a sample, not {frames}")
        self.frames = spec.frames
        for number in range(spec.shards):
            path = shard_path(folder, number)
            try:
                members = shard_members(path, spec, number)
            except InputError as error:
                raise InputError(f"{error}; run `maquette dataset multishade` with the manifest's options") from None
            for key, files in groupby(members, lambda member: member.name.partition(".")[0]):
                self._samples.append(_Sample(path, key, {file.name[len(key) :]: file for file in files}))
        if not self._samples:
            raise InputError(f"{folder}: holds no sample; none of its meshes could be read")
        self.objects = np.array([int(sample.key.partition("_")[0]) for sample in self._samples])

    def __len__(self) -> int:
        return len(self._samples) if self._published is None else len(self._published)

    def batch(self, indices: Sequence[int]) -> ShadedPhotos:
        """Samples by number, in the order asked for.

        Raises:
            InputError: a file can't be read or decoded, or the images differ in size.
        """
        rows = [self._read(int(index)) for index in indices]
        sizes = {row["photo"].shape[-2:] for row in rows}
        if len(sizes) != 1:
            raise InputError(f"a batch of images of different sizes ({sorted(sizes)}); they must agree, and be some")

        def stacked(name: str) -> Tensor:
            return torch.stack([row[name] for row in rows])

        has_normals = all("normal" in row for row in rows)
        return ShadedPhotos(
            stacked("photo"), stacked("mask"), stacked("normal") if has_normals else None, stacked("shading")
        )

    def facts(self, index: int) -> dict[str, Any]:
        """What a sample's JSON file says; of a published sample, the names of its files."""
        if self._published is not None:
            return self._published.facts(index)
        return json.loads(_content(self._samples[index], [".json"])[".json"])

    def _read(self, index: int) -> dict[str, Tensor]:
        if self._published is not None:
            return self._published.read(index)
        sample = self._samples[index]
        contents = _content(sample, [suffix for suffix in sample.files if suffix != ".json"])
        images = {suffix: _decoded(sample, suffix, content) for suffix, content in contents.items()}
        mask = torch.from_numpy(images[".mask.png"] > 127)[None].float()
        codes = images[".normal.png"][..., 2::-1].astype(np.float32)  # OpenCV's order is blue, green, red, alpha
        normal = torch.from_numpy(codes / 65535 * 2 - 1).permute(2, 0, 1)
        frames = [images[f".shading-{frame:02d}.png"].astype(np.float32) for frame in range(self.frames)]
        return {
            "photo": torch.from_numpy(images[".photo.png"][..., ::-1].astype(np.float32) / 255).permute(2, 0, 1),
            "mask": mask,
            "normal": torch.nn.functional.normalize(normal, dim=0) * mask,
            "shading": torch.from_numpy(np.stack(frames) / 65535),
        }


def _content(sample: _Sample, suffixes: list[str]) -> dict[str, bytes]:
    """Files of a sample, by one read of the stretch of the tar that they lie in."""
    members = [sample.files[suffix] for suffix in suffixes]
    first = min(member.start for member in members)
    length = max(member.start + member.size for member in members) - first
    try:
        with sample.path.open("rb") as file:
            file.seek(first)
            stretch = file.read(length)
    except OSError as error:
        raise InputError(f"{sample.path}: cannot be read: {error.strerror}") from error
    starts = [member.start - first for member in members]
    return {
        suffix: stretch[start : start + member.size]
        for suffix, start, member in zip(suffixes, starts, members, strict=True)
    }


def _decoded(sample: _Sample, suffix: str, content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise InputError(f"{sample.path}: damaged ({sample.key}{suffix} is no image); delete it and make it again")
    return image
