"""Data sets of views: the protocol's cameras, axes in the files against the pictures, splits, and the reader."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh

from maquette.errors import InputError
from maquette.geometry.camera import project
from maquette.geometry.field import BOX, SPHERE
from maquette.geometry.field_points import evaluate_at
from maquette.io.meshes import read_mesh
from maquette.synth.datasets.multiview import making
from maquette.synth.datasets.multiview.cameras import (
    intrinsics_text,
    look_at_origin,
    pose_text,
    relative_to,
    sphere_places,
    spiral_places,
)
from maquette.synth.datasets.multiview.making import draw, make_object, place_mesh, place_thing
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import Task, ViewsSpec, object_files
from maquette.synth.solids.categories import CATEGORIES, sample_thing
from maquette.synth.solids.parts import PartsBuilder, nearest_part

pytestmark = pytest.mark.usefixtures("one_thread")
PX = 64


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_the_spiral_runs_from_the_equator_to_the_pole_with_even_steps():
    places = spiral_places(251, 1.3)
    assert places.shape == (251, 3)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1.3)
    np.testing.assert_allclose(places[0], [1.3 * np.cos(20), 1.3 * np.sin(20), 0], atol=1e-12)
    np.testing.assert_allclose(places[-1], [0, 0, 1.3], atol=1e-12)
    elevation = np.degrees(np.arcsin(np.clip(places[:, 2] / 1.3, -1, 1)))
    np.testing.assert_allclose(elevation[:-1], np.arange(250) * 90 / 250, atol=1e-6)
    azimuth = np.unwrap(np.arctan2(places[:-1, 1], places[:-1, 0]))
    np.testing.assert_allclose(np.diff(azimuth), 0.08, atol=1e-9)  # 20 radians in 250 steps


def test_training_cameras_are_uniform_on_the_sphere():
    places = sphere_places(np.random.default_rng(0), 4000, 2.0) / 2
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
    np.testing.assert_allclose(places.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(places.T @ places / 4000, np.eye(3) / 3, atol=0.03)


def test_cameras_look_at_the_middle_upright_also_from_the_poles():
    places = np.concatenate([spiral_places(9, 1.3), [[0, 0, -1.3], [0, 0, 1.3]]])
    poses = look_at_origin(places)
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        np.testing.assert_allclose(pose[:3, 3] - 1.3 * pose[:3, 2], 0, atol=1e-12)
        assert pose[2, 0] == pytest.approx(0)  # right is level
        assert pose[2, 1] >= -1e-12  # up is not downwards


def test_the_files_text_is_srn_s():
    assert intrinsics_text(128) == "131.250000 64.000000 64.000000 0.\n0. 0. 0.\n1.\n128 128\n"
    assert 2 * np.degrees(np.arctan(64 / 131.25)) == pytest.approx(51.98948897809546)
    # A camera at (2, 0, 0) that looks along -x: OpenCV's axes are x right (world y), y down (-z), z forward (-x).
    words = pose_text(look_at_origin(np.array([[2.0, 0, 0]]))[0]).split()
    matrix = np.array([float(word) for word in words]).reshape(4, 4)
    np.testing.assert_allclose(matrix, [[0, 0, -1, 2], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], atol=1e-12)


@pytest.fixture(scope="module")
def three_balls(tmp_path_factory) -> Path:
    """A mesh of a red ball at +x, a green one at +y (up in the mesh) and a blue one at +z, y up; and its views."""
    folder = tmp_path_factory.mktemp("balls")
    balls = []
    for axis, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        ball = trimesh.creation.icosphere(2, 0.25)
        colours = np.tile([*colour, 255], (len(ball.vertices), 1))
        balls.append(trimesh.Trimesh(ball.vertices + np.eye(3)[axis], ball.faces, vertex_colors=colours))
    trimesh.util.concatenate(balls).export(folder / "balls.ply")
    return folder / "balls.ply"


def balls_in_world() -> tuple[np.ndarray, float]:
    """Centres of the three balls in the files' world, and their radius: box [-.25, 1.25]^3, its diagonal 1."""
    scale = 1 / (1.5 * np.sqrt(3))
    centres = (np.eye(3) - 0.5) * scale
    return centres @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T, 0.25 * scale


