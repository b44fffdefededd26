"""What maquette knows by name: methods, kinds of files, sets, limits. Plain facts, each written here and nowhere else.

Nothing heavy is imported, so that a command line is read, and refused, before torch is loaded. Code is named as
`module:attribute` and imported by `resolve`, when it is needed. The frames of normal maps are in
`maquette.geometry.frames`, the presets of networks and of training in their own configurations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any, Literal, get_args


def resolve(path: str) -> Any:
    """What `module:attribute` names; dots reach into objects."""
    module, _, attribute = path.partition(":")
    return attrgetter(attribute)(import_module(module))


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; NaN lies in no range."""

    low: int | float
    high: int | float

    def __contains__(self, value: int | float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


# Files --------------------------------------------------------------------------------------------------------------

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr")
# Pictures that others read, and we don't: left out of a folder, but not without a word.
OTHER_PICTURE_SUFFIXES = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".bmp", ".tga", ".gif", ".hdr", ".psd"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
PICTURE_SUFFIX = ".png"  # of pictures that are written
ARRAY_SUFFIX = ".npy"
NORMAL_MAP_SUFFIXES = (*PHOTO_SUFFIXES, ARRAY_SUFFIX)
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")  # that are read
FILM_SUFFIXES = (".mp4", ".gif")  # that are written
MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".stl", ".off", ".ply")  # that are read
MESH_WRITE_SUFFIXES = (".glb", ".obj", ".ply", ".stl")
SOLID_MESH_SUFFIX = ".stl"  # of a file that holds solids
TEXTURED_TEXT_SUFFIX = ".obj"  # of a mesh whose texture is a file beside it

Format = Literal["png16", "png8", "exr", "npy"]  # of normal maps, confidences and heights
FORMAT_SUFFIXES: dict[Format, str] = {"png16": PICTURE_SUFFIX, "png8": PICTURE_SUFFIX, "exr": ".exr", "npy": ".npy"}
MAP_SUFFIXES = tuple(dict.fromkeys(FORMAT_SUFFIXES.values()))

Encoding = Literal["srgb", "linear", "auto"]  # of photos that aren't EXR
ENCODINGS = ("auto", "linear", "srgb")

# Where x, y and z of a splat file point: right or left, up or down, back (to the viewer) or forward. `rub` is
# maquette's own frame.
Axes = Literal["rub", "rdf", "luf", "ruf", "rdb", "ldb", "lub", "ldf"]
AXES: tuple[Axes, ...] = get_args(Axes)


@dataclass(frozen=True)
class SplatFormat:
    """A kind of file that holds Gaussians.

    Attributes:
        suffix: by which it is known.
        axes: what is assumed unless the file or the caller says otherwise; a matter of agreement.
        read: from `Path` to `RawSplats`, or empty.
        write: from `Path, RawSplats` (and what `maquette.io.splats.files` has for it alone), or empty.
        keeps_linear: whether it can say that its colours are linear; others are written as display values.
        other_axes: whether it may be written in other axes.
    """

    suffix: str
    axes: Axes
    read: str = ""
    write: str = ""
    keeps_linear: bool = False
    other_axes: bool = True


_CODECS = "maquette.io.splats"
SPLAT_FORMATS = {
    each.suffix: each
    for each in (
        SplatFormat(".ply", "rdf", f"{_CODECS}.compressed_ply:read_any_ply", f"{_CODECS}.ply:write_ply"),
        SplatFormat(".splat", "rdf", f"{_CODECS}.splat:read_dot_splat"),
        SplatFormat(".ksplat", "rdf", f"{_CODECS}.ksplat:read_ksplat"),
        SplatFormat(".spz", "rub", f"{_CODECS}.spz:read_spz", f"{_CODECS}.spz:write_spz"),
        SplatFormat(".sog", "rdf", f"{_CODECS}.sog:read_sog"),
        SplatFormat(".json", "rdf", f"{_CODECS}.sog:read_sog"),  # `meta.json` of an unzipped SOG
        SplatFormat(
            ".glb", "rub", write=f"{_CODECS}.gltf:write_gltf", keeps_linear=True, other_axes=False
        ),  # glTF has no other axes
    )
}
SPLAT_SUFFIXES = tuple(each.suffix for each in SPLAT_FORMATS.values() if each.read)
SPLAT_WRITE_SUFFIXES = tuple(each.suffix for each in SPLAT_FORMATS.values() if each.write)
AMBIGUOUS_SPLAT_SUFFIX = ".ply"  # also that of a mesh

# Choices and limits ---------------------------------------------------------------------------------------------------

