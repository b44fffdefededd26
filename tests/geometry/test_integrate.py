"""Depth from normals: surfaces known by formula, round trips, a plain oracle, and every kind of bad map."""

import cv2
import numpy as np
import pytest
import torch
from oracles import normal_integration

from maquette.errors import InputError
from maquette.geometry import bilateral
from maquette.geometry.camera import image_plane
from maquette.geometry.integrate import integrate
from maquette.geometry.maps import depth_to_points, points_to_normals
from maquette.types import Camera, NormalMap


def normal_map(right, up, mask=None) -> NormalMap:
    """Of a height field with these slopes, in pixels."""
    vectors = np.stack([-right, -up, np.ones_like(right)], -1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    mask = np.ones(right.shape, bool) if mask is None else mask
    return NormalMap(torch.from_numpy(vectors * mask[..., None]), torch.from_numpy(mask))


def grid(height, width):
    """(x right, y up) in pixels from the centre."""
    v, u = np.mgrid[:height, :width] + 0.5
    return u - width / 2, height / 2 - v


def errors(found, heights, mask=None) -> np.ndarray:
    """Of heights, after the offset that nobody can know."""
    mask = np.ones(heights.shape, bool) if mask is None else mask
    difference = (-found.depth.numpy() - heights)[mask]
    return np.abs(difference - np.median(difference))


def sphere(side=96, share=0.9):
    x, y = grid(side, side)
    radius = side / 2 * share
    inside = x**2 + y**2 < radius**2
    z = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 1e-9))
    return normal_map(-x / z, -y / z, inside), np.where(inside, z, 0), inside, radius


def torn(side=64, slope=1.0):
    """A flat sheet, torn along the middle from its upper border; the left flap is bent up."""
    x, y = grid(side, side)
    flap = (x < 0) & (y > 0)
    return normal_map(np.zeros_like(x), np.where(flap, slope, 0.0)), np.where(flap, slope * y, 0.0)


def camera(width=60, height=48, focal_px=90.0) -> Camera:
    return Camera(width, height, focal_px, (width / 2 + 3, height / 2 - 2), torch.eye(4, dtype=torch.float64))


def test_a_plane_is_exact():
    x, y = grid(30, 41)
    found = integrate(normal_map(np.full_like(x, 0.3), np.full_like(x, -0.7)), tolerance=1e-8)
    assert errors(found, 0.3 * x - 0.7 * y).max() < 1e-3
    assert found.settled
    assert float(found.depth.mean()) == pytest.approx(0, abs=1e-9)


def test_a_sphere_up_to_its_silhouette():
    found_map, heights, inside, radius = sphere()
    error = errors(integrate(found_map), heights, inside)
    assert error.mean() < 0.0025 * radius
    x, y = grid(*heights.shape)
    assert error[np.hypot(x, y)[inside] < 0.9 * radius].max() < 0.005 * radius


def test_a_sinusoid():
    x, y = grid(90, 100)
    heights = 4 * np.sin(x / 9) * np.cos(y / 11)
    slopes = 4 / 9 * np.cos(x / 9) * np.cos(y / 11), -4 / 11 * np.sin(x / 9) * np.sin(y / 11)
    assert errors(integrate(normal_map(*slopes)), heights).mean() < 0.02


def test_a_step_stays_a_step_where_a_poisson_solve_smears_it():
    given, heights = torn()
    kept = integrate(given)
    smeared = integrate(given, sharpness=0.0, max_rounds=1)
    assert errors(kept, heights).mean() < 0.5
    assert errors(smeared, heights).mean() > 5 * errors(kept, heights).mean()
    cliff, truth = kept.depth[0, 32] - kept.depth[0, 31], heights[0, 31]
    assert float(cliff) == pytest.approx(truth, rel=0.08)
    assert float(smeared.depth[0, 32] - smeared.depth[0, 31]) < 0.1 * truth


def test_a_step_that_normals_cannot_measure_does_not_tear_its_surroundings():
    """A block stands free of its floor: its height is anybody's guess, its shape isn't."""
    x, y = grid(60, 60)
    block = (np.abs(x) < 15) & (np.abs(y) < 15)
    found = integrate(normal_map(np.where(block, 0.4, 0.0), np.zeros_like(x)))
    heights = -found.depth.numpy()
    assert np.ptp(heights) < 15  # the block's own rise is 12
    inner = (np.abs(x) < 12) & (np.abs(y) < 12)
    tilt = (heights - 0.4 * x)[inner]
    assert np.abs(tilt - np.median(tilt)).mean() < 1.5
    floor = (np.abs(x) > 20) | (np.abs(y) > 20)
    assert np.abs(heights[floor] - np.median(heights[floor])).mean() < 3


def plane_normals(cam: Camera, normal) -> tuple[NormalMap, torch.Tensor]:
    unit = torch.nn.functional.normalize(torch.tensor(normal, dtype=torch.float64), dim=0)
    plane = image_plane(cam)
    depth = 5.0 / (unit[2] - plane @ unit[:2])
    return NormalMap(unit.expand(cam.height, cam.width, 3), torch.ones(cam.height, cam.width, dtype=torch.bool)), depth


