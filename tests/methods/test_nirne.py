"""From a photo to a normal map by an untrained network: what must hold whatever the weights are."""

import json

import pytest
import torch

from maquette.errors import InputError
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS, NiRNENet
from maquette.nets.nirne_conv import PRESETS as CONV_PRESETS
from maquette.nets.nirne_conv import ConvNiRNENet
from maquette.types import Photo


@pytest.fixture(scope="module")
def method() -> NiRNE:
    torch.manual_seed(0)
    net = NiRNENet(PRESETS["tiny"])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return NiRNE(net)


def photo(height, width, box=None, seed=0) -> Photo:
    """Noise, with the object in a box (top, bottom, left, right), everywhere by default."""
    rgb = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))
    if box is None:
        return Photo(rgb)
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    return Photo(rgb, mask)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((32, 32), None),
        ((20, 90), None),
        ((131, 17), None),
        ((70, 50), (0, 70, 0, 50)),  # touches every border
        ((60, 60), (0, 25, 41, 60)),  # a corner
        ((64, 64), (30, 38, 20, 23)),  # eight pixels: the smallest object
        ((200, 300), (10, 190, 100, 101)),  # one pixel wide
        ((9, 8), None),
    ],
)
def test_any_size_and_place(method, size, box):
    given = photo(*size, box)
    got = method(given)
    mask = torch.ones(size, dtype=torch.bool) if given.mask is None else given.mask
    assert torch.equal(got.mask, mask)
    assert got.normals.shape == (*size, 3)
    assert torch.allclose(got.normals.norm(dim=-1), mask.float(), atol=1e-5)
    assert torch.equal(got.normals * ~mask[..., None], torch.zeros(*size, 3))
    assert got.concentration is not None
    assert bool((got.concentration[mask] > 0).all())
    assert bool((got.concentration[~mask] == 0).all())
    assert bool(torch.isfinite(got.normals).all() and torch.isfinite(got.concentration).all())


def test_saved_and_loaded_it_says_the_same(method, tmp_path):
    method.save_pretrained(tmp_path)
    again = NiRNE.from_pretrained(tmp_path)
    assert again.net.config == method.net.config
    for name, value in method.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[name], value.half().float())
    given = photo(48, 40, (5, 45, 3, 38))
    cosine = (again(given).normals * method(given).normals).sum(-1)[given.mask].clamp(-1, 1)
    assert float(torch.rad2deg(torch.acos(cosine)).median()) < 0.5  # half precision
    # A second round trip is exact: the weights are halves by now.
    again.save_pretrained(tmp_path / "twice")
    twice = NiRNE.from_pretrained(tmp_path / "twice")
    assert torch.equal(twice(given).normals, again(given).normals)


def test_weights_of_another_network_are_refused(method, tmp_path):
    method.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"channels": [16, 16, 16, 16, 16]}))
    with pytest.raises(InputError, match="don't fit"):
        NiRNE.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no such weights"):
        NiRNE.from_pretrained("nobody-has-trained-this")


def test_nothing_to_see_is_an_input_error(method):
    with pytest.raises(InputError, match="mask is empty"):
        method(photo(40, 40, (0, 0, 0, 0)))
    with pytest.raises(InputError, match="7 px across"):
        method(photo(40, 40, (3, 10, 3, 10)))
    with pytest.raises(InputError, match="working size"):
        NiRNE(method.net, 31)


def test_the_mirrored_photo_has_the_mirrored_normals(method):
    """Bit by bit at the network; in the photo, up to the rounding of its resizing."""
    seen = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    solid = torch.ones(1, 1, 32, 32)
    normal, kappa = method._predict(seen, solid)
    other, other_kappa = method._predict(seen.flip(3), solid)
    assert torch.equal(other, normal.flip(3) * torch.tensor([-1.0, 1, 1]).reshape(1, 3, 1, 1))
    assert torch.equal(other_kappa, kappa.flip(3))
    given = photo(44, 50, (6, 38, 4, 36))  # 32 px across
    flipped = Photo(given.rgb.flip(1), given.mask.flip(1))
    single = NiRNE(method.net, mirrored=False)
    one, other = single(given), single(flipped)
    assert not torch.allclose(other.normals, one.normals.flip(1) * torch.tensor([-1.0, 1, 1]), atol=1e-3)


@pytest.mark.parametrize("height", [31, 32, 38, 39])
@pytest.mark.parametrize("width", [29, 30, 35, 36, 37])
def test_mirroring_holds_whatever_is_odd(method, height, width):
    """Margins that are merely rounded aren't equal: a square of 36 about 33 pixels is off by half a one."""
    given = photo(60, 51, (6, 6 + height, 4, 4 + width))
    got, mirror = method(given), method(Photo(given.rgb.flip(1), given.mask.flip(1)))
    expected = got.normals.flip(1) * torch.tensor([-1.0, 1, 1])
    assert torch.allclose(mirror.normals, expected, atol=1e-4)  # resizing adds up in another order
    assert torch.allclose(mirror.concentration, got.concentration.flip(1), rtol=1e-4)


def test_no_name_is_no_weights():
    with pytest.raises(InputError, match=r"^no such weights: the name is empty"):
        NiRNE.from_pretrained("")


def test_the_same_photo_gives_the_same_map(method):
    given = photo(50, 61, (3, 40, 8, 60))
    assert torch.equal(method(given).normals, method(given).normals)


def test_exposure_and_background_do_not_matter(method):
    given = photo(50, 60, (5, 45, 10, 50))
    brighter = Photo(given.rgb * 20, given.mask)
    elsewhere = Photo(torch.where(given.mask[..., None], given.rgb, 1 - given.rgb), given.mask)
    reference = method(given).normals
    assert torch.allclose(method(brighter).normals, reference, atol=2e-3)
    assert torch.allclose(method(elsewhere).normals, reference, atol=1e-5)


def test_where_the_object_lies_in_the_photo_does_not_matter(method):
    """The network sees a square about the object; the photo around it may be cut or grow."""
    big = photo(90, 80, (30, 62, 20, 50))
    rows, columns = slice(25, 70), slice(10, 60)
    small = Photo(big.rgb[rows, columns], big.mask[rows, columns])
    assert torch.equal(method(big).normals[rows, columns], method(small).normals)


@pytest.mark.parametrize(("asked", "used"), [(32, 32), (33, 64), (100, 128)])
def test_working_sizes_are_rounded_up_to_what_the_network_takes(method, asked, used):
    bigger = NiRNE(method.net, asked)
    assert bigger.size_px == used
    assert bigger(photo(40, 30)).normals.shape == (40, 30, 3)


def test_how_finely_a_network_looks_by_default():
    """Passes with a guide go on to 512 px; weights of before keep the resolution that they were measured at."""
    assert NiRNE(NiRNENet(PRESETS["tiny"])).detail_px == 512
    assert NiRNE(ConvNiRNENet(CONV_PRESETS["tiny"])).detail_px == 256
    assert NiRNE(NiRNENet(PRESETS["tiny"]), detail_px=0).detail_px == 0
