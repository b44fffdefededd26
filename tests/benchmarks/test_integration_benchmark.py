"""The benchmark of integration: its peers solve what they claim to, its arithmetic by hand, and runs at 32 pixels."""

import json

import numpy as np
import pytest
import torch
import trimesh

from maquette.geometry.camera import image_plane
from maquette.geometry.integrate import pixel_camera
from maquette.geometry.maps import depth_to_points, points_to_normals
from maquette.types import NormalMap


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("integration")


def ramp(height=30, width=40):
    """Normals and depth of a plane that climbs by 0.3 to the right and by 0.7 upwards."""
    vector = torch.nn.functional.normalize(torch.tensor([-0.3, -0.7, 1.0], dtype=torch.float64), dim=0)
    rows, columns = np.mgrid[:height, :width]
    mask = torch.ones(height, width, dtype=torch.bool)
    return NormalMap(vector.expand(height, width, 3), mask), 0.7 * rows - 0.3 * columns


@pytest.mark.parametrize("method", ["ours", "poisson", "spsolve", "dct"])
def test_every_method_finds_a_plane(bench, method):
    given, truth = ramp()
    camera = pixel_camera(40, 30)
    depth, piece = bench._solve(method, given, camera)
    assert bench._errors(depth, piece, truth, camera)["absolute"] < 5e-3


def test_the_cosine_transforms_solve_the_least_squares_problem(bench):
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.normal(size=(7, 9, 3)) * 0.3 + (0, 0, 1))
    given = NormalMap(torch.nn.functional.normalize(vectors, dim=-1), torch.ones(7, 9, dtype=torch.bool))
    right, down = (vectors[..., 0] / vectors[..., 2]).numpy(), -(vectors[..., 1] / vectors[..., 2]).numpy()
    index = np.arange(63).reshape(7, 9)
    ahead = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    behind = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    matrix = np.eye(63)[ahead] - np.eye(63)[behind]
    wanted = np.concatenate([(right[:, 1:] + right[:, :-1]).ravel() / 2, (down[1:] + down[:-1]).ravel() / 2])
    expected = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    found, _ = bench._cosines(given)
    assert np.allclose(found.ravel(), expected - expected.mean(), atol=1e-10)


def test_errors_by_hand(bench):
    """A step of 10 that was found as 8: the median is that of the larger side, the other side is wrong by 2."""
    truth, found = np.zeros((20, 100)), np.zeros((20, 100))
    truth[:, 75:], found[:, 75:] = 10, 8
    errors = bench._errors(found, np.zeros(truth.shape, int), truth, pixel_camera(100, 20))
    assert errors["absolute"] == pytest.approx(2 / 4)
    assert errors["error"] == pytest.approx(5)
    assert errors["edge_error"] == pytest.approx(20 * 3 / 7)  # columns 71 to 77, three of them on the right


def test_ratios_by_hand_and_null_for_what_is_missing(bench, tmp_path, monkeypatch, capsys):
    def row(seconds):
        return {"error": 1.5, "edge_error": 2.5, "absolute": 0.1, "seconds": seconds, "mib": 7.0}

    found = {("torn", 512, "ours"): row(6.0), ("torn", 512, "spsolve"): row(4.0)}
    found |= {("torn", 1024, "ours"): row(9.0), ("torn", 1024, "poisson"): row(3.0)}
    flat = bench.flat(found, ("bear",))
    assert flat["torn_512_ours_time"] == 1.5
    assert flat["torn_1024_ours_time"] == 3
    assert flat["torn_1024_ours_edge_error"] == 2.5
    assert flat["bear"] is None
    table = bench.table(found, ("bear",))
    assert "| torn | 512 | ours | 1.500 | 2.500 | 0.100 | 6.00 | 7 |" in table
    assert "| bear | not run |" in table
    cases, missing = bench._data_cases(tmp_path)
    assert (cases, set(missing)) == ([], {"bear", "scans"})
    monkeypatch.setattr(bench, "SIZES_PX", ())
    assert bench.main(["--json", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"bear": None, "scans": None}
    assert f"scans: not run: no .obj in {tmp_path}" in said.err


def test_a_mesh_is_cast_through_the_centres_of_pixels(bench, tmp_path):
    pytest.importorskip("mitsuba", reason="scans need the extra [render]")
    (tmp_path / "meshes" / "scans").mkdir(parents=True)
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    box.apply_transform(trimesh.transformations.rotation_matrix(0.5, (0, 1, 0)))
    box.export(tmp_path / "meshes" / "scans" / "box.obj")
    assert ("scan-box", 512) in bench._data_cases(tmp_path)[0]
    given, camera, truth = bench._scan(tmp_path, "box", 64)
    normals, valid = points_to_normals(depth_to_points(torch.from_numpy(np.nan_to_num(truth)), camera), given.mask)
    # A pixel at an edge of the box mixes two faces; on a face, one place off the centre would bend the normal.
    agree = (normals * given.normals).sum(-1)[valid] > 1 - 1e-5
    assert agree.double().mean() > 0.8
    front = given.normals[given.mask][:, 0].sign()
    assert set(front.tolist()) == {-1, 1}
    # The long front face, turned by 0.5 about y, faces right; its points lie on one plane.
    face = given.mask & (given.normals[..., 0] > 0)
    points = torch.cat([image_plane(camera), -torch.ones(64, 64, 1)], -1) * torch.from_numpy(truth)[..., None]
    offsets = (points * given.normals).sum(-1)[face]
    assert float(offsets.max() - offsets.min()) < 1e-5
    assert np.sin(0.5) == pytest.approx(float(given.normals[face][0, 0]), abs=1e-5)


def test_json_is_one_flat_object_of_a_quick_run(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK", [("sphere", 32), ("torn", 32)])
    in_process = bench._measure
    monkeypatch.setattr(bench, "_in_process", lambda *arguments: in_process(*arguments))
    assert bench.main(["--quick", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {key.split("_")[2] for key in said} == {"ours", "poisson", "spsolve", "dct"}
    assert "sphere_32_dct_time" not in said
    assert said["torn_32_spsolve_time"] == 1
    assert said["torn_32_ours_error"] < 0.5 * said["torn_32_dct_error"]
    assert all(np.isfinite(value) for value in said.values())


def test_a_process_of_its_own_answers_the_same(bench):
    row = bench._in_process("torn", 32, "dct", None)
    given, camera, truth = bench._torn(32)
    assert row["error"] == pytest.approx(bench._errors(*bench._solve("dct", given, camera), truth, camera)["error"])
    assert row["seconds"] > 0