def test_a_plane_in_perspective_up_to_its_scale():
    cam = camera()
    given, depth = plane_normals(cam, [0.4, -0.3, 1.0])
    found = integrate(given, cam, tolerance=1e-8)
    ratio = found.depth / depth
    assert float((ratio / ratio.median() - 1).abs().max()) < 2e-3
    assert float(found.depth.log().mean()) == pytest.approx(0, abs=1e-9)


def test_orthographic_units_are_those_of_the_camera():
    x, _y = grid(30, 40)
    cam = Camera(40, 30, 20.0, (20.0, 15.0), torch.eye(4, dtype=torch.float64), orthographic=True)
    found = integrate(normal_map(np.full_like(x, 0.5), np.zeros_like(x)), cam)
    assert float(found.depth[10, 10] - found.depth[10, 30]) == pytest.approx(0.5, abs=1e-3)  # 20 px * 0.5 / 20


@pytest.mark.parametrize("cam", [None, camera(96, 96, 150.0)])
def test_round_trip_through_normals(cam):
    given, _, _inside, radius = sphere()
    found = integrate(given, cam)
    shown = cam or Camera(96, 96, 1.0, (48.0, 48.0), torch.eye(4, dtype=torch.float64), orthographic=True)
    normals, valid = points_to_normals(depth_to_points(found.depth, shown), found.mask)
    x, y = grid(96, 96)
    core = valid & torch.from_numpy(np.hypot(x, y) < 0.75 * radius)
    angle = torch.rad2deg(torch.acos((normals * given.normals).sum(-1).clamp(-1, 1)))
    assert float(angle[core].mean()) < 0.5


@pytest.mark.parametrize("sharpness", [0.0, 2.0])
def test_against_the_oracle(sharpness):
    rng = np.random.default_rng(0)
    shape = (11, 14)
    inside = rng.random(shape) < 0.85
    vectors = rng.normal(size=(*shape, 3)) * (0.5, 0.5, 0.3) + (0, 0, 1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    anchor_weight = (rng.random(shape) < 0.1) * inside * 0.7
    problem = bilateral.Problem(
        inside, *(vectors[..., k] * inside for k in (2, 0, 1)), rng.uniform(0.1, 1, shape) * inside,
        rng.normal(size=shape) * 3, anchor_weight,
    )  # fmt: skip
    expected = normal_integration.integrate(problem, sharpness, rounds=1)
    found = bilateral.reweighted(problem, sharpness, 0.0, 1)
    labels = np.asarray(integrate(NormalMap(torch.from_numpy(vectors), torch.from_numpy(inside))).piece)
    for piece in range(labels.max() + 1):
        here = labels == piece
        difference = (found.q - expected)[here]
        assert np.abs(difference - difference.mean()).max() < 5e-3
    far = normal_integration.integrate(problem, sharpness, rounds=4)
    found = bilateral.reweighted(problem, sharpness, 0.0, 4)
    big = labels == np.bincount(labels[inside]).argmax()
    difference = (found.q - far)[big]
    assert np.abs(difference - difference.mean()).mean() < 0.02 * np.ptp(far[big])


def test_the_energy_falls_and_the_rounds_end():
    given, _ = torn(60)
    fields = [given.normals[..., k].numpy() for k in (2, 0, 1)]
    problem = bilateral.Problem(
        given.mask.numpy(), fields[0], fields[1], -fields[2], np.ones((60, 60)), np.zeros((60, 60)), np.zeros((60, 60))
    )
    energies = [bilateral.reweighted(problem, 2.0, 0.0, rounds).energy for rounds in (1, 4, 16)]
    assert energies[0] > energies[1] > energies[2]
    assert bilateral.reweighted(problem, 2.0, 1e-4, 150).settled
    assert not bilateral.reweighted(problem, 2.0, 1e-4, 2).settled


def test_islands_have_their_own_mean_and_shape():
    given, heights, inside, _ = sphere()
    x, _ = grid(*inside.shape)
    mask = inside & (np.abs(x) > 6)
    found = integrate(NormalMap(given.normals, torch.from_numpy(mask)))
    assert int(found.piece.max()) == 1
    assert (found.piece.numpy()[~mask] == -1).all()
    assert (found.depth.numpy()[~mask] == 0).all()
    for piece in (0, 1):
        here = found.piece.numpy() == piece
        assert float(found.depth[torch.from_numpy(here)].mean()) == pytest.approx(0, abs=1e-6)
        assert errors(found, heights, here).mean() < 0.3


def test_a_hundred_pieces_down_to_a_single_pixel():
    side, pitch = 120, 12
    x, y = grid(side, side)
    mask = np.zeros((side, side), bool)
    for k in range(100):
        row, column, extent = k // 10 * pitch, k % 10 * pitch, 1 + k % 11
        mask[row : row + extent, column : column + extent] = True
    found = integrate(normal_map(np.full_like(x, 0.2), np.full_like(x, -0.4), mask))
    pieces = found.piece.numpy()
    assert pieces.max() == 99
    for piece in range(100):
        assert errors(found, 0.2 * x - 0.4 * y, pieces == piece).max() < 0.02


def test_what_nobody_trusts_does_not_count():
    given, heights, inside, _ = sphere()
    rng = np.random.default_rng(0)
    bad = torch.from_numpy(inside & (rng.random(inside.shape) < 0.15))
    wrong = given.normals.clone()
    wrong[bad] = torch.nn.functional.normalize(torch.tensor([0.8, 0.5, 0.6], dtype=torch.float64), dim=0)
    blind = errors(integrate(NormalMap(wrong, given.mask)), heights, inside).mean()
    told = integrate(NormalMap(wrong, given.mask), confidence=torch.where(bad, 0.0, 1.0))
    assert errors(told, heights, inside).mean() < 0.3 * blind
    unchanged = integrate(given, confidence=torch.full(inside.shape, 0.25))
    assert torch.allclose(unchanged.depth, integrate(given).depth, atol=0.05)


def test_anchors_fix_the_offset_and_the_scale():
    given, heights, _inside, _ = sphere()
    depth = torch.from_numpy(200 - heights)
    anchors = torch.full(depth.shape, torch.nan, dtype=torch.float64)
    anchors[40::20, 40::20] = depth[40::20, 40::20]
    anchors[~given.mask] = torch.nan
    found = integrate(given, anchors=anchors)
    assert float((found.depth - depth)[given.mask].abs().mean()) < 0.5
    cam = camera()
    plane, depth = plane_normals(cam, [0.4, -0.3, 1.0])
    anchors = torch.full(depth.shape, torch.nan, dtype=torch.float64)
    anchors[10, 20] = depth[10, 20]
    assert float((integrate(plane, cam, anchors=anchors).depth / depth - 1).abs().max()) < 0.01


def test_a_piece_without_an_anchor_takes_the_mean_of_the_others():
    x, _ = grid(30, 61)
    mask = np.abs(x) > 2
    anchors = torch.full(mask.shape, torch.nan, dtype=torch.float64)
    anchors[15, 5] = 70.0
    found = integrate(normal_map(np.zeros_like(x), np.zeros_like(x), mask), anchors=anchors)
    assert torch.allclose(found.depth[found.mask], torch.tensor(70.0, dtype=torch.float64), atol=1e-3)


def test_normals_that_face_away_stay_finite():
    rng = np.random.default_rng(1)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(40, 50, 3))), dim=-1)
    found = integrate(NormalMap(vectors, torch.ones(40, 50, dtype=torch.bool)))
    assert bool(torch.isfinite(found.depth).all())
    assert float(found.depth.abs().max()) < 500