@pytest.fixture(scope="module")
def balls_seen(three_balls, tmp_path_factory):
    """What the reader gives of files that the generator makes: four views from anywhere."""
    from maquette.synth.datasets.mesh_files import find_meshes

    meshes = find_meshes(three_balls.parent)
    spec = ViewsSpec(0, 3, categories=(), held_out=(), views=4, size_px=PX, meshes=meshes)
    folder = tmp_path_factory.mktemp("made")
    task = spec.tasks()[0]._replace(split="train")
    made = make_object(spec, three_balls.parent, task)
    assert sorted(made.files) == sorted(object_files(spec, task))
    write(folder / task.folder, made.files)
    return ViewsDataset(folder).object(0)


def test_known_balls_are_where_the_written_poses_and_intrinsics_say(balls_seen):
    """Centre and radius of each ball's silhouette, found by its colour, where nothing hides it."""
    centres, radius = balls_in_world()
    checked = 0
    for view in range(4):
        camera = balls_seen.camera(view)
        assert (camera.width, camera.focal_px, camera.center_px) == (PX, PX * 525 / 512, (PX / 2, PX / 2))
        place = camera.camera_to_world[:3, 3].double().numpy()
        assert np.linalg.norm(place) == pytest.approx(1.3, abs=1e-6)
        at = project(camera, torch.from_numpy(centres).float()).numpy()
        distance = np.linalg.norm(centres - place, axis=1)
        reach = camera.focal_px * radius / np.sqrt(distance**2 - radius**2)
        rgb = balls_seen.rgb[view].numpy()
        for ball in range(3):
            others = [k for k in range(3) if k != ball]
            hidden = [k for k in others if np.linalg.norm(at[k] - at[ball]) < reach[k] + reach[ball] + 2]
            if hidden:
                continue
            mine = (rgb[ball] - rgb[others].max(0)) > 0.15
            rows, columns = np.nonzero(mine)
            assert columns.mean() + 0.5 == pytest.approx(at[ball, 0], abs=0.5)
            assert rows.mean() + 0.5 == pytest.approx(at[ball, 1], abs=0.5)
            assert np.sqrt(mine.sum() / np.pi) == pytest.approx(reach[ball], abs=0.6)
            checked += 1
    assert checked >= 6


def test_normals_are_those_of_the_balls_in_each_camera_s_frame(balls_seen):
    """The hit's direction from its ball's centre, by the ray of the pixel, where a pixel is wholly covered."""
    centres, radius = balls_in_world()
    assert balls_seen.normals is not None
    assert balls_seen.mask is not None
    for view in range(4):
        camera = balls_seen.camera(view)
        pose = camera.camera_to_world.double().numpy()
        local = (centres - pose[:3, 3]) @ pose[:3, :3]
        v, u = np.nonzero(balls_seen.mask[view, 0].numpy() == 1)
        rays = np.stack(
            [(u + 0.5 - PX / 2) / camera.focal_px, (PX / 2 - v - 0.5) / camera.focal_px, -np.ones(len(u))], 1
        )
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        along = rays @ local.T
        gap = (local**2).sum(1) - along**2
        depth = np.where(gap < radius**2, along - np.sqrt(np.maximum(radius**2 - gap, 0)), np.inf)
        nearest = depth.argmin(1)
        hit = np.isfinite(depth.min(1)) & (gap[np.arange(len(u)), nearest] < (0.8 * radius) ** 2)
        points = rays * depth.min(1)[:, None]
        exact = (points - local[nearest])[hit] / radius
        found = balls_seen.normals[view][:, v, u].numpy().T[hit]
        assert hit.sum() > 30
        assert np.degrees(np.arccos(np.clip((exact * found).sum(1), -1, 1))).mean() < 3


