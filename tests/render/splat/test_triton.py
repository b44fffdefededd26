"""The Triton backend where there is no GPU: its kernels interpreted on the CPU, and compiled for one.

On a GPU, test_backends.py holds it to the oracle in this process. Elsewhere the same tests run in a process of their
own whose kernels Triton interprets, for that is decided when they are imported.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from maquette.errors import InputError
from maquette.render.splat import gsplat_cuda, torch_tiles, triton_cuda
from maquette.render.splat.projected import LEAST_ALPHA, Projected

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(not find_spec("triton"), reason="triton isn't installed")
not_here = pytest.mark.skipif(not triton_cuda.available(), reason=f"triton can't run here: {triton_cuda.why_not()}")


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_the_kernels_interpreted_pass_the_tests_of_every_backend():
    files = [Path(__file__).with_name("test_backends.py"), __file__]
    # The same bits twice is no feat of an interpreter, and takes long.
    options = ["-k", "triton and not same_bits", "-rAp", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *files, *options],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    passed = re.findall(r"^PASSED .*::(\w+)", result.stdout, re.MULTILINE)
    assert passed.count("test_pictures_and_gradients_are_the_oracle_s") == 4
    assert "test_triton_s_projection_of_a_needle_keeps_float32_s_digits" in passed
    assert "test_backends.py" not in "".join(re.findall(r"^SKIPPED.*", result.stdout, re.MULTILINE))


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="what is interpreted isn't compiled")
@pytest.mark.parametrize("kernel", ["project", "project_backward", "blend", "blend_backward"])
def test_the_kernels_compile_for_a_hopper_gpu_without_one(kernel):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from maquette.render.splat import triton_blend, triton_projection

    options: dict = {"enable_fp_fusion": True}
    if kernel.startswith("project"):
        module = triton_projection
        fixed = {"ORTHOGRAPHIC": False, "ANTIALIASED": True, "BLOCK": module.BLOCK}
    else:
        module = triton_blend
        fixed = {"CHUNK": module.CHUNK, "CHANNELS": 16}
        options["num_warps"] = module.WARPS
    function = getattr(module, f"{kernel}_kernel")
    whole = dict.fromkeys(["count", "width", "height", "tiles_x", "channel_count"], "i32")
    whole |= {"number": "*i32", "slot": "*i64", "start": "*i64", "median": "*i64", "visible": "*u8", "near": "fp32"}
    signature = {name: "constexpr" if name in fixed else whole.get(name, "*fp32") for name in function.arg_names}
    source = ASTSource(fn=function, signature=signature, constexprs=fixed)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"][:4] == b"\x7fELF"
    assert ".target sm_90" in compiled.asm["ptx"]
    assert compiled.metadata.shared <= 48 * 1024  # what every GPU grants without being asked


@not_here
def test_triton_s_projection_of_a_needle_keeps_float32_s_digits():
    """5,000 pixels long and one wide, at 45 degrees: a c - b^2 in float32 has no right digit left."""
    given = [
        torch.tensor([[0.1, 0.2, -4.0]]),
        torch.tensor([[500.0, 0.05, 0.05]]),
        torch.tensor([[0.92387953, 0, 0, 0.38268343]]),
        torch.tensor([0.9]),
        torch.eye(4),
        torch.tensor([10.0, 16, 16]),
    ]
    options = {"width": 32, "height": 32, "orthographic": True, "antialiased": True, "near": 0.01}
    device = "cpu" if INTERPRETED else "cuda"
    found = triton_cuda.project(*(value.to(device) for value in given), **options)
    exact = torch_tiles.project(*(value.double() for value in given), **options)
    naive = torch_tiles.project(*given, **options)
    # The entries of the conic are equal to six digits here, so an error of one digit in each is one in its share.
    assert found.opacity.cpu().item() == pytest.approx(exact.opacity.item(), rel=1e-4)
    assert torch.allclose(found.conic.cpu().double(), exact.conic, rtol=1e-4)
    assert not torch.allclose(naive.conic.double(), exact.conic, rtol=1e-2)


@needs_triton
def test_triton_s_tiles_hold_whatever_touches_them_nearest_first():
    from maquette.render.splat.triton_blend import TILE_X, TILE_Y

    generator = torch.Generator().manual_seed(3)
    n, width, height = 40, 50, 27
    factor = torch.randn(n, 2, 2, generator=generator) * torch.rand(n, 1, 1, generator=generator) * 8
    conic = torch.linalg.inv(factor @ factor.mT + 0.3 * torch.eye(2))
    projected = Projected(
        torch.rand(n, 2, generator=generator) * torch.tensor([70.0, 47]) - 10,
        conic.flatten(1)[:, [0, 1, 3]],
        torch.rand(n, generator=generator),
        torch.randint(5, (n,), generator=generator).float(),  # many are equally far
        torch.zeros(n, 3),
        torch.rand(n, generator=generator) > 0.1,
    )
    bins = triton_cuda.sort_into_tiles(projected, width, height)
    assert sorted(bins.slot.tolist()) == list(range(len(bins.number)))
    by_gaussian = torch.empty_like(bins.number)
    by_gaussian[bins.slot] = bins.number
    counts = torch.diff(bins.end, prepend=bins.end.new_zeros(1))
    assert torch.equal(by_gaussian.long(), bins.order.repeat_interleave(counts))

    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    away = torch.stack([x, y], -1)[:, :, None] - projected.mean_px
    alpha = projected.opacity * torch.exp(-torch.einsum("hwni,nij,hwnj->hwn", away, conic, away) / 2)
    drawn = (alpha >= LEAST_ALPHA) & projected.visible
    in_some = 0
    for tile in range(bins.tiles_x * bins.tiles_y):
        left, top = tile % bins.tiles_x * TILE_X, tile // bins.tiles_x * TILE_Y
        listed = bins.number[bins.start[tile] : bins.start[tile + 1]].tolist()
        touching = drawn[top : top + TILE_Y, left : left + TILE_X].any(0).any(0).nonzero().squeeze(1).tolist()
        assert set(touching) <= set(listed)
        assert listed == sorted(set(listed), key=lambda i: (float(projected.depth[i]), i))
        in_some += len(touching)
    assert len(bins.number) < 2.5 * in_some  # a box is little more than its ellipse
    assert len(bins.number) == int(bins.start[-1])


@pytest.mark.parametrize("module", [triton_cuda, gsplat_cuda])
def test_a_backend_that_isn_t_here_says_what_is_missing(module):
    reason = module.why_not()
    assert module.available() == (not reason)
    if module.available():
        pytest.skip("it is here")
    nothing = Projected(
        torch.zeros(1, 2), torch.ones(1, 3), torch.ones(1), torch.ones(1), torch.zeros(1, 3), torch.ones(1).bool()
    )
    with pytest.raises(InputError, match="isn't available") as caught:
        module.blend(nothing, torch.ones(1, 3), 4, 4)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@not_here
def test_triton_takes_float32_alone():
    with pytest.raises(InputError, match="float32"):
        triton_cuda.require_ready("triton", "", torch.ones(1, dtype=torch.float64))
