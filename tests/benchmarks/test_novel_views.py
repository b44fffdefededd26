"""The protocol: which views are scored, from where, and what the scores are means of."""

import sys
from dataclasses import replace
from types import ModuleType

import novel_views as views
import numpy as np
import pytest
import torch
from novel_views import HELD_OUT, KNOWN, Score, Trial

from maquette.errors import InputError
from maquette.io.images import encode_png
from maquette.metrics import psnr_db
from maquette.synth.datasets.multiview.cameras import (
    condition_view,
    intrinsics_text,
    look_at_origin,
    pose_text,
    spiral_places,
)
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import ViewsSpec, open_manifest
from maquette.types import Camera, Gaussians

SIDE, COUNT, DISTANCE = 24, 26, 1.3
SHOWN = 6  # of 26 views


def blob(offset: float = 0.0) -> Gaussians:
    """A few discs of different colours, in the world of the files."""
    rng = torch.Generator().manual_seed(3)
    return Gaussians(
        torch.rand(12, 3, generator=rng) * 0.5 - 0.25 + offset,
        torch.full((12, 3), 0.08),
        torch.tensor([1.0, 0, 0, 0]).expand(12, 4),
        torch.full((12,), 0.8),
        torch.randn(12, 1, 3, generator=rng),
        encoding="srgb",
    )


def poses(count: int = COUNT) -> torch.Tensor:
    return torch.from_numpy(look_at_origin(spiral_places(count, DISTANCE))).float()


def write_object(folder, count=COUNT):
    """Views of `blob`, as files; pixel (0, 0) holds the number of the view."""
    (folder / "rgb").mkdir(parents=True)
    (folder / "pose").mkdir()
    (folder / "intrinsics.txt").write_text(intrinsics_text(SIDE))
    places = look_at_origin(spiral_places(count, DISTANCE))
    for view, pose in enumerate(places):
        camera = Camera(SIDE, SIDE, SIDE * 525 / 512, (SIDE / 2, SIDE / 2), torch.from_numpy(pose).float())
        image = views.images_of_splat(blob(), [camera])[0].permute(1, 2, 0).clamp(0, 1)
        codes = (image * 255).round().numpy().astype(np.uint8)
        codes[0, 0] = view
        (folder / "rgb" / f"{view:06d}.png").write_bytes(encode_png(codes))
        (folder / "pose" / f"{view:06d}.txt").write_text(pose_text(pose))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    write_object(folder / "cars_test" / "a")
    return folder


@pytest.fixture(scope="module")
def case(data) -> Trial:
    return views.trial(ViewsDataset(data), 0, 8)


def test_view_64_of_251_is_shown_and_the_other_250_are_scored():
    assert condition_view(251) == 64
    assert views.scored_views(251) == [view for view in range(251) if view != 64]


def test_of_a_shorter_spiral_the_view_at_its_place_is_shown_and_the_others_are_scored(data):
    assert condition_view(COUNT) == SHOWN
    case = views.trial(ViewsDataset(data), 0)
    assert case.views == tuple(view for view in range(COUNT) if view != SHOWN)
    assert (case.image[:, 0, 0] * 255).round().tolist() == [SHOWN] * 3
    assert [round(float(image[0, 0, 0]) * 255) for image in case.rgb] == list(case.views)
    assert len(case.cameras) == COUNT - 1


def test_a_few_views_are_evenly_spread_and_never_the_shown_one():
    chosen = views.scored_views(251, 10)
    assert chosen[0] == 0 and chosen[-1] == 250 and len(set(chosen)) == 10
    assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 2
    assert all(64 not in views.scored_views(251, most) for most in range(1, 250, 8))
    with pytest.raises(InputError, match="0 to be scored"):
        views.scored_views(251, 0)


def test_cameras_are_relative_to_the_shown_one(case):
    expected = torch.eye(4)
    expected[2, 3] = DISTANCE
    assert torch.allclose(case.shown.camera_to_world, expected, atol=1e-5)
    steps = [poses()[SHOWN, :3, :3].T @ poses()[view, :3, 3] for view in case.views]
    for camera, place in zip(case.cameras, steps, strict=True):
        assert torch.allclose(camera.camera_to_world[:3, 3], place, atol=1e-5)


def in_shown_axes(splat: Gaussians) -> Gaussians:
    return replace(splat, mean=splat.mean @ poses()[SHOWN, :3, :3])


def test_the_true_splat_is_right_up_to_the_rounding_of_the_files(case):
    images = views.images_of_splat(in_shown_axes(blob()), case.cameras)
    images[:, :, 0, 0] = case.rgb[:, :, 0, 0]
    score = views.score_views(images, case.rgb)
    assert score.psnr_db > 55  # bytes round by at most 1/510: 59 dB
    assert score.ssim > 0.999
    elsewhere = views.images_of_splat(in_shown_axes(blob(0.1)), case.cameras)
    assert views.score_views(elsewhere, case.rgb).psnr_db < 25


