"""What `rasterize` refuses, in one line each, and which backend it takes by itself."""

from dataclasses import replace
from math import inf, nan

import pytest
import torch

from maquette.errors import InputError
from maquette.render.splat import gsplat_cuda
from maquette.render.splat import rasterize as module
from maquette.render.splat.rasterize import rasterize
from maquette.types import Camera, Gaussians

POSE = torch.eye(4)
POSE[2, 3] = 4.0
CAMERA = Camera(8, 6, 8.0, (4.0, 3.0), POSE)


def one(dtype: torch.dtype = torch.float64) -> Gaussians:
    values = ([[0.0] * 3], [[0.3] * 3], [[1.0, 0, 0, 0]], [0.9], [[[1.0] * 3]])
    return Gaussians(*(torch.tensor(value, dtype=dtype) for value in values))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mean", nan, "mean holds 1 values that aren't finite"),
        ("scale", inf, "scale holds 1 values"),
        ("rotation", nan, "rotation holds 1 values"),
        ("opacity", nan, "opacity holds 1 values"),
        ("sh", nan, "sh holds 1 values"),
        ("scale", -0.1, "scale is negative; it must be a length, not its logarithm"),
        ("opacity", 1.1, "opacity lies outside of 0..1"),
        ("opacity", -2.0, "opacity lies outside of 0..1"),
    ],
)
def test_values_that_no_gaussian_has(field, value, message):
    wrong = getattr(one(), field).clone()
    wrong.view(-1)[0] = value
    refused(message, replace(one(), **{field: wrong}), CAMERA)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "a camera of 0x6 px"),
        ({"focal_px": 0.0}, "a focal length of 0.0 px"),
        ({"focal_px": nan}, "a focal length of nan px"),
        ({"focal_px": inf}, "aren't finite"),
        ({"center_px": (nan, 3.0)}, "aren't finite"),
        ({"camera_to_world": POSE * nan}, "aren't finite"),
    ],
)
def test_numbers_that_no_camera_has(changes, message):
    refused(message, one(), replace(CAMERA, **changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intrinsics": torch.tensor([-8.0, 4, 3])}, "a focal length of -8.0 px"),
        ({"intrinsics": torch.tensor([8.0, nan, 3])}, "aren't finite"),
        ({"near": 0.0}, "near is 0.0; it must be above 0"),
        ({"near": nan}, "near is nan"),
        ({"backend": "vulkan"}, "no backend 'vulkan'; choose auto, numba, triton, gsplat, torch"),
        ({"backend": "numba"}, "numba takes float32 on the CPU, not torch.float64"),
    ],
)
def test_options_that_make_no_picture(options, message):
    refused(message, one(), CAMERA, **options)


@pytest.mark.skipif(gsplat_cuda.available(), reason="gsplat is here")
def test_a_gsplat_that_isn_t_here_is_called_by_its_name():
    refused(f"the backend gsplat isn't available: {gsplat_cuda.why_not()}", one(), CAMERA, backend="gsplat")


def refused(message: str, gaussians: Gaussians, camera: Camera, **options) -> None:
    with pytest.raises(InputError) as caught:
        rasterize(gaussians, camera, **options)
    assert message in str(caught.value)
    assert str(caught.value).startswith("rasterize: ")
    assert "\n" not in str(caught.value)


class OnCuda(torch.Tensor):
    """Says so."""

    is_cuda = True


@pytest.mark.parametrize(
    ("dtype", "on_cuda", "name"),
    [
        (torch.float32, False, "numba_cpu"),
        (torch.float64, False, "torch_tiles"),
        (torch.float32, True, "triton_cuda"),
        (torch.float64, True, "torch_tiles"),
    ],
)
def test_auto_takes_the_fastest_that_knows_the_type(dtype, on_cuda, name):
    given = torch.empty(1, dtype=dtype)
    given = given.as_subclass(OnCuda) if on_cuda else given
    assert module._backend("auto", given).__name__.rpartition(".")[2] == name


def test_features_that_are_not_finite_are_refused_too():
    refused("features holds 2 values", replace(one(), features=torch.full((1, 2), nan).double()), CAMERA)