def bad_calls():
    flat = normal_map(np.zeros((20, 30)), np.zeros((20, 30)))
    none = NormalMap(flat.normals, torch.zeros(20, 30, dtype=torch.bool))
    nan = NormalMap(flat.normals * torch.nan, flat.mask)
    one_nan = flat.normals.clone()
    one_nan[3, 7] = torch.nan
    ones = torch.ones(20, 30)
    nowhere = ones * torch.nan
    return {
        "empty": (none, {}, "mask is empty"),
        "all NaN": (nan, {}, "600 normals are NaN"),
        "one NaN": (NormalMap(one_nan, flat.mask), {}, "x=7, y=3"),
        "camera": (flat, {"camera": camera()}, "camera is 60x48, the map 30x20"),
        "size": (flat, {"confidence": torch.ones(20, 31)}, "confidence and mask differ"),
        "confidence": (flat, {"confidence": ones * 2}, "from 0 to 1"),
        "no anchor": (flat, {"anchors": nowhere}, "no anchor"),
        "negative": (flat, {"anchors": -ones, "camera": camera(30, 20)}, "not positive"),
        "rounds": (flat, {"max_rounds": 0}, "max_rounds"),
        "sharpness": (flat, {"sharpness": float("nan")}, "sharpness"),
    }


@pytest.mark.parametrize("kind", bad_calls())
def test_bad_input_is_one_line(kind):
    given, options, message = bad_calls()[kind]
    with pytest.raises(InputError, match=message) as caught:
        integrate(given, **options)
    assert "\n" not in str(caught.value)


def test_the_published_case_in_millimetres(shared_data):
    bear = shared_data("integration/bear")
    codes = cv2.imread(str(bear / "normal_map.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(bear / "mask.png"), cv2.IMREAD_GRAYSCALE)
    assert codes is not None and mask is not None
    normals = torch.nn.functional.normalize(torch.from_numpy(codes[..., ::-1] / 65535 * 2 - 1), dim=-1)
    truth = np.load(bear / "depth_gt.npz")["depth_gt"]
    k = np.loadtxt(bear / "K.txt")
    cam = Camera(612, 512, k[0, 0], (k[0, 2] + 0.5, k[1, 2] + 0.5), torch.eye(4, dtype=torch.float64))
    depth = integrate(NormalMap(normals, torch.from_numpy(mask > 0)), cam).depth.numpy()
    known = (mask > 0) & np.isfinite(truth)
    scaled = depth[known] * np.median(truth[known] / depth[known])
    assert np.abs(scaled - truth[known]).mean() <= 0.33
