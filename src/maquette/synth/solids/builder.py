"""A builder of `maquette.geometry.field.SolidField`: primitives, profiles, noise and decals, added one by one."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from maquette.geometry import field as f
from maquette.synth.solids.bins import MARGIN, bins

TABLE_SIDE = 128
DECAL_SIDE = 128


class Builder:
    """Collects the rows of a field; `build` packs them.

    All `center` arguments are in object units; `rotation` is a (3, 3) matrix local to object, identity by
    default. `blend` is the size of the fillet to what was there before (a bevel if `bevel`).
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rows: list[np.ndarray] = []
        self.tables: list[np.ndarray] = []
        self.noises: list[np.ndarray] = []
        self.decals: list[np.ndarray] = []
        self.decal_rows: list[np.ndarray] = []
        self.warp = np.zeros(6)
        self.reliefs: list[np.ndarray] = []
        self.maps: list[np.ndarray] = []
        self.cells: list[np.ndarray] = []
        self._part, self._grouped, self._relief = 0, False, 0

    def add(
        self,
        kind: int,
        params: tuple[float, ...],
        center=(0.0, 0.0, 0.0),
        rotation: np.ndarray | None = None,
        *,
        operation: int = f.UNION,
        blend: float = 0.0,
        bevel: bool = False,
        rounding: float = 0.0,
        mirror: bool = False,
        table: int = 0,
    ) -> None:
        """Append a primitive; `params` as `maquette.geometry.field` documents them by kind."""
        row = np.zeros(f.PRIMITIVE_COLUMNS)
        row[f.KIND], row[f.OPERATION], row[f.BLEND] = kind, operation, blend
        row[f.CENTER : f.CENTER + 3] = center
        to_object = np.eye(3) if rotation is None else rotation
        row[f.ROTATION : f.ROTATION + 9] = to_object.T.ravel()
        row[f.PARAM : f.PARAM + len(params)] = params
        row[f.ROUNDING] = rounding
        row[f.BOUND] = _bound(kind, params) + rounding
        row[f.MIRROR], row[f.TABLE], row[f.CHAMFER] = mirror, table, bevel
        row[f.PART] = self._next_part()
        if self._relief and operation == f.UNION:
            self.cover_row(row, self._relief)
        self.rows.append(row)

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """What is added within belongs to one part; outside of it every primitive is a part of its own.

        Within another `grouped`, nothing changes: the outermost one counts.
        """
        outermost = not self._grouped
        if outermost:
            self._next_part()
            self._grouped = True
        yield
        if outermost:
            self._grouped = False

    def relief(
        self,
        heights: np.ndarray,
        cells: np.ndarray,
        amplitude: float,
        tile: float,
        mapping: int = f.SIDES,
        turned: bool = False,
    ) -> int:
        """Register a height map for surfaces; returns its number, for `covered` and `cover_row`.

        Args:
            heights: (side, side) in [0, 1], a tile that repeats.
            cells: (side, side) uint8 ids of what it shows, 0 between.
            amplitude: outward, of height 1, object units.
            tile: side of a tile, object units.
            mapping: `f.AROUND` the local y axis, `f.SIDES`, or `f.ON_TOP` along local y.
            turned: by a right angle.
        """
        self.maps.append(heights.astype(np.float32))
        self.cells.append(cells.astype(np.uint8))
        offset = self.rng.random(2)
        self.reliefs.append(np.array([mapping, len(self.maps) - 1, amplitude, tile, *offset, turned]))
        return len(self.reliefs)

    def cover_row(self, row: np.ndarray, relief: int) -> None:
        """Lay a relief on a primitive."""
        _, _, amplitude, tile, *_ = self.reliefs[relief - 1]
        row[f.RELIEF] = relief
        row[f.REPEATS] = max(1, round(2 * np.pi * _girth(row) / tile))
        row[f.BOUND] += amplitude

    @contextmanager
    def covered(self, relief: int) -> Iterator[None]:
        """What is added within has a relief on it; 0 for none."""
        before, self._relief = self._relief, relief
        yield
        self._relief = before

    def apart(self) -> None:
        """What is added from here on carves and cuts itself only."""
        self.rows.append(np.zeros(f.PRIMITIVE_COLUMNS))
        self.rows[-1][f.OPERATION] = f.APART

    def place(self, other: "Builder", scale: float, rotation: np.ndarray, shift: np.ndarray) -> None:
        """Add what another builder holds, apart from what is there; noise, ornament and warp stay behind.

        Args:
            other: the builder.
            scale, rotation, shift: a point p of its object goes to rotation @ (scale * p) + shift.
        """
        self.apart()
        first_map, first_relief, first_table = len(self.maps), len(self.reliefs), len(self.tables)
        self.maps += other.maps
        self.cells += other.cells
        self.tables += other.tables
        for relief in other.reliefs:
            moved = relief.copy()
            moved[1] += first_map
            moved[2:4] *= scale
            self.reliefs.append(moved)
        parts = {part: self._next_part() for part in sorted({row[f.PART] for row in other.rows})}
        for row in other.rows:
            for twin in _unmirrored(row):
                twin[f.CENTER : f.CENTER + 3] = rotation @ (scale * twin[f.CENTER : f.CENTER + 3]) + shift
                turn = twin[f.ROTATION : f.ROTATION + 9].reshape(3, 3)
                twin[f.ROTATION : f.ROTATION + 9] = (turn @ rotation.T).ravel()
                twin[f.PARAM : f.PARAM + (3 if twin[f.KIND] == f.SUPERQUADRIC else 4)] *= scale
                twin[[f.BLEND, f.ROUNDING, f.BOUND]] *= scale
                twin[f.TABLE] += first_table
                twin[f.RELIEF] += first_relief * (twin[f.RELIEF] > 0)
                twin[f.PART] = parts[row[f.PART]]
                self.rows.append(twin)

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners (3,) of a box about what is there, to a grid of 32^3; zeros if nothing is."""
        inside = np.argwhere(f.sample_grid(self.build(), 32) < 0)[:, ::-1] * (2 / 31) - 1
        return (inside.min(0), inside.max(0)) if len(inside) else (np.zeros(3), np.zeros(3))

    def _next_part(self) -> int:
        if not self._grouped:
            self._part = self._part % f.PARTS + 1
        return self._part

    def tube(self, points: np.ndarray, radii: np.ndarray, blend: float, mirror: bool = False) -> None:
        """A sweep: round cones between successive points (n, 3) with radii (n,); one part."""
        with self.grouped():
            self._cones(points, radii, blend, mirror)

    def _cones(self, points: np.ndarray, radii: np.ndarray, blend: float, mirror: bool) -> None:
        for p, q, a, b in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            length = float(np.linalg.norm(q - p))
            if length < 1e-6:
                continue
            axis = (q - p) / length
            self.add(
                f.CAPSULE, (float(a), float(b), length / 2), (p + q) / 2, rotation_to(axis), blend=blend, mirror=mirror
            )

    def profile(self, polygon: np.ndarray) -> int:
        """Register a closed 2D polygon (n, 2) within [-1, 1]^2; returns the table's index."""
        self.tables.append(polygon_distance(polygon, TABLE_SIDE).astype(np.float32))
        return len(self.tables) - 1

    def noise(
        self,
        kind: int,
        frequency: float,
        amplitude: float,
        octaves: int = 4,
        gain: float = 0.5,
        region: tuple[float, float] = (0.0, 0.0),
        axis: int = 0,
    ) -> None:
        """Displace the surface; `region` (frequency, bias) limits it to patches."""
        offset = self.rng.uniform(-50, 50, 3)
        self.noises.append(
            np.array([kind, frequency, amplitude, octaves, gain, *offset, region[0], region[1], axis, 0.0])
        )

    def decal(
        self,
        heights: np.ndarray,
        mapping: int,
        amplitude: float,
        window: tuple[float, float],
        center=(0.0, 0.0, 0.0),
        rotation: np.ndarray | None = None,
        repeats: tuple[int, int] = (1, 1),
        depth: float = 10.0,
    ) -> None:
        """Press an ornament (DECAL_SIDE^2, in [0, 1]) outward by `amplitude` (negative engraves).

        Planar: local x, y across the window's half sizes, on the side within `depth` behind local z = 0.
        Cylindrical: around local y; the window is (half angle, half height).
        """
        to_object = np.eye(3) if rotation is None else rotation
        row = np.array([mapping, amplitude, *repeats, *center, *to_object.T.ravel(), window[0], window[1], depth, 0.0])
        self.decals.append(heights.astype(np.float32))
        self.decal_rows.append(row)

    def build(self, binned: bool = False) -> f.SolidField:
        """Pack; the displacement's bound tells where it need be evaluated at all.

        Args:
            binned: list by region which primitives matter there: for many of them. Far from all of them the value
                is then `f.FAR`.
        """
        reach = sum(abs(n[2]) / max(1 - n[4], 0.2) for n in self.noises) + sum(abs(d[1]) for d in self.decal_rows)
        warp = self.warp.copy()
        warp[5] = 2.0 * reach + 0.06 if reach else 0.0
        primitives = np.stack(self.rows)
        first, near = bins(primitives, MARGIN + reach) if binned else ([0, len(primitives)], range(len(primitives)))
        return f.SolidField(
            primitives,
            _stack(self.tables, (2, 2), np.float32),
            _stack(self.noises, (f.NOISE_COLUMNS,), np.float64),
            _stack(self.decals, (2, 2), np.float32),
            _stack(self.decal_rows, (f.DECAL_COLUMNS,), np.float64),
            _stack(_of_one_side(self.maps, cv2.INTER_LINEAR), (2, 2), np.float32),
            _stack(_of_one_side(self.cells, cv2.INTER_NEAREST), (2, 2), np.uint8),
            _stack(self.reliefs, (f.RELIEF_COLUMNS,), np.float64),
            np.array(first),
            np.array(near),
            warp,
        )


