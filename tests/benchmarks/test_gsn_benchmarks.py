"""GSN's benchmarks: their geometry by hand, and their tables."""

import json
import mmap
import sys
from dataclasses import fields, replace
from pathlib import Path

import harness
import pytest
import torch
from gsn_bench import TurnErrors
from novel_views import Score, Trial, views_of_splat

from maquette.geometry.rotation import facing_rotation
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import save_checkpoint
from maquette.nets.gsn import PRESETS, GSNNet, camera_of, canonical_cube
from maquette.train.gsn.config import GSNTraining
from maquette.types import Camera, Gaussians

SIDE = 64
CAMERA = camera_of(PRESETS["small"], SIDE)


@pytest.fixture(scope="module")
def statistics(load_benchmark):
    return load_benchmark("gsn_statistics")


@pytest.fixture(scope="module")
def ablation(load_benchmark):
    return load_benchmark("gsn_ablation")


@pytest.fixture(scope="module")
def throughput(load_benchmark):
    return load_benchmark("gsn_throughput")


def from_the_right(camera: Camera) -> Camera:
    pose = torch.tensor([[0.0, 0, 1, 1.3], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    return replace(camera, camera_to_world=pose)


def balls(places: list[list[float]], opacities: list[float] | None = None) -> Gaussians:
    n = len(places)
    return Gaussians(
        torch.tensor(places),
        torch.full((n, 3), 0.02),
        torch.tensor([1.0, 0, 0, 0]).expand(n, 4),
        torch.tensor(opacities or [0.8] * n),
        torch.zeros(n, 1, 3),
        encoding="srgb",
    )


def disc_mask(radius: float) -> torch.Tensor:
    """The silhouette of a ball of this radius about the origin; (height, width)."""
    line = (torch.arange(SIDE) + 0.5 - SIDE / 2) / CAMERA.focal_px
    squared = line.square() + line[:, None].square()
    return (squared <= radius**2 / (1.3**2 - radius**2)).float()


@pytest.mark.parametrize("camera", [CAMERA, from_the_right(CAMERA)])
def test_the_balls_normals_point_from_its_middle_to_what_is_seen(statistics, camera):
    radius = 0.5
    normals = statistics.ball_normals(camera, radius)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(SIDE, SIDE), atol=1e-5)
    middle = normals[SIDE // 2 - 1 : SIDE // 2 + 1, SIDE // 2 - 1 : SIDE // 2 + 1].mean((0, 1))
    assert torch.allclose(middle, torch.tensor([0.0, 0.0, 1.0]), atol=1e-3)
    # The point that the normal tells lies on the pixel's ray.
    point = normals * radius - torch.tensor([0.0, 0.0, 1.3])
    inside = disc_mask(radius) > 0
    x = point[..., 0] / -point[..., 2] * CAMERA.focal_px + SIDE / 2
    y = -point[..., 1] / -point[..., 2] * CAMERA.focal_px + SIDE / 2
    line = torch.arange(SIDE) + 0.5
    assert torch.allclose(x[inside], line.expand(SIDE, -1)[inside], atol=1e-3)
    assert torch.allclose(y[inside], line[:, None].expand(-1, SIDE)[inside], atol=1e-3)


def test_floaters_are_the_share_of_opacity_that_some_view_sees_beside_the_object(statistics):
    cameras, masks = [CAMERA, from_the_right(CAMERA)], disc_mask(0.3).expand(2, -1, -1)

    def share(*places, opacities=None):
        return statistics.floating_share(balls(list(places), opacities), cameras, masks)

    inside, near, beside, behind = [0.1, 0.1, 0.0], [0.33, 0.0, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, -0.4]
    assert share(inside) == share(near) == 0
    assert share(beside) == 1
    assert share(behind) == 1  # only the view from the right sees it
    assert share([0.0, 1.5, 0.0]) == 1  # beyond the image
    assert share(inside, beside, opacities=[0.6, 0.2]) == pytest.approx(0.25)


def test_a_histogram_counts_every_value_once(statistics):
    values = torch.tensor([1.0, 1.2, 1.5, 7.0, 99.0])
    lines = statistics.histogram(values, (1.0, 1.5, 2.0, 40.0))
    assert [float(line.split()[3]) for line in lines] == [40, 20, 40]
    assert [line.count("#") for line in lines] == [40, 20, 40]


def ball_trial() -> Trial:
    mask = disc_mask(0.3)[None, None]
    blank = torch.zeros(1, 3, SIDE, SIDE)
    return Trial("ball", "ball", blank[0], CAMERA, blank, [CAMERA], (0,), mask, blank)


def test_normals_are_compared_where_object_and_splat_are(statistics):
    """Discs over a ball, each flat against it: nearly its normals; and a ball's own are right by construction."""
    rng = torch.Generator().manual_seed(0)
    normals = unit(torch.randn(3000, 3, generator=rng))
    splat = Gaussians(
        normals * 0.3,
        torch.tensor([0.03, 0.03, 0.001]).expand(3000, 3),
        facing_rotation(normals),
        torch.full((3000,), 0.9),
        torch.zeros(3000, 1, 3),
        encoding="srgb",
    )
    case = ball_trial()
    case = replace(case, normals=statistics.ball_normals(CAMERA, 0.3).permute(2, 0, 1)[None] * case.mask)
    errors, overlap = statistics.normal_errors(splat, canonical_cube(PRESETS["small"]), case)
    assert overlap > 0.75  # discs are seen beyond the ball's edge
    assert errors["splat"] < 15
    assert errors["wall"] > 2 * errors["splat"]
    assert errors["ball"] < errors["wall"]
    upside_down = replace(case, normals=case.normals * torch.tensor([1.0, -1.0, 1.0]).reshape(1, 3, 1, 1))
    assert statistics.normal_errors(splat, canonical_cube(PRESETS["small"]), upside_down)[0]["splat"] > 30


def test_faint_gaussians_do_not_count(statistics):
    splat = balls([[0.0, 0, 0], [0.1, 0, 0]], [0.5, 0.003])
    assert statistics.counted(splat).mean.tolist() == [[0.0, 0.0, 0.0]]


def test_the_tables_of_the_protocol_hold_groups_and_categories(load_benchmark):
    protocol = load_benchmark("gsn_protocol")
    found = {
        "gsn": {"known": Score(21.0, 0.8, 0.25), "held out": Score(18.0, 0.7), "cup": Score(21.0, 0.8)},
        "mean splat": {"known": Score(16.0, 0.6), "held out": Score(15.0, 0.5), "cup": Score(16.0, 0.6)},
    }
    table = protocol.table(found)
    assert "| gsn | 21.00 | 0.800 | 0.250 | 18.00 | 0.700 |  |" in table
    assert "| mean splat | 16.00 |" in table.split("| PSNR | cup |")[1]
    flat = protocol.flat(found)
    assert flat["mean_splat_held_out_psnr_db"] == 15.0
    assert flat["gsn_known_lpips"] == 0.25 and flat["gsn_cup_lpips"] is None


def test_the_picture_shows_truth_above_the_splat(load_benchmark):
    protocol = load_benchmark("gsn_protocol")
    torch.manual_seed(0)
    net = GSNNet(PRESETS["tiny"]).eval()
    case = replace(ball_trial(), rgb=torch.full((1, 3, SIDE, SIDE), 0.25), image=torch.full((3, SIDE, SIDE), 0.5))
    sheet = protocol.picture(net, [case, case, case])
    assert sheet.shape == (4 * SIDE, 2 * 3 * SIDE + 16, 3)
    assert sheet[:SIDE, :SIDE].unique().tolist() == [128] and sheet[:SIDE, SIDE : 2 * SIDE].unique().tolist() == [64]
    splat = protocol.splats_of(net, case.image[None]).gaussians(0)
    expected = views_of_splat(splat, [CAMERA])[0].color.clamp(0, 1)
    assert torch.equal(sheet[SIDE : 2 * SIDE, :SIDE], (expected * 255).round().to(torch.uint8))
    assert sheet[2 * SIDE :, -3 * SIDE :].unique().tolist() == [255]


def turns(value: float) -> TurnErrors:
    return TurnErrors(*[value] * len(fields(TurnErrors)))


def test_equivariance_leaves_the_angle_of_0_out_of_its_means(load_benchmark):
    equivariance = load_benchmark("gsn_equivariance")
    found = {"net": [turns(0.0), replace(turns(2.0), ignored_ecd=8.0), replace(turns(4.0), ignored_ecd=16.0)]}
    flat = equivariance.flat(found)
    assert flat["net_ecd"] == 3.0 and flat["net_ecd_share"] == 0.25 and flat["net_true_unturned_db"] == 0.0
    assert "| net | 3.0000 | 0.250 | 3.00 | 3.00 | 3.00 | 0.00 |" in equivariance.table(found, [0, 120, 240])
    charts = equivariance.charts(found, [0, 120, 240])
    assert charts[0].curves["net"] == [0.0, 2.0, 4.0] and charts[0].curves["net, turn ignored"] == [0.0, 8.0, 16.0]
    assert charts[1].xs == [120.0, 240.0] and charts[1].curves["net"] == [2.0, 4.0]
    round_blob = {"net": [turns(0.0), replace(turns(0.0), true_db=9.0)]}
    assert equivariance.flat(round_blob)["net_ecd_share"] is None


def test_throughput_is_told_relative_to_the_unet_of_its_setting(throughput):
    one, two = throughput.Setting("cpu", 1, "float32"), throughput.Setting("cuda", 0, "bfloat16")
    sizes = {"parameters": 2e6, "gflop": 3.0}
    found = {
        (one, "net"): {"seconds": 0.02, "peak_mib": 50.0} | sizes,
        (one, "unet"): {"seconds": 2.0, "peak_mib": 500.0} | sizes,
        (two, "net"): {"seconds": 0.002, "peak_mib": 50.0} | sizes,
        (two, "unet"): None,
    }
    assert throughput.ratios(found) == {
        "net_cpu1_float32_speedup": 100.0,
        "net_cpu1_float32_memory": 0.1,
        "net_cuda_bfloat16_speedup": None,
        "net_cuda_bfloat16_memory": None,
    }
    table = throughput.table(found)
    assert "| cpu1_float32 | net | 20.00 | 50.0 | 100.0 | 50 | 2.0 | 3.0 |" in table
    assert "| cuda_bfloat16 | unet | not run |" in table


def test_processor_time_is_refused_where_threads_would_add_up(throughput, capsys):
    with pytest.raises(SystemExit):
        throughput._parse(["--cpu-time", "--threads", "1", "2"])
    assert "--threads 1" in capsys.readouterr().err


def test_variants_differ_from_the_full_one_in_what_their_name_says(ablation):
    base = ablation.base_config(1000)
    assert [(phase.size_px, phase.steps) for phase in base.phases] == [(64, 600), (128, 400)]
    assert base.loss.ecd == 0.1
    built: dict[str, GSNTraining] = {name: change(base) for name, change in ablation.VARIANTS.items()}
    assert built["full"] == base
    assert built["no ecd"] == replace(base, loss=replace(base.loss, ecd=0.0))
    assert built["ecd 1"] == replace(base, loss=replace(base.loss, ecd=1.0))
    assert built["no cube"] == replace(base, net=replace(base.net, cube=False))
    assert built["blind"] == replace(base, blind=True, loss=replace(base.loss, ecd=0.0))
    assert built["stop turned"].loss.stop == "turned" and built["no normals"].loss.normal == 0
    assert len({repr(config) for config in built.values()}) == len(built)


def test_the_ablation_tells_differences_object_by_object(ablation):
    def found(*psnr):
        scores = {"cup": [Score(value, 0.5) for value in psnr[:2]], "lamp": [Score(psnr[2], 0.5)]}
        return ablation.Found(scores, replace(turns(1.0), ignored_ecd=4.0), 0.5)

    every = {"full": found(20.0, 24.0, 16.0), "no cube": found(19.0, 21.0, 14.0)}
    mean, spread = ablation.difference(every["no cube"], every["full"])
    assert (mean, spread) == pytest.approx((-2.0, 1 / 3**0.5))
    table = ablation.table(every, ("lamp",))
    assert "| no cube | 20.00 | 0.500 | 14.00 | 0.500 | -2.00 ± 0.58 | 1.0000 | 0.250 | 1.00 | 1.00 | 0.50 |" in table
    flat = ablation.flat(every, ("lamp",))
    assert flat["no_cube_known_psnr_db"] == 20.0 and flat["no_cube_difference_db"] == -2.0
    assert flat["full_ecd_share"] == 0.25


@pytest.mark.parametrize("script", ["gsn_protocol", "gsn_equivariance", "gsn_statistics"])
def test_missing_data_and_weights_are_told_in_a_line(load_benchmark, script, tmp_path, capsys):
    module = load_benchmark(script)
    assert module.main(["--data", str(tmp_path / "none"), "--weights", "x"]) == 2
    assert "none: no such folder" in capsys.readouterr().err


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", ["net", "render"])
def test_a_case_is_measured(throughput, case, tmp_path, capsys, monkeypatch):
    net = GSNNet(PRESETS["tiny"])
    save_checkpoint(tmp_path, net.config, net.state_dict())
    monkeypatch.setattr(throughput, "QUICK_S", 0.01)
    command = ["--case", case, "--threads", "1", "--quick", "--cpu-time", "--weights", str(tmp_path)]
    assert throughput.main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"seconds", "peak_mib", "parameters", "gflop"}
    assert 0.0001 < said["seconds"] < 10
    assert said["parameters"] == sum(parameter.numel() for parameter in net.parameters())
    # A pass multiplies every weight of the heads once, and adds as often.
    heads = sum(parameter.numel() for parameter in net.heads.parameters() if parameter.ndim == 2)
    assert said["gflop"] * 1e9 > 2 * heads


def test_a_case_has_a_process_of_its_own_which_is_told_all(throughput, monkeypatch, capsys):
    asked = throughput._parse(["--quick", "--cpu-time", "--weights", "w", "--threads", "1"])
    given = []

    def launch(command, env, quiet):
        given.append((command, env["OMP_NUM_THREADS"]))
        return harness.Process(len(given) - 1, '{"seconds": 1.0}\n', "a\nwhy\n", 1.0, 50.0)

    monkeypatch.setattr(harness, "launch", launch)
    setting = throughput.Setting("cpu", 1, "bfloat16")
    assert throughput._in_process(setting, "render", asked) == {"seconds": 1.0}
    assert throughput._in_process(setting, "render", asked) is None  # of exit code 1
    assert capsys.readouterr().err.endswith("cpu1_bfloat16 render: not run: why\n")
    (program, script, *options), threads = given[0]
    assert (program, Path(script).name, threads) == (sys.executable, "gsn_throughput.py", "1")
    assert vars(throughput._parse(options)) == vars(asked) | {"case": "render", "type": "bfloat16"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most that a process held")
def test_the_most_memory_is_counted_from_the_start(throughput):
    before = throughput._memory_mib("cpu", start=True)
    with mmap.mmap(-1, 2**26) as block:  # an allocator might hand out what the process holds already
        for _ in range(64):
            block.write(b"1" * 2**20)
    assert 60 < throughput._memory_mib("cpu", start=False) - before < 100
