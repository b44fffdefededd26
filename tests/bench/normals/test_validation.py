"""The validation set: what it is made of, and what it must not be made of."""

import numpy as np
import torch

from maquette.app.cli import bench as verb
from maquette.bench.normals import validation as module
from maquette.bench.normals.datasets import Sample
from maquette.bench.normals.sets import SETS
from maquette.io.decode import read_pixels
from maquette.types import NormalMap, Photo


def test_it_is_never_part_of_the_default_sets():
    assert "validation" in SETS
    assert "validation" not in verb.SETS
    assert set(SETS) == {*verb.SETS, "validation"}


def test_it_holds_no_scan_and_no_picture_of_a_bench_set():
    for file in module.MESHES.values():
        assert not file.startswith("scans")
    for file, _ in module.PICTURES.values():
        assert not file.startswith("materials")


def test_all_samples_in_order_from_the_cache(tmp_path, monkeypatch):
    """Renders stood in for: 24 photos with the masks of their meshes, then eight whole frames."""
    asked = []

    def cached(path, data, make):
        asked.append(path)
        mask = torch.zeros(16, 16, dtype=torch.bool)
        mask[4:12] = True
        normals = torch.zeros(16, 16, 3)
        normals[..., 2] = mask.float()
        return torch.full((16, 16, 3), 128, dtype=torch.uint8), NormalMap(normals, mask)

    monkeypatch.setattr(module, "cached_render", cached)
    monkeypatch.setattr(module, "renderer_version", lambda: "any")
    samples = list(module.validation(tmp_path, tmp_path))
    assert len(samples) == len(set(asked)) == 6 * 4 + 8
    assert {path.parent for path in asked} == {tmp_path / "any" / f"validation-{module.FORMAT}"}
    assert [sample.group for sample in samples[::4]] == [*module.MESHES, "reliefs", "reliefs"]
    assert all(sample.photo.mask is not None for sample in samples[:24])
    assert all(sample.photo.mask is None for sample in samples[24:])


def test_without_a_mask_the_truth_stays():
    mask = torch.rand(16, 16) > 0.5
    photo = Photo(torch.rand(16, 16, 3), mask)
    sample = Sample("cup", "0", photo, NormalMap(torch.rand(16, 16, 3), mask))
    bare = module.without_mask(sample)
    assert bare.photo.mask is None
    assert bare.truth is sample.truth
    assert torch.equal(bare.photo.rgb, photo.rgb)


def test_parts_of_pictures_are_square_and_from_where_they_are_named():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:50, :100] = 200
    part = module._part_of(picture, (0.0, 0.0, 0.5, 0.5))
    assert part.shape == (50, 50, 3)
    assert (part == 200).all()


def test_every_file_is_there(shared_data):
    data = shared_data()
    for file in module.MESHES.values():
        assert (data / "meshes" / file).is_file()
    for file, part in module.PICTURES.values():
        assert min(module._part_of(read_pixels(data / file), part).shape[:2]) >= 200
