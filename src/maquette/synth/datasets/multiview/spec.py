"""What a data set of views is: its spec, its objects and splits, its manifest and its datasheet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maquette.errors import InputError
from maquette.synth.datasets import manifests
from maquette.synth.datasets.mesh_files import MeshFile, listed_meshes, mesh_section
from maquette.synth.datasets.multiview.cameras import RADIUS, SPIRAL_VIEWS, TRAIN_VIEWS
from maquette.synth.solids.categories import CATEGORIES

FORMAT = 1  # raise it when the same spec would give other bytes
KIND = "views"
SPLITS = ("train", "val", "test")
HELD_OUT = ("hammer", "lamp")
MESH_CATEGORY = "mesh"  # of meshes that lie in no folder of their own
_MESH_SHARES = {"test": 0.1, "val": 0.2}  # up to which share of the digests a mesh belongs to the split


class Task(NamedTuple):
    """An object to make: `{category}_{split}/{name}`; `number` counts the objects of a category and split.

    `mesh` is the number of its file in the spec, -1 of a procedural object.
    """

    category: str
    split: str
    number: int
    mesh: int

    @property
    def name(self) -> str:
        """Of the object; no two of a data set have the same."""
        return f"{self.category}-{self.split}-{self.number:06d}"

    @property
    def folder(self) -> str:
        """Below the data set's folder, with slashes."""
        return f"{self.category}_{self.split}/{self.name}"


