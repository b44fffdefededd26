"""The data engine's shader against a path tracer: Mitsuba 3 on the same shapes, cameras, lights and materials.

    python benchmarks/shader_vs_pathtracer.py [--quick] [--json] [--picture FILE.png]

A case is one procedural solid through one random camera. The shader gets its G-buffer, stored and read as a
dataset's; Mitsuba gets the marching-cubes mesh of the same grid. Both get one light, one environment or both, and
one material. `direct` is light that met the object once: two-vertex paths, against the shader without its bounce.
`global` is all of it: six vertices, against the shader with its bounce. On the pixels that both cover:

    scale        mean of the shader over mean of Mitsuba; 1 if no factor is lost
    correlation  of the pixels, all channels
    error        mean absolute difference after each image was divided by its mean
    unbounced    the same error of the shader without its bounce against Mitsuba's global image
    normals      median angle between the G-buffer's normals and Mitsuba's, degrees; `overlap` is that of the masks
    floor        `error` between two of Mitsuba's global images with different random numbers: its own noise

`--json` prints one flat object; without Mitsuba every value is null, with the reason on stderr. The picture shows
every case: shader, Mitsuba, the difference. Needs the extra: pip install 'maquette[render]'.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from maquette.bench.normals.pathtrace import load_mitsuba, upload_mesh
from maquette.errors import InputError
from maquette.io.images import to_srgb8, write_png8
from maquette.render.gbuffer import DISTANT, POINT, ObjectCamera, Solid, trace
from maquette.synth.datasets.dataset import pack
from maquette.synth.datasets.shards import unpack
from maquette.synth.looks.environments import LEVELS, bank, look_up, panorama_directions
from maquette.synth.looks.materials import Material
from maquette.synth.looks.photo import Surfaces, bounce, direct_light, environment_light
from maquette.synth.solids.shapes import CLASSIC, grid_mesh, sample_solid
from maquette.synth.views import AREA_SAMPLES, lights_to_camera, sample_view

METRICS = (
    "normals", "overlap", "direct_scale", "direct_correlation", "direct_error", "scale", "correlation", "error",
    "unbounced", "floor",
)  # fmt: skip
DISTANT_LIGHT = (0.48, 0.6, 0.64)
NEAR_LIGHT = (0.7, 0.9, 1.5)  # from the object's origin, camera axes
AREA_AXIS = (-0.6, 0.48, 0.64)
AREA_SPREAD = 0.27  # tangent of the angle of the area light's standard spread, as `sample_lights` draws it: 15 degrees
SOURCES = {"distant": 0, "point": 3, "area": 4}
# Refractive index and absorption of a gold-like metal, red to blue; its colour head-on follows.
METAL_ETA, METAL_K = np.array([0.2, 0.45, 1.4]), np.array([3.6, 2.5, 1.9])
METAL_COLOUR = ((METAL_ETA - 1) ** 2 + METAL_K**2) / ((METAL_ETA + 1) ** 2 + METAL_K**2)
ROUGHNESS = {"matte": 1.0, "glossy": 0.4, "metal": 0.45}
COLOUR = (0.75, 0.6, 0.45)
PHOTOGRAPHED, SOFT = 1, 20  # panoramas of the bank: one with a strong sun, one of wide windows and lamps
TURN = ((0.36, 0.48, -0.8), (-0.8, 0.6, 0.0), (0.48, 0.64, 0.6))  # the panorama's axes in the camera's


@dataclass(frozen=True)
class Case:
    """What both renderers are given.

    Attributes:
        shape: seed and index of the solid; its surface detail is `detail`.
        camera: seed of the view.
        light: a key of `SOURCES`, of irradiance pi at normal incidence, or none.
        sky: "constant", or the number of a panorama in the bank, of mean radiance `level`.
    """

    name: str
    shape: tuple[int, int]
    camera: int
    material: str
    light: str | None = None
    sky: str | int | None = None
    level: float = 1.0
    detail: float = 0.0


@dataclass(frozen=True)
class Images:
    """Linear radiance of one renderer, (height, width, 3), with its normals and its mask."""

    direct: Float[Tensor, "height width 3"]
    everything: Float[Tensor, "height width 3"]
    normal: Float[Tensor, "height width 3"]
    mask: Float[Tensor, "height width"]


FIGURINE, BOWL, BLOCKS, LATHE, CAPSULE, STONE = ((4, index) for index in (2, 9, 15, 6, 49, 10))
CASES = (
    Case("figurine, matte, distant", FIGURINE, 3, "matte", "distant"),
    Case("figurine, matte, point", FIGURINE, 3, "matte", "point"),
    Case("figurine, matte, area", FIGURINE, 3, "matte", "area"),
    Case("figurine, glossy, panorama", FIGURINE, 3, "glossy", None, PHOTOGRAPHED),
    Case("bowl, matte, distant", BOWL, 6, "matte", "distant"),
    Case("bowl, matte, white sky", BOWL, 6, "matte", None, "constant"),
    Case("bowl, matte, panorama", BOWL, 6, "matte", None, PHOTOGRAPHED),
    Case("bowl, glossy, point and white sky", BOWL, 6, "glossy", "point", "constant", 0.3),
    Case("bowl from outside, orthographic, matte, distant", BOWL, 7, "matte", "distant"),
    Case("blocks, glossy, distant", BLOCKS, 4, "glossy", "distant"),
    Case("lathe, metal, distant", LATHE, 7, "metal", "distant"),
    Case("lathe, metal, white sky", LATHE, 7, "metal", None, "constant"),
    Case("lathe, metal, panorama", LATHE, 7, "metal", None, PHOTOGRAPHED),
    Case("capsule, metal, soft panorama", CAPSULE, 1, "metal", None, SOFT),
    Case("stone with detail, matte, area and panorama", STONE, 0, "matte", "area", PHOTOGRAPHED, 0.4, 1.0),
)
QUICK = (0, 4, 9, 13)


def main(argv: list[str] | None = None) -> int:
    """Render, compare, print; returns 0."""
    parser = harness.arguments(
        __doc__, quick="four cases, 48 pixels, few samples; under a minute", json="one flat object of ratios and errors"
    )
    parser.add_argument("--picture", type=Path, help="write all cases side by side")
    options = parser.parse_args(argv)
    cases = [CASES[n] for n in QUICK] if options.quick else list(CASES)
    side_px, samples = (48, 36) if options.quick else (96, 100)
    found: dict[str, dict[str, float] | None] = {}
    rows = []
    for case in cases:
        try:
            ours, theirs, again = render(case, side_px, samples)
        except InputError as error:
            print(f"not run: {error}", file=sys.stderr)
            found |= {case.name: None for case in cases}
            break
        found[case.name] = compare(ours, theirs, again)
        rows.append(strip(ours, theirs))
    harness.show(options, flat, table, found)
    if options.picture and rows:
        write_picture(rows, options.picture)
    return 0


def render(case: Case, side_px: int, samples: int) -> tuple[Images, Images, Tensor]:
    """The shader's images, Mitsuba's, and Mitsuba's global one once more with other random numbers."""
    solid, family = sample_solid(*case.shape, detail=case.detail, families=CLASSIC)
    view = sample_view(np.random.default_rng(case.camera), solid.grid, family, side_px)
    surfaces = surfaces_of(solid, view)
    shape = _mesh(load_mitsuba(), solid, view, _bsdf(case.material))
    theirs = [traced(case, shape, view, depth, samples, seed) for depth, seed in ((2, 0), (6, 1), (6, 2))]
    normal, mask = traced_normals(shape, view)
    return shaded(case, surfaces), Images(theirs[0], theirs[1], normal, mask), theirs[2]


