"""Projection of Gaussians, forward and backward: what `torch_tiles.project` computes, one program a block of them.

Triton kernels, imported only where they run; `maquette.render.splat.triton_cuda` launches them. The forward fills
`Projected`. The backward computes everything again in registers and applies the chain rule by hand. Vectors are
tuples of three blocks.

    e = mean - position,  t = R^T e,  b_k = R^T a_k          a_k: the Gaussian's axes, the columns of its rotation
    s_k0 = along scale_k (b_kx + x b_kz),  s_k1 = -along scale_k (b_ky + y b_kz)        along = focal / distance
    Sigma = [[s_0 . s_0, s_0 . s_1], [s_0 . s_1, s_1 . s_1]],  det Sigma = |s_0 x s_1|^2

The cross product keeps the digits that a c - b^2 loses for a needle, and its root has a bounded gradient.
"""

# The language of kernels looks like Python, but its types aren't what pyright takes them for.
# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from maquette.render.splat.projected import FILTER_PX2, JACOBIAN_MARGIN, LEAST_ALPHA

BLOCK = 128  # Gaussians a program
CAMERA_GRADIENTS = 16  # of a program: 3x4 of the pose row by row, focal length, principal point x and y, nothing

_FILTER_PX2 = tl.constexpr(FILTER_PX2)
_JACOBIAN_MARGIN = tl.constexpr(JACOBIAN_MARGIN)
_LEAST_ALPHA = tl.constexpr(LEAST_ALPHA)
_SMALLEST_SQUARE = tl.constexpr(1e-30)