def rotation_to(axis: np.ndarray) -> np.ndarray:
    """A rotation whose local y becomes the unit `axis`; the turn about it is arbitrary."""
    other = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.8 else np.array([0, 0, 1.0])
    x = np.cross(axis, other)
    x /= np.linalg.norm(x)
    return np.stack([x, axis, np.cross(x, axis)], 1)


def random_rotation(rng: np.random.Generator, angle: float = np.pi) -> np.ndarray:
    """A rotation about a random axis by up to `angle` radians; uniform over SO(3) if that is pi."""
    if angle >= np.pi:
        return Rotation.random(rng=rng).as_matrix()
    axis = rng.normal(size=3)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(0, angle)).as_matrix()


def polygon_distance(polygon: np.ndarray, side: int) -> np.ndarray:
    """Exact signed distance (negative inside) of a closed polygon on a side x side lattice over [-1, 1]^2.

    Row index is the second coordinate. Inside by the even-odd rule.
    """
    axis = np.linspace(-1, 1, side)
    u, v = np.meshgrid(axis, axis)
    points = np.stack([u, v], -1).reshape(-1, 1, 2)
    a, b = polygon, np.roll(polygon, -1, 0)
    edge = b - a
    along = ((points - a) * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-12)
    nearest = a + np.clip(along, 0, 1)[..., None] * edge
    distance = np.sqrt(((points - nearest) ** 2).sum(-1).min(1))
    straddles = (a[:, 1] > points[..., 1]) != (b[:, 1] > points[..., 1])
    rise = np.where(np.abs(edge[:, 1]) < 1e-12, 1e-12, edge[:, 1])
    crossing = a[:, 0] + (points[..., 1] - a[:, 1]) / rise * edge[:, 0]
    inside = (straddles & (points[..., 0] < crossing)).sum(1) % 2 == 1
    return np.where(inside, -distance, distance).reshape(side, side)


