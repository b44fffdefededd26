"""Path-traced photos of triangle meshes, with global illumination and their true normals, by Mitsuba 3.

The renderer is not the one that makes training data (`maquette.render`), so its photos also check that one.
The mesh is turned into the camera's frame first: Mitsuba's world is then our frame, x right, y up, z towards
the viewer, and no normal needs a conversion. Mitsuba is an optional part: `pip install maquette[render]`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from maquette.errors import InputError
from maquette.io.images import read_photo, to_srgb8
from maquette.types import Camera, NormalMap

FORMAT = 1  # raise it when the same mesh, environments and seed would give other bytes
MATERIALS = ("diffuse", "plastic", "metal")
METALS = ("Al", "Au", "Cu", "Ag")
CREASE_RAD = np.deg2rad(40)  # edges that bend more stay sharp; the others are shaded smoothly
TRUTH_SAMPLES = 16
_NEEDED = "path tracing needs Mitsuba 3; pip install 'maquette[render]'"
MARGIN = 1.08  # the frame is so much larger than the object


@dataclass(frozen=True)
class Render:
    """A photo as a camera writes it, and the truth.

    Attributes:
        codes: 8-bit sRGB.
        truth: shading normals, camera frame; the mask is true where at least half of the pixel is covered.
        camera: where it was seen from; the object lies about the origin, in the unit ball.
    """

    codes: UInt8[Tensor, "height width 3"]
    truth: NormalMap
    camera: Camera


@dataclass(frozen=True)
class Shot:
    """Where the camera stands and how long it looks.

    Attributes:
        distance: from the origin, along z.
        field_rad: angle across the frame.
        side_px: of the square photo.
        samples: light paths per pixel.
        seed: of the light paths.
        calm: pixels that outshine what is around them fourfold, as few light paths leave them, are taken from there.
    """

    distance: float
    field_rad: float
    side_px: int
    samples: int
    seed: int
    calm: bool = False


def renderer_version() -> str:
    """What a render's bytes follow from, besides its arguments; a name for a folder of them.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    try:
        return f"mitsuba-{version('mitsuba')}-{FORMAT}"
    except PackageNotFoundError:
        raise InputError(_NEEDED) from None


def render_scene(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    environments: Sequence[Path],
    seed: int,
    material: str | None = None,
    side_px: int = 256,
    samples: int = 64,
) -> Render:
    """Photograph a mesh from a random side, under a random environment and one more light.

    The mesh fills a square frame; its bounding ball is seen at 10 to 45 degrees; the light is distant or a
    glowing sphere. Everything random follows from the seed, and the same seed gives the same bytes.

    Args:
        vertices: any units, y up.
        faces: outward, counter-clockwise; a mesh that is inside out is turned.
        environments: equirectangular radiance maps (.exr or .hdr), one of which is drawn.
        material: one of `MATERIALS`; drawn from the seed if not given.
        samples: light paths per pixel.

    Raises:
        InputError: Mitsuba isn't installed, there is no environment, or the material isn't known.
    """
    mi = load_mitsuba()
    if not environments:
        raise InputError("path tracing: no environment map was given; at least one .exr or .hdr is needed")
    random = np.random.default_rng(seed)
    material = material or MATERIALS[int(random.integers(len(MATERIALS)))]
    if material not in MATERIALS:
        raise InputError(f"path tracing: material {material!r}; choose from {', '.join(MATERIALS)}")
    pitch = rotation(0, np.deg2rad(random.uniform(-15, 35)))
    turn = pitch @ rotation(1, random.uniform(0, 2 * np.pi))
    turned = fitted(vertices @ turn.T)
    shape = _shape(mi, turned, faces, _bsdf(random, material), lambda points: _albedo(points, random))
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 45)) / 2)
    shot = Shot(distance, framing(turned, distance), side_px, samples, seed)
    return photograph(mi, {"shape": shape}, environments, pitch, shot, random)