Solver = Literal["robust", "paper", "least-squares"]  # which frames a pixel believes: maquette.shading.solve
SOLVERS: tuple[Solver, ...] = get_args(Solver)
RingSolver = Literal["robust", "paper"]
RING_SOLVERS: tuple[RingSolver, ...] = get_args(RingSolver)
Sphere = Literal["chrome", "matte"]  # what a ball in the scene is made of
SPHERES: tuple[Sphere, ...] = get_args(Sphere)
Rendered = Literal["color", "normals", "depth", "alpha"]  # what a picture of Gaussians shows
RENDERED: tuple[Rendered, ...] = get_args(Rendered)

MaskKind = Literal["auto", "alpha", "none", "grabcut", "box", "point", "rembg", "file"]
MASK_WORDS: tuple[MaskKind, ...] = ("auto", "alpha", "none", "grabcut")
MASK_FORMS = "FILE|auto|alpha|none|grabcut|box:X0,Y0,X1,Y1|point:X,Y|rembg:NAME"
SMALLEST_BOX_PX = 8

# How finely NiRNE looks, across the object: chosen on renders, see docs/methods/nirne.md.
DETAIL_PX = 512
TILED_DETAIL_PX = 256  # weights of before there was a guide: more took time and brought no accuracy
DETAIL_RANGE_PX = Range(0, 16384)
ROSE_STEPS = Range(1, 1000)
ROSE_GUIDANCE = Range(0, 20)
CLONE_ITERATIONS = Range(1, 100_000)
SMOOTHING = 0.75  # share of the past in a still place of a video: four frames, about
LEAST_LIGHTS = 3  # of photometric stereo: a normal and an albedo are three unknowns
RELIEF_WIDTH_MM = 100.0
RELIEF_BASE_MM = 3.0

# Methods --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What a method can be asked for besides its input: an option of every verb that has `--method`.

    Attributes:
        name: of the option, without its dashes.
        kind: `whole` or `number`, within `range`; `choice` of `choices`; `weights`, a name or a folder; `normals`,
            another method or the file of a normal map; `convention`, the frame of such a file.
        keyword: of what `Method.path` names; empty for a setting that another one uses.
        help: what `--help` says.
        metavar: what stands for the value there.
    """

    name: str
    kind: Literal["whole", "number", "choice", "weights", "normals", "convention"]
    keyword: str
    help: str
    metavar: str | None = None
    range: Range = Range(0, 0)
    choices: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """Its name as Python writes it."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Method:
    """A method by its name.

    Attributes:
        name: as `--method` takes it.
        path: what makes it from `asks` and `settings`, by keyword; or, without either, the method itself.
        about: what it does.
        takes: a photo, or the photos of one object under several lights.
        gives: of `normals` and `gaussians`.
        weights: that ship and are its own; empty if it has none.
        asks: for which of `weights`, `device` and `detail_px`.
        settings: its own.
        knows_confidence: False if its maps never carry a concentration.
        cpu_part: what of it runs on the CPU alone, if anything does.
        slow: minutes a photo: worth a progress bar even for one.
        fills_frame: whether it takes a surface that fills the frame, not just objects.
        extras: a module that writes what only this method has, beside the normals; see `maquette.app.cli.rose`.
    """

    name: str
    path: str
    about: str
    takes: Literal["photo", "photos"] = "photo"
    gives: tuple[Literal["normals", "gaussians"], ...] = ("normals",)
    weights: str = ""
    asks: tuple[Literal["weights", "device", "detail_px"], ...] = ()
    settings: tuple[Setting, ...] = ()
    knows_confidence: bool = True
    cpu_part: str = ""
    slow: bool = False
    fills_frame: bool = True
    extras: str = ""


