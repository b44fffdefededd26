"""Meshes of reliefs: watertight whatever the mask, to the millimetre, with the normals they were made from."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

from maquette.errors import InputError
from maquette.geometry.integrate import integrate
from maquette.methods import relief
from maquette.methods.relief import heights_px
from maquette.types import Camera, NormalMap

SIDE = 48
Y, X = np.mgrid[:SIDE, : SIDE + 6] - (SIDE - 1) / 2
RADIUS = 21.0
DISC = X**2 + Y**2 < RADIUS**2


def ball(mask) -> NormalMap:
    z = np.sqrt(np.maximum(RADIUS**2 - X**2 - Y**2, 0))
    vectors = np.stack([X, -Y, z], -1) / RADIUS
    return NormalMap(torch.from_numpy(vectors * mask[..., None]), torch.from_numpy(mask))


def arrays(mesh):
    """The mesh's tensors as arrays."""
    vertices, faces, normals, uv = (x.numpy() for x in (mesh.vertices, mesh.faces, mesh.normals, mesh.uv))
    return SimpleNamespace(vertices=vertices, faces=faces, normals=normals, uv=uv, unit_mm=mesh.unit_mm)


def solid(*arguments, **options):
    return arrays(relief.solid(*arguments, **options))


def surface(*arguments):
    return arrays(relief.surface(*arguments))


def masks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    pinch = DISC & ~((X > 0) & (X < 6) & (Y > 0) & (Y < 6)) & ~((X > 5) & (X < 12) & (Y > 5) & (Y < 12))
    hundred = np.zeros(DISC.shape, bool)
    for k in range(100):
        row, column = k // 10 * 4, k % 10 * 4
        hundred[row : row + 2 + k % 2, column + 6 : column + 9] = True
    return {
        "disc": DISC,
        "full frame": np.ones(DISC.shape, bool),
        "hole": DISC & (X**2 + Y**2 > 40),
        "pinched": pinch,
        "islands": DISC & (np.abs(X) > 3),
        "hundred islands": hundred,
        "speckled": DISC & (rng.random(DISC.shape) < 0.9),
        "one square": (X > 0) & (X < 2) & (Y > 0) & (Y < 2),
    }


def built(mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


@pytest.mark.parametrize("kind", masks())
def test_a_solid_is_closed_manifold_oriented_and_of_the_size_asked_for(kind):
    given = ball(masks()[kind] & DISC if kind != "full frame" else masks()[kind])
    if kind == "full frame":
        given = NormalMap(torch.tensor([0.6, 0.0, 0.8]).expand(*DISC.shape, 3).double(), given.mask)
    mesh = solid(integrate(given), given, size_mm=120.0, depth_mm=9.0, base_mm=2.0)
    # By place, not by number: an STL file knows no numbers, and a slicer joins what lies in one place.
    closed = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    assert len(closed.vertices) == len(mesh.vertices)
    assert closed.is_watertight
    assert closed.is_winding_consistent
    assert closed.volume > 0
    assert closed.body_count == 1
    edges = np.sort(closed.edges, axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    low, high = closed.bounds
    assert high[0] - low[0] == pytest.approx(120)
    assert low[2] == 0
    assert high[2] == pytest.approx(11)
    assert mesh.unit_mm == 1.0


def test_proportions_are_true_unless_a_depth_is_given():
    given = ball(DISC)
    mesh = solid(integrate(given), given, size_mm=84.0, base_mm=5.0)  # 42 pixels of disc: about 2 mm each
    pitch = 84 / (np.ptp(np.flatnonzero(DISC.any(0))))
    heights = heights_px(integrate(given))
    assert mesh.vertices[:, 2].max() - 5 == pytest.approx(heights.max() * pitch, rel=0.05)
    assert heights[DISC].min() == 0


def test_a_pinhole_of_long_focal_length_is_nearly_orthographic():
    given = ball(DISC)
    camera = Camera(SIDE + 6, SIDE, 5000.0, ((SIDE + 6) / 2, SIDE / 2), torch.eye(4, dtype=torch.float64))
    near, far = heights_px(integrate(given)), heights_px(integrate(given, camera), camera)
    core = X**2 + Y**2 < (0.9 * RADIUS) ** 2
    assert np.abs((near - np.median(near[core])) - (far - np.median(far[core])))[core].mean() < 0.3


@pytest.mark.parametrize("depth_mm", [None, 5.0])
def test_normals_of_a_solid_follow_its_stretch(depth_mm):
    given = ball(DISC)
    mesh = solid(integrate(given), given, size_mm=100.0, depth_mm=depth_mm)
    top = len(mesh.vertices) // 2
    by_faces = built(mesh).vertex_normals
    centre = mesh.vertices[:, :2]
    core = np.flatnonzero((np.hypot(*centre.T) < 35)[:top])
    assert np.rad2deg(np.arccos((mesh.normals * by_faces).sum(1)[core].clip(-1, 1))).mean() < 4
    assert (mesh.normals[top:] == (0, 0, -1)).all()
    assert np.abs(np.linalg.norm(mesh.normals, axis=1) - 1).max() < 1e-9


def test_a_surface_has_the_maps_normals_and_faces_the_viewer():
    given = ball(DISC)
    mesh = surface(integrate(given), given)
    column = np.floor(mesh.uv[:, 0] * (SIDE + 6)).astype(int)
    row = np.floor((1 - mesh.uv[:, 1]) * SIDE).astype(int)
    assert np.allclose(mesh.normals, given.normals.numpy()[row, column], atol=1e-6)
    assert (built(mesh).face_normals[:, 2] > 0).all()
    assert np.ptp(mesh.vertices[:, :2], axis=0).max() == pytest.approx(1)
    assert mesh.unit_mm is None
    upper = mesh.uv[:, 1] > 0.8
    assert mesh.vertices[upper, 1].min() > 0  # v points up, as y does


def test_bad_sizes_and_masks_are_one_line():
    given = ball(DISC)
    depth = integrate(given)
    for name in ("size_mm", "depth_mm", "base_mm"):
        for value in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InputError, match=name):
                solid(depth, given, **{name: value})
    thin = ball(DISC & (X > 0) & (X < 1))
    with pytest.raises(InputError, match="square"):
        solid(integrate(thin), thin)
    with pytest.raises(InputError, match="triangle"):
        surface(integrate(thin), thin)
