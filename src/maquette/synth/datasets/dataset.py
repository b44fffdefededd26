"""The shape dataset: shards of G-buffers on disk, resumable and repeatable.

A shard holds `SHAPES_PER_SHARD` shapes times `views` cameras. Its bytes follow from the manifest and its
number alone, and it appears under its final name only when it is whole; so a run that was killed goes on
where it stopped, and any number of processes or machines can share the work by `shard=(i, n)`.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.render.gbuffer import GBuffer, ObjectCamera, trace
from maquette.synth.datasets.manifests import differences, require_numbers
from maquette.synth.datasets.mesh_files import MeshFile, listed_meshes
from maquette.synth.datasets.mesh_shapes import place_mesh, require_meshes, trace_placed
from maquette.synth.solids.expanses import EXPANSES
from maquette.synth.solids.shapes import sample_solid
from maquette.synth.views import lights_to_camera, object_view, sample_lights, shape_view

SHAPES_PER_SHARD = 8
FORMAT = 3  # raise it when the same manifest would give other bytes
IMAGES = {"normal": (2,), "depth": (), "lit": (), "openness": (), "opening": (2,), "part": ()}  # the values of a pixel


def image_keys(format: int) -> list[str]:
    """Which images the shards of a format hold."""
    return [key for key in IMAGES if format >= 3 or key not in ("opening", "part")]


@dataclass(frozen=True)
class DatasetSpec:
    """What a shape dataset is; its manifest.

    Attributes:
        count: number of procedural shapes; the meshes follow them.
        seed: of everything.
        views: cameras per shape.
        size_px: side of the square G-buffers.
        detail: surface detail of every shape in [0, 1]; `None` draws it by shape.
        meshes: files that join the procedural shapes.
        format: version of the generator; older ones can be read, not made.
    """

    count: int
    seed: int = 0
    views: int = 8
    size_px: int = 128
    detail: float | None = None
    meshes: tuple[MeshFile, ...] = ()
    format: int = FORMAT

    def __post_init__(self) -> None:
        whole = {
            "count": (0 if self.meshes else 1, 10**8),
            "views": (1, 10**4),
            "size_px": (16, 4096),
            "seed": (0, 2**63),
        }
        for name, (low, high) in (whole | {"format": (1, FORMAT)}).items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        if self.detail is not None and not 0 <= self.detail <= 1:
            raise InputError(f"detail is {self.detail}; it must lie in 0..1")

    @property
    def shapes(self) -> int:
        """Procedural ones and meshes."""
        return self.count + len(self.meshes)

    @property
    def shards(self) -> int:
        """How many shards the dataset has; the last may be smaller."""
        return -(-self.shapes // SHAPES_PER_SHARD)

    def shard_shapes(self, number: int) -> range:
        """The shapes of a shard."""
        first = number * SHAPES_PER_SHARD
        return range(first, min(first + SHAPES_PER_SHARD, self.shapes))


def generate(
    directory: Path,
    spec: DatasetSpec,
    shard: tuple[int, int] = (0, 1),
    done: Callable[[int], None] | None = None,
    shapes: int | None = None,
    meshes: Path | None = None,
) -> None:
    """Write the shards that are missing, and those that are damaged, which a warning names.

    Args:
        directory: folder of the dataset.
        spec: what it is.
        shard: part i of n: every n-th shard from the i-th on.
        done: told each shard's number.
        shapes: only the shards of the first so many shapes.
        meshes: the folder that `spec.meshes` are below.

    Raises:
        InputError: the folder holds another dataset or can't be written, or lacks shards of a generator that
            this isn't any more; a mesh is missing, has changed or can't be read.
    """
    if spec.meshes:
        meshes = require_meshes(meshes, spec.meshes)
    open_manifest(directory, spec)
    wanted = spec.shards if shapes is None else min(-(-shapes // SHAPES_PER_SHARD), spec.shards)
    for number in range(shard[0], wanted, shard[1]):
        path = shard_path(directory, number)
        fault = shard_fault(path, spec, number) if path.exists() else "missing"
        if fault and spec.format != FORMAT:
            raise InputError(
                f"{path}: {fault}, and this generator makes format {FORMAT}, not {spec.format}; choose an empty folder"
            )
        if fault:
            if path.exists():
                warnings.warn(f"{path}: {fault}; it is made again", stacklevel=2)
            write_bytes(path, save(make_shard(spec, number, meshes)))
        if done is not None:
            done(number)


def open_manifest(directory: Path, spec: DatasetSpec) -> None:
    """Create the manifest, or check that the one that is there asks for the same dataset."""
    path = directory / "manifest.json"
    if path.exists():
        there = read_manifest(directory)
        if there != spec:
            raise InputError(
                f"{path}: holds another dataset ({differences(there, spec)});"
                " choose an empty folder or the same options"
            )
        return
    write_bytes(path, (json.dumps(asdict(spec), indent=2) + "\n").encode())


def read_manifest(directory: Path) -> DatasetSpec:
    """The spec of a dataset on disk.

    Raises:
        InputError: the manifest isn't there, or isn't one.
    """
    path = directory / "manifest.json"
    try:
        values = json.loads(path.read_text())
        meshes = listed_meshes(values.pop("meshes", ()))
        require_numbers(values, "detail", (float, type(None)))
        return DatasetSpec(**values, meshes=meshes)
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; make the dataset with `maquette dataset shapes -o {directory} --count N`"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise InputError(f"{path}: not a dataset manifest ({error})") from None


def shard_path(directory: Path, number: int) -> Path:
    """Where a shard lies."""
    return directory / f"shard-{number:06d}.safetensors"


def shard_fault(path: Path, spec: DatasetSpec, number: int) -> str:
    """What is wrong with a shard, as far as its header and its length tell; empty if nothing is."""
    image = (len(spec.shard_shapes(number)) * spec.views, spec.size_px, spec.size_px)
    expected = {key: [*image, *IMAGES[key]] for key in image_keys(spec.format)}
    try:
        with safe_open(path, framework="np") as file:  # refuses a file whose length isn't what its header says
            found = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        return f"damaged ({error})"
    wrong = [key for key, shape in expected.items() if found.get(key) != shape] + [
        key for key in ("lights", "camera") if found.get(key, [0])[0] != image[0]
    ]
    return f"damaged ({', '.join(wrong)}: not of the manifest's size)" if wrong else ""


def make_shard(spec: DatasetSpec, number: int, meshes: Path | None = None) -> dict[str, np.ndarray]:
    """One shard's arrays, first axis = view: see `pack`.

    Args:
        spec: of the dataset.
        number: of the shard.
        meshes: the folder that `spec.meshes` are below.
    """
    rows = []
    for index in spec.shard_shapes(number):
        rng = np.random.default_rng([spec.seed, index, 1])
        if index >= spec.count:
            mesh = place_mesh(require_meshes(meshes, ()), spec.meshes[index - spec.count])
            for _ in range(spec.views):
                view = object_view(rng, mesh.points, "mesh", spec.size_px)
                lights = sample_lights(rng, view)
                rows.append(pack(trace_placed(mesh, view, lights), view, lights_to_camera(lights, view)))
            continue
        solid, family = sample_solid(spec.seed, index, spec.detail)
        for _ in range(spec.views):
            view = shape_view(rng, solid.grid, family, spec.size_px)
            lights = sample_lights(rng, view, family in EXPANSES)
            rows.append(pack(trace(solid, view, lights), view, lights_to_camera(lights, view)))
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def pack(buffer: GBuffer, view: ObjectCamera, lights: np.ndarray) -> dict[str, np.ndarray]:
    """A G-buffer in 13 bytes a pixel.

    Keys: `normal` (H, W, 2) int16, octahedral, camera frame; `depth` (H, W) float32 along -z, 0 outside the
    mask; `lit` (H, W) uint8, bit l for light l; `openness` (H, W) uint8; `opening` (H, W, 2) int8, as
    the normal; `part` (H, W) uint8, 0 outside the mask; `lights` (8, 4) camera frame; `camera` (5,): focal_px,
    center x, center y, orthographic, distance of the camera to the origin.
    """
    bits = (buffer.lit * (1 << np.arange(len(buffer.lit), dtype=np.uint8))[:, None, None]).sum(0)
    distance = float(view.camera_to_object[:, 3] @ view.camera_to_object[:, 2])
    return {
        "normal": octahedral_encode(buffer.normal),
        "depth": np.where(buffer.mask, -buffer.position[..., 2], 0).astype(np.float32),
        "lit": bits.astype(np.uint8),
        "openness": np.round(buffer.openness * 255).astype(np.uint8),
        "opening": octahedral_encode(buffer.opening, np.int8),
        "part": buffer.part,
        "lights": lights.astype(np.float32),
        "camera": np.array([view.focal_px, *view.center_px, view.orthographic, distance], np.float32),
    }


def octahedral_encode(normal: np.ndarray, dtype: type = np.int16) -> np.ndarray:
    """Unit vectors (..., 3) as pairs of whole numbers (Meyer et al. 2010); zero vectors become (0, 0)."""
    folded = normal / np.maximum(np.abs(normal).sum(-1, keepdims=True), 1e-12)
    p, z = folded[..., :2], folded[..., 2:]
    sign = np.where(p >= 0, 1.0, -1.0)
    p = np.where(z >= 0, p, (1 - np.abs(p[..., ::-1])) * sign)
    return np.round(p * np.iinfo(dtype).max).astype(dtype)
