"""What the report's page holds as text: pictures as data URLs, normals of 12 bits, depth of 16 bits.

Eight bits a channel are too few for normals that are to be lit: a step of 1/127 in n . l is up to 26 levels
of a screen in the shadows, and shininess makes it worse. Octahedral coordinates of 12 bits fit the three
bytes of a pixel and leave steps of at most 0.06 degrees.
"""

import base64
import io

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from maquette.types import NormalMap

_LARGEST_CODE = 4095  # 12 bits; code 0 says that there is no normal
_MIDDLE_CODE = 2048
_HALF_RANGE = 2047
_WEBP_QUALITY = 88
_LARGEST_DEPTH_CODE = 65535  # 16 bits; code 0 says that there is no surface


def octahedral_codes(normal_map: NormalMap) -> UInt8[Tensor, "height width 3"]:
    """Normals as two 12-bit coordinates in three bytes.

    The unit octahedron |x| + |y| + |z| = 1 is unfolded onto a square (Meyer et al., "On Floating-Point
    Normal Vectors", 2010): the half that faces the viewer is the inner diamond. The bytes are the upper eight
    bits of x, those of y, and the lower four of both. A normal of (0, 0, 1) is exact.

    Returns:
        All zero where there is no normal.
    """
    normals = torch.where(normal_map.mask[..., None], normal_map.normals.detach().cpu(), 0.0).double()
    flat = normals[..., :2] / normals.abs().sum(dim=-1, keepdim=True).clamp_min(1e-12)
    sign = torch.where(flat < 0, -1.0, 1.0).double()
    folded = (1 - flat.flip(-1).abs()) * sign
    square = torch.where(normals[..., 2:] < 0, folded, flat)
    codes = (square * _HALF_RANGE + _MIDDLE_CODE).round().clamp(1, _LARGEST_CODE).to(torch.int32)
    x, y = codes.unbind(-1)
    packed = torch.stack([x >> 4, y >> 4, (x & 15) << 4 | (y & 15)], dim=-1)
    return torch.where(normal_map.mask.cpu()[..., None], packed, 0).to(torch.uint8)


def depth_codes(depth: Float[Tensor, "height width"], longest_px: int) -> tuple[np.ndarray, float, float]:
    """Depth as 16-bit codes on a grid of at most `longest_px`.

    The grid takes pixels rather than means of them: a mean across a step is a depth that nothing has.

    Returns:
        The codes (rows, columns), 0 where there is no surface, else 1 for the nearest and 65535 for the
        farthest; the nearest depth; the farthest.
    """
    height, width = depth.shape
    scale = min(1.0, longest_px / max(height, width))
    rows, columns = (_evenly(side, max(2, round(side * scale))) for side in (height, width))
    values = depth.detach().cpu().double().numpy()[np.ix_(rows, columns)]
    inside = np.isfinite(values)
    known = values[inside] if inside.any() else np.zeros(1)  # specks between the grid's pixels may all be missed
    nearest, farthest = float(known.min()), float(known.max())
    share = (np.where(inside, values, nearest) - nearest) / max(farthest - nearest, 1e-12)
    codes = np.where(inside, 1 + np.rint(share * (_LARGEST_DEPTH_CODE - 1)), 0)
    return codes.astype(np.uint16), nearest, farthest


def png_url(codes: UInt8[Tensor, "height width 3"]) -> str:
    """Bytes that must arrive as they are."""
    _, content = cv2.imencode(".png", codes.numpy()[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return _url("image/png", content.tobytes())


def webp_url(srgb: UInt8[Tensor, "height width 3"], alpha: Float[Tensor, "height width"] | None = None) -> str:
    """A picture to look at, of 8 bits, with an alpha of 0..1 if one is given."""
    pixels = srgb.cpu().numpy()
    if alpha is not None:
        pixels = np.dstack([pixels, (alpha.cpu().numpy() * 255).round().astype(np.uint8)])
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "WEBP", quality=_WEBP_QUALITY, method=4)
    return _url("image/webp", content.getvalue())


def base64_of(codes: np.ndarray) -> str:
    """16-bit codes, row by row, the low byte first."""
    return base64.b64encode(codes.astype("<u2").tobytes()).decode("ascii")


def _evenly(side: int, count: int) -> np.ndarray:
    return np.minimum(((np.arange(count) + 0.5) * side / count).astype(int), side - 1)


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