def photograph(
    mi: Any,
    shapes: dict[str, Any],
    environments: Sequence[Path],
    pitch: Float[np.ndarray, "3 3"],
    shot: Shot,
    random: np.random.Generator,
) -> Render:
    """Photograph shapes under one of the environments and one more light, both drawn at random.

    Args:
        mi: from `load_mitsuba`.
        shapes: Mitsuba's, by any names, in the camera's frame about the origin.
        environments: equirectangular radiance maps.
        pitch: how the environment tilts with the camera.
        shot: camera, samples, seed.
        random: draws the environment, its turn, the light and the exposure.
    """
    distance, field_rad, side_px, seed = shot.distance, shot.field_rad, shot.side_px, shot.seed
    scene = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 6},
        **shapes,
        "sky": _environment(mi, environments[int(random.integers(len(environments)))], pitch, random),
        "key": _key_light(mi, random),
        "sensor": _sensor(mi, distance, field_rad, side_px, "gaussian", shot.samples),
    }
    radiance = np.array(mi.render(mi.load_dict(scene), seed=seed))[..., :3]
    if shot.calm:
        around = cv2.medianBlur(np.ascontiguousarray(radiance), 3)
        radiance = np.where(radiance.sum(-1, keepdims=True) > 4 * around.sum(-1, keepdims=True), around, radiance)
    truth = _truth(mi, shapes, _sensor(mi, distance, field_rad, side_px, "box", TRUTH_SAMPLES), seed)
    codes = _exposed(torch.from_numpy(radiance), truth, random.uniform(90, 99.5))
    return Render(codes, truth, _camera(distance, field_rad, side_px))


def render_lights(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    lights: Float[np.ndarray, "lights 3"],
    seed: int,
    side_px: int = 256,
    samples: int = 64,
) -> tuple[Float[Tensor, "lights height width 3"], NormalMap]:
    """Photograph a matte mesh of two mingled colours from a random side, under each of several distant lights alone.

    Shadows fall, and light goes on from surface to surface. Framed as in `render_scene`.

    Args:
        vertices: any units, y up.
        faces: outward, counter-clockwise; a mesh that is inside out is turned.
        lights: from the surface to the light, unit, in the camera's frame; each gives a white wall that faces it 1.
        seed: of side and colours.
        samples: light paths per pixel.

    Returns:
        Linear colour under each light, and the shading normals.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    mi = load_mitsuba()
    random = np.random.default_rng(seed)
    turn = rotation(0, np.deg2rad(random.uniform(-15, 35))) @ rotation(1, random.uniform(0, 2 * np.pi))
    turned = fitted(vertices @ turn.T)
    first, second = random.uniform(0.15, 0.85, (2, 3))
    shape = _shape(mi, turned, faces, _bsdf(random, "diffuse"), lambda points: _mingled(points, first, second, random))
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 45)) / 2)
    field_rad = framing(turned, distance)
    photos = []
    for light in lights:
        key = {"type": "directional", "direction": (-light).tolist(), "irradiance": {"type": "rgb", "value": np.pi}}
        scene = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 6},
            "shape": shape,
            "key": key,
            "sensor": _sensor(mi, distance, field_rad, side_px, "gaussian", samples),
        }
        photos.append(torch.from_numpy(np.array(mi.render(mi.load_dict(scene), seed=seed))[..., :3]))
    truth = _truth(mi, {"shape": shape}, _sensor(mi, distance, field_rad, side_px, "box", TRUTH_SAMPLES), seed)
    return torch.stack(photos).clamp_min(0), truth


def load_mitsuba() -> Any:
    """The module, in the variant that needs no compiler and no GPU.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    try:
        import mitsuba
    except ImportError as error:
        raise InputError(_NEEDED) from error
    mitsuba.set_variant("scalar_rgb")
    return mitsuba


