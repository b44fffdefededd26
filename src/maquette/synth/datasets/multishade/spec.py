"""What a MultiShade data set is: its spec, its manifest and its datasheet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import InputError
from maquette.io.tars import Member, list_tar
from maquette.shading.rigs import RING_ELEVATION_DEG, RING_LIGHTS
from maquette.synth.datasets import manifests
from maquette.synth.datasets.mesh_files import MeshFile, listed_meshes, mesh_section

FORMAT = 2  # raise it when the same spec would give other bytes
KIND = "multishade"
OBJECTS_PER_SHARD = 8
VIEWS = ("front", "random", "left", "right", "top", "bottom")  # the paper's six; each further view is random
MATERIALS = {"original": 0.5, "metal": 0.25, "non-metal": 0.25}  # shares of the photos, the paper's
MAX_FRAMES = 64


@dataclass(frozen=True)
class MultiShadeSpec:
    """All that a MultiShade data set's bytes follow from.

    Attributes:
        count: number of procedural shapes; the meshes come after them.
        seed: of everything.
        views: of each object: the first so many of `VIEWS`, then random ones.
        lights: photos of each view, every one under another light and in another material.
        size_px: side of the square images.
        frames: shading frames, one for each light of the ring.
        detail: surface detail of every procedural shape in [0, 1]; `None` draws it by shape.
        meshes: files that join the procedural shapes.
        format: version of the generator; older ones can be read, not made.
    """

    count: int
    seed: int = 0
    views: int = len(VIEWS)
    lights: int = 1
    size_px: int = 128
    frames: int = RING_LIGHTS
    detail: float | None = None
    meshes: tuple[MeshFile, ...] = ()
    format: int = FORMAT

    def __post_init__(self) -> None:
        ranges = {
            "count": (0 if self.meshes else 1, 10**6 - len(self.meshes)),
            "seed": (0, 2**63),
            "views": (1, 100),
            "lights": (1, 100),
            "size_px": (16, 2048),
            "frames": (3, MAX_FRAMES),
            "format": (1, FORMAT),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        if self.detail is not None and not 0 <= self.detail <= 1:
            raise InputError(f"detail is {self.detail}; it must lie in 0..1")

    @property
    def objects(self) -> int:
        """Shapes and meshes."""
        return self.count + len(self.meshes)

    @property
    def shards(self) -> int:
        """How many shards the data set has; the last may be smaller."""
        return -(-self.objects // OBJECTS_PER_SHARD)

    def shard_objects(self, number: int) -> range:
        """The objects of a shard."""
        first = number * OBJECTS_PER_SHARD
        return range(first, min(first + OBJECTS_PER_SHARD, self.objects))

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What follows a sample's key in the names of its files, in their order."""
        frames = [f".shading-{frame:02d}.png" for frame in range(self.frames)]
        return (".json", ".mask.png", ".normal.png", ".photo.png", *frames)


def view_name(number: int) -> str:
    """Where a view is seen from."""
    return VIEWS[number] if number < len(VIEWS) else "random"


def sample_key(thing: int, view: int, light: int) -> str:
    """The name that a sample's files begin with."""
    return f"{thing:06d}_{view:02d}_{light:02d}"


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"multishade-{number:06d}.tar"


def shard_members(path: Path, spec: MultiShadeSpec, number: int) -> list[Member]:
    """The files in a shard, once it is known that they are those that the spec asks for.

    Raises:
        InputError: it is missing or damaged, or holds other files.
    """
    members = list_tar(path)
    found, expected = [member.name for member in members], []
    for thing in spec.shard_objects(number):
        names = [
            sample_key(thing, view, light) + suffix
            for view in range(spec.views)
            for light in range(spec.lights)
            for suffix in spec.suffixes
        ]
        if thing < spec.count or found[len(expected) : len(expected) + 1] == names[:1]:  # a mesh may lack all of them
            expected += names
    if found != expected:
        raise InputError(f"{path}: damaged (it holds other files than the manifest says)")
    return members


def open_manifest(folder: Path, spec: MultiShadeSpec) -> None:
    """Write manifest and datasheet, or check that the manifest that is there asks for the same data set.

    Raises:
        InputError: it asks for another one, or the folder can't be written.
    """
    manifests.open_manifest(folder, spec, KIND, read_manifest, datasheet_text)


def read_manifest(folder: Path) -> MultiShadeSpec:
    """The spec of a data set on disk.

    Raises:
        InputError: the manifest isn't there, or isn't one of MultiShade.
    """
    return manifests.read_manifest(folder, KIND, "MultiShade", _build)


def datasheet_text(spec: MultiShadeSpec) -> str:
    """What stands beside the data for whoever is handed it alone; facts of the spec."""
    samples = spec.objects * spec.views * spec.lights
    views = ", ".join(view_name(number) for number in range(spec.views))
    detail = "drawn by shape" if spec.detail is None else f"{spec.detail:g}"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in MATERIALS.items())
    return f"""# Datasheet

Made by `maquette dataset multishade`, format {spec.format}; the generator's own page is docs/multishade.md.

- **What**: at most {samples} samples, one for each object, view and photo: a photo under random light, and what a
  ring of {spec.frames} lights would show of the same surface in matte white, a frame for each light.
- **Objects**: {spec.count} procedural shapes (surface detail: {detail}) and {len(spec.meshes)} meshes.
  A mesh that could not be read has no samples; the generator named it.
- **Views**: {spec.views} of each object ({views}); photos of each view: {spec.lights}.
- **Images**: {spec.size_px} x {spec.size_px} pixels, in {spec.shards} tars of {OBJECTS_PER_SHARD} objects (WebDataset).
- **Key**: six digits of the object, two or more of the view, two or more of the photo.
- **`.photo.png`**: 8-bit RGB, display-encoded, cast shadows included. Materials, by chance: {shares}.
- **`.mask.png`**: 8-bit grey, 255 on the object.
- **`.normal.png`**: 16-bit RGB, n * 0.5 + 0.5 in the camera's frame, x right, y up, z to the viewer; alpha is the mask,
  and left out if that is full.
- **`.shading-00.png` to `.shading-{spec.frames - 1:02d}.png`**: 16-bit grey, linear, 65535 is 1: max(n . l, 0). The
  lights stand {RING_ELEVATION_DEG:g} degrees above the image plane, {360 / spec.frames:g} degrees apart, clockwise as
  the viewer sees them; the first above (+y). No albedo, no cast shadow.
- **`.json`**: object, family or mesh, view, kind of material, camera, the lights that the photo's were drawn from.
- **Seed**: {spec.seed}. The same manifest gives the same bytes with the same libraries on the same kind of processor.
- **Terms**: the procedural samples are their maker's to use as they like; a mesh's samples are under its terms.
{mesh_section(spec.meshes)}"""


def _build(values: dict[str, Any]) -> MultiShadeSpec:
    """The spec of a manifest's values."""
    meshes = listed_meshes(values.pop("meshes"))
    manifests.require_numbers(values, "detail", (float, type(None)))
    return MultiShadeSpec(**values, meshes=meshes)
