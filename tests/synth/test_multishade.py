"""MultiShade's samples: frames are the analytic clamp, the light's path is the ring's, materials have their shares."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import trimesh

from maquette.io.meshes import read_mesh
from maquette.io.normal_maps import read_normal_map
from maquette.render.gbuffer import DISTANT, ObjectCamera
from maquette.shading.rigs import ring_lights
from maquette.synth.datasets import dataset
from maquette.synth.datasets.mesh_files import MeshFile
from maquette.synth.datasets.multishade import samples
from maquette.synth.datasets.multishade.samples import (
    MESH_EXTENT,
    MESH_SAMPLES,
    choose_view,
    look,
    make_samples,
    material_kind,
    material_of,
    photo_of,
    place,
    shape,
    targets,
    to_surfaces,
)
from maquette.synth.datasets.multishade.spec import MATERIALS, VIEWS, MultiShadeSpec
from maquette.synth.datasets.shards import unpack
from maquette.synth.looks.photo import Surfaces, direct_light
from maquette.synth.views import sample_lights

pytestmark = pytest.mark.usefixtures("one_thread")
PX = 64


def decoded(files: dict[str, bytes], suffix: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(files[suffix], np.uint8), cv2.IMREAD_UNCHANGED)


def frames_of(files: dict[str, bytes]) -> np.ndarray:
    """(frames, H, W) in 0..1."""
    names = sorted(suffix for suffix in files if suffix.startswith(".shading"))
    return np.stack([decoded(files, name) for name in names]) / 65535


def mesh_spec(**options) -> MultiShadeSpec:
    return MultiShadeSpec(0, meshes=(MeshFile("it.ply", ""),), size_px=PX, **options)


def read(tmp_path, mesh: trimesh.Trimesh):
    mesh.export(tmp_path / "it.ply")
    return read_mesh(tmp_path / "it.ply")


def ball_surfaces(px: int) -> Surfaces:
    """An orthographic view of the unit sphere, by its formula."""
    x = ((torch.arange(px) + 0.5) / px * 2 - 1) * 1.1
    x, y = x[None, :].expand(px, px), -x[:, None].expand(px, px)
    mask = (x * x + y * y < 1).float()
    normal = torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()]) * mask
    ones, lights = torch.ones(1, 1, px, px), torch.zeros(1, 1, 4)
    normal, mask = normal[None], mask[None, None]
    return Surfaces(normal, normal, normal, normal, mask, ones, ones, lights, normal, mask)


@pytest.mark.parametrize("frames", [4, 9, 12])
def test_the_frames_of_a_sphere_are_the_analytic_clamp_to_their_quantisation(frames):
    ball = ball_surfaces(96)
    stored = frames_of(targets(ball, frames))
    for number in range(frames):
        azimuth = 2 * np.pi * number / frames
        light = np.array([np.sin(azimuth), np.cos(azimuth), 1]) / np.sqrt(2)
        exact = np.maximum(np.einsum("c,chw->hw", light, ball.normal[0].double().numpy()), 0)
        assert np.abs(stored[number] - exact).max() <= 0.5 / 65535 + 1e-12
    assert (stored[:, ball.mask[0, 0].numpy() == 0] == 0).all()


def test_sixteen_bits_cost_a_solve_nothing_and_eight_would():
    """Least squares over the lit frames of the hemisphere's normals."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lights = ring_lights(9).numpy()
    mean_deg = {}
    for largest in (255, 65535):
        errors = []
        for normal, row in zip(normals, np.round((normals @ lights.T).clip(0) * largest) / largest, strict=True):
            found = np.linalg.lstsq(lights[row > 0], row[row > 0], rcond=None)[0]
            errors.append(np.degrees(np.arccos(min(1, found @ normal / np.linalg.norm(found)))))
        mean_deg[largest] = np.mean(errors)
    assert mean_deg[65535] < 1e-3
    assert 0.03 < mean_deg[255] < 0.15