def test_up_in_a_mesh_is_up_in_pictures_and_z_in_the_files(three_balls):
    placed = place_mesh(read_mesh(three_balls), PX)
    rgb, _, coverage = draw(placed, look_at_origin(np.array([[0, -1.3, 0]]))[0], PX)
    # From -y, which is the mesh's +z: red to the right, green above, blue nearest, on white.
    excess = [rgb[..., k].astype(int) - rgb[..., [c for c in range(3) if c != k]].max(-1) for k in range(3)]
    middle = [np.argwhere(image > 60).mean(0) for image in excess]
    assert middle[0][1] > PX / 2 + 5
    assert middle[1][0] < PX / 2 - 5
    assert (excess[2] > 60).sum() > (excess[0] > 60).sum()
    assert (rgb[coverage == 0] == 255).all()
    assert set(np.unique(coverage)) <= {0, 64, 128, 191, 255}


def test_a_point_has_one_colour_whoever_looks_at_it(three_balls):
    """Two cameras, one point of the red ball: the same light, for the suns are fixed to the object."""
    placed = place_mesh(read_mesh(three_balls), PX)
    centres, radius = balls_in_world()
    point = centres[0] + radius * np.array([0.8, -0.6, 0.0])
    colours = []
    for place in ([1.25, -0.3, 0.2], [0.6, -1.1, 0.2]):
        place = np.array(place) * 1.3 / np.linalg.norm(place)
        pose = look_at_origin(place[None])[0]
        local = pose[:3, :3].T @ (point - pose[:3, 3])
        focal = 256 * 525 / 512
        u, v = 128 + focal * local[0] / -local[2], 128 - focal * local[1] / -local[2]
        colours.append(draw(placed, pose, 256)[0][int(v), int(u)].astype(int))
    assert np.abs(colours[0] - colours[1]).max() <= 3


