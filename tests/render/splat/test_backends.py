"""Every backend that runs here against the oracle, forward and backward, and against what can be worked out by hand."""

import subprocess
import sys
from functools import cache
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from oracles import rasterize as oracle

from maquette.geometry.rotation import quaternion_to_matrix
from maquette.render.splat.projected import Projected
from maquette.render.splat.rasterize import BACKENDS, rasterize
from maquette.types import Camera, Gaussians

NAMES = ("mean", "scale", "rotation", "opacity", "camera_to_world", "intrinsics", "channels")
SIZE = (21, 18)  # two by two tiles, both cut
CASES = [(False, False), (False, True), (True, False), (True, True)]  # orthographic, antialiased
FIELDS = ("mean_px", "conic", "opacity", "depth", "normal")


def _runs_on(name: str) -> str | None:
    """The device on which a backend runs here, or None."""
    if name in ("torch", "numba"):
        return "cpu"
    try:
        module = import_module(BACKENDS[name])
    except ImportError:
        return None
    return ("cuda" if torch.cuda.is_available() else "cpu") if module.available() else None


@pytest.fixture(scope="module", params=list(BACKENDS))
def backend(request) -> SimpleNamespace:
    device = _runs_on(request.param)
    if device is None:
        pytest.skip(f"{request.param} doesn't run here")
    module = import_module(BACKENDS[request.param])
    dtype = torch.float64 if request.param == "torch" else torch.float32
    loose = 1e-9 if request.param == "torch" else 2e-5  # of the largest entry
    return SimpleNamespace(
        name=request.param, project=module.project, blend=module.blend, dtype=dtype, device=device, loose=loose
    )


def _scene(orthographic: bool) -> dict[str, torch.Tensor]:
    """Fifteen Gaussians: one behind the camera, one beside the picture, one beyond the margin that reaches into it."""
    generator = torch.Generator().manual_seed(4)
    n = 15

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    turn = quaternion_to_matrix(draw(4))
    place = draw(n, 3) * torch.tensor([0.8, 0.7, 0.6], dtype=torch.float64) - torch.tensor([0, 0, 4.0])
    place[0] = torch.tensor([0.1, 0.2, 1.0])
    place[1] = torch.tensor([9.0, 0.2, -3.0])
    place[2] = torch.tensor([3.9, -0.5, -3.0])
    position = draw(3)
    scale = 0.05 + 0.35 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
    scale[2] = torch.tensor([1.1, 0.9, 0.5])
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = turn, position
    return {
        "mean": place @ turn.T + position,
        "scale": scale,
        "rotation": draw(n, 4),
        "opacity": 0.15 + 0.7 * torch.rand(n, generator=generator, dtype=torch.float64),
        "camera_to_world": pose,
        "intrinsics": torch.tensor([5.5 if orthographic else 22.0, 10.9, 8.2], dtype=torch.float64),
        "channels": draw(n, 3),
    }


def _options(orthographic: bool, antialiased: bool) -> dict:
    width, height = SIZE
    return {
        "width": width, "height": height, "orthographic": orthographic, "antialiased": antialiased, "near": 0.05
    }  # fmt: skip


