"""Procedural shapes: a solid from a seed.

`sample_field` picks one of the families of `maquette.synth.solids.families`, then adds the surface detail that all
of them share (noise, cracks, grooves, ornament, lettering) and a gentle warp. The same seed and index give
the same field on every machine.
"""

import numpy as np
from skimage import measure

from maquette.geometry import field as f
from maquette.render.gbuffer import Solid, solidify
from maquette.synth.solids.assemblies import ASSEMBLIES
from maquette.synth.solids.builder import Builder, lettering, ornament, random_rotation
from maquette.synth.solids.expanses import EXPANSES
from maquette.synth.solids.families import CLASSIC, Families
from maquette.synth.solids.surfacing import cover, cut

GRID_SIDE = 128
BINNED = 12  # fields of more primitives than this list them by region
MESH_FORMAT = 2  # raise it when `sample_mesh` would give other meshes
FAMILIES: Families = CLASSIC | ASSEMBLIES | EXPANSES


def add_detail(b: Builder, amount: float) -> None:
    """Surface detail that all families share. `amount` in [0, 1] is the chance and scale of it."""
    r = b.rng
    if r.random() < 0.55 * amount:  # relief of medium scale
        kind = int(r.choice([f.FBM, f.RIDGED, f.BILLOW]))
        region = (0.0, 0.0) if r.random() < 0.5 else (r.uniform(1, 3), r.uniform(-0.2, 0.3))
        b.noise(
            kind, r.uniform(3, 9), amount * r.uniform(0.006, 0.03), int(r.integers(1, 5)), r.uniform(0.35, 0.6), region
        )
    if r.random() < 0.4 * amount:  # grain, finer than the grid
        b.noise(
            f.FBM, r.uniform(15, 45), amount * r.uniform(0.001, 0.006), 2, 0.5, (r.uniform(1, 3), r.uniform(-0.2, 0.4))
        )
    if r.random() < 0.2 * amount:
        kind = f.CRACKS if r.random() < 0.6 else f.DIMPLES
        b.noise(kind, r.uniform(2.5, 9), amount * r.uniform(0.01, 0.035), region=(r.uniform(1, 2), 0.1))
    if r.random() < 0.2 * amount:
        b.noise(
            f.GROOVES, float(r.integers(6, 30)), amount * r.uniform(0.004, 0.02), gain=r.uniform(0.3, 1.0),
            region=(1.5, 0.1) if r.random() < 0.4 else (0.0, 0.0), axis=int(r.integers(0, 3)),
        )  # fmt: skip
    while r.random() < 0.35 * amount:
        art = lettering(r) if r.random() < 0.35 else ornament(r)
        height = r.choice([-1, 1]) * amount * r.uniform(0.008, 0.035)
        if r.random() < 0.5:
            window = (np.pi, r.uniform(0.1, 0.4)) if r.random() < 0.5 else (r.uniform(0.5, 1.2), r.uniform(0.2, 0.5))
            repeats = (int(r.integers(2, 9)), 1) if window[0] > 3 else (1, 1)
            b.decal(art, f.CYLINDRICAL, height, window, (0, r.uniform(-0.3, 0.3), 0), repeats=repeats)
        else:
            half = r.uniform(0.2, 0.6)
            b.decal(art, f.PLANAR, height, (half, half), rotation=random_rotation(r), depth=-0.05)


def sample_field(
    seed: int, index: int, detail: float | None = None, families: Families | None = None
) -> tuple[f.SolidField, str]:
    """Draw a field and the name of its family.

    Args:
        seed, index: the same pair gives the same field.
        detail: amount of surface detail in [0, 1]; `None` draws it (a fifth of the shapes have none).
        families: what is drawn from; all of them by default. `CLASSIC` gives what it has always given.
    """
    families = FAMILIES if families is None else families
    rng = np.random.default_rng([seed, index])
    names = list(families)
    odds = np.array([families[n][1] for n in names])
    name = str(rng.choice(names, p=odds / odds.sum()))
    b = Builder(rng)
    families[name][0](b)
    classic = families is CLASSIC
    if name in CLASSIC and not classic:
        _change(b)
    drawn = 0.0 if rng.random() < 0.2 else float(rng.uniform(0.3, 1.0))
    amount = drawn if detail is None else detail
    if name in CLASSIC:
        add_detail(b, amount)
        _warp(b)
    return b.build(binned=not classic and len(b.rows) > BINNED), name


def _change(b: Builder) -> None:
    """What any family gains: cuts, and height maps on its parts."""
    if b.rng.random() < 0.25:
        cut(b)
    if b.rng.random() < 0.4:
        cover(b, 0.6)


def _warp(b: Builder) -> None:
    """Twist, taper and wobble, some of the time."""
    rng = b.rng
    if rng.random() < 0.3:
        b.warp[0] = rng.normal(0, 0.8)
    if rng.random() < 0.2:
        b.warp[2] = rng.uniform(-0.5, 0.5)
    if rng.random() < 0.25:
        b.warp[3], b.warp[4] = rng.uniform(0.02, 0.1), rng.uniform(1, 2.5)


def sample_solid(
    seed: int, index: int, detail: float | None = None, side: int = GRID_SIDE, families: Families | None = None
) -> tuple[Solid, str]:
    """`sample_field`, sampled and reduced to one connected piece; redrawn until something is there."""
    for attempt in range(20):
        field, name = sample_field(seed, index + attempt * 1_000_003, detail, families)
        solid = solidify(field, side)
        if (solid.grid < 0).mean() > 0.004:
            return solid, name
    raise RuntimeError(f"seed {seed}, index {index}: twenty empty shapes in a row")


def sample_mesh(seed: int, index: int = 0, side: int = GRID_SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A shape of the classic families as a mesh: vertices (n, 3), object frame, and faces (m, 3), outward."""
    solid, _ = sample_solid(seed, index, side=side, families=CLASSIC)
    return grid_mesh(solid.grid)


def grid_mesh(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes of a (z, y, x) grid over [-1, 1]^3; faces counter-clockwise seen from outside."""
    vertices, faces, _, _ = measure.marching_cubes(grid, 0.0, gradient_direction="ascent")
    return (vertices[:, ::-1] * (2.0 / (grid.shape[0] - 1)) - 1.0).astype(np.float32), faces.astype(np.int32)
