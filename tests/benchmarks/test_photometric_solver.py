"""The benchmark's peers solve what they claim to, and its arithmetic by hand."""

import pytest
import torch

from maquette.shading.solve import solve_shading


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("photometric_solver")


def test_the_peers_find_clean_normals(bench):
    shadings, lights, normals = dict(bench.simulated(12))["ring, clean"]
    for peer in (bench.lstsq_loop, bench.ransac_loop):
        assert torch.allclose(torch.from_numpy(peer(lights.numpy(), shadings.numpy())), normals, atol=1e-6)


def test_the_loop_does_the_work_of_the_paper_mode(bench):
    shadings, lights, _ = dict(bench.simulated(50))["ring, noise 0.02"]
    ours = solve_shading(shadings, lights, "paper")
    loop = torch.from_numpy(bench.lstsq_loop(lights.numpy(), shadings.numpy()))
    assert torch.allclose(ours.normals * ours.albedo[:, None], loop, atol=1e-4)


def test_ratios_by_hand_and_null_for_what_is_missing(bench, tmp_path, capsys):
    rows = bench.real(tmp_path, ("ball",))
    assert all(value is None for row in rows.values() for value in row.values())
    assert len(capsys.readouterr().err.splitlines()) == len(rows) == 5
    seconds = {"least-squares": 1.0, "paper": 2.0, "robust": 4.0, "lstsq loop": 20.0, "RANSAC": 400.0}
    seconds |= {"full, clock": 0.5, "full, all threads": 0.9}
    flat = bench.flat(rows, seconds)
    assert flat["lstsq loop over robust"] == 5
    assert flat["RANSAC over paper"] == 200
    assert flat["full, clock"] == 0.5
    assert flat["deg: ball, 4 lights: robust"] is None
    table = bench.table(rows, seconds)
    assert "| ball, 4 lights | not run | not run | not run |" in table
    assert "| RANSAC | 400000000.00 | 100.0 |" in table