@triton.jit(do_not_specialize=["count", "width", "height"])
def project_kernel(
    mean,
    scale,
    rotation,
    opacity,
    pose,
    intrinsics,
    mean_px,
    conic,
    faded,
    depth,
    normal,
    visible,
    count,
    width,
    height,
    near,
    ORTHOGRAPHIC: tl.constexpr,
    ANTIALIASED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fill the fields of `Projected`, `faded` being its opacity."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    present = index < count
    focal, center_x, center_y = tl.load(intrinsics), tl.load(intrinsics + 1), tl.load(intrinsics + 2)
    right, up, back = _column(pose, 0), _column(pose, 1), _column(pose, 2)
    size = _load3(scale, index, present)
    _, _, axis_0, axis_1, axis_2 = _axes(rotation, index, present)
    arm = _minus(_load3(mean, index, present), _column(pose, 3))
    local = _turned(right, up, back, arm)
    in_front, distance, plane_x, plane_y, x, y, _, _ = _place(
        local, focal, center_x, center_y, width, height, near, ORTHOGRAPHIC
    )
    along = focal / distance
    axis_0 = _turned(right, up, back, axis_0)
    axis_1 = _turned(right, up, back, axis_1)
    axis_2 = _turned(right, up, back, axis_2)
    row_x, row_y = _rows(axis_0, axis_1, axis_2, size, along, x, y)
    spread_a, b, spread_c = _dot(row_x, row_x), _dot(row_x, row_y), _dot(row_y, row_y)
    area = _dot(_cross(row_x, row_y), _cross(row_x, row_y))
    determinant = area + _FILTER_PX2 * (spread_a + spread_c) + _FILTER_PX2 * _FILTER_PX2
    a, c = spread_a + _FILTER_PX2, spread_c + _FILTER_PX2
    shown = tl.load(opacity + index, mask=present, other=0.0)
    if ANTIALIASED:
        shown *= tl.sqrt(area / determinant)

    thin, towards = _thinnest(axis_0, axis_1, axis_2, size, local, ORTHOGRAPHIC)
    u, v = center_x + focal * plane_x, center_y - focal * plane_y
    reach = 2 * tl.log(tl.maximum(shown / _LEAST_ALPHA, 1.0))
    half_x, half_y = tl.sqrt(reach * a), tl.sqrt(reach * c)
    inside = (u + half_x > 0) & (u - half_x < width) & (v + half_y > 0) & (v - half_y < height)
    # Values that aren't finite fail one of the comparisons, but for an infinite reach.
    sound = (half_x < float("inf")) & (half_y < float("inf")) & (determinant < float("inf"))
    seen = in_front & inside & sound & (shown >= _LEAST_ALPHA)

    tl.store(mean_px + 2 * index, u, mask=present)
    tl.store(mean_px + 2 * index + 1, v, mask=present)
    _store3(conic, index, present, (c / determinant, -b / determinant, a / determinant))
    tl.store(faded + index, shown, mask=present)
    tl.store(depth + index, -local[2], mask=present)
    _store3(normal, index, present, _scaled(thin, towards))
    tl.store(visible + index, seen.to(tl.uint8), mask=present)


@triton.jit(do_not_specialize=["count", "width", "height"])
def project_backward_kernel(
    mean,
    scale,
    rotation,
    opacity,
    pose,
    intrinsics,
    d_mean_px,
    d_conic,
    d_faded,
    d_depth,
    d_normal,
    d_mean,
    d_scale,
    d_rotation,
    d_opacity,
    d_camera,
    count,
    width,
    height,
    near,
    ORTHOGRAPHIC: tl.constexpr,
    ANTIALIASED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of the Gaussians, and of the camera summed over the block: `d_camera` is blocks x CAMERA_GRADIENTS."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    present = index < count
    focal, center_x, center_y = tl.load(intrinsics), tl.load(intrinsics + 1), tl.load(intrinsics + 2)
    right, up, back = _column(pose, 0), _column(pose, 1), _column(pose, 2)
    size = _load3(scale, index, present)
    quaternion, shorten, axis_0, axis_1, axis_2 = _axes(rotation, index, present)
    arm = _minus(_load3(mean, index, present), _column(pose, 3))
    local = _turned(right, up, back, arm)
    in_front, distance, plane_x, plane_y, x, y, free_x, free_y = _place(
        local, focal, center_x, center_y, width, height, near, ORTHOGRAPHIC
    )
    along = focal / distance
    seen_0 = _turned(right, up, back, axis_0)
    seen_1 = _turned(right, up, back, axis_1)
    seen_2 = _turned(right, up, back, axis_2)
    row_x, row_y = _rows(seen_0, seen_1, seen_2, size, along, x, y)

    d_shown = tl.load(d_faded + index, mask=present, other=0.0)
    own = tl.load(opacity + index, mask=present, other=0.0)
    d_row_x, d_row_y, d_own = _through_conic(row_x, row_y, _load3(d_conic, index, present), own, d_shown, ANTIALIASED)
    tl.store(d_opacity + index, d_own, mask=present)

    d_size, d_along, d_x, d_y, d_seen_0, d_seen_1, d_seen_2 = _through_rows(
        seen_0, seen_1, seen_2, size, along, x, y, d_row_x, d_row_y
    )
    _store3(d_scale, index, present, d_size)
    _, towards = _thinnest(seen_0, seen_1, seen_2, size, local, ORTHOGRAPHIC)
    d_thin = _scaled(_load3(d_normal, index, present), towards)
    is_0, is_1 = _which_is_thinnest(size)
    d_seen_0 = _plus(d_seen_0, _scaled(d_thin, tl.where(is_0, 1.0, 0.0)))
    d_seen_1 = _plus(d_seen_1, _scaled(d_thin, tl.where(is_1, 1.0, 0.0)))
    d_seen_2 = _plus(d_seen_2, _scaled(d_thin, tl.where(is_0 | is_1, 0.0, 1.0)))

    # The mean's place in the image.
    d_u = tl.load(d_mean_px + 2 * index, mask=present, other=0.0)
    d_v = tl.load(d_mean_px + 2 * index + 1, mask=present, other=0.0)
    d_plane_x = focal * d_u + tl.where(free_x, d_x, 0.0)
    d_plane_y = -focal * d_v + tl.where(free_y, d_y, 0.0)
    d_focal = plane_x * d_u - plane_y * d_v + d_along / distance
    d_distance = -(plane_x * d_plane_x + plane_y * d_plane_y + d_along * along) / distance
    d_far = tl.load(d_depth + index, mask=present, other=0.0)
    if not ORTHOGRAPHIC:
        d_far += tl.where(in_front, d_distance, 0.0)
    d_local = (d_plane_x / distance, d_plane_y / distance, -d_far)
    d_arm = _back(right, up, back, d_local)
    _store3(d_mean, index, present, d_arm)

    d_axis_0 = _back(right, up, back, d_seen_0)
    d_axis_1 = _back(right, up, back, d_seen_1)
    d_axis_2 = _back(right, up, back, d_seen_2)
    _store_quaternion(d_rotation, index, present, quaternion, shorten, d_axis_0, d_axis_1, d_axis_2)

    row = d_camera + tl.program_id(0) * 16
    # What the pose turned: the arm and the three axes.
    for side in tl.static_range(3):
        turned = _plus(_scaled(arm, d_local[side]), _scaled(axis_0, d_seen_0[side]))
        turned = _plus(turned, _scaled(axis_1, d_seen_1[side]))
        turned = _plus(turned, _scaled(axis_2, d_seen_2[side]))
        _store_sums(row + side, 4, present, turned)
    _store_sums(row + 3, 4, present, _scaled(d_arm, -1.0))
    _store_sums(row + 12, 1, present, (d_focal, d_u, d_v))


@triton.jit
def _place(local, focal, center_x, center_y, width, height, near, ORTHOGRAPHIC: tl.constexpr):
    """Where the mean is: in front, divisor, x and y at distance one, both as linearised, and where those are free."""
    depth = -local[2]
    if ORTHOGRAPHIC:
        in_front = depth == depth
        distance = depth * 0 + 1
        x, y = depth * 0, depth * 0
        return in_front, distance, local[0], local[1], x, y, depth != depth, depth != depth
    in_front = depth >= near
    distance = tl.where(in_front, depth, 1.0)
    plane_x, plane_y = local[0] / distance, local[1] / distance
    limit_x = _JACOBIAN_MARGIN * tl.maximum(center_x, width - center_x) / focal
    limit_y = _JACOBIAN_MARGIN * tl.maximum(center_y, height - center_y) / focal
    x = tl.maximum(tl.minimum(plane_x, limit_x), -limit_x)
    y = tl.maximum(tl.minimum(plane_y, limit_y), -limit_y)
    return in_front, distance, plane_x, plane_y, x, y, x == plane_x, y == plane_y


@triton.jit
def _bent(axis_0, axis_1, axis_2, x, y):
    """The two rows of the linearised projection, without its factor, times the axes."""
    bent_x = (axis_0[0] + x * axis_0[2], axis_1[0] + x * axis_1[2], axis_2[0] + x * axis_2[2])
    bent_y = (axis_0[1] + y * axis_0[2], axis_1[1] + y * axis_1[2], axis_2[1] + y * axis_2[2])
    return bent_x, bent_y


@triton.jit
def _rows(axis_0, axis_1, axis_2, size, along, x, y):
    """The two rows of (linearised projection) (axes in the camera) (scales): Sigma in the image is their products."""
    bent_x, bent_y = _bent(axis_0, axis_1, axis_2, x, y)
    return _scaled(_product(bent_x, size), along), _scaled(_product(bent_y, size), -along)


@triton.jit
def _through_rows(axis_0, axis_1, axis_2, size, along, x, y, d_row_x, d_row_y):
    """From `_rows` to the scales, the factor, x, y and the axes."""
    bent_x, bent_y = _bent(axis_0, axis_1, axis_2, x, y)
    d_size = _minus(_product(bent_x, d_row_x), _product(bent_y, d_row_y))
    d_bent_x, d_bent_y = _scaled(_product(size, d_row_x), along), _scaled(_product(size, d_row_y), -along)
    back = (axis_0[2], axis_1[2], axis_2[2])
    d_axis_0 = (d_bent_x[0], d_bent_y[0], x * d_bent_x[0] + y * d_bent_y[0])
    d_axis_1 = (d_bent_x[1], d_bent_y[1], x * d_bent_x[1] + y * d_bent_y[1])
    d_axis_2 = (d_bent_x[2], d_bent_y[2], x * d_bent_x[2] + y * d_bent_y[2])
    d_x, d_y = _dot(back, d_bent_x), _dot(back, d_bent_y)
    return _scaled(d_size, along), _dot(size, d_size), d_x, d_y, d_axis_0, d_axis_1, d_axis_2


@triton.jit
def _through_conic(row_x, row_y, d_conic, own, d_shown, ANTIALIASED: tl.constexpr):
    """From the conic and the faded opacity to the rows and the Gaussian's own opacity.

    With the conic as the matrix Q = (Sigma + 0.3 I)^-1 and G its gradient, dSigma = -Q G Q; d log det = tr(Q dSigma).
    """
    normal = _cross(row_x, row_y)
    area = _dot(normal, normal)
    a, b, c = _dot(row_x, row_x), _dot(row_x, row_y), _dot(row_y, row_y)
    determinant = area + _FILTER_PX2 * (a + c) + _FILTER_PX2 * _FILTER_PX2
    p, q, r = (c + _FILTER_PX2) / determinant, -b / determinant, (a + _FILTER_PX2) / determinant
    half = 0.5 * d_conic[1]
    left_p, left_q = p * d_conic[0] + q * half, p * half + q * d_conic[2]
    right_q, right_r = q * d_conic[0] + r * half, q * half + r * d_conic[2]
    d_a = -(left_p * p + left_q * q)
    d_b = -2 * (left_p * q + left_q * r)
    d_c = -(right_q * q + right_r * r)
    d_own = d_shown
    d_normal = _scaled(normal, 0.0)
    if ANTIALIASED:
        share = tl.sqrt(area / determinant)
        d_own = d_shown * share
        shrink = -0.5 * d_shown * own * share
        d_a += shrink * p
        d_b += shrink * 2 * q
        d_c += shrink * r
        inverse = tl.where(area > 0, tl.rsqrt(tl.where(area > 0, area * determinant, 1.0)), 0.0)
        d_normal = _scaled(normal, d_shown * own * inverse)
    d_row_x = _plus(_plus(_scaled(row_x, 2 * d_a), _scaled(row_y, d_b)), _cross(row_y, d_normal))
    d_row_y = _plus(_plus(_scaled(row_y, 2 * d_c), _scaled(row_x, d_b)), _cross(d_normal, row_x))
    return d_row_x, d_row_y, d_own


@triton.jit
def _axes(rotation, index, present):
    """The unit quaternion, the reciprocal of its length, and the columns of its matrix."""
    at = rotation + 4 * index
    w, x = tl.load(at, mask=present, other=0.0), tl.load(at + 1, mask=present, other=0.0)
    y, z = tl.load(at + 2, mask=present, other=0.0), tl.load(at + 3, mask=present, other=0.0)
    shorten = tl.rsqrt(tl.maximum(w * w + x * x + y * y + z * z, _SMALLEST_SQUARE))
    w, x, y, z = w * shorten, x * shorten, y * shorten, z * shorten
    axis_0 = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    axis_1 = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    axis_2 = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    return (w, x, y, z), shorten, axis_0, axis_1, axis_2


@triton.jit
def _store_quaternion(d_rotation, index, present, quaternion, shorten, d_0, d_1, d_2):
    """The gradients of the columns, through the matrix of a unit quaternion and through its division by its length."""
    w, x, y, z = quaternion
    xy, xz, yz = d_0[1] + d_1[0], d_0[2] + d_2[0], d_1[2] + d_2[1]
    spin_x, spin_y, spin_z = d_1[2] - d_2[1], d_2[0] - d_0[2], d_0[1] - d_1[0]
    d_w = 2 * (x * spin_x + y * spin_y + z * spin_z)
    d_x = 2 * (y * xy + z * xz + w * spin_x) - 4 * x * (d_1[1] + d_2[2])
    d_y = 2 * (x * xy + z * yz + w * spin_y) - 4 * y * (d_0[0] + d_2[2])
    d_z = 2 * (x * xz + y * yz + w * spin_z) - 4 * z * (d_0[0] + d_1[1])
    along = w * d_w + x * d_x + y * d_y + z * d_z
    at = d_rotation + 4 * index
    tl.store(at, (d_w - w * along) * shorten, mask=present)
    tl.store(at + 1, (d_x - x * along) * shorten, mask=present)
    tl.store(at + 2, (d_y - y * along) * shorten, mask=present)
    tl.store(at + 3, (d_z - z * along) * shorten, mask=present)


@triton.jit
def _thinnest(axis_0, axis_1, axis_2, size, local, ORTHOGRAPHIC: tl.constexpr):
    """The axis of the smallest scale, of equal ones the first, and the sign that turns it to the camera."""
    is_0, is_1 = _which_is_thinnest(size)
    x = tl.where(is_0, axis_0[0], tl.where(is_1, axis_1[0], axis_2[0]))
    y = tl.where(is_0, axis_0[1], tl.where(is_1, axis_1[1], axis_2[1]))
    z = tl.where(is_0, axis_0[2], tl.where(is_1, axis_1[2], axis_2[2]))
    away = x * local[0] + y * local[1] + z * local[2]
    if ORTHOGRAPHIC:
        away = -z
    return (x, y, z), tl.where(away > 0, -1.0, 1.0)


@triton.jit
def _which_is_thinnest(size):
    return (size[0] <= size[1]) & (size[0] <= size[2]), (size[1] < size[0]) & (size[1] <= size[2])


@triton.jit
def _column(pose, which: tl.constexpr):
    """A column of the upper 3x4 of a 4x4 matrix."""
    return tl.load(pose + which), tl.load(pose + 4 + which), tl.load(pose + 8 + which)


@triton.jit
def _load3(pointer, index, present):
    at = pointer + 3 * index
    x = tl.load(at, mask=present, other=0.0)
    return x, tl.load(at + 1, mask=present, other=0.0), tl.load(at + 2, mask=present, other=0.0)


@triton.jit
def _store3(pointer, index, present, vector):
    at = pointer + 3 * index
    tl.store(at, vector[0], mask=present)
    tl.store(at + 1, vector[1], mask=present)
    tl.store(at + 2, vector[2], mask=present)


@triton.jit
def _store_sums(pointer, step: tl.constexpr, present, vector):
    """A vector's sums over the block, `step` apart."""
    for entry in tl.static_range(3):
        tl.store(pointer + entry * step, tl.sum(tl.where(present, vector[entry], 0.0), 0))


@triton.jit
def _turned(right, up, back, vector):
    """World to camera axes."""
    return _dot(right, vector), _dot(up, vector), _dot(back, vector)


@triton.jit
def _back(right, up, back, vector):
    """Camera to world axes."""
    return _plus(_plus(_scaled(right, vector[0]), _scaled(up, vector[1])), _scaled(back, vector[2]))


@triton.jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@triton.jit
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@triton.jit
def _product(a, b):
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@triton.jit
def _plus(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@triton.jit
def _minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@triton.jit
def _scaled(a, factor):
    return a[0] * factor, a[1] * factor, a[2] * factor