AUTO_NIRNE_WEIGHTS = "nirne-small-1"  # what the calibration of `auto` that ships was made for
METHODS = {
    each.name: each
    for each in (
        Method(
            "nirne",
            "maquette.methods.nirne:NiRNE.from_pretrained",
            "a network predicts normals and how far they can be trusted",
            weights="nirne-small",
            asks=("weights", "device", "detail_px"),
        ),
        Method(
            "rose",
            "maquette.methods.rose:RoSE.from_pretrained",
            "the object imagined under a ring of lights, then solved",
            weights="rose-small",
            asks=("weights", "device"),
            settings=(
                Setting(
                    "steps",
                    "whole",
                    "steps",
                    f"of the imagination, {ROSE_STEPS}; more is slower",
                    "N",
                    ROSE_STEPS,
                ),
                Setting(
                    "guidance",
                    "number",
                    "guidance",
                    f"how much the photo's say is exaggerated, {ROSE_GUIDANCE}; 1 is none, others take twice the time",
                    "G",
                    ROSE_GUIDANCE,
                ),
                Setting(
                    "solver", "choice", "solver", "which frames a pixel believes; default: robust", choices=RING_SOLVERS
                ),
            ),
            extras="maquette.app.cli.rose",
        ),
        Method(
            "auto",
            "maquette.methods.auto:auto",
            "nirne and rose, each where it is the surer",
            weights="rose-small",
            asks=("weights", "device", "detail_px"),
        ),
        Method(
            "clone",
            "maquette.methods.clone.method:CLONE.from_pretrained",
            "one photo explained by Gaussians, a light, a refiner and a gate",
            gives=("normals", "gaussians"),
            weights="clone-small",
            settings=(
                Setting(
                    "init",
                    "normals",
                    "first",
                    "normals to start from: any other method, or a normal map as large as the photo"
                    " (.png, .exr, .npy, ...); default: a neutral start from the silhouette",
                    "METHOD|MAP",
                ),
                Setting("init-convention", "convention", "", "of the MAP; default: opengl"),
                Setting(
                    "refiner", "weights", "weights", "weights of refiner and gate; default: clone-small", "NAME|DIR"
                ),
                Setting(
                    "iterations",
                    "whole",
                    "iterations",
                    "at most; it stops before if nothing gets better",
                    "N",
                    CLONE_ITERATIONS,
                ),
            ),
            cpu_part="loop",
            slow=True,
            fills_frame=False,
            extras="maquette.app.cli.clone",
        ),
        Method(
            "inflate",
            "maquette.methods.baselines:inflate",
            "the silhouette blown up like a balloon",
            knows_confidence=False,
        ),
        Method("flat", "maquette.methods.baselines:flat", "a wall that faces the camera", knows_confidence=False),
        Method(
            "gsn",
            "maquette.methods.gsn:GSN.from_pretrained",
            "the object made whole, in one pass of a network",
            gives=("gaussians",),
            weights="gsn-small",
            asks=("weights", "device"),
        ),
        Method(
            "photometric",
            "maquette.methods.photometric:photometric_stereo",
            "several photos of one object under known lights",
            takes="photos",
        ),
    )
}
# A model of one's own, by what stands before the colon; `python` is every other name.
FOREIGN_FORMS = "hf:FOLDER, onnx:FILE[@FRAME], MODULE:FUNCTION, FILE.py:FUNCTION"
FOREIGN_WITHOUT_CONFIDENCE = ("hf",)
DEFAULT_METHOD = "nirne"


def methods(which: Callable[[Method], bool] = lambda _: True) -> tuple[str, ...]:
    """The names of the methods of which something is true, in the table's order."""
    return tuple(name for name, method in METHODS.items() if which(method))


NORMALS_METHODS = methods(lambda each: each.takes == "photo" and "normals" in each.gives)
SPLAT_METHODS = ("gsn", *methods(lambda each: "gaussians" in each.gives and each.name != "gsn"))  # the default first

# Sets -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BenchSet:
    """Photos with true normals that methods are measured on.

    Attributes:
        name: as `--sets` takes it.
        load: from the folders of data and cache to samples.
        about: what is in it.
        papers: published means over all objects of the set, of which ours has `{count}`.
        masked: whether an object has a mask, not the whole frame.
        chooses: what choices are made by; the others are for evaluation alone.
    """

    name: str
    load: str
    about: str
    papers: str = ""
    masked: bool = True
    chooses: bool = False


_BENCH = "maquette.bench.normals"
BENCH_SETS = {
    each.name: each
    for each in (
        BenchSet(
            "diligent",
            f"{_BENCH}.datasets:diligent",
            "DiLiGenT ball and bear, images 021 to 030, linear photos divided by their light's intensity",
            "Papers, mean error over ten objects; ours is {count} of them: RoSE 16.36, NiRNE 17.27.",
        ),
        BenchSet(
            "luces",
            f"{_BENCH}.datasets:luces",
            "LUCES, one photo each, near point light",
            "Papers, NE / SNE over ten objects; ours is {count} of them: NiRNE 21.84 / 26.63.",
        ),
        BenchSet(
            "pathtraced",
            f"{_BENCH}.datasets:pathtraced",
            "procedural shapes that no training run generates, path-traced",
        ),
        BenchSet("scans", f"{_BENCH}.datasets:scans", "scanned meshes, path-traced"),
        BenchSet(
            "textures",
            f"{_BENCH}.textures:textures",
            "CC0 materials and two of our own, lit by one light and an even one; no mask",
            masked=False,
        ),
        BenchSet(
            "validation",
            f"{_BENCH}.validation:validation",
            "textured meshes and reliefs that fill the frame, path-traced; what choices are made by",
            chooses=True,
        ),
    )
}
