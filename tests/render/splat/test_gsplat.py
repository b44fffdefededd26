"""gsplat behind our projection; test_backends.py holds it to the oracle too. Runs where there are a GPU and gsplat."""

import pytest
import torch

from maquette.render.splat import gsplat_cuda, torch_tiles
from maquette.render.splat.projected import Projected

pytestmark = pytest.mark.skipif(not gsplat_cuda.available(), reason=f"gsplat can't run here: {gsplat_cuda.why_not()}")


def test_gsplat_blends_depths_of_either_sign_and_equal_ones_in_our_order():
    generator = torch.Generator().manual_seed(5)
    n, width, height = 30, 45, 35
    factor = torch.randn(n, 2, 2, generator=generator) * 4
    projected = Projected(
        torch.rand(n, 2, generator=generator) * torch.tensor([50.0, 40]) - 2,
        torch.linalg.inv(factor @ factor.mT + 0.3 * torch.eye(2)).flatten(1)[:, [0, 1, 3]],
        0.05 + 0.4 * torch.rand(n, generator=generator),
        torch.randint(-3, 4, (n,), generator=generator).float(),
        torch.zeros(n, 3),
        torch.rand(n, generator=generator) > 0.1,
    )
    channels = torch.randn(n, 11, generator=generator)
    exact = torch_tiles.blend(_on(projected, "cpu", torch.float64), channels.double(), width, height)
    found = gsplat_cuda.blend(_on(projected, "cuda", torch.float32), channels.cuda(), width, height)
    assert exact.alpha.max() < 1 - 1e-3  # nothing is left out
    assert (found.total.cpu() - exact.total).abs().max() < 1e-4
    assert (found.alpha.cpu() - exact.alpha).abs().max() < 1e-4
    assert torch.equal(found.median.cpu(), exact.median)


def _on(projected: Projected, device: str, dtype: torch.dtype) -> Projected:
    floats = (projected.mean_px, projected.conic, projected.opacity, projected.depth, projected.normal)
    return Projected(*(value.to(device, dtype) for value in floats), projected.visible.to(device))