def smooth_curve(points: np.ndarray, count: int) -> np.ndarray:
    """`count` points of a Catmull-Rom curve through `points` (n, d)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, len(points) - 1 - 1e-9, count)
    i, s = t.astype(int), (t % 1)[:, None]
    p0, p1, p2, p3 = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    return 0.5 * (2 * p1 + (p2 - p0) * s + (2 * p0 - 5 * p1 + 4 * p2 - p3) * s**2 + (3 * p1 - p0 - 3 * p2 + p3) * s**3)


def lettering(rng: np.random.Generator) -> np.ndarray:
    """One to three lines of random words in OpenCV's stroke fonts, as soft-edged heights in [0, 1]."""
    image = np.zeros((4 * DECAL_SIDE, 4 * DECAL_SIDE), np.uint8)
    lines = int(rng.integers(1, 4))
    alphabet = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&.*+")
    for line in range(lines):
        text = "".join(rng.choice(alphabet, int(rng.integers(2, 8))))
        font = int(rng.integers(0, 8))
        thickness = int(rng.integers(8, 22))
        (width, height), _ = cv2.getTextSize(text, font, 1.0, 1)
        scale = min(460 / max(width, 1), 380 / lines / max(height, 1))
        y = int(512 * (line + 0.5) / lines + scale * height / 2)
        cv2.putText(image, text, (256 - int(scale * width / 2), y), font, scale, 255, thickness, cv2.LINE_AA)
    return _soften(image[::-1], rng)