def test_an_object_fills_a_box_of_diagonal_one_and_takes_its_parts_colours():
    m = PartsBuilder(np.random.default_rng(0))
    m.part("slab", np.array([0.9, 0.1, 0.1]))
    m.add(BOX, (0.8, 0.1, 0.4))
    m.part("ball", np.array([0.1, 0.1, 0.9]))
    m.add(SPHERE, (0.3,), (0, 0.3, 0))
    thing = m.thing()
    placed = place_thing(thing, 64)
    size = np.array([1.6, 0.7, 0.8])
    np.testing.assert_allclose(placed.extent, size / np.linalg.norm(size), atol=0.01)
    np.testing.assert_allclose(placed.middle, [0, 0.25, 0], atol=0.01)
    assert nearest_part(thing, np.array([[0.7, 0.1, 0.2], [0, 0.6, 0], [0.3, 0.3, 0]])).tolist() == [0, 1, 1]
    above, _, _ = draw(placed, look_at_origin(np.array([[0.0, 0, 1.3]]))[0], PX)
    assert above[PX // 2, PX // 2, 2] > above[PX // 2, PX // 2, 0]  # the ball, from above
    below, _, _ = draw(placed, look_at_origin(np.array([[0.0, 0, -1.3]]))[0], PX)
    assert below[PX // 2, PX // 2, 0] > below[PX // 2, PX // 2, 2]


@pytest.mark.parametrize("category", CATEGORIES)
def test_categories_lie_within_their_frame_repeat_and_vary(category):
    side = np.linspace(-0.99, 0.99, 45)
    u, v = (x.ravel() for x in np.meshgrid(side, side))
    ends = np.full(len(u), 0.99)
    faces = [np.roll(np.stack([u, v, sign * ends], 1), axis, 1) for axis in range(3) for sign in (-1, 1)]
    drawn = []
    for number in range(4):
        thing = sample_thing(category, np.random.default_rng([number]))
        assert evaluate_at(thing.field, np.concatenate(faces)).min() > 0  # nothing is cut off at the border
        assert all(((part.albedo >= 0) & (part.albedo <= 1)).all() for part in thing.parts)
        drawn.append(thing.field.primitives.tobytes() + thing.field.tables.tobytes())
    again = sample_thing(category, np.random.default_rng([3]))
    assert again.field.primitives.tobytes() + again.field.tables.tobytes() == drawn[3]
    assert len(set(drawn)) == 4


def test_splits_and_held_out_categories_share_no_object(monkeypatch):
    spec = ViewsSpec(3, 1, 2, 2, categories=("cup", "lamp"), held_out=("lamp",), size_px=16)
    tasks = spec.tasks()
    count = {key: sum(task[:2] == key for task in tasks) for key in {task[:2] for task in tasks}}
    assert count == {("cup", "train"): 3, ("cup", "val"): 2, ("cup", "test"): 2, ("lamp", "test"): 2}
    assert len({task.name for task in tasks}) == len(tasks) == 9
    assert {task.category for task in tasks if task.split == "train"}.isdisjoint(spec.held_out)
    monkeypatch.setattr(making, "place_thing", lambda thing: place_thing(thing, 24))
    drawn = set()
    for task in tasks:  # other seeds, hence other objects
        made = make_object(ViewsSpec(3, 1, 2, 2, ("cup", "lamp"), ("lamp",), 1, 2, 16), None, task)
        drawn.add(str(json.loads(made.files["object.json"])["parts"]))
    assert len(drawn) == 9


def test_meshes_are_split_by_content_and_named_by_folder():
    from maquette.synth.datasets.mesh_files import MeshFile

    meshes = (
        MeshFile("mug/a.glb", "00" * 32),
        MeshFile("mug/b.glb", "ff" * 32),
        MeshFile("vase/c.obj", "ff" * 32),
        MeshFile("d.ply", "26" * 32),
    )
    tasks = ViewsSpec(0, categories=(), held_out=("vase",), meshes=meshes, size_px=16).tasks()
    assert [task[:2] for task in tasks] == [("mug", "test"), ("mug", "train"), ("vase", "test"), ("mesh", "val")]


def published(folder: Path, views: int = 3, alpha: bool = False) -> dict[str, np.ndarray]:
    """An object as the published data has it, by hand: a dark square on white, cameras on a ring, float32 poses."""
    image = np.full((16, 16, 4 if alpha else 3), 255, np.uint8)
    image[4:12, 5:11, :3] = (10, 20, 200)  # blue, green, red: OpenCV's order
    poses = []
    for view in range(views):
        angle = 2 * np.pi * view / views
        # x right, y down, z forward, z up in the world.
        forward = np.array([-np.cos(angle), -np.sin(angle), 0])
        right = np.array([-np.sin(angle), np.cos(angle), 0])
        pose = np.eye(4)
        pose[:3] = np.stack([right, [0, 0, -1.0], forward, -2 * forward], 1)
        poses.append(pose)
        text = " ".join(str(x) for x in pose.astype(np.float32).ravel()) + "\n"
        write(folder, {f"pose/{view:06d}.txt": text.encode()})
        write(folder, {f"rgb/{view:06d}.png": cv2.imencode(".png", image)[1].tobytes()})
    write(folder, {"intrinsics.txt": b"16.406250 8.000000 8.000000 0.\n0. 0. 0.\n1.\n16 16\n"})
    return {"poses": np.stack(poses)}


def test_the_published_layout_is_read_without_masks_and_normals(tmp_path):
    truth = published(tmp_path / "srn_cars" / "cars_train" / "1a2b")
    published(tmp_path / "srn_chairs" / "chairs_train" / "chairs_2.0_train" / "c0ffee", alpha=True)
    published(tmp_path / "srn_cars" / "cars_test" / "9f", 2)
    data = ViewsDataset(tmp_path)
    assert list(zip(data.categories, data.splits, data.names, strict=True)) == [
        ("cars", "test", "9f"),
        ("cars", "train", "1a2b"),
        ("chairs", "train", "c0ffee"),
    ]
    car = data.object(1)
    assert (car.mask, car.normals, car.focal_px, car.center_px) == (None, None, 16.40625, (8.0, 8.0))
    assert car.rgb.shape == (3, 3, 16, 16)
    np.testing.assert_allclose(car.rgb[0, :, 8, 8].numpy(), np.array([200, 20, 10]) / 255, atol=1e-6)
    flipped = truth["poses"] * np.array([1, -1, -1, 1])
    np.testing.assert_allclose(car.camera_to_world.numpy(), flipped, atol=1e-6)
    at = project(car.camera(1), torch.zeros(3))  # the middle of the world
    np.testing.assert_allclose(at.numpy(), [8, 8], atol=1e-5)
    assert project(car.camera(0), torch.tensor([0, 0, 0.1]))[1] < 8  # up in the world is up in the picture
    assert data.object(2).rgb.shape == (3, 3, 16, 16)
    for inner in ("srn_cars/cars_train", "srn_cars/cars_train/1a2b"):
        assert ViewsDataset(tmp_path / inner).categories == ["cars"]
    assert ViewsDataset(tmp_path, category="chairs", split="train").names == ["c0ffee"]


def test_a_mask_from_white_is_made_only_if_asked_for(tmp_path):
    published(tmp_path / "cars_train" / "a")
    assert ViewsDataset(tmp_path).object(0).mask is None
    mask = ViewsDataset(tmp_path, white_is_background=True).object(0).mask
    assert mask is not None
    assert mask.shape == (3, 1, 16, 16)
    assert mask[0].sum() == 8 * 6
    assert mask[0, 0, 4:12, 5:11].all()


def test_some_views_in_any_order_and_cameras_relative_to_one(tmp_path):
    published(tmp_path / "cars_train" / "a", 5)
    data = ViewsDataset(tmp_path)
    assert data.view_count(0) == 5
    every, some = data.object(0), data.object(0, [4, 1])
    assert some.views == (4, 1)
    torch.testing.assert_close(some.camera_to_world, every.camera_to_world[[4, 1]])
    relative = relative_to(every.camera_to_world.double(), 2)
    torch.testing.assert_close(relative[2], torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
    point = torch.tensor([0.1, -0.2, 0.3, 1.0]).double()
    there = every.camera_to_world[2].double().inverse() @ point
    for view in range(5):
        torch.testing.assert_close(
            relative[view].inverse() @ there, every.camera_to_world[view].double().inverse() @ point, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pose/000001.txt", b"1 2 3", "holds 3 numbers; a pose has 16"),
        ("pose/000001.txt", b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 nan", "something else than finite numbers"),
        ("pose/000001.txt", b"2 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", "not rigid"),
        ("pose/000009.txt", b"1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", "has 3 images and 4 poses"),
        ("intrinsics.txt", b"131 64\n", "must begin with `focal cx cy 0.`"),
        ("intrinsics.txt", b"16 8 8 0.\n0. 0. 0.\n1.\n32 32\n", "is 16x16, but intrinsics.txt says 32x32"),
        ("rgb/000001.png", b"junk", "000001.png"),
    ],
)
def test_a_damaged_object_is_one_line(tmp_path, name, content, said):
    published(tmp_path / "cars_train" / "a")
    write(tmp_path / "cars_train" / "a", {name: content})
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        ViewsDataset(tmp_path).object(0)


def test_a_folder_without_objects_and_a_view_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        ViewsDataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no object"):
        ViewsDataset(tmp_path)
    published(tmp_path / "cars_train" / "a")
    with pytest.raises(InputError, match="holds no object of cups"):
        ViewsDataset(tmp_path, category="cups")
    with pytest.raises(InputError, match=r"has no view 3; its views are 0\.\.2"):
        ViewsDataset(tmp_path).object(0, [3])


def test_what_is_made_can_be_read_and_is_as_large_as_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(making, "place_thing", lambda thing: place_thing(thing, 48))
    spec = ViewsSpec(1, 2, 0, 1, ("cup",), (), 2, 3, 32)
    for task in spec.tasks():
        write(tmp_path / task.folder, make_object(spec, None, task).files)
    data = ViewsDataset(tmp_path)
    assert (data.categories, data.splits) == (["cup", "cup"], ["test", "train"])
    test, train = data.object(0), data.object(1)
    assert (len(test.rgb), len(train.rgb)) == (3, 2)
    assert test.normals is not None
    assert test.mask is not None
    length = test.normals.norm(dim=1, keepdim=True)
    torch.testing.assert_close(length, (test.mask >= 0.5).float(), atol=1e-4, rtol=0)
    assert bool((test.rgb.amin(1, keepdim=True)[test.mask == 0] == 1).all())
    np.testing.assert_allclose(test.camera_to_world[:, :3, 3].numpy(), spiral_places(3, 1.3), atol=1e-6)
    assert Task("cup", "test", 0, -1).name == test.name