def surfaces_of(solid: Solid, view: ObjectCamera) -> Surfaces:
    """A batch of one G-buffer with the lights above, packed and unpacked as a dataset's is."""
    lights = _lights(view)
    row = pack(trace(solid, view, lights), view, lights_to_camera(lights, view))
    return unpack({key: torch.from_numpy(value)[None] for key, value in row.items()})


def shaded(case: Case, surfaces: Surfaces) -> Images:
    """The data engine's shader with a given light, environment and material."""
    height, width = surfaces.mask.shape[2:]
    metal = case.material == "metal"
    colour = torch.tensor(METAL_COLOUR if metal else COLOUR, dtype=torch.float32).reshape(1, 3, 1, 1)
    material = Material(
        albedo=colour.expand(1, 3, height, width),
        roughness=torch.full((1, 1, height, width), ROUGHNESS[case.material]),
        metal=torch.full((1, 1, 1, 1), float(metal)),
        specular=torch.full((1, 1, 1, 1), float(case.material != "matte")),
    )
    total = torch.zeros_like(surfaces.normal)
    if case.light:
        total = total + direct_light(surfaces, material, torch.tensor([SOURCES[case.light]]), torch.ones(1, 1, 1, 1))
    if case.sky is not None:
        panorama = torch.ones(1, 3, LEVELS, 32, 64) if case.sky == "constant" else bank()[int(case.sky)][None]
        total = total + case.level * environment_light(surfaces, material, panorama, torch.tensor(TURN)[None])
    images = (total, total + bounce(surfaces, material, total), surfaces.normal)
    direct, everything, normal = (image[0].permute(1, 2, 0) for image in images)
    return Images(direct, everything, normal, surfaces.mask[0, 0])


