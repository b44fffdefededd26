"""Normals and albedo from several shadings of one view and their lights: photometric stereo, by least squares.

A matte surface of albedo a and normal n shows max(a n . l, 0) under the distant light l. With x = a n, the frames
in which a pixel is lit are linear in x: K numbers, three unknowns (Woodham 1980). What solvers differ in is which
frames they believe:

    least-squares  all. Attached shadow, where the model isn't linear, pulls every normal: the baseline.
    paper          those with S > 0, as RoSE (Han et al. 2026, arXiv 2602.09929) and its released code have it,
                   ridge 1e-6 included. Exact for clean shadings; noise or haze in the shadow breaks it.
    robust         ours. Start from the frames brighter than 0.3 of the pixel's root mean square; then reweight
                   until x rests: frames that x itself leaves dark are dropped, the others weigh
                   (g / (r^2 + g))^2 with g = mu c^2 (Geman and McClure 1987), r the residual, mu annealed from 8
                   to 1 (graduated non-convexity: Blake and Zisserman 1987), so that highlights and cast shadows lose
                   their say. c is 2.5 standard deviations of the pixel's own residual, at least 0.05 albedo.
                   Where fewer than three frames are left, all count.

The same mathematics with the roles swapped finds a light from a matte sphere: the shadings of many known normals
under one unknown light.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.catalogue import SOLVERS, Solver
from maquette.errors import InputError
from maquette.shading.normal_equations import UNKNOWNS, solve_pixels

_ALL_FRAMES = -1e300
_PAPER_RIDGE = 1e-6
_NO_RIDGE = 1e-12
_START_SHARE = 0.3
_ITERATIONS = 20
_LEAST_SCALE = 0.05
_SCALES = 2.5
_PRIOR_MISFIT = 0.01  # of the albedo: what one more frame would be off, if nobody knew better
_LEAST_SPREAD_OF_LIGHTS = 1e-3  # smallest over largest singular value
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ShadingSolution:
    """What the shadings of every pixel say, and how firmly.

    Attributes:
        normals: unit, in the frame of the lights; (0, 0, 0) where a pixel is black in every frame.
        albedo: |x|, in the units of the shadings.
        residual: root mean square misfit of the frames in use, as a share of the albedo; the robust solver
            counts no frame's misfit above its scale c.
        conditioning: largest over smallest eigenvalue of sum w l l^T, 1 at best: how much worse the lights that
            are left determine the worst direction than the best. Infinite where they leave one open.
        self_check: | |x| - 1 |: for shadings of albedo one (RoSE's) an error that needs no truth; for photos
            it says nothing.
        expected_angle_rad: the error to expect, from residual and conditioning (see `solve_shading`), at most
            pi / 2.
    """

    normals: Float[Tensor, "*pixels 3"]
    albedo: Float[Tensor, "*pixels"]
    residual: Float[Tensor, "*pixels"]
    conditioning: Float[Tensor, "*pixels"]
    self_check: Float[Tensor, "*pixels"]
    expected_angle_rad: Float[Tensor, "*pixels"]


def solve_shading(
    shadings: Float[Tensor, " frames *pixels"],
    lights: Float[Tensor, "lights 3"],
    solver: Solver = "robust",
) -> ShadingSolution:
    """Normals and albedo of every pixel, each on its own, in float64.

    The error to expect is ours: x has the covariance s^2 (sum w l l^T)^-1, where s^2 is the mean squared misfit
    with three degrees of freedom taken off and one frame of misfit 0.01 albedo put in (three lights fit
    anything); across n that is an angle, and the mean of its distribution is pi / 4 of its variance, rooted.

    Args:
        shadings: linear, divided by the intensity of each frame's light.
        lights: unit vectors from the surface to the light.
        solver: which frames are believed; see the module's page.

    Returns:
        A solution in float64, on the device of the shadings, in the frame of the lights.

    Raises:
        InputError: as `check_lights`; a shading that is NaN or infinite; frames and lights that aren't as many;
            an unknown solver.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver {solver!r}: must be one of {', '.join(SOLVERS)}")
    if len(shadings) != len(lights):
        raise InputError(f"{len(shadings)} shadings and {len(lights)} lights; there must be as many of both")
    check_lights(lights)
    _require_finite(shadings)
    pixels, device = shadings.shape[1:], shadings.device
    flat = shadings.detach().cpu().reshape(len(lights), -1)
    columns = np.ascontiguousarray(lights.detach().cpu().double().numpy().T)
    rows = solve_pixels(flat.contiguous().numpy(), columns, *_settings(solver))
    solution = _solution(torch.from_numpy(rows))
    return ShadingSolution(
        *(part.reshape((*pixels, *part.shape[1:])).to(device) for part in solution)  # in the order of the fields
    )


def check_lights(lights: Float[Tensor, "frames 3"], where: str = "lights") -> None:
    """Refuse lights from which no normal can be told.

    Args:
        lights: unit vectors from the surface to the light.
        where: what the message begins with, a file's name say.

    Raises:
        InputError: fewer than three, not finite, not of unit length, or all (nearly) in one plane.
    """
    if len(lights) < UNKNOWNS:
        raise InputError(f"{where}: {len(lights)} lights; at least {UNKNOWNS} are needed")
    lengths = torch.linalg.vector_norm(lights.double(), dim=-1)
    wrong = ~((lengths - 1).abs() <= _UNIT_TOLERANCE)  # NaN is wrong too
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0, 0])
        raise InputError(f"{where}: light {row + 1} has length {float(lengths[row]):.4g}; unit vectors are needed")
    spread = torch.linalg.svdvals(lights.double())
    rank = int((spread > _LEAST_SPREAD_OF_LIGHTS * spread[0]).sum())
    if rank < UNKNOWNS:
        shape = "are parallel" if rank == 1 else "lie in one plane"
        raise InputError(
            f"{where}: its {len(lights)} lights {shape} (rank {rank}); three that point in different ways are needed"
        )


