import pytest
import torch

from maquette.shading.lambert import estimate_albedo, lambert, light_direction


def hemisphere(size: int = 65) -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.linspace(-1, 1, size)
    x, y = torch.meshgrid(axis, -axis, indexing="xy")
    mask = x**2 + y**2 < 1
    z = (1 - x**2 - y**2).clamp_min(0).sqrt()
    return torch.where(mask[..., None], torch.stack([x, y, z], -1), 0.0), mask


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0.0, 0.0, (1, 0, 0)),
        (90.0, 0.0, (0, 1, 0)),
        (180.0, 0.0, (-1, 0, 0)),
        (270.0, 0.0, (0, -1, 0)),
        (33.0, 90.0, (0, 0, 1)),
    ],
)
def test_light_directions(azimuth, elevation, expected):
    assert light_direction(azimuth, elevation).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_sphere_is_brightest_where_it_faces_the_light():
    normals, mask = hemisphere()
    light = light_direction(135.0, 40.0)
    shading = lambert(normals, light)[..., 0]
    brightest = normals.reshape(-1, 3)[shading.argmax()]
    assert (brightest @ light).item() == pytest.approx(1, abs=2e-3)
    assert shading.max() <= 1 + 1e-6
    # From the upper left: the top left quarter gets more than the bottom right one.
    assert shading[:32, :32].sum() > 4 * shading[33:, 33:].sum()
    assert shading[~mask].abs().max() == 0


def test_values_worked_out_by_hand():
    normals = torch.tensor([[[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [0.0, 0.0, -1.0]]])
    albedo = torch.tensor([0.5, 0.2, 1.0]).expand(1, 3, 3)
    found = lambert(normals, torch.tensor([1.0, 0.0, 0.0]), albedo, ambient=0.1)
    expected = torch.tensor([[0.05, 0.02, 0.1], [0.35, 0.14, 0.7], [0.05, 0.02, 0.1]])
    assert torch.allclose(found[0], expected)


def test_albedo_is_found_up_to_scale_where_light_is_linear_in_the_normal():
    normals, mask = hemisphere()
    # An ambient light this strong leaves no attached shadow, so the model fits exactly.
    shading = 1.0 + 0.5 * (normals @ light_direction(60.0, 20.0))
    colour = torch.tensor([0.9, 0.6, 0.3])
    estimate = estimate_albedo(colour * shading[..., None], normals, mask)
    assert torch.allclose(estimate[mask], colour / 0.9, atol=1e-3)


def test_albedo_has_less_of_the_old_light_than_the_photo():
    normals, mask = hemisphere()
    photo = lambert(normals, light_direction(0.0, 30.0), 0.7, ambient=0.05)
    estimate = estimate_albedo(photo, normals, mask)

    def spread(image: torch.Tensor) -> float:
        inside = image[mask]
        return (inside.std() / inside.mean()).item()

    assert spread(estimate) < 0.6 * spread(photo)
    assert 0 <= estimate.min() <= estimate.max() <= 1


def test_a_flat_map_and_a_black_photo_are_no_trouble():
    flat = torch.zeros(8, 8, 3)
    flat[..., 2] = 1
    everywhere = torch.ones(8, 8, dtype=torch.bool)
    photo = torch.rand(8, 8, 3)
    estimate = estimate_albedo(photo, flat, everywhere)
    assert torch.allclose(estimate / estimate.max(), (photo / photo.max()).clamp(0, 1), atol=0.05)
    assert torch.isfinite(estimate_albedo(torch.zeros(8, 8, 3), flat, everywhere)).all()
