"""Covariances of Gaussians and the normals in them: the axis along which a Gaussian is thinnest.

Two ways to the same normal. `maquette.geometry.rotation.smallest_axis` reads it off the factors: a column of R, whose
gradient goes to the quaternion and never divides by anything. `normals_from_covariance` finds it in
Sigma alone, for whatever makes covariances without factors. A normal of either has no side; `face_camera` gives it one,
before it is blended.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from maquette.geometry.rotation import quaternion_to_matrix
from maquette.types import Camera

_TIE = 16  # eigenvalues this many roundings of the largest apart, or closer, count as equal


def covariance(scale: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Sigma = R S S^T R^T (Kerbl et al. 2023, equation 6).

    Args:
        scale: standard deviations along the Gaussian's own axes, in scene units.
        rotation: quaternions (w, x, y, z) of any length.

    Returns:
        Squared scene units.
    """
    factor = quaternion_to_matrix(rotation) * scale[..., None, :]
    return factor @ factor.mT


def normals_from_covariance(sigma: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """The unit eigenvectors of the smallest eigenvalues; their largest component is positive.

    With eigenpairs (l_k, v_k), l_0 the smallest, first-order perturbation gives

        dv_0 = sum_{k != 0} v_k (v_k^T dSigma v_0) / (l_0 - l_k),

    where the other two only meet l_0, never each other: an ideal disc, whose large two are equal, has a right and
    finite gradient. (The general backward of an eigen-decomposition divides by every gap, hence by zero there.)
    Where l_k equals l_0 up to rounding the direction within their plane is arbitrary, and that term is left out: a
    ball gets no gradient at all, a needle only the one that turns its axis.

    Args:
        sigma: float32 or float64; only its symmetric part counts. Differentiable once.
    """
    return _SmallestEigenvector.apply(sigma)


def face_camera(
    normals: Float[Tensor, "*batch 3"], means: Float[Tensor, "*batch 3"], camera: Camera
) -> Float[Tensor, "*batch 3"]:
    """Turn the normals that look away from the camera around; those seen edge-on stay.

    A normal read off a Gaussian has an arbitrary sign, and n blended with -n is nothing: call this first.

    Args:
        normals: in world axes.
        means: where they are, in the world.
        camera: what matters is its centre or, if it is orthographic, its viewing direction.
    """
    pose = camera.camera_to_world.to(means)
    to_camera = pose[:3, 2].expand_as(means) if camera.orthographic else pose[:3, 3] - means
    away = (normals.detach() * to_camera.detach()).sum(-1, keepdim=True) < 0
    return torch.where(away, -normals, normals)


class _SmallestEigenvector(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sigma: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh((sigma + sigma.mT) / 2)
        largest = vectors[..., 0].abs().argmax(-1, keepdim=True)
        vectors = vectors * vectors[..., 0].gather(-1, largest).sign()[..., None]
        ctx.save_for_backward(values, vectors)
        return vectors[..., 0].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        gap = values[..., :1] - values
        tied = gap.abs() <= _TIE * torch.finfo(gap.dtype).eps * values[..., 2:].abs()  # column 0 always is
        along = (vectors.mT @ grad[..., None]).squeeze(-1)
        weights = torch.where(tied, 0.0, along / torch.where(tied, 1.0, gap))
        outer = (vectors @ weights[..., None]) @ vectors[..., :1].mT
        return (outer + outer.mT) / 2
