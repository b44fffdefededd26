"""G-buffers of every family of shapes against ray-casting the marching-cubes mesh of the same grid.

Two things are legitimately finer than the mesh: hits are refined on the field, so they may leave the mesh by a
part of a cell; and normals show detail that the grid can't hold. So depths and normals are compared without
surface detail, and the waves of the two families that are noise by nature are kept within what the grid holds.
With all of the detail, silhouettes still agree, and nothing is torn.
"""

from typing import NamedTuple

import numpy as np
import pytest
from oracles.raycast import Hits, raycast
from scipy import ndimage

from maquette.geometry.field import GROOVES
from maquette.render.gbuffer import GBuffer, ObjectCamera, Solid, solidify, trace
from maquette.synth.solids.builder import Builder
from maquette.synth.solids.shapes import CLASSIC, grid_mesh, sample_solid
from maquette.synth.views import sample_lights, sample_view

SEEDS = (0, 1)
PX = 64
NOISY = ("organic", "folds")
BOX = np.ones((3, 3), bool)


class Case(NamedTuple):
    solid: Solid
    view: ObjectCamera
    buffer: GBuffer
    hits: Hits

    @property
    def cell(self) -> float:
        return 2 / (self.solid.grid.shape[0] - 1)

    @property
    def depth(self) -> np.ndarray:
        return -self.buffer.position[..., 2]


def seen(solid: Solid, family: str, rng: np.random.Generator) -> Case:
    view = sample_view(rng, solid.grid, family, PX)
    buffer = trace(solid, view, sample_lights(rng, view))
    return Case(solid, view, buffer, raycast(*grid_mesh(solid.grid), view))


@pytest.fixture(scope="module", params=CLASSIC)
def cases(request) -> list[Case]:
    made = []
    for seed in SEEDS:
        rng = np.random.default_rng([list(CLASSIC).index(request.param), seed])
        builder = Builder(rng)
        CLASSIC[request.param][0](builder)
        for noise in builder.noises:
            noise[1] = min(noise[1], 4.0) if noise[0] == GROOVES else noise[1]  # frequency
            noise[3] = min(noise[3], 2)  # octaves
        made.append(seen(solidify(builder.build(), 96 if request.param in NOISY else 64), request.param, rng))
    return made


@pytest.fixture(scope="module")
def detailed() -> list[Case]:
    made = []
    for index in range(5):
        solid, family = sample_solid(77, index, 1.0, 96)
        made.append(seen(solid, family, np.random.default_rng(index)))
    return made


def test_silhouettes_agree(cases):
    assert_silhouettes_agree(cases)


def test_no_specks(cases):
    assert_no_specks(cases)


def test_detail_tears_nothing(detailed):
    assert_silhouettes_agree(detailed)
    assert_no_specks(detailed)
    assert_facing(detailed)


def assert_silhouettes_agree(cases):
    for case in cases:
        both, either = case.buffer.mask & case.hits.mask, case.buffer.mask | case.hits.mask
        assert both.sum() > 100
        assert both.sum() / either.sum() > 0.98
        # Where they differ, it is by the pixel on the edge: no holes within, nothing afloat outside.
        assert not (ndimage.binary_erosion(case.hits.mask, BOX, border_value=1) & ~case.buffer.mask).any()
        assert not (case.buffer.mask & ~ndimage.binary_dilation(case.hits.mask, BOX)).any()


def test_depths_agree_to_a_part_of_a_cell(cases):
    for case in cases:
        both = case.buffer.mask & case.hits.mask
        error = np.abs(case.depth - case.hits.depth)[both] / case.cell
        assert np.median(error) < 0.2
        assert np.percentile(error, 95) < 1.0


def assert_no_specks(cases):
    """No pixel that is off by cells both from the mesh around it and from all of its own neighbours."""
    for case in cases:
        mesh = np.where(case.hits.mask, case.hits.depth, np.inf)
        own = np.where(case.buffer.mask, case.depth, np.inf)
        around = _shifts(own)
        around.pop(4)  # itself
        from_mesh = np.min([np.abs(case.depth - other) for other in _shifts(mesh)], 0)
        from_own = np.min([np.abs(case.depth - other) for other in around], 0)
        assert not (case.buffer.mask & (from_mesh > 6 * case.cell) & (from_own > 6 * case.cell)).any()


def test_normals_agree_and_face_the_camera(cases):
    for case in cases:
        both = case.buffer.mask & case.hits.mask
        cosine = (case.buffer.normal * case.hits.normal).sum(-1)[both]
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert np.median(angle) < 12  # facets of the mesh against the smooth field
    assert_facing(cases)


def assert_facing(cases):
    for case in cases:
        length = np.linalg.norm(case.buffer.normal, axis=-1)[case.buffer.mask]
        np.testing.assert_allclose(length, 1, atol=1e-5)
        if case.view.orthographic:
            facing = case.buffer.normal[..., 2]
        else:
            facing = -(case.buffer.normal * case.buffer.position).sum(-1)
            facing = facing / np.maximum(np.linalg.norm(case.buffer.position, axis=-1), 1e-9)
        assert facing[case.buffer.mask].min() > 0.019  # horizon pixels are brought back to 0.02


def test_shapes_are_one_piece_within_the_cube(cases):
    for case in cases:
        inside = case.solid.grid < 0
        assert inside.any()
        _, pieces = ndimage.label(inside)  # pyright: ignore[reportGeneralTypeIssues]
        assert pieces == 1
        assert all(not inside.take([0, -1], axis).any() for axis in range(3))


def _shifts(image: np.ndarray) -> list[np.ndarray]:
    """The image moved by -1, 0, 1 pixels both ways; infinity enters at the border."""
    padded = np.pad(image, 1, constant_values=np.inf)
    height, width = image.shape
    return [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