def traced(
    case: Case, shape: Any, view: ObjectCamera, depth: int, samples: int, seed: int
) -> Float[Tensor, "height width 3"]:
    """Mitsuba's radiance in the camera's frame; paths of up to `depth` segments from the camera."""
    mi = load_mitsuba()
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": depth, "hide_emitters": True},
        "sensor": _sensor(mi, view, samples),
        "shape": shape,
    }
    if case.light:
        scene["light"] = _emitter(mi, case.light, view)
    if case.sky == "constant":
        scene["sky"] = {"type": "constant", "radiance": {"type": "rgb", "value": [case.level] * 3}}
    elif case.sky is not None:
        scene["sky"] = _envmap(mi, bank()[int(case.sky)] * case.level)
    return torch.from_numpy(np.array(mi.render(mi.load_dict(scene), seed=seed))[..., :3])


def traced_normals(
    shape: Any, view: ObjectCamera
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
    """Mitsuba's shading normals, camera frame, and its coverage."""
    mi = load_mitsuba()
    integrator = {"type": "aov", "aovs": "normal:sh_normal", "image": {"type": "direct"}}
    scene = mi.load_dict({"type": "scene", "integrator": integrator, "shape": shape, "sensor": _sensor(mi, view, 16)})
    channels = torch.from_numpy(np.array(mi.render(scene)))
    return torch.nn.functional.normalize(channels[..., -3:], dim=-1), channels[..., 3]


def compare(ours: Images, theirs: Images, again: Tensor) -> dict[str, float]:
    """`METRICS`, on the pixels that both cover wholly."""
    covered, solid = theirs.mask > 0.5, ours.mask > 0
    both = (theirs.mask > 0.999) & solid
    cosine = (ours.normal * theirs.normal).sum(-1)[both].clamp(-1, 1)
    direct = agreement(ours.direct[both], theirs.direct[both])
    everything = agreement(ours.everything[both], theirs.everything[both])
    overlap = float((covered & solid).sum() / (covered | solid).sum())
    unbounced = agreement(ours.direct[both], theirs.everything[both])[2]
    floor = agreement(again[both], theirs.everything[both])[2]
    values = (float(cosine.acos().rad2deg().median()), overlap, *direct, *everything, unbounced, floor)
    return dict(zip(METRICS, values, strict=True))


def agreement(ours: Float[Tensor, "pixels 3"], theirs: Float[Tensor, "pixels 3"]) -> tuple[float, float, float]:
    """Ratio of the means, correlation, and mean absolute difference of the images over their means."""
    scale = float(ours.mean() / theirs.mean())
    correlation = float(torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1])
    return scale, correlation, float((ours / ours.mean() - theirs / theirs.mean()).abs().mean())