def _loss(total, alpha):
    """A weight of its own for every number of the picture."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v) for v in (total, alpha)]
    return (total * weights[0]).sum() + (alpha * weights[1]).sum()


def _with_geometry(channels, normal, depth):
    """Normals and depth are blended too, so that their gradients are compared."""
    return torch.cat([channels, normal, depth[:, None]], -1)


@cache
def _truth(orthographic: bool, antialiased: bool):
    scene = {name: value.requires_grad_() for name, value in _scene(orthographic).items()}
    splats = oracle.project(*list(scene.values())[:6], **_options(orthographic, antialiased))
    normal = torch.stack([torch.zeros(3).double() if s is None else s.normal for s in splats])
    depth = torch.stack([torch.zeros(()).double() if s is None else s.depth for s in splats])
    picture = oracle.blend(splats, _with_geometry(scene["channels"], normal, depth), *SIZE)
    _loss(picture.total, picture.alpha).backward()
    return splats, picture, {name: value.grad for name, value in scene.items()}


def _rendered(backend, scene, orthographic, antialiased):
    projected = backend.project(*list(scene.values())[:6], **_options(orthographic, antialiased))
    channels = _with_geometry(scene["channels"], projected.normal, projected.depth)
    return projected, backend.blend(projected, channels, *SIZE)


def _close(found, expected, tolerance):
    worst = float((found.detach().cpu().double() - expected.detach()).abs().max())
    assert worst <= tolerance * float(expected.detach().abs().max())


@pytest.mark.parametrize(("orthographic", "antialiased"), CASES)
def test_pictures_and_gradients_are_the_oracle_s(backend, orthographic, antialiased):
    splats, picture, gradients = _truth(orthographic, antialiased)
    assert picture.doubt > 3e-5  # no decision hangs on a rounding
    assert picture.alpha.detach().max() < 1 - 1e-4  # and no backend stops
    scene = _scene(orthographic)
    scene = {name: v.to(backend.device, backend.dtype).requires_grad_() for name, v in scene.items()}
    projected, blended = _rendered(backend, scene, orthographic, antialiased)

    seen = [i for i, splat in enumerate(splats) if splat is not None]
    assert torch.nonzero(projected.visible.cpu()).squeeze(1).tolist() == seen
    assert 0 < len(seen) < len(splats)
    expected = {
        "mean_px": torch.stack([splats[i].center for i in seen]),
        "conic": torch.stack([splats[i].inverse.flatten()[[0, 1, 3]] for i in seen]),
        "opacity": torch.stack([splats[i].opacity for i in seen]),
        "depth": torch.stack([splats[i].depth for i in seen]),
        "normal": torch.stack([splats[i].normal for i in seen]),
    }
    for name in FIELDS:
        _close(getattr(projected, name)[seen], expected[name], backend.loose)
    _close(blended.total, picture.total, backend.loose)
    _close(blended.alpha, picture.alpha, backend.loose)
    assert torch.equal(blended.median.cpu(), picture.median)

    _loss(blended.total, blended.alpha).backward()
    for name in NAMES:
        _close(scene[name].grad, gradients[name], 5 * backend.loose)
        assert gradients[name].abs().max() > 0.1


@pytest.mark.parametrize(("orthographic", "antialiased"), CASES)
def test_gradients_are_finite_differences(orthographic, antialiased):
    """Of the plain backend, in float64, which the test above holds to the oracle."""
    torch_tiles = import_module(BACKENDS["torch"])
    scene = _scene(orthographic)
    scene["opacity"][2] = 0  # where the linearisation is held, it has no gradient by definition

    def loss(given):
        _, blended = _rendered(torch_tiles, given, orthographic, antialiased)
        return _loss(blended.total, blended.alpha)

    free = {name: value.clone().requires_grad_() for name, value in scene.items()}
    loss(free).backward()
    step = 1e-6
    for name in NAMES:
        slopes = free[name].grad
        for entry in slopes.abs().flatten().topk(3).indices.tolist():
            ends = []
            for sign in (1, -1):
                moved = {key: value.clone() for key, value in scene.items()}
                moved[name].view(-1)[entry] += sign * step
                ends.append(float(loss(moved)))
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(slopes.flatten()[entry]), rel=1e-5), name


def _camera(side=33, focal=40.0, distance=4.0, orthographic=False):
    pose = torch.eye(4)
    pose[2, 3] = distance
    return Camera(side, side, focal, (side / 2, side / 2), pose, orthographic)


def _gaussians(backend, mean, scale, rotation, opacity, color=(0.5, 0.5, 0.5)):
    def tensor(value):
        return torch.tensor(value, device=backend.device, dtype=backend.dtype)

    sh = (tensor(color) - 0.5) / 0.28209479177387814
    return Gaussians(tensor(mean), tensor(scale), tensor(rotation), tensor(opacity), sh.expand(len(mean), 1, 3))


def test_a_turned_disc_s_normal_is_a_column_of_its_rotation(backend):
    """About (1, 2, 3), rows and columns differ in every entry; the disc is thin along its own z."""
    quaternion = torch.tensor([0.8, 0.15, 0.3, 0.45], dtype=torch.float64)
    quaternion = quaternion / quaternion.norm()
    disc = _gaussians(backend, [[0.0, 0, 0]], [[0.4, 0.4, 0.001]], [quaternion.tolist()], [0.9])
    out = rasterize(disc, _camera(), backend=backend.name)
    column = quaternion_to_matrix(quaternion)[:, 2]
    assert torch.allclose(out.normals[16, 16].cpu().double(), column * column[2].sign(), atol=1e-5)


def test_a_turned_needle_points_along_a_column_of_its_rotation(backend):
    """Long along its own x and turned by 30 degrees about z: it goes up to the right, so down the rows."""
    half = torch.tensor(torch.pi / 12, dtype=torch.float64)
    needle = _gaussians(
        backend, [[0.0, 0, 0]], [[0.6, 0.02, 0.02]], [[float(half.cos()), 0, 0, float(half.sin())]], [0.9]
    )
    out = rasterize(needle, _camera(focal=16.0, orthographic=True), backend=backend.name)
    row, column = torch.meshgrid(torch.arange(33) - 16.0, torch.arange(33) - 16.0, indexing="ij")
    weight = out.alpha.cpu()
    angle = 0.5 * torch.atan2(2 * (weight * column * -row).sum(), (weight * (column**2 - row**2)).sum())
    assert torch.rad2deg(angle) == pytest.approx(30, abs=0.2)


def test_the_picture_depends_on_every_quaternion(backend):
    scene = _scene(False)
    n = len(scene["mean"])
    sh = torch.full((n, 1, 3), 0.3, device=backend.device, dtype=backend.dtype)
    given = [
        scene[k].to(backend.device, backend.dtype).requires_grad_() for k in ("mean", "scale", "rotation", "opacity")
    ]
    camera = Camera(*SIZE, 22.0, (10.9, 8.2), scene["camera_to_world"])
    for output in ("color", "normals"):
        out = rasterize(Gaussians(*given, sh), camera, backend=backend.name)
        getattr(out, output).square().sum().mul(0.5).add(getattr(out, output)[..., 0].sum()).backward()
        size, counts = given[2].grad.norm(dim=1).cpu(), given[3].grad.cpu() != 0
        assert counts.sum() >= 12
        assert (size[counts] > 1e-4).all(), output
        assert (size[~out.visible.cpu()] == 0).all()
        given[2].grad, given[3].grad = None, None


def _dense(backend, count=600):
    generator = torch.Generator().manual_seed(2)
    return [
        value.to(backend.device, backend.dtype)
        for value in (
            (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([5.0, 5.0, 1.0]),
            0.2 + 0.5 * torch.rand(count, 3, generator=generator),
            torch.randn(count, 4, generator=generator),
            0.5 + 0.49 * torch.rand(count, generator=generator),
            torch.rand(count, 8, generator=generator),
        )
    ]


def _blend_dense(backend, dense):
    camera = _camera(40)
    numbers = torch.tensor([40.0, 20, 20], device=backend.device, dtype=backend.dtype)
    given = [value.detach().clone().requires_grad_() for value in dense]
    projected = backend.project(
        *given[:4], camera.camera_to_world.to(given[0]), numbers,
        width=40, height=40, orthographic=False, antialiased=False, near=0.01,
    )  # fmt: skip
    blended = backend.blend(projected, given[4], 40, 40)
    weight = torch.linspace(-1, 1, 40, device=backend.device, dtype=backend.dtype)
    ((blended.total * weight[:, None, None]).sum() + (blended.alpha * weight).sum()).backward()
    return blended, [value.grad for value in given]


def test_an_opaque_scene_agrees_to_what_a_finished_tile_leaves_out(backend):
    blended, gradients = _blend_dense(backend, _dense(backend))
    reference = SimpleNamespace(device="cpu", dtype=torch.float64)
    torch_tiles = import_module(BACKENDS["torch"])
    reference.project, reference.blend = torch_tiles.project, torch_tiles.blend
    dense = [value.cpu().double() for value in _dense(backend)]
    exact, exact_gradients = _blend_dense(reference, dense)
    assert exact.alpha.min() > 1 - 1e-5  # all may stop
    assert (blended.total.detach().cpu() - exact.total).abs().max() < 2e-4
    assert (blended.alpha.detach().cpu() - exact.alpha).abs().max() < 2e-4
    for found, expected in zip(gradients, exact_gradients, strict=True):
        assert (found.cpu() - expected).norm() < 1e-3 * expected.norm()


def test_the_same_bits_every_time(backend):
    first, first_gradients = _blend_dense(backend, _dense(backend))
    second, second_gradients = _blend_dense(backend, _dense(backend))
    assert torch.equal(first.total, second.total)
    assert torch.equal(first.median, second.median)
    if backend.name != "gsplat":  # adds up its gradients with atomics
        assert all(torch.equal(a, b) for a, b in zip(first_gradients, second_gradients, strict=True))


def test_the_same_bits_with_one_thread_and_two():
    import numba

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba has one thread here")
    module = import_module(BACKENDS["numba"])
    backend = SimpleNamespace(device="cpu", dtype=torch.float32, project=module.project, blend=module.blend)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(_blend_dense(backend, _dense(backend)))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    (one, one_gradients), (two, two_gradients) = found
    assert torch.equal(one.total, two.total)
    assert torch.equal(one.alpha, two.alpha)
    assert all(torch.equal(a, b) for a, b in zip(one_gradients, two_gradients, strict=True))


def test_numba_without_a_folder_to_write_to_says_what_helps():
    program = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from maquette.errors import InputError\n"
        "try:\n"
        "    import maquette.render.splat.numba_cpu\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "NUMBA_CACHE_DIR" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_see_is_black_and_has_no_gradient(backend, count):
    """No Gaussian at all, and one behind the camera."""
    given = [
        torch.full((count, 3), 9.0),
        torch.ones(count, 3),
        torch.ones(count, 4),
        torch.ones(count),
        torch.ones(count, 2),
    ]
    given = [value.to(backend.device, backend.dtype).requires_grad_() for value in given]
    camera = _camera(5)
    pose = camera.camera_to_world.to(given[0]).requires_grad_()
    numbers = torch.tensor([40.0, 2.5, 2.5], device=backend.device, dtype=backend.dtype)
    projected = backend.project(
        *given[:4], pose, numbers, width=5, height=4, orthographic=False, antialiased=True, near=0.01
    )
    blended = backend.blend(projected, given[4], 5, 4)
    assert blended.total.shape == (4, 5, 2)
    assert not projected.visible.any()
    assert (blended.total == 0).all()
    assert (blended.alpha == 0).all()
    assert (blended.median == -1).all()
    if blended.total.requires_grad:
        (blended.total.sum() + blended.alpha.sum() + projected.mean_px.sum() * 0).backward()
        assert all(value.grad is None or (value.grad == 0).all() for value in (*given, pose))


@pytest.mark.parametrize("channels", [1, 8, 10, 11, 35])
def test_a_single_pixel_and_any_number_of_channels(backend, channels):
    """Three flat Gaussians over one pixel, worked out by hand: alpha, one minus that times the next, and so on."""
    opacity = torch.tensor([0.5, 0.999, 0.25], device=backend.device, dtype=backend.dtype)
    depth = torch.tensor([2.0, 3.0, 1.0], device=backend.device, dtype=backend.dtype)
    shape = {"device": backend.device, "dtype": backend.dtype}
    projected = Projected(
        torch.full((3, 2), 0.5, **shape), torch.tensor([[0.1, 0.0, 0.1]], **shape).repeat(3, 1), opacity, depth,
        torch.zeros(3, 3, **shape), torch.ones(3, dtype=torch.bool, device=backend.device),
    )  # fmt: skip
    colors = torch.arange(3 * channels, **shape).reshape(3, channels)
    blended = backend.blend(projected, colors, 1, 1)
    weights = torch.tensor([0.75 * 0.5, 0.375 * 0.999, 0.25], **shape)
    assert torch.allclose(blended.total[0, 0], weights @ colors, rtol=1e-5)
    assert blended.alpha.item() == pytest.approx(1 - 0.375 * 0.001, rel=1e-6)
    assert blended.median.item() == 0  # 0.75, then 0.375


def test_equal_depths_keep_their_order_and_half_counts_as_past_half(backend):
    shape = {"device": backend.device, "dtype": backend.dtype}
    projected = Projected(
        torch.full((2, 2), 0.5, **shape), torch.tensor([[1.0, 0.0, 1.0]], **shape).repeat(2, 1),
        torch.tensor([0.5, 0.75], **shape), torch.full((2,), 3.0, **shape), torch.zeros(2, 3, **shape),
        torch.ones(2, dtype=torch.bool, device=backend.device),
    )  # fmt: skip
    blended = backend.blend(projected, torch.tensor([[1.0], [0.0]], **shape), 1, 1)
    assert blended.total.item() == pytest.approx(0.5, rel=1e-6)
    assert blended.median.item() == 0


def test_extreme_gaussians_stay_finite(backend):
    """No scale, a zero quaternion, no opacity, one that fills the view, one just before the camera, two needles."""
    mean = [[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, -1], [0.0, 0, 3.98], [0, 0, 0.5], [0, 0, 0.6]]
    scale = [[0.0] * 3, [0.1, 0.2, 0.3], [0.1] * 3, [900.0] * 3, [0.01] * 3, [0.0, 1e-6, 50], [0, 1e5, 0]]
    rotation = [[1.0, 0, 0, 0], [0] * 4, [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [1, 0.5, 0.5, 0], [1, 0, 0, 0.4]]
    for antialiased in (False, True):
        made = _gaussians(backend, mean, scale, rotation, [0.9, 0.5, 0.0, 1.0, 0.7, 0.8, 0.6])
        given = [made.mean, made.scale, made.rotation, made.opacity]
        for value in given:
            value.requires_grad_()
        out = rasterize(made, _camera(), antialiased=antialiased, backend=backend.name)
        assert out.alpha.detach().min() > 0.9
        loss = out.color.sum() + out.depth.sum() + (out.normals * torch.tensor([1.0, 2, 3]).to(out.normals)).sum()
        (loss + out.distortion.sum()).backward()
        assert all(torch.isfinite(value.grad).all() for value in given)
        assert (made.rotation.grad[1] == 0).all()
        assert bool(out.visible[0]) is not antialiased  # without extent, the filter leaves nothing
