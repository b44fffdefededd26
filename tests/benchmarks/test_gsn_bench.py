"""GSN as the benches know it: turns that are undone, means of splats, weights by name."""

import math
from pathlib import Path

import gsn_bench as gsn
import pytest
import torch
from novel_views import Trial, images_of_splat

from maquette.errors import InputError
from maquette.io.checkpoints import save_checkpoint
from maquette.nets.gsn import PRESETS, GSNNet, Splats, camera_of
from maquette.synth.datasets.multiview.reading import ViewsDataset

SIDE = 48
TINY = PRESETS["tiny"]
ANGLES = [0.0, 90.0, 210.0]


def ball_splat(x: float, y: float) -> Splats:
    """One red disc beside the axis, longer across than along it."""
    angle = math.atan2(y, x)
    return Splats(
        torch.tensor([[[x, y, 0.1]]]),
        torch.tensor([[[0.12, 0.05, 0.03]]]).log(),
        torch.tensor([[[math.cos(angle / 2), 0, 0, math.sin(angle / 2)]]]),
        torch.tensor([[[0.8, 0.1, 0.1]]]),
        torch.tensor([[0.9]]),
    )


def where(image: torch.Tensor) -> tuple[float, float]:
    """The middle of what isn't white, in the plane of the object's middle."""
    dark = (1 - image).sum(0)
    line = torch.arange(SIDE) + 0.5 - SIDE / 2
    scale = (1.3 - 0.1) / camera_of(TINY, SIDE).focal_px
    return float((dark.sum(0) * line).sum() / dark.sum() * scale), float(
        -(dark.sum(1) * line).sum() / dark.sum() * scale
    )


class Fake(GSNNet):
    """No network, but one in name; subclasses say what it makes of images."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.config = TINY


class Seeing(Fake):
    """A network that finds the red disc in its image: as equivariant as the pixels allow."""

    def forward(self, images):
        found = [vars(ball_splat(*where(image))) for image in images]
        return Splats(*(torch.cat([one[name] for one in found]) for name in found[0]))


class Blind(Fake):
    """One that makes the same splat of everything."""

    def forward(self, images):
        return Splats(*(value.expand(len(images), *value.shape[1:]) for value in vars(ball_splat(0.2, 0.1)).values()))


@pytest.fixture(scope="module")
def case() -> Trial:
    camera = camera_of(TINY, SIDE)
    image = images_of_splat(ball_splat(0.2, 0.1).gaussians(0), [camera])
    return Trial("disc", "disc", image[0], camera, image, [camera], (0,), None, None)


def test_a_network_that_sees_the_turn_is_equivariant(case):
    errors = gsn.turn_errors(Seeing(), [case], ANGLES)
    assert errors[0].ecd < 1e-6
    for error in errors[1:]:
        assert error.ecd < 0.002 * error.ignored_ecd
        assert error.shown_db > error.ignored_db + 15
        assert error.aside_db > 35
        assert error.true_db > 30


def test_one_that_ignores_the_turn_is_its_own_peer(case):
    errors = gsn.turn_errors(Blind(), [case], ANGLES)
    assert errors[0].ecd < 1e-9
    for error in errors[1:]:
        assert error.ecd == pytest.approx(error.ignored_ecd)
        assert error.shown_db == pytest.approx(error.ignored_db)
        assert error.true_db < errors[0].true_db - 20
    # Opposite places are farther apart than neighbouring ones.
    assert errors[2].ecd > errors[1].ecd


def test_errors_are_means_over_objects(case):
    one, two = gsn.turn_errors(Blind(), [case], [90.0]), gsn.turn_errors(Blind(), [case, case], [90.0])
    assert vars(two[0]) == pytest.approx(vars(one[0]))


def test_the_mean_splat_is_a_mean_of_logarithms_and_of_turns_without_sign():
    class Two(Fake):
        def forward(self, images):
            first = ball_splat(0.2, 0.0)
            return Splats(
                torch.cat([first.mean, -first.mean]),
                torch.cat([first.log_scale, first.log_scale + 2]),
                torch.cat([first.rotation, -first.rotation]),
                torch.cat([first.color, 1 - first.color]),
                torch.cat([first.opacity, first.opacity / 3]),
            )

    mean = gsn.mean_splat(Two(), torch.ones(2, 3, 4, 4))
    assert torch.allclose(mean.mean, torch.zeros(1, 3))
    assert torch.allclose(mean.scale, torch.tensor([[0.12, 0.05, 0.03]]) * math.e)
    assert torch.allclose(mean.rotation, torch.tensor([[1.0, 0, 0, 0]]))
    assert torch.allclose(mean.opacity, torch.tensor([0.6]))
    assert torch.allclose(mean.sh, torch.zeros(1, 1, 3), atol=1e-6)


def test_a_blind_method_is_shown_white(case):
    class Shade(Fake):
        def forward(self, images):
            splat = ball_splat(0.0, 0.0)
            splat.color[:] = images.mean()
            return splat

    dark = case.image * 0.2
    seen, unseen = (gsn.as_method(Shade(), blind)(dark, [case.shown]) for blind in (False, True))
    assert seen.min() < 0.5
    assert unseen.min() > 0.99


def test_many_images_pass_in_their_order():
    images = torch.rand(19, 1, 1, 1).expand(19, 3, 4, 4)

    class Told(Fake):
        def forward(self, images):
            n = len(images)
            return Splats(
                images[:, :1, :1, 0].expand(n, 1, 3), *(torch.zeros(n, 1, k) for k in (3, 4, 3)), torch.zeros(n, 1)
            )

    assert torch.equal(gsn.splats_of(Told(), images).mean[:, 0, 0], images[:, 0, 0, 0])


def test_weights_are_called_by_their_folder_or_whole_path(tmp_path):
    net = GSNNet(TINY)
    for folder in ("a/last", "b/last", "b/first"):
        save_checkpoint(tmp_path / folder, TINY, net.state_dict(), torch.float32)

    def load(*names):
        return list(gsn.load_gsns([str(tmp_path / name) for name in names], views_from(1.3)))

    assert load("a/last", "b/first") == ["last", "first"]
    assert load("a/last", "b/last") == [str(tmp_path / "a/last"), str(tmp_path / "b/last")]
    with pytest.raises(InputError, match="--weights"):
        load()
    assert list(gsn.load_gsns([], views_from(1.3), quick=True)) == ["random"]
    with pytest.raises(InputError, match=r"^far: its cameras stand at 2 [^\n]*the network's at 1\.3; [^\n]*$"):
        gsn.load_gsn(tmp_path / "a/last", views_from(2.0))


def views_from(distance: float) -> ViewsDataset:
    """One object, seen from one place."""

    class One(ViewsDataset):
        def __init__(self):
            self.folders, self.names, self.categories = [Path("far")], ["far"], [""]

        def poses(self, index):
            pose = torch.eye(4)
            pose[2, 3] = distance
            return pose[None]

    return One()
