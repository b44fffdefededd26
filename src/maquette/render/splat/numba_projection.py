"""Compiled projection of Gaussians, and its gradient by hand: one pass over the Gaussians each way.

Formulas are those of `maquette.render.splat.torch_tiles.project`. Values come and go as float32; between, a Gaussian is
worked on in float64, which costs a scalar loop nothing. Sums over all Gaussians (the camera's gradients) are made block
by block, so that they don't depend on the number of threads.
"""

from math import isfinite, log, sqrt

import numpy as np
from numba import njit, prange

from maquette.render.splat.projected import FILTER_PX2, JACOBIAN_MARGIN, LEAST_ALPHA

CAMERA_GRADIENTS = 15  # rotation (9), position (3), focal length, centre (2)
_BLOCKS = 64
_SMALLEST_SQUARE = 1e-30  # of a quaternion's length: below it, the identity
_LOOSE = {"reassoc", "contract", "nsz", "arcp"}  # but infinities and NaN are told apart


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _rotation_matrix(w, x, y, z):
    """Rows of R, and 1 / length; the identity and 0 for a zero quaternion."""
    square = w * w + x * x + y * y + z * z
    if square < _SMALLEST_SQUARE:
        return 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    twice = 2.0 / square
    return (
        1.0 - twice * (y * y + z * z), twice * (x * y - w * z), twice * (x * z + w * y),
        twice * (x * y + w * z), 1.0 - twice * (x * x + z * z), twice * (y * z - w * x),
        twice * (x * z - w * y), twice * (y * z + w * x), 1.0 - twice * (x * x + y * y),
        sqrt(0.5 * twice),
    )  # fmt: skip


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _thinnest(a, b, c):
    """Which of three is smallest; of equal ones, the first."""
    if a <= b and a <= c:
        return 0
    return 1 if b <= c else 2


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _held(value, limit):
    return min(max(value, -limit), limit)


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _limits(intrinsics, width, height):
    """How far off the axis the perspective is linearised where it is, in x and y."""
    f, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2]
    return JACOBIAN_MARGIN * max(cx, width - cx) / f, JACOBIAN_MARGIN * max(cy, height - cy) / f


