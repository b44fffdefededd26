"""What GSN minimises: its parts add up, truth costs nothing, each side of the turn gets its gradient or none."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.errors import InputError
from maquette.gaussians.chamfer import ChamferWeights
from maquette.nets.gsn import PRESETS, GSNNet, Splats, camera_of
from maquette.runs.schedule import Phase
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.train.gsn.config import GSNLoss, GSNTraining
from maquette.train.gsn.data import ViewBatch, ViewCache, draw_batch, turned_images
from maquette.train.gsn.loss import cloud, equivariance, gsn_loss, render_loss, rendered
from maquette.types import Camera

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = GSNTraining(PRESETS["tiny"], (Phase(32, 2, 2, 1e-3, 1e-4),), views=3)


@pytest.fixture(scope="module")
def batch(tiny_views) -> ViewBatch:
    return draw_batch(ViewCache(ViewsDataset(tiny_views, split="train")), 0, 0, 4, 3, 32)


@pytest.fixture(scope="module")
def net() -> GSNNet:
    """With weights off their beginnings, as after some training."""
    torch.manual_seed(0)
    net = GSNNet(PRESETS["tiny"]).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return net


def rng(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cameras() -> list[Camera]:
    """The photo's, and two a little beside it that look at the origin."""
    front = camera_of(PRESETS["tiny"], 32)
    found = [front]
    for angle in (0.4, -0.6):
        turn = torch.eye(4)
        turn[0, 0] = turn[2, 2] = math.cos(angle)
        turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
        found.append(replace(front, camera_to_world=turn @ front.camera_to_world))
    return found


def own_truth(splats: Splats) -> ViewBatch:
    """What cameras see of splats, as the truth of a batch."""
    seen = [rendered(splats, index, cameras()) for index in range(len(splats))]
    color, alpha, normals = (torch.stack([views[k] for views in seen]) for k in range(3))
    return ViewBatch(color, [cameras()] * len(splats), alpha, normals)


def test_the_parts_add_up_to_the_loss(net, batch):
    weights = GSNLoss(ssim=0.3, mask=0.7, normal=0.11, ecd=0.2)
    parts = gsn_loss(net, batch, replace(CONFIG, loss=weights), rng())
    assert set(parts) == {"l1", "dissimilarity", "mask", "normal", "render", "mse", "ecd", "loss"}
    assert all(float(value.detach()) > 0 for value in parts.values())
    render = parts["l1"] + 0.3 * parts["dissimilarity"] + 0.7 * parts["mask"] + 0.11 * parts["normal"]
    torch.testing.assert_close(parts["render"], render)
    torch.testing.assert_close(parts["loss"], render + 0.2 * parts["ecd"])


def test_a_part_is_what_it_says(net, batch):
    """L1, squared error and mask as numpy has them of what is rendered."""
    splats = net(batch.rgb[:, 0])
    parts = render_loss(splats, batch, GSNLoss())
    seen = [rendered(splats, index, batch.cameras[index]) for index in range(4)]
    color, alpha = (torch.stack([views[k] for views in seen]).detach().numpy() for k in (0, 1))
    assert batch.mask is not None
    truth, mask = batch.rgb.numpy(), batch.mask.numpy()
    assert float(parts["l1"].detach()) == pytest.approx(abs(color - truth).mean(), rel=1e-5)
    assert float(parts["mse"]) == pytest.approx(((color - truth) ** 2).mean(), rel=1e-5)
    assert float(parts["mask"].detach()) == pytest.approx(abs(alpha - mask).mean(), rel=1e-5)
    assert not parts["mse"].requires_grad


@torch.no_grad()
def test_splats_that_are_their_own_truth_cost_nothing(net, batch):
    splats = net(batch.rgb[:2, 0])
    truth = own_truth(splats)
    parts = render_loss(splats, truth, GSNLoss())
    for name in ("l1", "mse", "mask"):
        assert float(parts[name]) == 0
    assert abs(float(parts["dissimilarity"])) < 1e-5
    assert abs(float(parts["normal"])) < 1e-5
    assert abs(float(parts["render"])) < 1e-5
    aside = replace(splats, mean=splats.mean + 0.1)
    assert float(render_loss(aside, truth, GSNLoss())["render"]) > 0.05


@torch.no_grad()
def test_a_normal_costs_one_minus_the_cosine_where_both_have_one(net, batch):
    """Truth turned by 60 degrees costs a half; by 180, two; what has no normal costs nothing."""
    splats = net(batch.rgb[:2, 0])
    truth = own_truth(splats)
    assert truth.normals is not None and truth.mask is not None
    n, solid = truth.normals, truth.mask > 0.5
    side = torch.linalg.cross(n, torch.randn(n.shape, generator=rng()), dim=2)
    side = torch.nn.functional.normalize(side, dim=2)
    for cosine in (0.5, -1.0):
        tilted = cosine * n + math.sqrt(1 - cosine**2) * side
        parts = render_loss(splats, replace(truth, normals=tilted), GSNLoss())
        assert float(parts["normal"]) == pytest.approx(1 - cosine, abs=1e-4)
    half = torch.where(torch.arange(32) < 16, -n, 0.0)  # none in the right half
    assert bool((solid & (half.norm(dim=2, keepdim=True) > 0)).any())
    parts = render_loss(splats, replace(truth, normals=half), GSNLoss())
    assert float(parts["normal"]) == pytest.approx(2, abs=1e-4)
    parts = render_loss(splats, replace(truth, normals=torch.zeros_like(n)), GSNLoss())
    assert float(parts["normal"]) == 0