def test_the_light_starts_above_and_goes_clockwise():
    """Twelve frames of a sphere: the brightest pixel is above, then to the right, below, to the left."""
    stored = frames_of(targets(ball_surfaces(97), 12))
    half = 48
    brightest = [np.unravel_index(np.argmax(frame), frame.shape) for frame in stored]
    towards = [(column - half, half - row) for row, column in brightest]  # x right, y up
    expected = half / 1.1 * np.sqrt(0.5)
    for number, (x, y) in ((0, (0, 1)), (3, (1, 0)), (6, (0, -1)), (9, (-1, 0))):
        assert towards[number] == pytest.approx((x * expected, y * expected), abs=1.5)
    angles = np.degrees(np.unwrap([np.arctan2(x, y) for x, y in towards]))
    np.testing.assert_allclose(angles, np.arange(12) * 30, atol=3)


def test_a_sphere_s_mesh_gives_the_clamp_of_a_sphere_by_the_camera_in_its_facts(tmp_path):
    """Every named view, perspective as drawn; the mean normal of the rays of a pixel, as the generator averages."""
    mesh = read(tmp_path, trimesh.creation.icosphere(5))
    worst = []
    for _, files in make_samples(mesh_spec(seed=3), 0, mesh):
        camera = json.loads(files[".json"])["camera"]
        pose = np.array(camera["camera_to_object"])
        n = MESH_SAMPLES
        pixel = (np.arange(PX * n) + 0.5) / n
        x = (pixel[None, :] - camera["center_px"][0]) / camera["focal_px"]
        y = (camera["center_px"][1] - pixel[:, None]) / camera["focal_px"]
        x, y = np.broadcast_arrays(x, y)
        flat = camera["orthographic"]
        start = np.stack([x, y, 0 * x] if flat else [0 * x] * 3, -1)
        along = np.stack([0 * x, 0 * x, 0 * x - 1] if flat else [x, y, 0 * x - 1], -1)
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        center = -pose[:, :3].T @ pose[:, 3]  # the sphere's, in the camera's frame
        b = ((start - center) * along).sum(-1)
        root = b * b - ((start - center) ** 2).sum(-1) + MESH_EXTENT**2
        hit = root > 0
        normal = (start - center + along * (-b - np.sqrt(root.clip(0)))[..., None]) / MESH_EXTENT * hit[..., None]
        normal = normal.reshape(PX, n, PX, n, 3).sum((1, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True).clip(1e-9)
        exact = np.maximum(normal @ ring_lights(9).numpy().T, 0).transpose(2, 0, 1)
        inside = hit.reshape(PX, n, PX, n).all((1, 3))
        assert (decoded(files, ".mask.png")[inside] == 255).all()
        assert inside.mean() > 0.2
        error = np.abs(frames_of(files) - exact)[:, inside]
        assert error.mean() < 2e-3  # the mesh's own normals are off by 0.013 degrees in the mean, by 0.8 at worst
        worst.append(error.max())
    assert len(worst) == 6
    assert max(worst) < 0.05


def test_a_cast_shadow_is_in_the_photo_s_light_and_not_in_the_target(tmp_path):
    """A wall on a floor that faces the camera: the floor's frames are sin 45 everywhere, though it is shadowed."""
    floor = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    wall = [[0, -1, 0], [0, 1, 0], [0, 1, 0.5], [0, -1, 0.5]]
    mesh = read(tmp_path, trimesh.Trimesh(floor + wall, [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], process=False))
    placed = place(mesh, PX)
    pose = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4.0]])
    view = ObjectCamera(pose, PX, PX, PX / 2, (PX / 2, PX / 2), True)
    lights = sample_lights(np.random.default_rng(0), view)
    lights[0] = [np.sqrt(0.5), 0, np.sqrt(0.5), DISTANT]
    surfaces = look(placed, view, lights).surfaces
    floor_seen = (surfaces.normal[0, 2] > 0.999).numpy()
    shadowed = floor_seen & (surfaces.lit[0, 0] == 0).numpy()
    assert 0.1 < shadowed.sum() / floor_seen.sum() < 0.4
    stored = frames_of(targets(surfaces, 9))
    np.testing.assert_allclose(stored[:, floor_seen], np.sqrt(0.5), atol=1e-3)
    kinds = torch.Generator().manual_seed(0)
    material = samples.sample_material(surfaces.local, kinds, metal=False)
    lit = direct_light(surfaces, material, torch.tensor([0]), torch.ones(1, 1, 1, 1))[0].sum(0).numpy()
    assert (lit[shadowed] == 0).all()
    assert (lit[floor_seen & (surfaces.lit[0, 0] == 1).numpy()] > 0).all()