@njit(cache=True, fastmath=_LOOSE)
def _project_block(
    block, mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased, near,
    mean_px, conic, effective, depth, normal, visible,
):  # fmt: skip
    f, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2]
    limit_x, limit_y = _limits(intrinsics, width, height)
    r00, r01, r02, px = pose[0, 0], pose[0, 1], pose[0, 2], pose[0, 3]
    r10, r11, r12, py = pose[1, 0], pose[1, 1], pose[1, 2], pose[1, 3]
    r20, r21, r22, pz = pose[2, 0], pose[2, 1], pose[2, 2], pose[2, 3]
    n = len(mean)
    for i in range(block * n // _BLOCKS, (block + 1) * n // _BLOCKS):
        visible[i] = False
        x, y, z = float(mean[i, 0]) - px, float(mean[i, 1]) - py, float(mean[i, 2]) - pz
        tx = r00 * x + r10 * y + r20 * z
        ty = r01 * x + r11 * y + r21 * z
        tz = r02 * x + r12 * y + r22 * z
        conic[i, 0], conic[i, 1], conic[i, 2], effective[i] = 0.0, 0.0, 0.0, 0.0
        normal[i, 0], normal[i, 1], normal[i, 2] = 0.0, 0.0, 0.0
        mean_px[i, 0], mean_px[i, 1], depth[i] = 0.0, 0.0, 0.0
        if not isfinite(tx + ty + tz):
            continue
        depth[i] = -tz
        if not (orthographic or -tz >= near):
            continue
        distance = 1.0 if orthographic else -tz
        u, v = tx / distance, ty / distance
        along = f / distance
        mean_px[i, 0], mean_px[i, 1] = cx + f * u, cy - f * v
        tilt_x = 0.0 if orthographic else along * _held(u, limit_x)
        tilt_y = 0.0 if orthographic else -along * _held(v, limit_y)
        # V = J R^T: rows of the image's axes in the world
        a0, a1, a2 = along * r00 + tilt_x * r02, along * r10 + tilt_x * r12, along * r20 + tilt_x * r22
        b0, b1, b2 = tilt_y * r02 - along * r01, tilt_y * r12 - along * r11, tilt_y * r22 - along * r21
        q00, q01, q02, q10, q11, q12, q20, q21, q22, _ = _rotation_matrix(
            float(rotation[i, 0]), float(rotation[i, 1]), float(rotation[i, 2]), float(rotation[i, 3])
        )
        s0, s1, s2 = float(scale[i, 0]), float(scale[i, 1]), float(scale[i, 2])
        g0, h0 = s0 * (a0 * q00 + a1 * q10 + a2 * q20), s0 * (b0 * q00 + b1 * q10 + b2 * q20)
        g1, h1 = s1 * (a0 * q01 + a1 * q11 + a2 * q21), s1 * (b0 * q01 + b1 * q11 + b2 * q21)
        g2, h2 = s2 * (a0 * q02 + a1 * q12 + a2 * q22), s2 * (b0 * q02 + b1 * q12 + b2 * q22)
        xx, xy, yy = g0 * g0 + g1 * g1 + g2 * g2, g0 * h0 + g1 * h1 + g2 * h2, h0 * h0 + h1 * h1 + h2 * h2
        wide_x, wide_y = xx + FILTER_PX2, yy + FILTER_PX2
        determinant = wide_x * wide_y - xy * xy
        o = float(opacity[i])
        if antialiased:
            o *= sqrt(max(xx * yy - xy * xy, 0.0) / determinant)
        if not (isfinite(determinant + u + v) and determinant > 0.0 and o >= LEAST_ALPHA):
            continue
        reach = 2.0 * log(o / LEAST_ALPHA)
        half_x, half_y = sqrt(reach * wide_x), sqrt(reach * wide_y)
        middle_x, middle_y = cx + f * u, cy - f * v
        if not (middle_x + half_x > 0.0 and middle_x - half_x < width):
            continue
        if not (middle_y + half_y > 0.0 and middle_y - half_y < height):
            continue
        visible[i] = True
        effective[i] = o
        conic[i, 0], conic[i, 1], conic[i, 2] = wide_y / determinant, -xy / determinant, wide_x / determinant
        k = _thinnest(scale[i, 0], scale[i, 1], scale[i, 2])
        n0 = q00 if k == 0 else (q01 if k == 1 else q02)
        n1 = q10 if k == 0 else (q11 if k == 1 else q12)
        n2 = q20 if k == 0 else (q21 if k == 1 else q22)
        nx, ny, nz = r00 * n0 + r10 * n1 + r20 * n2, r01 * n0 + r11 * n1 + r21 * n2, r02 * n0 + r12 * n1 + r22 * n2
        towards = -nz if orthographic else nx * tx + ny * ty + nz * tz
        sign = -1.0 if towards > 0.0 else 1.0
        normal[i, 0], normal[i, 1], normal[i, 2] = sign * nx, sign * ny, sign * nz


@njit(cache=True, fastmath=_LOOSE, parallel=True)
def project_forward(
    mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased, near,
    mean_px, conic, effective, depth, normal, visible,
):  # fmt: skip
    """Fill the last six arrays, the fields of `Projected`; `pose` and `intrinsics` are float64, the others float32.

    What isn't visible gets its depth and mean, where these are finite, and zeros.
    """
    for block in prange(_BLOCKS):
        _project_block(
            np.int64(block), mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased,
            near, mean_px, conic, effective, depth, normal, visible,
        )  # fmt: skip


@njit(cache=True, fastmath=_LOOSE)
def _backward_block(
    block, mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased, visible,
    to_mean_px, to_conic, to_effective, to_depth, to_normal, to_mean, to_scale, to_rotation, to_opacity, total,
):  # fmt: skip
    """Gradients of the visible Gaussians of a block, and of the camera, added to `total`.

    The gradient of x is called to_x, and d_x where it is a number. With V = J R^T, B = V Q S, Sigma' = B B^T + 0.3 I:

        to_Sigma = -K to_K K (K the conic),  to_B = 2 to_Sigma B,  to_Q = V^T to_B S,  to_V = to_B (Q S)^T.
    """
    f = intrinsics[0]
    limit_x, limit_y = _limits(intrinsics, width, height)
    r00, r01, r02, px = pose[0, 0], pose[0, 1], pose[0, 2], pose[0, 3]
    r10, r11, r12, py = pose[1, 0], pose[1, 1], pose[1, 2], pose[1, 3]
    r20, r21, r22, pz = pose[2, 0], pose[2, 1], pose[2, 2], pose[2, 3]
    n = len(mean)
    for i in range(block * n // _BLOCKS, (block + 1) * n // _BLOCKS):
        if not visible[i]:
            continue
        # forward once more
        x, y, z = float(mean[i, 0]) - px, float(mean[i, 1]) - py, float(mean[i, 2]) - pz
        tx = r00 * x + r10 * y + r20 * z
        ty = r01 * x + r11 * y + r21 * z
        tz = r02 * x + r12 * y + r22 * z
        distance = 1.0 if orthographic else -tz
        u, v = tx / distance, ty / distance
        along = f / distance
        held_u = 0.0 if orthographic else _held(u, limit_x)
        held_v = 0.0 if orthographic else _held(v, limit_y)
        tilt_x, tilt_y = along * held_u, -along * held_v
        a0, a1, a2 = along * r00 + tilt_x * r02, along * r10 + tilt_x * r12, along * r20 + tilt_x * r22
        b0, b1, b2 = tilt_y * r02 - along * r01, tilt_y * r12 - along * r11, tilt_y * r22 - along * r21
        qw, qx, qy, qz = (
            float(rotation[i, 0]), float(rotation[i, 1]), float(rotation[i, 2]), float(rotation[i, 3])
        )  # fmt: skip
        q00, q01, q02, q10, q11, q12, q20, q21, q22, shorten = _rotation_matrix(qw, qx, qy, qz)
        s0, s1, s2 = float(scale[i, 0]), float(scale[i, 1]), float(scale[i, 2])
        c0, e0 = a0 * q00 + a1 * q10 + a2 * q20, b0 * q00 + b1 * q10 + b2 * q20
        c1, e1 = a0 * q01 + a1 * q11 + a2 * q21, b0 * q01 + b1 * q11 + b2 * q21
        c2, e2 = a0 * q02 + a1 * q12 + a2 * q22, b0 * q02 + b1 * q12 + b2 * q22
        g0, h0, g1, h1, g2, h2 = s0 * c0, s0 * e0, s1 * c1, s1 * e1, s2 * c2, s2 * e2
        xx, xy, yy = g0 * g0 + g1 * g1 + g2 * g2, g0 * h0 + g1 * h1 + g2 * h2, h0 * h0 + h1 * h1 + h2 * h2
        wide_x, wide_y = xx + FILTER_PX2, yy + FILTER_PX2
        determinant = wide_x * wide_y - xy * xy

        # conic and opacity to the entries of Sigma', xy counting once
        ka, kb, kc = wide_y / determinant, -xy / determinant, wide_x / determinant
        d_a, d_b, d_c = float(to_conic[i, 0]), 0.5 * float(to_conic[i, 1]), float(to_conic[i, 2])
        m00, m01 = ka * d_a + kb * d_b, ka * d_b + kb * d_c
        m10, m11 = kb * d_a + kc * d_b, kb * d_b + kc * d_c
        d_xx = -(m00 * ka + m01 * kb)
        d_xy = -2.0 * (m00 * kb + m01 * kc)
        d_yy = -(m10 * kb + m11 * kc)
        d_o = float(to_effective[i])
        if antialiased:
            small = xx * yy - xy * xy
            share = sqrt(max(small, 0.0) / determinant)
            d_log = 0.5 * d_o * share * float(opacity[i])
            if small > 0.0:
                d_xx += d_log * (yy / small - wide_y / determinant)
                d_yy += d_log * (xx / small - wide_x / determinant)
                d_xy -= 2.0 * d_log * xy * (1.0 / small - 1.0 / determinant)
            d_o *= share
        to_opacity[i] = d_o

        # Sigma' to B, and B to S, Q and V
        d_g0, d_h0 = 2.0 * d_xx * g0 + d_xy * h0, d_xy * g0 + 2.0 * d_yy * h0
        d_g1, d_h1 = 2.0 * d_xx * g1 + d_xy * h1, d_xy * g1 + 2.0 * d_yy * h1
        d_g2, d_h2 = 2.0 * d_xx * g2 + d_xy * h2, d_xy * g2 + 2.0 * d_yy * h2
        to_scale[i, 0], to_scale[i, 1], to_scale[i, 2] = (
            d_g0 * c0 + d_h0 * e0, d_g1 * c1 + d_h1 * e1, d_g2 * c2 + d_h2 * e2
        )  # fmt: skip
        d_g0, d_h0, d_g1, d_h1, d_g2, d_h2 = s0 * d_g0, s0 * d_h0, s1 * d_g1, s1 * d_h1, s2 * d_g2, s2 * d_h2
        w00, w10, w20 = a0 * d_g0 + b0 * d_h0, a1 * d_g0 + b1 * d_h0, a2 * d_g0 + b2 * d_h0
        w01, w11, w21 = a0 * d_g1 + b0 * d_h1, a1 * d_g1 + b1 * d_h1, a2 * d_g1 + b2 * d_h1
        w02, w12, w22 = a0 * d_g2 + b0 * d_h2, a1 * d_g2 + b1 * d_h2, a2 * d_g2 + b2 * d_h2
        d_a0, d_b0 = d_g0 * q00 + d_g1 * q01 + d_g2 * q02, d_h0 * q00 + d_h1 * q01 + d_h2 * q02
        d_a1, d_b1 = d_g0 * q10 + d_g1 * q11 + d_g2 * q12, d_h0 * q10 + d_h1 * q11 + d_h2 * q12
        d_a2, d_b2 = d_g0 * q20 + d_g1 * q21 + d_g2 * q22, d_h0 * q20 + d_h1 * q21 + d_h2 * q22

        # the normal to its column of Q, and to R
        k = _thinnest(scale[i, 0], scale[i, 1], scale[i, 2])
        n0 = q00 if k == 0 else (q01 if k == 1 else q02)
        n1 = q10 if k == 0 else (q11 if k == 1 else q12)
        n2 = q20 if k == 0 else (q21 if k == 1 else q22)
        nz = r02 * n0 + r12 * n1 + r22 * n2
        nx, ny = r00 * n0 + r10 * n1 + r20 * n2, r01 * n0 + r11 * n1 + r21 * n2
        towards = -nz if orthographic else nx * tx + ny * ty + nz * tz
        sign = -1.0 if towards > 0.0 else 1.0
        d_nx, d_ny, d_nz = sign * to_normal[i, 0], sign * to_normal[i, 1], sign * to_normal[i, 2]
        d_n0 = r00 * d_nx + r01 * d_ny + r02 * d_nz
        d_n1 = r10 * d_nx + r11 * d_ny + r12 * d_nz
        d_n2 = r20 * d_nx + r21 * d_ny + r22 * d_nz
        if k == 0:
            w00, w10, w20 = w00 + d_n0, w10 + d_n1, w20 + d_n2
        elif k == 1:
            w01, w11, w21 = w01 + d_n0, w11 + d_n1, w21 + d_n2
        else:
            w02, w12, w22 = w02 + d_n0, w12 + d_n1, w22 + d_n2

        # Q to the unit quaternion, and that to the given one, across whose length nothing changes
        qw, qx, qy, qz = shorten * qw, shorten * qx, shorten * qy, shorten * qz
        d_qw = 2.0 * (qx * (w21 - w12) + qy * (w02 - w20) + qz * (w10 - w01))
        d_qx = 2.0 * (qy * (w01 + w10) + qz * (w02 + w20) + qw * (w21 - w12) - 2.0 * qx * (w11 + w22))
        d_qy = 2.0 * (qx * (w01 + w10) + qz * (w12 + w21) + qw * (w02 - w20) - 2.0 * qy * (w00 + w22))
        d_qz = 2.0 * (qx * (w02 + w20) + qy * (w12 + w21) + qw * (w10 - w01) - 2.0 * qz * (w00 + w11))
        radial = qw * d_qw + qx * d_qx + qy * d_qy + qz * d_qz
        to_rotation[i, 0], to_rotation[i, 1] = shorten * (d_qw - radial * qw), shorten * (d_qx - radial * qx)
        to_rotation[i, 2], to_rotation[i, 3] = shorten * (d_qy - radial * qy), shorten * (d_qz - radial * qz)

        # V = J R^T to J, and J and the centre to the focal length and the place in camera axes
        d_along = d_a0 * r00 + d_a1 * r10 + d_a2 * r20 - d_b0 * r01 - d_b1 * r11 - d_b2 * r21
        d_tilt_x = d_a0 * r02 + d_a1 * r12 + d_a2 * r22
        d_tilt_y = d_b0 * r02 + d_b1 * r12 + d_b2 * r22
        d_px, d_py = float(to_mean_px[i, 0]), float(to_mean_px[i, 1])
        d_u, d_v = f * d_px, -f * d_py
        if not orthographic:
            d_along += d_tilt_x * held_u - d_tilt_y * held_v
            d_u += d_tilt_x * along if abs(u) <= limit_x else 0.0
            d_v -= d_tilt_y * along if abs(v) <= limit_y else 0.0
        d_tx, d_ty = d_u / distance, d_v / distance
        d_tz = -float(to_depth[i])
        if not orthographic:
            d_tz += (along * d_along + u * d_u + v * d_v) / distance
        to_mean[i, 0] = r00 * d_tx + r01 * d_ty + r02 * d_tz
        to_mean[i, 1] = r10 * d_tx + r11 * d_ty + r12 * d_tz
        to_mean[i, 2] = r20 * d_tx + r21 * d_ty + r22 * d_tz

        # to R by V, by the normal and by t = R^T (mean - position)
        total[0] += d_a0 * along + n0 * d_nx + x * d_tx
        total[1] += n0 * d_ny + x * d_ty - d_b0 * along
        total[2] += d_a0 * tilt_x + d_b0 * tilt_y + n0 * d_nz + x * d_tz
        total[3] += d_a1 * along + n1 * d_nx + y * d_tx
        total[4] += n1 * d_ny + y * d_ty - d_b1 * along
        total[5] += d_a1 * tilt_x + d_b1 * tilt_y + n1 * d_nz + y * d_tz
        total[6] += d_a2 * along + n2 * d_nx + z * d_tx
        total[7] += n2 * d_ny + z * d_ty - d_b2 * along
        total[8] += d_a2 * tilt_x + d_b2 * tilt_y + n2 * d_nz + z * d_tz
        total[9] -= r00 * d_tx + r01 * d_ty + r02 * d_tz
        total[10] -= r10 * d_tx + r11 * d_ty + r12 * d_tz
        total[11] -= r20 * d_tx + r21 * d_ty + r22 * d_tz
        total[12] += d_along / distance + u * d_px - v * d_py
        total[13] += d_px
        total[14] += d_py


@njit(cache=True, fastmath=_LOOSE, parallel=True)
def project_backward(
    mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased,
    visible, to_mean_px, to_conic, to_effective, to_depth, to_normal,
    to_mean, to_scale, to_rotation, to_opacity,
):  # fmt: skip
    """From gradients to the fields of `Projected` (`to_mean_px` ...) those to the Gaussians, and the camera's.

    Fills the last four arrays, which come as zeros; only visible Gaussians get gradients.

    Returns:
        (64, 15) float64: `CAMERA_GRADIENTS` of every block of Gaussians.
    """
    camera = np.zeros((_BLOCKS, CAMERA_GRADIENTS))
    for block in prange(_BLOCKS):
        _backward_block(
            np.int64(block), mean, scale, rotation, opacity, pose, intrinsics, width, height, orthographic, antialiased,
            visible, to_mean_px, to_conic, to_effective, to_depth, to_normal,
            to_mean, to_scale, to_rotation, to_opacity, camera[block],
        )  # fmt: skip
    return camera
