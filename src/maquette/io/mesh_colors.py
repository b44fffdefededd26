"""Colours of meshes at places on their faces: their textures, decoded, and their vertices' own."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from maquette.io.images import srgb_to_linear
from maquette.io.meshes import NEUTRAL
from maquette.types import Mesh


def colors_at(mesh: Mesh, face: Int[np.ndarray, " n"], weight: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Linear colours at places on the mesh: face numbers, and the weights of their corners. Textures repeat."""
    corners, weight = mesh.faces.numpy()[face], weight[..., None]
    default = 0 if mesh.textures else -1
    index = np.full(len(face), default) if mesh.texture_index is None else mesh.texture_index.numpy()[face]
    if mesh.colors is None:
        corner_colors = np.broadcast_to(np.where(index < 0, NEUTRAL, 1.0)[:, None, None], (len(face), 3, 3))
    else:
        corner_colors = mesh.colors.numpy()[corners]
    color = (corner_colors * weight).sum(1)
    if mesh.uv is None:
        return color
    uv = (mesh.uv.numpy()[corners] * weight).sum(1)
    for number, picture in enumerate(mesh.textures):
        here = index == number
        height, width = picture.shape[:2]
        x = uv[here, 0] % 1 * width - 0.5
        y = (1 - uv[here, 1] % 1) * height - 0.5
        color[here] *= _bilinear(_decode(picture), x, y)
    return color


def shrink_textures(mesh: Mesh, side_px: int) -> Mesh:
    """The same mesh with textures of at most `side_px`, each pixel the mean of those it stands for."""
    shrunk = []
    for picture in mesh.textures:
        scale = side_px / max(picture.shape[:2])
        size = [max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0])]
        if scale < 1:
            picture = torch.from_numpy(cv2.resize(picture.numpy(), size, interpolation=cv2.INTER_AREA))
        shrunk.append(picture)
    return replace(mesh, textures=tuple(shrunk))


def _decode(picture: torch.Tensor) -> np.ndarray:
    return srgb_to_linear(torch.arange(256, dtype=torch.float64) / 255).numpy()[picture.numpy()]


def _bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A repeating picture at pixel positions whose whole numbers are centres."""
    height, width = picture.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = (x - left)[:, None], (y - top)[:, None]
    rows, columns = (top % height, (top + 1) % height), (left % width, (left + 1) % width)
    upper = picture[rows[0], columns[0]] * (1 - u) + picture[rows[0], columns[1]] * u
    lower = picture[rows[1], columns[0]] * (1 - u) + picture[rows[1], columns[1]] * u
    return upper * (1 - v) + lower * v