def test_kinds_of_material_have_their_shares():
    """4,000 samples of the numbering that the generator uses; three standard deviations are 0.024."""
    kinds = [material_kind([0, thing, view, light]) for thing in range(250) for view in range(8) for light in range(2)]
    for kind, share in MATERIALS.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.024)
    assert sum(MATERIALS.values()) == 1


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """What is seen of a box with a red and green skin, from a corner."""
    box = trimesh.creation.box()
    box.visual.vertex_colors = [[200, 0, 0, 255] if x > 0 else [0, 100, 0, 255] for x in box.vertices[:, 0]]
    thing = place(read(tmp_path_factory.mktemp("mesh"), box), PX)
    view = choose_view(np.random.default_rng(5), thing, "front", PX)
    return look(thing, view, sample_lights(np.random.default_rng(0), view))


def test_a_mesh_keeps_its_colours_as_original_and_else_gets_what_its_kind_says(painted):
    mask = painted.surfaces.mask > 0
    original = material_of(painted, "original", torch.Generator().manual_seed(1))
    torch.testing.assert_close(original.albedo, painted.colour.clamp(0.005, 0.98))
    assert float(original.metal) == 0
    red, green, blue = (channel[mask[:, 0]] for channel in painted.colour.unbind(1))
    right = (painted.surfaces.local[:, 0][mask[:, 0]] / MESH_EXTENT + 1) / 2
    torch.testing.assert_close(red, right * (((200 / 255) + 0.055) / 1.055) ** 2.4, atol=1e-4, rtol=0)
    torch.testing.assert_close(green, (1 - right) * (((100 / 255) + 0.055) / 1.055) ** 2.4, atol=1e-4, rtol=0)
    assert float(blue.max()) == 0
    for seed in range(20):
        assert float(material_of(painted, "metal", torch.Generator().manual_seed(seed)).metal) == 1
        assert float(material_of(painted, "non-metal", torch.Generator().manual_seed(seed)).metal) == 0


def test_asking_for_a_kind_leaves_the_other_draws_as_they_are(painted):
    states, materials = [], []
    for metal in (None, True, False):
        rng = torch.Generator().manual_seed(2)
        materials.append(samples.sample_material(painted.surfaces.local, rng, metal=metal))
        states.append(rng.get_state())
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])
    assert [float(material.metal) for material in materials[1:]] == [1, 0]
    assert torch.equal(materials[1].specular, materials[2].specular)


def test_a_shape_s_original_material_is_the_data_engine_s(painted):
    as_shape = painted._replace(colour=None)
    drawn = material_of(as_shape, "original", torch.Generator().manual_seed(4))
    plain = samples.sample_material(painted.surfaces.local, torch.Generator().manual_seed(4))
    torch.testing.assert_close(drawn.albedo, plain.albedo)


