"""Meshes as shapes of a dataset: placed in the object frame, traced finer than a pixel and averaged."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maquette.errors import InputError
from maquette.geometry.field import PARTS
from maquette.geometry.mesh import weld
from maquette.io.meshes import read_mesh
from maquette.render.gbuffer import GBuffer, ObjectCamera
from maquette.render.mesh_gbuffer import Triangles, trace_mesh, triangulate
from maquette.synth.datasets.mesh_files import MeshFile, find_meshes

EXTENT = 0.9  # half of the longest side of a mesh's box; a solid lies within 1
SAMPLES = 2  # along each side of a pixel: a mesh's detail knows no pixels, a solid's normals do


class PlacedMesh(NamedTuple):
    """A mesh in the object frame: what is traced, points (n, 3) on it, and the part (m,) of each face, from 1."""

    triangles: Triangles
    points: np.ndarray
    parts: np.ndarray


def place_mesh(folder: Path, file: MeshFile) -> PlacedMesh:
    """Read a mesh, centre it and scale it into the object frame; pieces that hang together are one part.

    Raises:
        InputError: the file can't be read as a mesh.
    """
    welded, faces = weld(read_mesh(folder / file.name))
    used = welded[np.unique(faces)]
    low, high = used.min(0), used.max(0)
    vertices = (welded - (low + high) / 2) * (2 * EXTENT / (high - low).max())
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    piece = connected_components(graph, directed=False)[1][faces[:, 0]]
    order = np.unique(piece, return_inverse=True)[1]
    return PlacedMesh(triangulate(vertices, faces), vertices[np.unique(faces)], order % PARTS + 1)


def trace_placed(mesh: PlacedMesh, view: ObjectCamera, lights: np.ndarray) -> GBuffer:
    """The G-buffer of a mesh; arguments as of `maquette.render.gbuffer.trace`.

    A pixel belongs to the mesh if half of it does; it is the mean of what it sees, and of one of the parts.
    """
    n = SAMPLES
    center = (view.center_px[0] * n, view.center_px[1] * n)
    fine = replace(view, width=view.width * n, height=view.height * n, focal_px=view.focal_px * n, center_px=center)
    buffer, hits = trace_mesh(mesh.triangles, fine, lights)
    part = np.where(hits.face >= 0, mesh.parts[hits.face], 0).astype(np.uint8)
    covered = _mean(buffer.mask.astype(np.float32), n)
    mask = covered >= 0.5
    share = np.maximum(covered, 1e-6)

    def mean(values: np.ndarray) -> np.ndarray:
        total = _mean(values.astype(np.float32), n)
        return total * (mask / share).reshape(mask.shape + (1,) * (total.ndim - 2))

    return GBuffer(
        normal=_unit(mean(buffer.normal)),
        position=mean(buffer.position),
        mask=mask,
        lit=np.stack([mean(lit) >= 0.5 for lit in buffer.lit]) & mask if len(lights) else buffer.lit[:, ::n, ::n],
        openness=mean(buffer.openness),
        opening=_unit(mean(buffer.opening)),
        part=part.reshape(view.height, n, view.width, n).max((1, 3)) * mask,
    )


def require_meshes(folder: Path | None, meshes: tuple[MeshFile, ...]) -> Path:
    """The folder that meshes are below, once it is known to hold them as they were.

    Raises:
        InputError: nobody said where they are; one is missing or has changed.
    """
    if folder is None:
        raise InputError(f"the dataset holds {len(meshes)} meshes; say by --meshes in which folder they are")
    there = set(find_meshes(folder)) if meshes else set()
    for mesh in meshes:
        if mesh not in there:
            raise InputError(f"--meshes {folder}: {mesh.name} is missing or has changed since the dataset was begun")
    return folder


def _mean(values: np.ndarray, n: int) -> np.ndarray:
    height, width = values.shape[0] // n, values.shape[1] // n
    return values.reshape(height, n, width, n, *values.shape[2:]).mean((1, 3))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), 0).astype(np.float32)
