"""The real sets: counts, frames and lights, checked by physics; skipped, naming the folder, if not there."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from maquette import metrics
from maquette.bench.normals import datasets, pathtrace
from maquette.bench.normals.pathtrace import Render
from maquette.bench.normals.sets import SETS
from maquette.errors import InputError
from maquette.io.images import write_png8, write_png16
from maquette.types import Camera, NormalMap


@pytest.fixture
def data(shared_data):
    return shared_data()


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


def test_a_missing_set_says_what_and_where(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "renderer_version", lambda: "any")
    for name, where in (
        ("diligent", "ballPNG"),
        ("luces", "luces"),
        ("scans", "scans"),
        ("pathtraced", "environ"),
    ):
        with pytest.raises(InputError, match=f"{where}.*: no such folder") as caught:
            next(iter(SETS[name](tmp_path, tmp_path)))
        assert "\n" not in str(caught.value)


def test_a_render_is_made_once_and_read_back_the_same(tmp_path):
    (tmp_path / "environments").mkdir()
    for name in ("sky.exr", "license.txt"):
        (tmp_path / "environments" / name).touch()
    codes = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    normals = torch.nn.functional.normalize(torch.randn(8, 8, 3), dim=-1)
    mask = torch.ones(8, 8, dtype=torch.bool)
    calls = []

    def render(environments):
        calls.append(environments)
        camera = Camera(8, 8, 8.0, (4.0, 4.0), torch.eye(4))
        return Render(codes, NormalMap(normals, mask), camera)

    path = tmp_path / "cache" / "thing.npz"
    for _ in range(2):
        found, truth = datasets.cached_render(path, tmp_path, render)
        assert torch.equal(found, codes)
        assert torch.equal(truth.normals, normals)
        assert torch.equal(truth.mask, mask)
    assert calls == [[tmp_path / "environments" / "sky.exr"]]
    # One that isn't whole any more is told of and made again.
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=r"thing.npz: is damaged [^\n]*; it is made again"):
        found, _ = datasets.cached_render(path, tmp_path, render)
    assert torch.equal(found, codes)
    assert len(calls) == 2


def test_renders_of_another_renderer_or_generator_are_not_taken(tmp_path, monkeypatch):
    from maquette.synth.solids import shapes

    asked = []

    def cached(path, *_, **__):
        asked.append(path.relative_to(tmp_path))
        raise InputError("enough")

    monkeypatch.setattr(datasets, "cached_render", cached)
    (tmp_path / "meshes" / "scans").mkdir(parents=True)
    (tmp_path / "meshes" / "scans" / "cup.obj").touch()
    for version, format in (("mitsuba-3.0-1", 2), ("mitsuba-3.1-1", 2), ("mitsuba-3.1-1", 3)):
        monkeypatch.setattr(datasets, "renderer_version", lambda version=version: version)
        monkeypatch.setattr(shapes, "MESH_FORMAT", format)
        for name in ("pathtraced", "scans"):
            with pytest.raises(InputError, match="enough"):
                next(iter(SETS[name](tmp_path, tmp_path)))
    assert len({path.parent for path in asked if path.stem == "cup-0"}) == 2  # a mesh is not the generator's
    assert len({path.parent for path in asked if path.stem == "000-diffuse"}) == 3


def test_the_version_of_the_renderer():
    version = pytest.importorskip("mitsuba", reason="path tracing needs the extra [render]").__version__
    assert datasets.renderer_version() == f"mitsuba-{version}-{pathtrace.FORMAT}"


@pytest.fixture
def tiny_diligent(tmp_path):
    """A ball and a bear of sixteen pixels, all of whose files are whole."""
    for name in datasets.DILIGENT_OBJECTS:
        folder = tmp_path / "diligent" / f"{name}PNG"
        folder.mkdir(parents=True)
        write_png8(folder / "mask.png", torch.full((16, 16), 255, dtype=torch.uint8))
        savemat(folder / "Normal_gt.mat", {"Normal_gt": np.tile([0.0, 0.0, 1.0], (16, 16, 1))})
        np.savetxt(folder / "light_intensities.txt", np.full((96, 3), 0.5))
        for number in datasets.DILIGENT_IMAGES:
            write_png16(
                folder / f"{number:03d}.png", torch.full((16, 16, 3), 30_000, dtype=torch.int32).to(torch.uint16)
            )
    return tmp_path


def test_a_whole_set_is_read(tiny_diligent):
    samples = list(datasets.diligent(tiny_diligent, tiny_diligent))
    assert len(samples) == 20
    assert torch.allclose(samples[0].photo.rgb, torch.tensor(2 * 30_000 / 65_535))


@pytest.mark.parametrize("junk", [b"", b"junk" * 50, b"MATLAB 5.0 MAT-file" + bytes(200)])
@pytest.mark.parametrize("name", ["Normal_gt.mat", "light_intensities.txt", "025.png", "mask.png"])
def test_a_damaged_file_of_a_set_is_named_in_one_line(tiny_diligent, name, junk):
    path = tiny_diligent / "diligent" / "bearPNG" / name
    path.write_bytes(junk)
    with pytest.raises(InputError, match=rf"^{path}: [^\n]+$"):
        list(datasets.diligent(tiny_diligent, tiny_diligent))
    path.unlink()
    with pytest.raises(InputError, match=rf"^{path}: no such file$"):
        list(datasets.diligent(tiny_diligent, tiny_diligent))


def test_files_that_do_not_fit_each_other_are_named(tiny_diligent):
    folder = tiny_diligent / "diligent" / "ballPNG"
    savemat(folder / "Normal_gt.mat", {"Normal_gt": np.ones((16, 8, 3))})
    with pytest.raises(InputError, match=r"Normal_gt.mat: has the shape \(16, 8, 3\); \(16, 16, 3\) is needed"):
        list(datasets.diligent(tiny_diligent, tiny_diligent))
    savemat(folder / "Normal_gt.mat", {"other": np.ones((16, 16, 3))})
    with pytest.raises(InputError, match=r"Normal_gt.mat: .*Normal_gt"):
        list(datasets.diligent(tiny_diligent, tiny_diligent))


@pytest.mark.parametrize("text", ["", "junk", "v 0 0 0\n"])
def test_a_junk_mesh_is_named(tmp_path, monkeypatch, text):
    monkeypatch.setattr(datasets, "renderer_version", lambda: "any")
    path = tmp_path / "meshes" / "scans" / "cup.obj"
    path.parent.mkdir(parents=True)
    (tmp_path / "environments").mkdir()
    path.write_text(text)
    with pytest.raises(InputError, match=rf"^{path}: [^\n]+$"):
        next(iter(datasets.scans(tmp_path, tmp_path)))
