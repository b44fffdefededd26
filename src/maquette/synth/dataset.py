"""The shape dataset: shards of G-buffers on disk, resumable and repeatable.

A shard holds `SHAPES_PER_SHARD` shapes times `views` cameras. Its bytes follow from the manifest and its
number alone, and it appears under its final name only when it is whole; so a run that was killed goes on
where it stopped, and any number of processes or machines can share the work by `shard=(i, n)`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.render.gbuffer import GBuffer, View, trace
from maquette.synth.shapes import sample_solid
from maquette.synth.views import lights_to_camera, sample_lights, sample_view

SHAPES_PER_SHARD = 8
FORMAT = 2  # raise it when the same manifest would give other bytes


@dataclass(frozen=True)
class DatasetSpec:
    """What a shape dataset is; its manifest.

    Attributes:
        count: number of shapes.
        seed: of everything.
        views: cameras per shape.
        size_px: side of the square G-buffers.
        detail: surface detail of every shape in [0, 1]; `None` draws it by shape.
        format: version of the generator.
    """

    count: int
    seed: int = 0
    views: int = 8
    size_px: int = 128
    detail: float | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name, low, high in (("count", 1, 10**8), ("views", 1, 10**4), ("size_px", 16, 4096), ("seed", 0, 2**63)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        if self.detail is not None and not 0 <= self.detail <= 1:
            raise InputError(f"detail is {self.detail}; it must lie in 0..1")

    @property
    def shards(self) -> int:
        """How many shards the dataset has; the last may be smaller."""
        return -(-self.count // SHAPES_PER_SHARD)


def generate(
    directory: Path,
    spec: DatasetSpec,
    shard: tuple[int, int] = (0, 1),
    done: Callable[[int], None] | None = None,
    shapes: int | None = None,
) -> None:
    """Write the shards that are missing.

    Args:
        directory: folder of the dataset.
        spec: what it is.
        shard: part i of n: every n-th shard from the i-th on.
        done: told each shard's number.
        shapes: only the shards of the first so many shapes.
    """
    open_manifest(directory, spec)
    wanted = spec.shards if shapes is None else min(-(-shapes // SHAPES_PER_SHARD), spec.shards)
    for number in range(shard[0], wanted, shard[1]):
        path = shard_path(directory, number)
        if not path.exists():
            write_bytes(path, save(make_shard(spec, number)))
        if done is not None:
            done(number)


def open_manifest(directory: Path, spec: DatasetSpec) -> None:
    """Create the manifest, or check that the one that is there asks for the same dataset."""
    path = directory / "manifest.json"
    if path.exists():
        there = read_manifest(directory)
        if there != spec:
            raise InputError(f"{path}: holds another dataset ({there}); choose an empty folder or the same options")
        return
    write_bytes(path, (json.dumps(asdict(spec), indent=2) + "\n").encode())


def read_manifest(directory: Path) -> DatasetSpec:
    """The spec of a dataset on disk."""
    path = directory / "manifest.json"
    try:
        return DatasetSpec(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; make the dataset with `maquette dataset shapes -o {directory} --count N`"
        ) from None
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{path}: not a dataset manifest ({error})") from None


def shard_path(directory: Path, number: int) -> Path:
    """Where a shard lies."""
    return directory / f"shard-{number:06d}.safetensors"


def make_shard(spec: DatasetSpec, number: int) -> dict[str, np.ndarray]:
    """One shard's arrays, first axis = view: see `pack`."""
    first = number * SHAPES_PER_SHARD
    rows = []
    for index in range(first, min(first + SHAPES_PER_SHARD, spec.count)):
        solid, family = sample_solid(spec.seed, index, spec.detail)
        rng = np.random.default_rng([spec.seed, index, 1])
        for _ in range(spec.views):
            view = sample_view(rng, solid.grid, family, spec.size_px)
            lights = sample_lights(rng, view)
            rows.append(pack(trace(solid, view, lights), view, lights_to_camera(lights, view)))
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def pack(buffer: GBuffer, view: View, lights: np.ndarray) -> dict[str, np.ndarray]:
    """A G-buffer in 10 bytes a pixel.

    Keys: `normal` (H, W, 2) int16, octahedral, camera frame; `depth` (H, W) float32 along -z, 0 outside the
    mask; `lit` (H, W) uint8, bit l for light l; `openness` (H, W) uint8; `lights` (8, 4) camera frame;
    `camera` (5,): focal_px, center x, center y, orthographic, distance of the camera to the origin.
    """
    bits = (buffer.lit * (1 << np.arange(len(buffer.lit), dtype=np.uint8))[:, None, None]).sum(0)
    distance = float(view.camera_to_object[:, 3] @ view.camera_to_object[:, 2])
    return {
        "normal": octahedral_encode(buffer.normal),
        "depth": np.where(buffer.mask, -buffer.position[..., 2], 0).astype(np.float32),
        "lit": bits.astype(np.uint8),
        "openness": np.round(buffer.openness * 255).astype(np.uint8),
        "lights": lights.astype(np.float32),
        "camera": np.array([view.focal_px, *view.center_px, view.orthographic, distance], np.float32),
    }


def octahedral_encode(normal: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) as int16 pairs (Meyer et al. 2010); zero vectors become (0, 0)."""
    folded = normal / np.maximum(np.abs(normal).sum(-1, keepdims=True), 1e-12)
    p, z = folded[..., :2], folded[..., 2:]
    sign = np.where(p >= 0, 1.0, -1.0)
    p = np.where(z >= 0, p, (1 - np.abs(p[..., ::-1])) * sign)
    return np.round(p * 32767).astype(np.int16)
