"""Rotations: quaternions (w, x, y, z) and matrices whose columns are the turned axes."""

import torch
from jaxtyping import Float
from torch import Tensor

_SMALLEST_SQUARE = 1e-30
_SMALLEST_COSINE = -1 + 1e-6  # below it the shortest turn from +z is as good as half a turn


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation matrix R of a quaternion (w, x, y, z) of any length; R v is the turned v, R[:, k] the turned axis k.

    R = I + (2 / q.q) (w [u]x + [u]x [u]x), with u = (x, y, z). The length falls out, and its gradient is zero. A
    zero quaternion gives the identity, without a gradient.
    """
    w, x, y, z = quaternion.unbind(-1)
    twice = 2 / (quaternion * quaternion).sum(-1).clamp_min(_SMALLEST_SQUARE)
    rows = [
        1 - twice * (y * y + z * z),
        twice * (x * y - w * z),
        twice * (x * z + w * y),
        twice * (x * y + w * z),
        1 - twice * (x * x + z * z),
        twice * (y * z - w * x),
        twice * (x * z - w * y),
        twice * (y * z + w * x),
        1 - twice * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def multiply(first: Float[Tensor, "*batch 4"], second: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The quaternion product `first second`: the rotation that does `second`, then `first`."""
    w, u = first[..., :1], first[..., 1:]
    v, x = second[..., :1], second[..., 1:]
    return torch.cat([w * v - (u * x).sum(-1, keepdim=True), w * x + v * u + torch.linalg.cross(u, x)], -1)


def smallest_axis(scale: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """The normals of factored Gaussians: the column of R whose scale is smallest, of equal ones the first.

    Which column it is has no gradient, so none goes to the scales.
    """
    matrix = quaternion_to_matrix(rotation)
    thinnest = scale.argmin(-1)[..., None, None].expand(*scale.shape, 1)
    return matrix.gather(-1, thinnest).squeeze(-1)


def flip_rotation(quaternion: Float[Tensor, "*batch 4"], signs: Float[Tensor, " 3"]) -> Float[Tensor, "*batch 4"]:
    """The same rotation in a frame whose axes are flipped: the quaternion of M R M, with M = diag(signs).

    Two flips are a change of frame, one or three a mirror image; the axis of a rotation is a pseudo-vector, so it
    turns into det(M) M u. Ellipsoids with diagonal scales stay what they are, since M and S commute.
    """
    factors = torch.cat([torch.ones_like(signs[:1]), signs * signs.prod()])
    return quaternion * factors


def facing_rotation(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions of the shortest turns from +z to unit vectors; from +z to -z, half a turn about x."""
    x, y, z = normals.unbind(-1)
    turn = torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=-1)
    turn = torch.where((z < _SMALLEST_COSINE)[..., None], turn.new_tensor([0.0, 1.0, 0.0, 0.0]), turn)
    return torch.nn.functional.normalize(turn, dim=-1)