def flat(found: dict[str, dict[str, float] | None]) -> dict[str, float | None]:
    """One key a case and metric: `figurine_matte_distant_error`, ..."""
    return {
        f"{name.replace(',', '').replace(' ', '_')}_{metric}": None if values is None else round(values[metric], 4)
        for name, values in found.items()
        for metric in METRICS
    }


def table(found: dict[str, dict[str, float] | None]) -> str:
    """The same in Markdown."""
    lines = harness.head(
        "case | normals | overlap | direct: scale | correlation | error | global: scale | correlation | error"
        " | unbounced | floor",
        "lr",
    )
    for name, values in found.items():
        cells = ["not run"] if values is None else [f"{values[metric]:.3f}" for metric in METRICS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def strip(ours: Images, theirs: Images) -> Tensor:
    """Shader, Mitsuba and their difference about grey, uint8, each of the two divided by its mean."""
    both = (theirs.mask > 0.999) & (ours.mask > 0)
    pair = [image.everything / image.everything[both].mean() * 0.35 for image in (ours, theirs)]
    difference = torch.where(both[..., None], 0.22 + pair[0] - pair[1], 0.22)
    tiles = [(image * mask[..., None]) for image, mask in zip(pair, (ours.mask, theirs.mask), strict=True)]
    return torch.cat([to_srgb8(tile.clamp(0, 1)) for tile in (*tiles, difference)], 1)


def write_picture(rows: list[Tensor], path: Path) -> None:
    """Strips in three columns."""
    columns = 3 if len(rows) > 4 else 1
    rows = rows + [torch.zeros_like(rows[0])] * (-len(rows) % columns)
    gap = torch.full((rows[0].shape[0], 6, 3), 255, dtype=torch.uint8)
    lines = []
    for start in range(0, len(rows), columns):
        line = [part for row in rows[start : start + columns] for part in (row, gap)][:-1]
        lines += [torch.cat(line, 1), torch.full((6, sum(part.shape[1] for part in line), 3), 255, dtype=torch.uint8)]
    write_png8(path, torch.cat(lines[:-1]))


def _lights(view: ObjectCamera) -> np.ndarray:
    """(8, 4) object frame, in the order of `maquette.synth.views.sample_lights`."""
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    lights = np.zeros((4 + AREA_SAMPLES, 4))
    lights[:, 3] = DISTANT
    lights[:3, :3] = rotation @ DISTANT_LIGHT
    lights[3] = (*(origin + rotation @ _near(view)), POINT)
    lights[4:, :3] = _area_samples() @ rotation.T
    return lights


def _near(view: ObjectCamera) -> np.ndarray:
    """The point light, camera frame."""
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    return np.array(NEAR_LIGHT) - rotation.T @ origin


def _area_samples() -> np.ndarray:
    """Four directions about the area light's axis, camera frame, drawn as `sample_lights` does."""
    rng = np.random.default_rng(0)
    samples = np.array(AREA_AXIS) + 0.6 * AREA_SPREAD * rng.normal(size=(AREA_SAMPLES, 3))
    return samples / np.linalg.norm(samples, axis=1, keepdims=True)


def _sensor(mi: Any, view: ObjectCamera, samples: int) -> dict[str, Any]:
    """The view's camera, in its own frame."""
    common = {
        "sampler": {"type": "multijitter", "sample_count": samples},
        "film": {
            "type": "hdrfilm", "width": view.width, "height": view.height, "pixel_format": "rgba",
            "rfilter": {"type": "box"},
        },
    }  # fmt: skip
    ahead = mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, -1], up=[0, 1, 0])
    offset = [0.5 - view.center_px[0] / view.width, 0.5 - view.center_px[1] / view.height]
    if view.orthographic:
        half = view.width / 2 / view.focal_px
        shift = mi.ScalarTransform4f().translate([2 * half * offset[0], -2 * half * offset[1], 0])
        return {
            "type": "orthographic",
            "to_world": shift @ ahead @ mi.ScalarTransform4f().scale([half, half, 1]),
        } | common
    fov = np.rad2deg(2 * np.arctan(view.width / 2 / view.focal_px))
    principal = {"principal_point_offset_x": offset[0], "principal_point_offset_y": offset[1]}
    return {"type": "perspective", "fov": float(fov), "to_world": ahead} | principal | common


