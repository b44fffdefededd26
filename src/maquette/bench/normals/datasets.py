"""Photos with true normals: the sets that methods are measured on, one iterator each.

Nothing here may tune or train anything. Each function takes the data folder and a cache folder, and yields
samples in a fixed order; what is missing raises an InputError that says what and where.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.io import loadmat
from torch import Tensor

from maquette import metrics
from maquette.bench.normals.pathtrace import MATERIALS, Render, render_scene, renderer_version
from maquette.errors import InputError
from maquette.io.decode import read_pixels, require_file
from maquette.io.files import atomic_path
from maquette.io.images import read_mask, read_photo, srgb_to_linear
from maquette.io.meshes import read_mesh
from maquette.types import NormalMap, Photo

DILIGENT_OBJECTS = ("ball", "bear")
DILIGENT_IMAGES = range(21, 31)
LUCES_OBJECTS = ("Bowl", "Bunny", "Cup", "Die", "Hippo")
SCAN_VIEWS = 4
SHAPES_PER_MATERIAL = 8
MESH_SIDE = 192  # cells of the grid that a procedural shape becomes a mesh on
HELD_OUT_SEED = 1_000_003  # of shapes that nothing may train on
LUCES_UNIT_TOLERANCE = 0.1  # a stored normal whose length is further from 1 than this holds no truth

Traced = tuple[UInt8[Tensor, "height width 3"], NormalMap]  # a photo as 8-bit sRGB, and its truth
Held = TypeVar("Held")


@dataclass(frozen=True)
class Sample:
    """One photo with its truth.

    Attributes:
        group: name of the object, or of the kind of object; scores are averaged over the samples of a group,
            then over groups.
        view: which photo of the object.
        photo: linear colour, with the object's mask.
        truth: normals, with the mask of the pixels that have one.
        truth_grey: the set's own 8-bit grey picture of the truth, where the SNE protocol needs it.
        fills_frame: a surface without an end, of which one may ask what a method makes of it but for its mean tilt.
    """

    group: str
    view: str
    photo: Photo
    truth: NormalMap
    truth_grey: UInt8[Tensor, "height width"] | None = None
    fills_frame: bool = False


def diligent(data: Path, cache: Path) -> Iterator[Sample]:
    """DiLiGenT's ball and bear under the lights of images 021 to 030, the single-photo protocol of RoSE.

    The 16-bit photos are linear; each is divided by the intensity of its light.

    Raises:
        InputError: a file is missing or isn't what the set holds.
    """
    for name in DILIGENT_OBJECTS:
        yield from diligent_photos(data, name, DILIGENT_IMAGES)


def diligent_photos(data: Path, name: str, numbers: Iterable[int]) -> Iterator[Sample]:
    """Photos of one of DiLiGenT's objects by their numbers, from 1; see `diligent`."""
    folder = require_folder(data / "diligent" / f"{name}PNG", "the photos of DiLiGenT")
    mask = read_mask(folder / "mask.png")
    normals = read_as(folder / "Normal_gt.mat", lambda path: loadmat(path)["Normal_gt"].astype(np.float32))
    _require_shape(folder / "Normal_gt.mat", normals, (*mask.shape, 3))
    truth = _truth(torch.from_numpy(normals), mask)
    intensities = read_as(folder / "light_intensities.txt", lambda path: np.loadtxt(path, dtype=np.float32, ndmin=2))
    _require_shape(folder / "light_intensities.txt", intensities, (96, 3))
    for number in numbers:
        path = folder / f"{number:03d}.png"
        pixels = read_pixels(path)[..., :3]
        if pixels.dtype != np.uint16:
            raise InputError(f"{path}: holds {pixels.dtype}; the photos of DiLiGenT have 16 bits a channel")
        _require_shape(path, pixels, (*mask.shape, 3))
        rgb = pixels.astype(np.float32) / 65535 / intensities[number - 1]
        photo = Photo(torch.from_numpy(rgb), mask, f"{name}/{path.name}")
        yield Sample(name, path.stem, photo, truth)


def luces(data: Path, cache: Path) -> Iterator[Sample]:
    """Five objects of LUCES, one photo each under a near point light, read like any photo of a user.

    The stored maps have x to the left: it is negated. Black pixels and pixels far from unit length have no
    truth; the grey picture is that of the stored file, as the protocol of NE and SNE has it.

    Raises:
        InputError: a file is missing or damaged.
    """
    for name in LUCES_OBJECTS:
        folder = require_folder(data / "luces", "the photos of LUCES")
        photo = read_photo(folder / "images" / f"{name}.png")
        mask = read_mask(folder / "mask" / f"{name}.png")
        path = folder / "normals" / f"{name}.png"
        codes = torch.tensor(read_pixels(path)[..., :3])
        if codes.dtype != torch.uint8:
            raise InputError(f"{path}: holds {codes.dtype}; the normals of LUCES have 8 bits a channel")
        _require_shape(path, codes, (*mask.shape, 3))
        normals = 2 * codes.float() / 255 - 1
        length = torch.linalg.vector_norm(normals, dim=-1, keepdim=True)
        known = (length[..., 0] - 1).abs() <= LUCES_UNIT_TOLERANCE
        grey = metrics.grey_of_codes(codes)
        normals = normals / length * torch.tensor([-1.0, 1.0, 1.0])
        yield Sample(name, "photo", photo.with_mask(mask), _truth(normals, mask & known), grey)