def upload_mesh(
    mi: Any,
    mesh: trimesh.Trimesh,
    bsdf: dict[str, Any],
    colour: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Any:
    """A mesh as Mitsuba's shape, shaded smoothly except at edges that bend by more than `CREASE_RAD`.

    Args:
        mi: from `load_mitsuba`.
        mesh: in Mitsuba's world, faces outward.
        bsdf: its material, as Mitsuba's dictionary.
        colour: linear reflectance (n, 3) float32 of points (n, 3), for a material that reads `vertex_color`.
    """
    smooth = trimesh.graph.smooth_shade(mesh, angle=CREASE_RAD)
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf)
    built = mi.Mesh("mesh", len(smooth.vertices), len(smooth.faces), has_vertex_normals=True, props=properties)
    if colour is not None:
        built.add_attribute("vertex_color", 3, colour(np.asarray(smooth.vertices)).ravel())
    values = mi.traverse(built)
    values["vertex_positions"] = np.asarray(smooth.vertices, np.float32).ravel()
    values["vertex_normals"] = np.asarray(smooth.vertex_normals, np.float32).ravel()
    values["faces"] = np.asarray(smooth.faces, np.uint32).ravel()
    values.update()
    return built


def framing(points: Float[np.ndarray, "n 3"], distance: float) -> float:
    """The angle, in radians, that a square frame must hold so that the points fill it but for a margin."""
    return 2 * np.arctan(MARGIN * np.abs(points[:, :2] / (distance - points[:, 2:])).max())


def fitted(vertices: np.ndarray) -> np.ndarray:
    """Moved and scaled into the unit ball about the centre of the bounding box."""
    centred = vertices - (vertices.min(0) + vertices.max(0)) / 2
    return centred / np.linalg.norm(centred, axis=1).max()


def rotation(axis: int, angle_rad: float) -> np.ndarray:
    """Right-handed rotation about a coordinate axis; about x, a positive angle shows the top of an object."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle_rad)
    matrix[second, first] = np.sin(angle_rad)
    matrix[first, second] = -np.sin(angle_rad)
    return matrix


def _shape(
    mi: Any, vertices: np.ndarray, faces: np.ndarray, bsdf: dict, colour: Callable[[np.ndarray], np.ndarray]
) -> Any:
    solid = trimesh.Trimesh(vertices, faces, process=True)
    if solid.volume < 0:  # its sign holds for meshes with small holes too: the centre is near the origin
        solid.invert()  # wound the other way round, its normals would look inwards
    return upload_mesh(mi, solid, bsdf, colour)


def _albedo(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One colour, or two that mingle over the surface in waves; linear reflectance, (n, 3) float32."""
    first, second = random.uniform(0.08, 0.85, (2, 3))
    if random.random() < 0.5:
        second = first
    return _mingled(points, first, second, random)


