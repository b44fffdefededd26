"""Which frame a stranger's normal map is in: every signed permutation of the axes, weighed by what a map must show.

A hypothesis is one of the 48 ways to read three numbers as (right, up, towards the viewer). Four cues, each a
log-likelihood for each hypothesis:

- **silhouette**: where an object ends in front of something, its normal points outward in the image plane.
  Density of a contour's normal: vMF about the outward direction, mixed with a uniform one, since not every rim of
  a mask is an occluding contour. It alone tells (x, y) from (-x, -y).
- **integrability**: normals of a surface satisfy n . curl n = 0 (Frobenius; for heights it is p_y = q_x). The
  residual of a patch, over its noise, has Laplace's density with an unknown scale. The condition is blind to
  n -> -n, and so to flipping x and y at once, or z alone: a mould is as integrable as its cast.
- **visibility**: what is seen faces the viewer. The image of a randomly turned surface has the density n_z / pi.
- **light**, with a photo: shading can't choose by how well it fits. The best Lambertian light fits equally well
  under all 48, because n . l = (P n) . (P l) for every orthogonal P. What tells them apart is where that light
  then stands: in front of the surface rather than behind, from above rather than from below.

None of the four separates a cast from its mould in a full frame: convex under light from above is concave under
light from below. Then the answer is that nobody can tell. Numbers marked "ours" are our choice; how often the
certainty is right is measured by `benchmarks/frame_check.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.frames import Matrix, inverse, signed_axes

CAN_TELL = 0.9  # certainty below which the answer is "can't tell" (ours)
FACING_AWAY = 0.05  # share of a map, turned away under its likeliest frame, from which none fits (ours)
MATRICES = signed_axes()  # what each hypothesis says was stored: matrix @ normal

_SIDE = 160  # cells along the longer side that maps are averaged down to: rounding and noise go, shape stays
_LEAST_CELLS = 64
# Prior (ours): axes that are exchanged are rare; the eight choices of signs are equally likely.
_EXCHANGED = 0.05

_RIM_SIGMA = 2.0  # cells; the outward direction is the gradient of the mask, smoothed by this
_RIM_BORDER = 3  # cells from the frame's edge, where a mask ends because the picture does
_SMALLEST_HOLE = 0.002  # of the mask's area; smaller ones are missing pixels, not contours
_RIM_KAPPA = 8.0  # the mean normal of a cell at the rim leans some 20 degrees off the image plane
_RIM_SHARE = 0.7  # of contours that are occluding ones
_RIM_CORRELATION = 16.0  # cells of contour that count as one observation

_PATCH = 16  # cells along a side of a patch; one patch is one observation
_PATCH_LEAST = 32
_NOISE = 0.005  # of a normal's parts: 8-bit codes make 0.0023, what is averaged is smoother
_STEP = 0.6  # between neighbours: a larger one is an edge, across which nothing is integrable
_PATCH_WEIGHT = 1.0

_BACKWARD = 0.01  # share of pixels that face away: outliers, or strong perspective
_VISIBLE_WEIGHT = 0.5

_LIGHT_IN_FRONT, _LIGHT_FROM_ABOVE = 0.8, 0.5  # p(l) = (1 + 0.8 l_z) (1 + 0.5 l_y) / 4 pi (ours)


@dataclass(frozen=True)
class FrameCheck:
    """What a map shows of its frame; arrays are in the order of `MATRICES`.

    Attributes:
        probability: of each hypothesis, given all cues; sums to one.
        cues: log-likelihoods in nats, by cue; a cue that the map doesn't offer is absent.
        facing_away: share of the map that is turned away from the viewer under the likeliest hypothesis. Much
            of it means that no camera's frame fits, as for normals in world or object space.
        shading_fit: share of the photo's variance that one light explains, or `None` without a photo.
    """

    probability: Float[np.ndarray, "48"]
    cues: dict[str, Float[np.ndarray, "48"]]
    facing_away: float
    shading_fit: float | None

    @property
    def best(self) -> Matrix:
        """The likeliest hypothesis."""
        return MATRICES[int(self.probability.argmax())]

    @property
    def certainty(self) -> float:
        """Its probability."""
        return float(self.probability.max())

    @property
    def can_tell(self) -> bool:
        """Whether that is enough to say so."""
        return self.certainty >= CAN_TELL


def check_frame(
    vectors: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
    luminance: Float[Tensor, "height width"] | None = None,
) -> FrameCheck:
    """Weigh all 48 frames for a map.

    Args:
        vectors: what is stored, as signed numbers near unit length where the mask is true.
        mask: where there is a normal. Its outline, where it isn't the frame's edge, is taken for the object's.
        luminance: linear, of a photo of the same pixels.

    Raises:
        InputError: the mask holds too little to look at.
    """
    normals, inside, light = _averaged(vectors, mask, luminance)
    if inside.sum() < _LEAST_CELLS:
        raise InputError(f"only {int(mask.sum())} pixels have a normal; that is too few to tell a frame by")
    readings = np.array([inverse(matrix) for matrix in MATRICES], dtype=np.float64)
    hypotheses = np.einsum("hij,yxj->hyxi", readings, normals)
    cues = {"visibility": _visibility(hypotheses, inside)}
    rim = _silhouette(hypotheses, inside)
    if rim is not None:
        cues["silhouette"] = rim
    curl = _integrability(hypotheses, inside)
    if curl is not None:
        cues["integrability"] = curl
    fit = None
    if light is not None:
        cues["light"], fit = _light(readings, normals, inside, light)
    total = _prior() + np.sum(list(cues.values()), axis=0)
    probability = np.exp(total - total.max())
    probability /= probability.sum()
    seen = hypotheses[int(probability.argmax())][inside]
    return FrameCheck(probability, cues, float((seen[:, 2] < -0.1).mean()), fit)


def _prior() -> np.ndarray:
    exchanged = np.array([abs(m[0][0]) + abs(m[1][1]) + abs(m[2][2]) < 3 for m in MATRICES])
    return np.log(np.where(exchanged, _EXCHANGED / exchanged.sum(), (1 - _EXCHANGED) / (~exchanged).sum()))


def _averaged(
    vectors: Tensor, mask: Tensor, luminance: Tensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Unit mean normals, mask and luminance of cells; a cell is inside if half of it is."""
    height, width = mask.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def shrink(values: Tensor) -> np.ndarray:
        return cv2.resize(values.double().cpu().numpy(), size, interpolation=cv2.INTER_AREA)

    share = shrink(mask)
    mean = shrink(torch.where(mask[..., None], vectors, 0.0)) / np.maximum(share, 1e-9)[..., None]
    length = np.linalg.norm(mean, axis=-1)
    inside = (share >= 0.5) & (length > 0.3)  # the mean of normals that disagree says nothing
    normals = np.where(inside[..., None], mean / np.maximum(length, 1e-9)[..., None], 0.0)
    if luminance is None:
        return normals, inside, None
    return normals, inside, shrink(torch.where(mask, luminance, 0.0)) / np.maximum(share, 1e-9)


