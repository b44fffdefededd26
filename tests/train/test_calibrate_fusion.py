"""The calibration of `--method auto`: what it looks at, and that what it writes is what is read."""

import pytest
import torch

from maquette.errors import InputError
from maquette.io.checkpoints import read_config, save_checkpoint
from maquette.methods.auto import AutoConfig, auto, fingerprint
from maquette.methods.baselines import flat
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS as NIRNE_PRESETS
from maquette.nets.nirne import NiRNENet
from maquette.nets.rose import PRESETS, RoSENet
from maquette.train.fusion import calibrate_auto, half_of, look, save_calibration
from maquette.types import NormalMap

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_halves_share_no_shape_and_stay_the_same(tiny_shapes):
    halves = [list(half_of(tiny_shapes, half)) for half in (0, 1)]
    shapes = [{int(photo.name.split()[-1]) // 2 for photo, _ in half} for half in halves]
    assert [len(half) for half in halves] == [10, 10]
    assert shapes == [{0, 2, 4, 6, 8}, {1, 3, 5, 7, 9}]
    photo, truth = next(half_of(tiny_shapes, 1))
    assert torch.equal(photo.rgb, halves[1][0][0].rgb)
    assert photo.mask is not None
    assert torch.allclose(truth.norm(dim=-1), photo.mask.float(), atol=1e-3)
    assert len(list(half_of(tiny_shapes, 0, photos=3))) == 3


def test_pixels_are_those_of_the_truth(tiny_shapes):
    photos = list(half_of(tiny_shapes, 0, photos=2))
    truths = iter([truth for _, truth in photos])

    def perfect(photo) -> NormalMap:
        return NormalMap(next(truths), photo.mask, 5.0 * photo.mask)

    seen = look(perfect, lambda photo: NormalMap(flat(photo).normals, photo.mask, 2.0 * photo.mask), iter(photos), 20)
    assert len(seen.truth) == 40
    assert torch.equal(seen.first, seen.truth)
    assert bool((seen.first_rad < seen.second_rad).all())


def test_methods_must_know_their_confidence(tiny_shapes):
    with pytest.raises(InputError, match="doesn't know its confidence"):
        look(flat, flat, half_of(tiny_shapes, 0, photos=1))
    with pytest.raises(InputError, match="no photos"):
        look(flat, flat, iter(()))


def test_what_is_written_is_what_auto_takes(tiny_shapes, tmp_path):
    torch.manual_seed(0)
    nirne, rose = tmp_path / "nirne", tmp_path / "rose"
    NiRNE(NiRNENet(NIRNE_PRESETS["tiny"])).save_pretrained(nirne)
    net = RoSENet(PRESETS["tiny"])
    save_checkpoint(rose, net.config, net.state_dict(), torch.float32)
    config = calibrate_auto(tiny_shapes, rose, nirne, steps=1, solver="paper", photos=3)
    path = save_calibration(rose, config)
    assert read_config(path, AutoConfig) == config
    assert (config.nirne, config.rose) == (fingerprint(nirne), fingerprint(rose))
    assert (config.steps, config.guidance, config.solver) == (1, 1.0, "paper")
    photo, _ = next(half_of(tiny_shapes, 1))
    found = auto(rose, nirne_weights=nirne)(photo)
    assert found.concentration is not None and photo.mask is not None
    assert bool((found.concentration[photo.mask] > 0).all())
    again = calibrate_auto(tiny_shapes, rose, nirne, steps=1, solver="paper", photos=3)
    assert again == config
