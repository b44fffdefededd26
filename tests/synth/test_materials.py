"""Materials stay within physics, are repeatable, and stick to the object."""

import pytest
import torch

from maquette.synth.looks.materials import rotations, sample_material


@pytest.fixture(scope="module")
def position():
    return torch.rand(256, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def material(position):
    return sample_material(position, torch.Generator().manual_seed(0))


def test_ranges(material):
    rounding = 1e-6
    assert float(material.albedo.min()) >= 0.003 - rounding
    assert float(material.albedo.max()) <= 0.98 + rounding
    assert float(material.roughness.min()) >= 0.05 - rounding
    assert float(material.roughness.max()) <= 1
    assert set(material.metal.flatten().tolist()) == {0.0, 1.0}
    assert 0 <= float(material.specular.min()) <= float(material.specular.max()) <= 1.3


def test_the_same_seed_gives_the_same_material(position, material):
    again = sample_material(position, torch.Generator().manual_seed(0))
    other = sample_material(position, torch.Generator().manual_seed(2))
    for name in ("albedo", "roughness", "metal", "specular"):
        assert torch.equal(getattr(material, name), getattr(again, name))
        assert not torch.equal(getattr(material, name), getattr(other, name))


def test_plain_and_patterned_objects_both_occur(material):
    varied = material.albedo.std((2, 3)).mean(1)
    plain = (varied < 1e-6).float().mean()
    assert 0.4 < float(plain) < 0.85
    assert 0.04 < float(material.metal.mean()) < 0.18  # a fifth of the half that isn't plain


def test_textures_are_solid(position):
    """The albedo is a function of the point: two pixels at the same point wear the same colour."""
    same = position.clone()
    same[:, :, 0, 0] = same[:, :, 5, 3]
    material = sample_material(same, torch.Generator().manual_seed(4))
    assert torch.equal(material.albedo[:, :, 0, 0], material.albedo[:, :, 5, 3])
    assert torch.equal(material.roughness[:, :, 0, 0], material.roughness[:, :, 5, 3])


def testrotations_arerotations():
    turns = rotations(100, torch.Generator().manual_seed(0), torch.device("cpu")).double()
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(100, dtype=torch.float64), atol=1e-5)
    assert float(turns.mean(0).abs().max()) < 0.25  # no side is preferred
