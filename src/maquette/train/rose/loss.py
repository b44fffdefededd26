"""What RoSE's video model minimises; its VAE's loss is in `maquette.train.rose.vae`."""

import torch
from torch import Generator, Tensor

from maquette.nets.rose import RoSENet
from maquette.train.batches import Batch
from maquette.train.rose.config import RoseTraining
from maquette.train.rose.vae import truth


def video_loss(net: RoSENet, batch: Batch, config: RoseTraining, rng: Generator) -> dict[str, Tensor]:
    """||z0 - z0(z0 + sigma e, sigma, photo)||^2, the paper's loss; sigma is log-normal."""
    with torch.no_grad():
        clean = net.encode(truth(net, batch)).float()
    n, device = len(clean), clean.device
    mean, spread = config.log_sigma
    sigma = torch.exp(mean + spread * torch.randn(n, generator=rng, device=device))
    noise = torch.randn(clean.shape, generator=rng, device=device)
    seen = (torch.rand(n, generator=rng, device=device) >= config.unseen).to(clean)
    told = net.condition(batch.photo, batch.mask).withheld(seen)
    found = net.clean(clean + sigma.reshape(-1, 1, 1, 1, 1) * noise, sigma, told)
    return {"loss": (found - clean).square().mean()}
