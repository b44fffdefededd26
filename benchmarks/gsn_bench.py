"""GSN as the benches know it: its weights as methods of the protocol, the splats it is measured against, its turns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Float
from novel_views import Method, Trial, images_of_splat
from torch import Tensor

from maquette.errors import InputError
from maquette.gaussians.chamfer import Cloud, extended_chamfer
from maquette.geometry.rotation import quaternion_to_matrix
from maquette.io.checkpoints import load_network
from maquette.metrics import psnr_db
from maquette.nets.gsn import PRESETS, GSNConfig, GSNNet, Splats, camera_of
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import ViewsSpec
from maquette.train.gsn.data import distance_of, require_distance, turned_images
from maquette.train.gsn.loss import cloud
from maquette.types import Camera, Gaussians

# A data set that is made in seconds, for a quick look.
QUICK = ViewsSpec(
    2, 7, test=1, categories=("bowl", "lamp"), held_out=("lamp",), views=4, test_views=16, size_px=64, radius=1.3
)
_PASS = 16  # images of a pass


@dataclass(frozen=True)
class TurnErrors:
    """How unlike turning the image is to turning the splat, means over objects.

    The splat of the turned image is turned back, and compared with that of the image.

    Attributes:
        ecd: Extended Chamfer Distance, weights 0.1.
        shown_db: PSNR of one seen from the shown camera against the other.
        aside_db: likewise from the right and from above.
        true_db: PSNR of the turned-back splat against true views: what a collapse to one round blob can't fake.
        ignored_ecd, ignored_db: `ecd` and `shown_db` of a method that makes the same splat of the turned image.
    """

    ecd: float
    shown_db: float
    aside_db: float
    true_db: float
    ignored_ecd: float
    ignored_db: float


def load_gsn(weights: str | Path, data: ViewsDataset | None = None) -> GSNNet:
    """A network ready to be asked.

    Raises:
        InputError: no such weights, or the data's cameras stand elsewhere than the network's.
    """
    net = load_network(weights, GSNConfig, GSNNet).eval()
    if data is not None:
        require_distance(data.folders[0], distance_of(data), net.config.distance)
    return net


def load_gsns(weights: Sequence[str], data: ViewsDataset, quick: bool = False) -> dict[str, GSNNet]:
    """Networks by the last parts of their names or, if two have the same, by the whole ones.

    Args:
        weights: names or folders.
        data: what they are to be shown.
        quick: without weights, give one network with random ones, `random`.

    Raises:
        InputError: as `load_gsn`; or no weights.
    """
    if not weights and quick:
        torch.manual_seed(0)
        return {"random": GSNNet(PRESETS["tiny"]).eval()}
    if not weights:
        raise InputError("no weights: give --weights a name or a folder")
    short = [Path(name).name for name in weights]
    names = short if len(set(short)) == len(short) else weights
    return {name: load_gsn(folder, data) for name, folder in zip(names, weights, strict=True)}


@torch.no_grad()
def splats_of(net: GSNNet, images: Float[Tensor, "batch 3 height width"]) -> Splats:
    """Splats of images, a few at a time."""
    parts = [vars(net(part)) for part in images.split(_PASS)]
    return Splats(*(torch.cat([part[field.name] for part in parts]) for field in fields(Splats)))


def as_method(net: GSNNet, blind: bool = False) -> Method:
    """The network as a method of the protocol; a blind one is shown white."""

    def method(image: Tensor, cameras: list[Camera]) -> Tensor:
        shown = torch.ones_like(image) if blind else image
        return images_of_splat(splats_of(net, shown[None]).gaussians(0), cameras)

    return method


def mean_splat(net: GSNNet, images: Float[Tensor, "batch 3 height width"]) -> Gaussians:
    """Slot by slot, the mean of the network's splats of images: of scales their logarithms, of rotations as quaternions
    whose sign is the first one's.
    """
    splats = splats_of(net, images)
    sign = torch.where((splats.rotation * splats.rotation[:1]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    means = {field.name: getattr(splats, field.name).mean(0, keepdim=True) for field in fields(Splats)}
    means["rotation"] = F.normalize((splats.rotation * sign).mean(0, keepdim=True), dim=-1)
    return Splats(**means).gaussians(0)


def training_images(data: ViewsDataset, count: int, seed: int = 0) -> Float[Tensor, "count 3 height width"]:
    """A view of each of `count` objects, or of all if there are fewer; drawn by the seed."""
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=rng)[:count].tolist()
    return torch.cat([data.object(k, [int(torch.randint(data.view_count(k), (), generator=rng))]).rgb for k in chosen])


def turn_errors(net: GSNNet, cases: Sequence[Trial], angles_deg: Sequence[float]) -> list[TurnErrors]:
    """One for each angle.

    Args:
        net: the network.
        cases: objects; `true_db` is over their scored views.
        angles_deg: counter-clockwise, as the viewer sees it.
    """
    angles = torch.tensor(angles_deg, dtype=torch.float32).deg2rad()
    found: list[list[TurnErrors]] = [[] for _ in angles_deg]
    for case in cases:
        images = torch.cat([case.image[None], turned_images(case.image.expand(len(angles), -1, -1, -1), angles)])
        splats = splats_of(net, images)
        still = cloud(splats, 0)
        cameras = [case.shown, *_aside(net.config, case.shown.width)]
        seen = _images(still, cameras)
        for k, angle in enumerate(angles):
            back = torch.stack([(angle / 2).cos(), *torch.zeros(2), -(angle / 2).sin()])
            found[k].append(
                _errors_of(still, cloud(splats, k + 1).turned(back), still.turned(back), seen, cameras, case)
            )
    return [mean_errors(of_angle) for of_angle in found]


def mean_errors(errors: Sequence[TurnErrors]) -> TurnErrors:
    """Of every measure the mean."""
    return TurnErrors(*(fmean(getattr(error, field.name) for error in errors) for field in fields(TurnErrors)))


def _errors_of(
    still: Cloud, back: Cloud, ignored: Cloud, seen: Tensor, cameras: list[Camera], case: Trial
) -> TurnErrors:
    """Of one object and angle; `seen` is what the cameras see of `still`."""
    images = _images(back, [*cameras, *case.cameras])
    psnr = [psnr_db(image, true) for image, true in zip(images, torch.cat([seen, case.rgb]), strict=True)]
    return TurnErrors(
        ecd=float(extended_chamfer(still, back)),
        shown_db=psnr[0],
        aside_db=fmean(psnr[1 : len(cameras)]),
        true_db=fmean(psnr[len(cameras) :]),
        ignored_ecd=float(extended_chamfer(still, ignored)),
        ignored_db=psnr_db(_images(ignored, cameras[:1])[0], seen[0]),
    )


def _images(seen: Cloud, cameras: list[Camera]) -> Tensor:
    return images_of_splat(Splats(*(value[None] for value in seen)).gaussians(0), cameras).clamp(0, 1)


def _aside(config: GSNConfig, size_px: int) -> list[Camera]:
    """The shown camera's fellows on the right of the object and above it."""
    shown = camera_of(config, size_px)
    half = math.sqrt(0.5)
    turns = torch.tensor([[half, 0.0, half, 0.0], [half, -half, 0.0, 0.0]])  # about y, and about x, by a quarter
    cameras = []
    for matrix in quaternion_to_matrix(turns):
        turn = torch.eye(4)
        turn[:3, :3] = matrix
        cameras.append(replace(shown, camera_to_world=turn @ shown.camera_to_world))
    return cameras
