"""How good a GSN is on held-out objects, while it is trained."""

import torch

from maquette.metrics import psnr_db
from maquette.nets.gsn import GSNNet
from maquette.synth.datasets.multiview.cameras import condition_view
from maquette.train.gsn.config import GSNLoss, GSNTraining
from maquette.train.gsn.data import ViewCache, turned_images, views_of
from maquette.train.gsn.loss import equivariance, rendered

_SCORED_VIEWS = 6  # of each held-out object


@torch.no_grad()
def validate_gsn(
    net: GSNNet, held_out: ViewCache, config: GSNTraining, size_px: int, device: torch.device
) -> dict[str, float]:
    """Mean PSNR of some other views of held-out objects, and the ECD of their images turned by a quarter and an eighth.

    The image is the view at the place of the protocol's along the spiral.
    """
    net.eval()
    psnr, ecd = [], []
    for index in range(len(held_out)):
        item = held_out.stored(index)
        count = len(item.rgb)
        shown = condition_view(count)
        others = torch.linspace(0, count - 1, _SCORED_VIEWS).round().int().tolist()
        rgb, cameras, _, _ = views_of(item, [shown, *(k for k in others if k != shown)], size_px)
        image = torch.ones_like(rgb[:1]) if config.blind else rgb[:1]
        angles = torch.tensor([torch.pi / 2, torch.pi / 4])
        images = torch.cat([image, turned_images(image.expand(2, -1, -1, -1), angles)]).to(device)
        splats = net(images)
        color, _, _ = rendered(splats, 0, cameras[1:])
        psnr += [psnr_db(seen.clamp(0, 1).cpu(), true) for seen, true in zip(color, rgb[1:], strict=True)]
        twice = type(splats)(*(value[:1].expand(2, *value.shape[1:]) for value in vars(splats).values()))
        ecd.append(float(equivariance(twice, splats[1:], angles.to(device), GSNLoss())))
    net.train()
    return {"val_psnr_db": sum(psnr) / len(psnr), "val_ecd": sum(ecd) / len(ecd)}
