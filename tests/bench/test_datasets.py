"""The real sets: counts, frames and lights, checked by physics; skipped, naming the folder, if not there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from maquette import metrics
from maquette.bench import datasets
from maquette.bench.pathtrace import Render
from maquette.errors import InputError
from maquette.types import Camera, NormalMap

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data():
    if not DATA.is_dir():
        pytest.skip(f"no test data in {DATA}")
    return DATA


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.double().numpy(), b.double().numpy())[0, 1])


def test_diligent_is_in_our_frame_and_each_photo_has_its_own_light(data, tmp_path):
    samples = list(datasets.diligent(data, tmp_path))
    assert [(s.group, s.view) for s in samples] == [(o, f"{n:03d}") for o in ("ball", "bear") for n in range(21, 31)]
    lights = np.loadtxt(data / "diligent" / "ballPNG" / "light_directions.txt")
    for sample in samples[:10]:
        light = torch.from_numpy(lights[int(sample.view) - 1]).float()
        mask = sample.truth.mask
        shading = (sample.truth.normals[mask] @ light).clamp_min(0)
        assert correlation(sample.photo.rgb[mask].mean(-1), shading) > 0.85
    # Divided by the light's intensity, a matte object is about as bright under every light.
    medians = [s.photo.rgb[s.truth.mask].mean(-1).median().item() for s in samples[:10]]
    assert max(medians) < 1.5 * min(medians)


def test_luces_has_x_to_the_right_and_drops_what_has_no_truth(data, tmp_path):
    samples = list(datasets.luces(data, tmp_path))
    assert [s.group for s in samples] == ["Bowl", "Bunny", "Cup", "Die", "Hippo"]
    for sample in samples:
        mask, normals = sample.truth.mask, sample.truth.normals
        silhouette = sample.photo.mask
        assert silhouette is not None
        assert sample.truth_grey is not None
        length = torch.linalg.vector_norm(normals, dim=-1)
        assert torch.allclose(length[mask], torch.ones(int(mask.sum())), atol=1e-5)
        assert float(length[~mask].sum()) == 0
        assert 0.9 < float(mask.sum() / silhouette.sum()) < 1
        if sample.group != "Bowl":  # a hollow bowl looks inwards on both sides
            columns = torch.nonzero(mask)[:, 1]
            assert correlation(normals[mask][:, 0], columns) > 0.4
            assert correlation(normals[mask][:, 1], -torch.nonzero(mask)[:, 0]) > 0.1
        sharp = metrics.sharp_region(sample.truth_grey) & metrics.eroded(silhouette) & mask
        assert 0.001 < float(sharp.sum() / silhouette.sum()) < 0.5


def test_a_missing_set_says_what_and_where(tmp_path):
    for name, where in (
        ("diligent", "ballPNG"),
        ("luces", "luces"),
        ("scans", "scans"),
        ("pathtraced", "environ"),
    ):
        with pytest.raises(InputError, match=f"{where}.*: no such folder") as caught:
            next(iter(datasets.SETS[name](tmp_path, tmp_path)))
        assert "\n" not in str(caught.value)


def test_a_render_is_made_once_and_read_back_the_same(tmp_path, monkeypatch):
    (tmp_path / "environments").mkdir()
    codes = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    normals = torch.nn.functional.normalize(torch.randn(8, 8, 3), dim=-1)
    mask = torch.ones(8, 8, dtype=torch.bool)
    calls = []

    def render(vertices, faces, environments, seed, material):
        calls.append((seed, material))
        camera = Camera(8, 8, 8.0, (4.0, 4.0), torch.eye(4))
        return Render(codes, NormalMap(normals, mask), camera)

    monkeypatch.setattr(datasets, "render_scene", render)
    path = tmp_path / "cache" / "thing.npz"
    for _ in range(2):
        found, truth = datasets._cached(path, tmp_path, lambda: (np.eye(3), np.zeros((1, 3), int)), 5, "metal")
        assert torch.equal(found, codes)
        assert torch.equal(truth.normals, normals)
        assert torch.equal(truth.mask, mask)
    assert calls == [(5, "metal")]