def test_equal_images_are_infinitely_right(case):
    score = views.score_views(case.rgb, case.rgb)
    assert score.psnr_db == float("inf")
    assert score.ssim == pytest.approx(1)
    assert score.lpips is None


def test_what_is_brighter_than_white_is_cut_off():
    true = torch.ones(1, 3, 12, 12)
    assert views.score_views(true + 0.5, true).psnr_db == float("inf")


def constant(value: float, count: int = 2) -> torch.Tensor:
    return torch.full((count, 3, 12, 12), value)


def test_means_go_over_an_objects_views_and_then_over_objects():
    """Two objects of two and of six views: 20 and 40 dB, then 30 dB, whatever their number of views."""

    def trial(name, category, shades):
        rgb = torch.cat([constant(shade, 1) for shade in shades])
        camera = Camera(12, 12, 12.0, (6.0, 6.0), torch.eye(4))
        return Trial(name, category, rgb[0], camera, rgb, [camera] * len(rgb), tuple(range(len(rgb))), None, None)

    cases = [trial("a", "cup", [0.1, 0.1]), trial("b", "cup", [0.01] * 6), trial("c", "lamp", [0.1, 0.001])]
    black = {"black": lambda image, cameras: torch.zeros(len(cameras), *image.shape)}
    told: list[str] = []
    scores = views.evaluate(cases, black, progress=told.append)["black"]
    assert told == ["a", "b", "c"]
    assert [score.psnr_db for score in scores["cup"]] == pytest.approx([20, 40], abs=1e-3)
    assert [score.psnr_db for score in scores["lamp"]] == pytest.approx([40], abs=1e-3)  # of 20 and 60
    groups = views.by_group(scores, ("lamp",))
    assert list(groups) == [KNOWN, HELD_OUT, "cup", "lamp"]
    assert groups[KNOWN].psnr_db == pytest.approx(30, abs=1e-3)
    assert groups[HELD_OUT].psnr_db == pytest.approx(40, abs=1e-3)
    assert list(views.by_group(scores, ())) == [KNOWN, "cup", "lamp"]
    assert views.by_group(scores, ())[KNOWN].psnr_db == pytest.approx(100 / 3, abs=1e-3)


def test_lpips_is_a_mean_only_if_all_have_it():
    assert vars(views.mean_score([Score(1.0, 0.0, 0.5), Score(3.0, 1.0, 0.7)])) == pytest.approx(
        {"psnr_db": 2, "ssim": 0.5, "lpips": 0.6}
    )
    assert views.mean_score([Score(1.0, 0.0, 0.5), Score(3.0, 1.0)]).lpips is None


def test_white_and_the_repeated_input(case):
    assert float(views.all_white(case.image, case.cameras).min()) == 1
    repeated = views.repeated(case.image, case.cameras)
    assert repeated.shape == case.rgb.shape
    assert psnr_db(repeated[3], case.image) == float("inf")


def test_held_out_categories_are_those_of_the_manifest(tmp_path):
    assert views.held_out_categories(tmp_path) == ()
    open_manifest(tmp_path, ViewsSpec(1, test=1, categories=("cup", "lamp"), held_out=("lamp",)))
    assert views.held_out_categories(tmp_path) == ("lamp",)


def test_the_test_split_is_taken_where_there_are_splits(tmp_path):
    for name in ("cup_train/a", "cup_test/b"):
        write_object(tmp_path / "split" / name, 2)
    write_object(tmp_path / "plain" / "c", 2)
    assert views.test_objects(tmp_path / "split").names == ["b"]
    assert views.test_objects(tmp_path / "plain").names == ["c"]


def test_the_first_objects_of_each_category(tmp_path):
    for name in ("cup_test/a", "cup_test/b", "lamp_test/c"):
        write_object(tmp_path / name, 3)
    assert [case.name for case in views.trials(ViewsDataset(tmp_path), objects=1)] == ["a", "c"]


def test_lpips_says_what_it_lacks_and_downloads_nothing(monkeypatch, tmp_path):
    found = {"lpips": None}
    monkeypatch.setattr(views.importlib.util, "find_spec", lambda name: found.get(name, object()))
    assert views.find_lpips() == (None, "the package lpips isn't installed")
    found.clear()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    lpips, why = views.find_lpips()
    assert lpips is None and "vgg16-397923af.pth" in why

    class Network(torch.nn.Module):
        def forward(self, a, b):
            assert float(a.min()) >= -1 and float(a.max()) <= 1
            return (a - b).abs().mean((1, 2, 3))[:, None, None, None]

    package = ModuleType("lpips")
    package.LPIPS = lambda net, verbose: Network() if net == "vgg" else None
    monkeypatch.setitem(sys.modules, "lpips", package)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    lpips, why = views.find_lpips()
    assert lpips is not None and not why
    assert lpips(constant(0.25, 20), constant(0.5, 20)) == pytest.approx(0.5)