def _visibility(hypotheses: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The mean over patches of log(4 n_z), summed; 4 n_z is the visible density over the uniform one."""
    towards = np.maximum(hypotheses[..., 2], 0)
    density = np.log(_BACKWARD + (1 - _BACKWARD) * 4 * towards)
    return _VISIBLE_WEIGHT * _over_patches(density, inside, lambda mean: mean)


def _silhouette(hypotheses: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Log density of the normals at the contour, over the uniform one; `None` if the frame holds no contour."""
    solid = _without_small_holes(inside)
    smooth = ndimage.gaussian_filter(solid.astype(np.float64), _RIM_SIGMA)
    down, right = np.gradient(smooth)
    outward = np.stack([-right, down], -1)  # rows run downward, y upward
    steepness = np.linalg.norm(outward, axis=-1)
    within = np.zeros_like(solid)
    within[_RIM_BORDER:-_RIM_BORDER, _RIM_BORDER:-_RIM_BORDER] = True
    core = np.asarray(ndimage.binary_erosion(solid, border_value=1))
    rim = solid & ~core & inside & within & (steepness > 0.05)
    if rim.sum() < _RIM_CORRELATION:
        return None
    direction = outward[rim] / steepness[rim][:, None]
    cosine = (hypotheses[:, rim, :2] * direction).sum(-1)
    # the vMF density over the uniform one: kappa / sinh(kappa) exp(kappa cos)
    peak = _RIM_KAPPA / np.sinh(_RIM_KAPPA) * np.exp(_RIM_KAPPA * cosine)
    return np.log(_RIM_SHARE * peak + 1 - _RIM_SHARE).sum(1) / _RIM_CORRELATION


def _without_small_holes(inside: np.ndarray) -> np.ndarray:
    count, labels = cv2.connectedComponents((~inside).astype(np.uint8), connectivity=4)
    labels = np.asarray(labels, dtype=np.int64)
    sizes = np.bincount(labels.ravel(), minlength=count)
    small = sizes < max(2, _SMALLEST_HOLE * inside.sum())
    small[0] = False
    return inside | small[labels]


def _integrability(hypotheses: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Of each patch -log of the mean |n . curl n|: Laplace's likelihood at its best scale; `None` if nothing bends."""
    corners = hypotheses[:, :-1, :-1], hypotheses[:, :-1, 1:], hypotheses[:, 1:, :-1], hypotheses[:, 1:, 1:]
    a, b, c, d = corners
    valid = inside[:-1, :-1] & inside[:-1, 1:] & inside[1:, :-1] & inside[1:, 1:]
    along_x, along_y = (b + d - a - c) / 2, (a + b - c - d) / 2
    mean = (a + b + c + d) / 4
    # lengths of differences are the same under every hypothesis
    steps = np.maximum(np.linalg.norm(along_x[0], axis=-1), np.linalg.norm(along_y[0], axis=-1))
    valid &= steps < _STEP
    curl = (
        mean[..., 0] * along_y[..., 2]
        - mean[..., 1] * along_x[..., 2]
        + mean[..., 2] * (along_x[..., 1] - along_y[..., 0])
    )
    if not valid.any():
        return None
    return _PATCH_WEIGHT * _over_patches(np.abs(curl), valid, lambda mean: -np.log(mean + _NOISE))


def _over_patches(values: np.ndarray, valid: np.ndarray, of_mean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The sum over patches of a function of the patch's mean, weighted by the share of it that is valid."""
    _, height, width = values.shape
    total = np.zeros(len(values))
    for top in range(0, height, _PATCH):
        for left in range(0, width, _PATCH):
            patch = (slice(top, top + _PATCH), slice(left, left + _PATCH))
            count = int(valid[patch].sum())
            if count >= _PATCH_LEAST:
                mean = (values[:, *patch] * valid[patch]).sum((1, 2)) / count
                total += of_mean(mean) * count / _PATCH**2
    return total


def _light(
    readings: np.ndarray, normals: np.ndarray, inside: np.ndarray, luminance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Log density of the light that explains the photo best, mixed with a uniform one by what it leaves unexplained.

    One fit serves all hypotheses: the light turns with the normals.
    """
    known, seen = normals[inside], luminance[inside]
    design = np.concatenate([np.ones((len(known), 1)), known], 1)
    gram = design.T @ design / len(known) + 1e-4 * np.eye(4)  # a flat map has no direction of light to find
    weights = np.linalg.solve(gram, design.T @ seen / len(known))
    spread = float(seen.var())
    fit = 0.0 if spread == 0 else float(np.clip(1 - (seen - design @ weights).var() / spread, 0, 1))
    length = float(np.linalg.norm(weights[1:]))
    if length == 0:
        return np.zeros(len(readings)), fit
    light = readings @ (weights[1:] / length)
    density = (1 + _LIGHT_IN_FRONT * light[:, 2]) * (1 + _LIGHT_FROM_ABOVE * light[:, 1])
    return np.log(fit * density + 1 - fit), fit