def scans(data: Path, cache: Path) -> Iterator[Sample]:
    """Scanned meshes, each from four sides in other materials and lights, path-traced once and then cached.

    Raises:
        InputError: the meshes, the environments or Mitsuba are missing.
    """
    folder = require_folder(data / "meshes" / "scans", "the scanned meshes")
    paths = sorted(folder.glob("*.obj"))
    if not paths:
        raise InputError(f"{folder}: holds no .obj; the scanned meshes belong there")
    folder_of_renders = cache / renderer_version() / "scans"
    for place, path in enumerate(paths):
        for view in range(SCAN_VIEWS):
            traced = cached_render(
                folder_of_renders / f"{path.stem}-{view}.npz",
                data,
                lambda environments, path=path, seed=place * SCAN_VIEWS + view: render_scene(
                    *read_triangles(path), environments, seed, None
                ),
            )
            yield traced_sample(path.stem, f"view {view}", *traced)


def pathtraced(data: Path, cache: Path) -> Iterator[Sample]:
    """Procedural shapes of a seed that is kept from training, path-traced; grouped by material.

    Raises:
        InputError: the environments or Mitsuba are missing.
    """
    from maquette.synth.solids.shapes import MESH_FORMAT, sample_mesh

    folder_of_renders = cache / renderer_version() / f"shapes-{MESH_FORMAT}"
    for material in MATERIALS:
        for view in range(SHAPES_PER_MATERIAL):
            index = MATERIALS.index(material) * SHAPES_PER_MATERIAL + view
            traced = cached_render(
                folder_of_renders / f"{index:03d}-{material}.npz",
                data,
                lambda environments, index=index, material=material: render_scene(
                    *sample_mesh(HELD_OUT_SEED, index, MESH_SIDE), environments, HELD_OUT_SEED + index, material
                ),
            )
            yield traced_sample(material, f"shape {index}", *traced)


def cached_render(path: Path, data: Path, make: Callable[[list[Path]], Render]) -> Traced:
    """The photo and truth in the file; made, and the file with it, if it isn't there or is damaged.

    Args:
        path: of the cache.
        data: holds `environments`.
        make: is given the environment maps.
    """
    if path.exists():
        try:
            return read_as(path, _read_render)
        except InputError as error:
            warnings.warn(f"{error}; it is made again", stacklevel=2)
    folder = require_folder(data / "environments", "the environment maps")
    environments = sorted(p for p in folder.iterdir() if p.suffix in (".exr", ".hdr"))
    render = make(environments)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            codes=render.codes.numpy(),
            normals=render.truth.normals.numpy(),
            mask=render.truth.mask.numpy(),
        )
    return render.codes, render.truth


def traced_sample(group: str, view: str, codes: Tensor, truth: NormalMap) -> Sample:
    """A render as a sample whose mask is that of its truth."""
    rgb = srgb_to_linear(codes.float() / 255)
    return Sample(group, view, Photo(rgb, truth.mask, f"{group}, {view}"), truth)


def read_as(path: Path, reader: Callable[[Path], Held]) -> Held:
    """What a library reads from a file; whatever it raises on a bad one is an InputError that names the file."""
    require_file(path)
    try:
        return reader(path)
    except Exception as error:  # such readers raise anything, from KeyError to struct.error
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path}: is damaged or isn't what the set holds ({reason})") from error


def _read_render(path: Path) -> Traced:
    with np.load(path, allow_pickle=False) as held:
        codes, normals, mask = (torch.from_numpy(held[key]) for key in ("codes", "normals", "mask"))
    return codes, NormalMap(normals, mask)


def read_triangles(path: Path) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Vertices and faces of a mesh, as the path tracer takes them.

    Raises:
        InputError: as `maquette.io.meshes.read_mesh`.
    """
    mesh = read_mesh(path)
    return mesh.vertices.numpy(), mesh.faces.numpy()


def _require_shape(path: Path, array: np.ndarray | Tensor, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape:
        raise InputError(f"{path}: has the shape {tuple(array.shape)}; {shape} is needed")


def _truth(normals: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"]) -> NormalMap:
    """Unit normals where the mask is true and a normal is stored; zero elsewhere."""
    known = mask & (torch.linalg.vector_norm(normals, dim=-1) > 0.5)
    unit = torch.nn.functional.normalize(normals, dim=-1)
    return NormalMap(torch.where(known[..., None], unit, torch.zeros_like(unit)), known)


def require_folder(folder: Path, what: str) -> Path:
    """The folder, if it is there; else an InputError says what belongs in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {what} belong there (see --data)")
    return folder