def test_photos_of_a_view_differ_and_the_same_place_gives_the_same(painted):
    first, again, other = (photo_of(painted, [0, 1, 2, light])[0] for light in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.fixture(scope="module")
def small_shapes():
    """Shapes on a coarse grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "sample_solid", partial(samples.sample_solid, side=32))
        patch.setattr(dataset, "sample_solid", partial(dataset.sample_solid, side=32))
        yield


@pytest.mark.usefixtures("small_shapes")
def test_shapes_have_six_views_and_files_that_fit_each_other(tmp_path):
    spec = MultiShadeSpec(2, seed=5, size_px=32, lights=2, frames=6)
    made = dict(make_samples(spec, 1))
    assert list(made) == [f"000001_{view:02d}_{light:02d}" for view in range(6) for light in range(2)]
    for key, files in made.items():
        facts = json.loads(files[".json"])
        assert tuple(files) == spec.suffixes
        assert facts["view"] == VIEWS[int(key[7:9])]
        assert facts["object"] == 1
        assert facts["seed"] == [5, 1, int(key[7:9]), int(key[10:12])]
        assert facts["material"] in MATERIALS
        assert [light["kind"] for light in facts["lights"]].count("point") == 1
        mask = decoded(files, ".mask.png") == 255
        assert decoded(files, ".photo.png").shape == (32, 32, 3)
        (tmp_path / "n.png").write_bytes(files[".normal.png"])
        truth = read_normal_map(tmp_path / "n.png")
        np.testing.assert_array_equal(truth.mask.numpy(), mask)
        shading = np.maximum(truth.normals.double().numpy() @ ring_lights(6).numpy().T, 0).transpose(2, 0, 1)
        assert np.abs(frames_of(files) - shading).max() < 4 / 65535  # both are rounded
    assert made["000001_00_00"][".normal.png"] == made["000001_00_01"][".normal.png"]
    assert made["000001_00_00"][".photo.png"] != made["000001_00_01"][".photo.png"]


@pytest.mark.usefixtures("small_shapes")
def test_what_is_seen_is_what_the_shape_data_set_stores_but_for_its_rounding():
    """Same shape, camera and lights through `pack` and `unpack`."""
    thing = shape(MultiShadeSpec(3, seed=2), 2)
    rng = np.random.default_rng(1)
    for _ in range(4):
        view = choose_view(rng, thing, "random", 48)
        lights = sample_lights(rng, view)
        buffer = dataset.trace(thing.solid, view, lights)
        row = dataset.pack(buffer, view, samples.lights_to_camera(lights, view))
        stored = unpack({key: torch.from_numpy(value)[None] for key, value in row.items()})
        direct = to_surfaces(buffer, view, lights)
        for name in ("normal", "position", "local", "view", "mask", "lit", "openness", "lights"):
            tolerance = {"openness": 3e-3, "normal": 1e-4}.get(name, 2e-5)
            a, b = getattr(stored, name), getattr(direct, name)
            a, b = (a * direct.mask, b * direct.mask) if name == "view" else (a, b)
            torch.testing.assert_close(a, b, atol=tolerance, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("name", "seen"),
    [("front", "z"), ("left", "-x"), ("right", "x"), ("top", "y"), ("bottom", "-y")],
)
def test_named_views_look_from_their_side_and_stand_upright(tmp_path, name, seen):
    """A box whose six sides have colours of their own: the camera sees the one side."""
    box = trimesh.creation.box()
    sides = {"x": 0, "-x": 40, "y": 80, "-y": 120, "z": 160, "-z": 200}
    codes = []
    for normal in box.face_normals:
        axis = int(np.argmax(np.abs(normal)))
        codes.append([sides[("" if normal[axis] > 0 else "-") + "xyz"[axis]]] * 3 + [255])
    box = trimesh.Trimesh(box.vertices[box.faces].reshape(-1, 3), np.arange(36).reshape(12, 3), process=False)
    box.visual.vertex_colors = np.repeat(codes, 3, 0)
    thing = place(read(tmp_path, box), PX)
    view = choose_view(np.random.default_rng(1), thing, name, PX)
    picture = look(thing, view, sample_lights(np.random.default_rng(0), view))
    middle = picture.colour[0, 0, PX // 2, PX // 2]
    expected = sides[seen] / 255
    linear = expected / 12.92 if expected <= 0.04045 else ((expected + 0.055) / 1.055) ** 2.4
    assert float(middle) == pytest.approx(linear, abs=1e-4)
    up = view.camera_to_object[:, 1]
    assert up.tolist() == {"top": [0, 0, -1], "bottom": [0, 0, 1]}.get(name, [0, 1, 0])
    assert np.linalg.det(view.camera_to_object[:, :3]) == pytest.approx(1)
