import pytest
import torch

from maquette.geometry.camera import pixel_rays, project
from maquette.geometry.maps import depth_to_points, points_to_normals
from maquette.types import Camera


def camera(orthographic: bool, size: int = 200) -> Camera:
    focal_px = 90.0 if orthographic else 220.0
    return Camera(size, size, focal_px, (size / 2, size / 2), torch.eye(4).double(), orthographic)


def sphere_seen_by(cam: Camera) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth, mask and normals of the unit sphere at (0, 0, -3), by the quadratic formula."""
    center = torch.tensor([0.0, 0.0, -3.0]).double()
    origins, directions = pixel_rays(cam)
    half_b = ((origins - center) * directions).sum(-1)
    under_root = half_b**2 - ((origins - center) ** 2).sum(-1) + 1
    mask = under_root > 0
    points = origins + (-half_b - under_root.clamp_min(0).sqrt())[..., None] * directions
    return -points[..., 2], mask, points - center


@pytest.mark.parametrize("orthographic", [True, False])
def test_depth_to_points_inverts_project(orthographic):
    cam = camera(orthographic, 16)
    depth = torch.rand(16, 16).double() + 1
    points = depth_to_points(depth, cam)
    assert torch.equal(-points[..., 2], depth)
    x, y = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="xy")
    assert torch.allclose(project(cam, points), torch.stack([x, y], -1).double())


@pytest.mark.parametrize("orthographic", [True, False])
def test_normals_of_a_sphere(orthographic):
    cam = camera(orthographic)
    depth, mask, truth = sphere_seen_by(cam)
    normals, valid = points_to_normals(depth_to_points(depth, cam), mask)
    cosine = (normals * truth).sum(-1).clamp(-1, 1)
    # Central differences err by the second order of the step; near the silhouette slopes are infinite.
    facing = valid & ((truth * depth_to_points(depth, cam)).sum(-1) < -0.9)
    assert facing.sum() > 4000
    assert torch.rad2deg(torch.acos(cosine[facing].min())) < 0.5
    assert (cosine[valid] > 0).all()
    assert (valid <= mask).all()
    assert normals[~valid].abs().max() == 0


@pytest.mark.parametrize("orthographic", [True, False])
def test_normals_of_a_plane_are_exact_up_to_the_border(orthographic):
    cam = camera(orthographic, 24)
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 1.0]).double(), dim=0)
    origins, directions = pixel_rays(cam)
    on_plane = torch.tensor([0.0, 0.0, -2.0]).double()
    distance = ((on_plane - origins) @ normal) / (directions @ normal)
    depth = -(origins + distance[..., None] * directions)[..., 2]
    normals, valid = points_to_normals(depth_to_points(depth, cam), torch.ones(24, 24, dtype=torch.bool))
    assert valid.all()
    assert torch.allclose(normals, normal.expand(24, 24, 3), atol=1e-9)


def test_a_lonely_pixel_has_no_normal_and_gaps_are_not_bridged():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[1, 1] = True
    mask[4:8, 4:8] = True
    points = torch.randn(9, 9, 3)
    points[~mask] = torch.nan
    normals, valid = points_to_normals(points, mask)
    assert not valid[1, 1]
    assert valid[4:8, 4:8].all()
    assert torch.isfinite(normals).all()