def _settings(solver: Solver) -> tuple[float, float, int, float, float]:
    """Share, ridge, iterations, least scale and scales of `solve_pixels`."""
    if solver == "least-squares":
        return _ALL_FRAMES, _NO_RIDGE, 0, 0.0, 0.0
    if solver == "paper":
        return 0.0, _PAPER_RIDGE, 0, 0.0, 0.0
    return _START_SHARE, _NO_RIDGE, _ITERATIONS, _LEAST_SCALE, _SCALES


def _require_finite(shadings: Float[Tensor, " frames *pixels"]) -> None:
    for index, frame in enumerate(shadings):
        if not bool(torch.isfinite(frame).all()):
            raise InputError(f"shading {index + 1}: holds NaN or infinity; finite values are needed")


def _solution(rows: Float[Tensor, "pixels 11"]) -> tuple[Tensor, ...]:
    """The fields of a `ShadingSolution`, in their order."""
    x, gram, loss, count = rows[:, :3], rows[:, 3:9].T, rows[:, 9], rows[:, 10]
    albedo = torch.linalg.vector_norm(x, dim=-1)
    seen = albedo > 0
    normals = x / torch.where(seen, albedo, 1.0)[:, None]
    misfit = loss / torch.where(seen, albedo, 1.0).square()
    self_check = (albedo - 1).abs()
    conditioning, across = _determined(gram, normals)
    variance = (misfit + _PRIOR_MISFIT**2) / ((count - UNKNOWNS).clamp_min(0) + 1) * across
    expected = (math.pi / 4 * variance).sqrt().clamp_max(math.pi / 2)
    expected = torch.where(seen & torch.isfinite(conditioning), expected, math.pi / 2)
    residual = (misfit / count.clamp_min(1)).sqrt()
    return normals, albedo, residual, conditioning, self_check, expected


def _determined(
    gram: Float[Tensor, "6 pixels"], normals: Float[Tensor, "pixels 3"]
) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    """Condition number of the symmetric 3x3 matrices, and the trace of their inverses across the normals.

    Eigenvalues in closed form (Smith 1961): LAPACK takes ten times as long for as many small matrices. The
    smallest comes from the determinant, which loses fewer digits than the closed form does.
    """
    xx, xy, xz, yy, yz, zz = gram
    minors = (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
              xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy)  # fmt: skip
    determinant = xx * minors[0] + xy * minors[1] + xz * minors[2]
    mean = (xx + yy + zz) / 3
    off = xy.square() + xz.square() + yz.square()
    spread = (((xx - mean).square() + (yy - mean).square() + (zz - mean).square() + 2 * off) / 6).sqrt()
    safe = spread.clamp_min(1e-300)
    a, b, c = (xx - mean) / safe, (yy - mean) / safe, (zz - mean) / safe
    d, e, f = xy / safe, xz / safe, yz / safe
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
    angle = torch.acos(half.clamp(-1, 1)) / 3
    largest = mean + 2 * spread * torch.cos(angle)
    middle = mean + 2 * spread * torch.cos(angle - 2 * math.pi / 3)
    smallest = determinant / (largest * middle)
    firm = (determinant > 0) & (smallest > 1e-12 * largest)
    conditioning = torch.where(firm, largest / smallest, math.inf)
    x, y, z = normals.unbind(-1)
    along = x * x * minors[0] + y * y * minors[3] + z * z * minors[5]
    along = along + 2 * (x * y * minors[1] + x * z * minors[2] + y * z * minors[4])
    across = (minors[0] + minors[3] + minors[5] - along) / determinant
    return conditioning, torch.where(firm, across.clamp_min(0), math.inf)