def _mesh(mi: Any, solid: Solid, view: ObjectCamera, bsdf: dict[str, Any]) -> Any:
    """Marching cubes of the grid in the camera's frame, with smooth normals."""
    vertices, faces = grid_mesh(solid.grid)
    moved = (vertices - view.camera_to_object[:, 3]) @ view.camera_to_object[:, :3]
    return upload_mesh(mi, trimesh.Trimesh(moved, faces), bsdf)


def _bsdf(material: str) -> dict[str, Any]:
    colour = {"type": "rgb", "value": list(COLOUR)}
    alpha = ROUGHNESS[material] ** 2
    if material == "matte":
        return {"type": "diffuse", "reflectance": colour}
    if material == "glossy":
        return {
            "type": "roughplastic", "distribution": "ggx", "alpha": alpha, "int_ior": 1.5,
            "diffuse_reflectance": colour,
        }  # fmt: skip
    eta, k = ({"type": "rgb", "value": list(map(float, values))} for values in (METAL_ETA, METAL_K))
    return {"type": "roughconductor", "distribution": "ggx", "alpha": alpha, "eta": eta, "k": k}


def _emitter(mi: Any, light: str, view: ObjectCamera) -> dict[str, Any]:
    """A light of irradiance pi at normal incidence, at the object's origin."""
    if light == "distant":
        irradiance = {"type": "rgb", "value": [np.pi] * 3}
        return {"type": "directional", "direction": (-np.array(DISTANT_LIGHT)).tolist(), "irradiance": irradiance}
    if light == "point":
        intensity = {"type": "rgb", "value": [np.pi * float(np.dot(NEAR_LIGHT, NEAR_LIGHT))] * 3}
        return {"type": "point", "position": _near(view).tolist(), "intensity": intensity}
    # A uniform disc whose spread is that of the normal draws: its radius is twice their deviation.
    axis = _area_samples().mean(0)
    axis /= np.linalg.norm(axis)
    target, distance, half = _near(view) - NEAR_LIGHT, 100.0, 1.2 * AREA_SPREAD
    origin = target + distance * axis
    place = mi.ScalarTransform4f().look_at(origin=origin.tolist(), target=target.tolist(), up=[0.1, 1, 0])
    glow = {"type": "rgb", "value": [(1 + half**2) / half**2] * 3}
    return {
        "type": "disk",
        "to_world": place @ mi.ScalarTransform4f().scale([distance * half, distance * half, 1]),
        "emitter": {"type": "area", "radiance": glow},
    }


def _envmap(mi: Any, levels: Float[Tensor, "3 levels rows columns"]) -> dict[str, Any]:
    """The panorama itself, interpolated as the shader does; Mitsuba's columns run the other way round."""
    directions = panorama_directions(256, 512).permute(2, 0, 1)[None]
    fine = look_up(levels[None], directions, torch.zeros(1, 1, 256, 512))[0].permute(1, 2, 0).flip(1)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(TURN).T
    return {
        "type": "envmap",
        "bitmap": mi.Bitmap(fine.contiguous().numpy()),
        "to_world": mi.ScalarTransform4f(matrix),
    }


if __name__ == "__main__":
    sys.exit(main())