def ornament(rng: np.random.Generator) -> np.ndarray:
    """A motif as heights in [0, 1]: rosette, rings, meander, lattice, scales, star, waves or leaves."""
    axis = np.linspace(-1, 1, 4 * DECAL_SIDE)
    u, v = np.meshgrid(axis, axis)
    r, a = np.hypot(u, v), np.arctan2(v, u)
    k = int(rng.integers(3, 10))
    motifs = {
        "rosette": lambda: r < 0.35 + 0.5 * np.abs(np.cos(k * a / 2)),
        "rings": lambda: (np.sin(r * np.pi * k) > 0) & (r < 0.95),
        "meander": lambda: (np.sin(u * np.pi * 2) * np.sin(v * np.pi * 3) + 0.6 * np.sin(v * np.pi)) > 0,
        "lattice": lambda: (np.abs((u + v) * k / 2 % 1 - 0.5) < 0.15) | (np.abs((u - v) * k / 2 % 1 - 0.5) < 0.15),
        "scales": lambda: np.hypot((u * k / 2 + (np.floor(v * k) % 2) / 2) % 1 - 0.5, (v * k) % 1) < 0.6,
        "star": lambda: r < 0.9 * (0.45 + 0.55 * np.abs(((a * k / np.pi) % 2) - 1)),
        "waves": lambda: np.sin(v * np.pi * k + 1.5 * np.sin(u * np.pi * 2)) > 0,
        "leaves": lambda: np.abs(np.sin(a * k / 2 + r * 3)) > 0.5 + 0.4 * r,
    }
    name = str(rng.choice(list(motifs)))
    return _soften(motifs[name]().astype(np.uint8) * 255, rng)


def _soften(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur the edge of a stencil by a random bevel and reduce it to DECAL_SIDE."""
    blurred = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), float(rng.uniform(2, 10)))
    return cv2.resize(blurred, (DECAL_SIDE, DECAL_SIDE), interpolation=cv2.INTER_AREA)


def _unmirrored(row: np.ndarray) -> list[np.ndarray]:
    """A row as one, or, if it is mirrored, as two that are not."""
    if not row[f.MIRROR]:
        return [row.copy()]
    right, left = row.copy(), row.copy()
    right[f.MIRROR] = left[f.MIRROR] = 0
    flip = np.diag([-1.0, 1, 1])
    left[f.CENTER] *= -1
    left[f.ROTATION : f.ROTATION + 9] = (flip @ row[f.ROTATION : f.ROTATION + 9].reshape(3, 3) @ flip).ravel()
    return [right, left]


def _of_one_side(images: list[np.ndarray], how: int) -> list[np.ndarray]:
    """All as large as the largest."""
    side = max((len(image) for image in images), default=0)
    return [image if len(image) == side else cv2.resize(image, (side, side), interpolation=how) for image in images]


def _girth(row: np.ndarray) -> float:
    """About the largest radius of a primitive around its local y."""
    kind, a, b, c = int(row[f.KIND]), *row[f.PARAM : f.PARAM + 3]
    if kind in (f.ELLIPSOID, f.SUPERQUADRIC, f.BOX):
        return (a + c) / 2
    if kind in (f.CONE, f.CAPSULE):
        return max(a, b)
    return 0.5 * a if kind in (f.REVOLVE, f.EXTRUDE) else a


def _bound(kind: int, p: tuple[float, ...]) -> float:
    """Radius of a sphere about the primitive's centre that holds it."""
    if kind == f.SPHERE:
        return p[0]
    if kind in (f.BOX, f.SUPERQUADRIC, f.ELLIPSOID):
        return float(np.linalg.norm(p[:3]))
    if kind == f.CYLINDER:
        return float(np.hypot(p[0], p[1]))
    if kind == f.CONE:
        return float(np.hypot(max(p[0], p[1]), p[2]))
    if kind == f.TORUS:
        return p[0] + p[1]
    if kind == f.CAPSULE:
        return max(p[0], p[1]) + p[2]
    if kind == f.REVOLVE:
        return p[0] * 1.4143
    if kind == f.EXTRUDE:
        return float(np.sqrt(2 * p[0] ** 2 + p[1] ** 2))
    return f.FAR  # a plane


def _stack(arrays: list[np.ndarray], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.stack(arrays).astype(dtype) if arrays else np.zeros((0, *shape), dtype)