def test_without_masks_and_normals_or_without_weights_those_parts_are_left_out(net, batch):
    parts = gsn_loss(net, replace(batch, mask=None, normals=None), CONFIG, rng())
    assert set(parts) == {"l1", "dissimilarity", "render", "mse", "ecd", "loss"}
    unweighted = gsn_loss(net, batch, replace(CONFIG, loss=GSNLoss(mask=0.0, normal=0.0)), rng())
    assert set(unweighted) == set(parts)
    torch.testing.assert_close(unweighted["loss"], parts["loss"])


def heard(net: GSNNet, monkeypatch) -> list[torch.Tensor]:
    """What the network is given, as it is given."""
    given, forward = [], net.forward
    monkeypatch.setattr(net, "forward", lambda image: (given.append(image), forward(image))[1])
    return given


def test_the_second_pass_is_of_the_turned_images_or_is_left_out(net, batch, monkeypatch):
    given = heard(net, monkeypatch)
    parts = gsn_loss(net, batch, replace(CONFIG, loss=GSNLoss(ecd=0.0)), rng())
    assert "ecd" not in parts
    torch.testing.assert_close(parts["loss"], parts["render"])
    assert given.pop().equal(batch.rgb[:, 0])
    for share, count in ((0.5, 2), (0.6, 3), (1.0, 4)):
        gsn_loss(net, batch, replace(CONFIG, loss=GSNLoss(turned_share=share)), rng())
        angles = torch.rand(count, generator=rng()) * 2 * math.pi
        wanted = torch.cat([batch.rgb[:, 0], turned_images(batch.rgb[:count, 0], angles)])
        assert given.pop().equal(wanted)


def test_a_blind_network_is_shown_white_alone(net, batch, monkeypatch):
    given = heard(net, monkeypatch)
    blind = replace(CONFIG, blind=True)
    with torch.no_grad():
        parts = gsn_loss(net, batch, blind, rng())
        assert bool((given.pop() == 1).all())
        splats = net(torch.ones(4, 3, 32, 32))
        torch.testing.assert_close(parts["render"], render_loss(splats, batch, blind.loss)["render"])


def test_the_turned_splat_is_what_is_expected_of_the_turned_image():
    """Exactly turned ones have no distance, whatever their order; turned the other way round they have."""
    draw = rng()
    still = Splats(
        torch.rand(2, 9, 3, generator=draw) - 0.5,
        torch.rand(2, 9, 3, generator=draw) - 3,
        torch.nn.functional.normalize(torch.randn(2, 9, 4, generator=draw), dim=-1),
        torch.rand(2, 9, 3, generator=draw),
        torch.rand(2, 9, generator=draw),
    )
    angles = torch.tensor([0.7, 2.5])

    def turned(sign: float) -> Splats:
        clouds = []
        for index, angle in enumerate((sign * angles).tolist()):
            turn = torch.tensor([math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)])
            clouds.append(cloud(still, index).turned(turn))
        order = torch.randperm(9, generator=draw)
        return Splats(*(torch.stack(values)[:, order] for values in zip(*clouds, strict=True)))

    assert float(equivariance(still, turned(1), angles, GSNLoss())) < 1e-9
    assert float(equivariance(still, turned(-1), angles, GSNLoss())) > 0.01
    heavy = GSNLoss(chamfer=ChamferWeights(color=10.0))
    other = turned(1)
    other = replace(other, color=1 - other.color)
    assert float(equivariance(still, other, angles, heavy)) == pytest.approx(
        100 * float(equivariance(still, other, angles, GSNLoss())), rel=1e-4
    )


@pytest.mark.parametrize(
    ("stop", "reached"), [("none", {"still", "moved"}), ("still", {"moved"}), ("turned", {"still"})]
)
def test_the_gradient_is_stopped_on_the_side_that_is_named(stop, reached):
    def splats(seed: int) -> Splats:
        draw = rng(seed)
        shapes = {"mean": (2, 5, 3), "log_scale": (2, 5, 3), "rotation": (2, 5, 4), "color": (2, 5, 3)}
        values = {name: torch.rand(shape, generator=draw).requires_grad_() for name, shape in shapes.items()}
        return Splats(**values, opacity=torch.rand(2, 5, generator=draw).requires_grad_())

    sides = {"still": splats(1), "moved": splats(2)}
    equivariance(sides["still"], sides["moved"], torch.tensor([0.3, 4.0]), GSNLoss(stop=stop)).backward()
    for name, side in sides.items():
        for part, value in vars(side).items():
            there = value.grad is not None and float(value.grad.abs().max()) > 0
            assert there == (name in reached), (name, part)
    values = {
        name: float(equivariance(sides["still"], sides["moved"], torch.tensor([0.3, 4.0]), GSNLoss(stop=name)).detach())
        for name in ("none", "still", "turned")
    }
    assert len(set(values.values())) == 1  # the value is the same


@pytest.mark.parametrize("changes", [{"ssim": -0.1}, {"ecd": -1.0}, {"turned_share": 0.0}, {"turned_share": 1.5}])
def test_wrong_weights_are_one_line(changes):
    with pytest.raises(InputError, match=r"^[^\n]*weights of losses can't be negative[^\n]*$"):
        GSNLoss(**changes)