def _mingled(points: np.ndarray, first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two colours in waves over the surface."""
    waves = sum(np.sin(points @ random.normal(0, 6, 3) + random.uniform(0, 6)) for _ in range(4))
    share = 1 / (1 + np.exp(-4 * np.asarray(waves)))[:, None]
    return (first * share + second * (1 - share)).astype(np.float32)


def _bsdf(random: np.random.Generator, material: str) -> dict[str, Any]:
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    roughness = float(random.uniform(0.12, 0.45))
    if material == "diffuse":
        surface = {"type": "diffuse", "reflectance": colour}
    elif material == "plastic":
        # Mitsuba's own plastics need the mean of a texture, which colours of vertices don't offer.
        surface = {"type": "principled", "base_color": colour, "roughness": roughness**0.5, "specular": 0.5}
    else:
        metal = METALS[int(random.integers(len(METALS)))]
        surface = {"type": "roughconductor", "material": metal, "alpha": roughness}
    return {"type": "twosided", "surface": surface}


def _environment(mi: Any, path: Path, pitch: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    """A map of mean radiance 1, turned about the vertical and tilted with the camera."""
    radiance = _radiance(path)
    matrix = np.eye(4)
    matrix[:3, :3] = pitch @ rotation(1, random.uniform(0, 2 * np.pi))
    bitmap = mi.Bitmap((radiance / radiance.mean()).astype(np.float32))
    return {"type": "envmap", "bitmap": bitmap, "to_world": mi.ScalarTransform4f(matrix)}


def _radiance(path: Path) -> np.ndarray:
    if path.suffix == ".exr":
        return read_photo(path).rgb.numpy()
    picture = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: not a radiance map that can be read; .exr or .hdr is needed")
    return np.maximum(picture[..., ::-1], 0)


def _key_light(mi: Any, random: np.random.Generator) -> dict[str, Any]:
    """A distant light or a glowing sphere in front, 35 to 80 degrees off the axis: never in the picture."""
    off_axis, around = np.deg2rad(random.uniform(35, 80)), random.uniform(0, 2 * np.pi)
    direction = np.array([np.sin(off_axis) * np.cos(around), np.sin(off_axis) * np.sin(around), np.cos(off_axis)])
    # An environment of radiance 1 gives pi; the key light from half of that to eight times as much.
    irradiance = np.pi * np.exp(random.uniform(np.log(0.5), np.log(8)))
    tint = random.uniform(0.8, 1.0, 3)
    if random.random() < 0.5:
        colour = {"type": "rgb", "value": (irradiance * tint).tolist()}
        return {"type": "directional", "direction": (-direction).tolist(), "irradiance": colour}
    radius, distance = float(random.uniform(0.2, 0.8)), float(random.uniform(3, 5))
    radiance = irradiance * distance**2 / (np.pi * radius**2)
    glow = {"type": "area", "radiance": {"type": "rgb", "value": (radiance * tint).tolist()}}
    return {"type": "sphere", "center": (distance * direction).tolist(), "radius": radius, "emitter": glow}


def _sensor(
    mi: Any, distance: float, field_rad: float, side_px: int, pixel_filter: str, samples: int
) -> dict[str, Any]:
    """A pinhole on the z axis that looks at the origin."""
    return {
        "type": "perspective",
        "fov": float(np.rad2deg(field_rad)),
        "to_world": mi.ScalarTransform4f().look_at(origin=[0, 0, distance], target=[0, 0, 0], up=[0, 1, 0]),
        "sampler": {"type": "multijitter", "sample_count": samples},
        "film": {
            "type": "hdrfilm",
            "width": side_px,
            "height": side_px,
            "pixel_format": "rgba",
            "rfilter": {"type": pixel_filter},
        },
    }


def _camera(distance: float, field_rad: float, side_px: int) -> Camera:
    """What `_sensor` is, as a camera of ours."""
    pose = torch.eye(4)
    pose[2, 3] = distance
    focal_px = side_px / 2 / np.tan(field_rad / 2)
    return Camera(side_px, side_px, float(focal_px), (side_px / 2, side_px / 2), pose)


def _truth(mi: Any, shapes: dict[str, Any], sensor: dict[str, Any], seed: int) -> NormalMap:
    """Mean shading normal of every pixel, scaled to unit length, where shapes cover half of it."""
    # The nested integrator adds the alpha channel, which is the coverage.
    integrator = {"type": "aov", "aovs": "normal:sh_normal", "image": {"type": "direct"}}
    scene = mi.load_dict({"type": "scene", "integrator": integrator, **shapes, "sensor": sensor})
    channels = torch.from_numpy(np.array(mi.render(scene, seed=seed)))
    alpha, normals = channels[..., 3], channels[..., -3:]
    mask = alpha >= 0.5
    unit = torch.nn.functional.normalize(normals, dim=-1)
    return NormalMap(torch.where(mask[..., None], unit, torch.zeros_like(unit)), mask)


def _exposed(
    radiance: Float[Tensor, "height width 3"], truth: NormalMap, percentile: float
) -> UInt8[Tensor, "height width 3"]:
    """Sensor values: the percentile of the object's brightest channel becomes white, more is clipped."""
    brightest = radiance[truth.mask].max(-1).values if truth.mask.any() else radiance.max(-1).values
    white = torch.quantile(brightest.flatten(), percentile / 100).clamp_min(1e-6)
    return to_srgb8(radiance / white)