@dataclass(frozen=True)
class ViewsSpec:
    """All that a data set's bytes follow from.

    Attributes:
        count: training objects of each procedural category that isn't held out.
        seed: of everything.
        val, test: objects of each category for validation and test; of a held-out one there is the test alone.
        categories: procedural ones, names of `maquette.synth.solids.categories.CATEGORIES`.
        held_out: categories that are tested and never trained on, procedural ones or folders of meshes.
        views: of each training object, from anywhere.
        test_views: of each object of the other splits, along the spiral.
        size_px: side of the square images.
        radius: of the sphere that the cameras stand on, where the diagonal of an object's box is 1.
        meshes: files that join the procedural objects.
        format: version of the generator; older ones can be read, not made.
    """

    count: int
    seed: int = 0
    val: int = 0
    test: int = 0
    categories: tuple[str, ...] = tuple(CATEGORIES)
    held_out: tuple[str, ...] = HELD_OUT
    views: int = TRAIN_VIEWS
    test_views: int = SPIRAL_VIEWS
    size_px: int = 128
    radius: float = RADIUS
    meshes: tuple[MeshFile, ...] = ()
    format: int = FORMAT

    def __post_init__(self) -> None:
        ranges = {
            "count": (0, 10**6),
            "seed": (0, 2**63),
            "val": (0, 10**6),
            "test": (0, 10**6),
            "views": (1, 10**4),
            "test_views": (2, 10**4),
            "size_px": (16, 2048),
            "radius": (0.75, 10),
            "format": (1, FORMAT),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        for name in self.categories:
            if name not in CATEGORIES:
                raise InputError(f"categories: {name!r} is none; there are {', '.join(CATEGORIES)}")
        known = {*self.categories, *(mesh_category(mesh) for mesh in self.meshes)}
        for name in self.held_out:
            if name not in known:
                raise InputError(f"held_out: {name!r} is not among the categories ({', '.join(sorted(known))})")
        for name in ("categories", "held_out"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise InputError(f"{name}: {', '.join(getattr(self, name))}; each may stand there once")
        if not self.tasks():
            raise InputError("there is no object to make; ask for some by count, val or test, or give meshes")

    def tasks(self) -> list[Task]:
        """All objects, in their order: procedural ones by category and split, then the meshes."""
        found, numbers = [], {}
        for category in self.categories:
            held = category in self.held_out
            for split, count in zip(
                SPLITS, (0 if held else self.count, 0 if held else self.val, self.test), strict=True
            ):
                found += [Task(category, split, number, -1) for number in range(count)]
                numbers[category, split] = count
        for index, mesh in enumerate(self.meshes):
            category = mesh_category(mesh)
            split = "test" if category in self.held_out else _mesh_split(mesh)
            number = numbers.get((category, split), 0)
            numbers[category, split] = number + 1
            found.append(Task(category, split, number, index))
        return found

    def view_count(self, task: Task) -> int:
        """How many views an object has."""
        return self.views if task.split == "train" else self.test_views


def mesh_category(mesh: MeshFile) -> str:
    """The first folder of the mesh's path, or `MESH_CATEGORY`."""
    first, slash, _ = mesh.name.partition("/")
    return first if slash else MESH_CATEGORY


def object_files(spec: ViewsSpec, task: Task) -> list[str]:
    """The files in an object's folder, with slashes."""
    stems = [f"{view:06d}" for view in range(spec.view_count(task))]
    images = [f"{kind}/{stem}.png" for kind in ("mask", "normals", "rgb") for stem in stems]
    return ["intrinsics.txt", "object.json", *(f"pose/{stem}.txt" for stem in stems), *images]


def open_manifest(folder: Path, spec: ViewsSpec) -> None:
    """Write manifest and datasheet, or check that the manifest that is there asks for the same data set.

    Raises:
        InputError: it asks for another one, or the folder can't be written.
    """
    manifests.open_manifest(folder, spec, KIND, read_manifest, datasheet_text)


def read_manifest(folder: Path) -> ViewsSpec:
    """The spec of a data set on disk.

    Raises:
        InputError: the manifest isn't there, or isn't one of views.
    """
    return manifests.read_manifest(folder, KIND, "views", _build)


def datasheet_text(spec: ViewsSpec) -> str:
    """What stands beside the data for whoever is handed it alone; facts of the spec."""
    tasks = spec.tasks()
    rows = "".join(
        f"- `{category}_{split}`: {sum(task[:2] == (category, split) for task in tasks)} objects\n"
        for category, split in dict.fromkeys(task[:2] for task in tasks)
    )
    return f"""# Datasheet

Made by `maquette dataset views`, format {spec.format}; the generator's own page is docs/views.md.

- **What**: at most {len(tasks)} objects on white, seen from many sides, by the protocol and in the layout of
  ShapeNet-SRN. A mesh that could not be read is left out; the generator named it.
- **Held-out categories**, which have a test alone: {", ".join(spec.held_out) or "none"}.
- **Views**: {spec.views} of a training object, from anywhere; {spec.test_views} of the others, along a spiral from the
  equator to the pole. Cameras stand at {spec.radius:g} from the middle of an object whose box has a diagonal of 1.
- **`rgb/`**: 8-bit RGB, {spec.size_px} x {spec.size_px}, display-encoded.
- **`pose/`**: camera_to_world, 16 numbers row by row; camera axes x right, y down, z forward; world z up.
- **`intrinsics.txt`**: focal length, principal point (pixels), and in the last line height and width.
- **`normals/`**: 16-bit RGB, n * 0.5 + 0.5 in the camera's frame, x right, y up, z to the viewer; alpha is
  the mask, where at least half of a pixel is covered.
- **`mask/`**: 8-bit grey, the share of a pixel that the object covers.
- **`object.json`**: category, split, seed, parts with their linear albedos, or the mesh; size of the box.
- **Seed**: {spec.seed}. The same manifest gives the same bytes with the same libraries on the same kind of processor.
- **Terms**: procedural objects are their maker's to use as they like; a mesh's views are under its terms.

## Splits

{rows}{mesh_section(spec.meshes)}"""


def _mesh_split(mesh: MeshFile) -> str:
    """By its content: equal meshes share a split, and the others keep theirs when one more joins."""
    share = int(mesh.sha256[:8], 16) / 2**32
    return next((split for split, end in _MESH_SHARES.items() if share < end), "train")


def _build(values: dict[str, Any]) -> ViewsSpec:
    """The spec of a manifest's values."""
    meshes = listed_meshes(values.pop("meshes"))
    categories, held_out = (tuple(str(name) for name in values.pop(key)) for key in ("categories", "held_out"))
    manifests.require_numbers(values, "radius", (float,))
    return ViewsSpec(**values, categories=categories, held_out=held_out, meshes=meshes)
