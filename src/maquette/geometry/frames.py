"""The frames of normal maps: one table, and the group of signed axes that it lives in.

A frame says what the three numbers of a stored normal mean. Its matrix takes a normal in memory (x right,
y up, z towards the viewer) to the numbers in the file, so a row is where the file's axis points. All of them are
permutations of the axes with signs; the 48 such matrices are a group, and so changing frames has an inverse,
loses nothing, and doesn't depend on the way taken. Plain tuples: the command line reads the table before
anything heavy is imported.

`world` and `object` need a rotation of their own (a camera's pose; see `maquette.io.poses`), `tangent` a basis
at every texel (`maquette.geometry.tangent`).
"""

from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

from maquette.errors import InputError

Matrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
CameraFrame = Literal["opengl", "directx", "opencv", "dsine", "hypersim-camera"]

IDENTITY: Matrix = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_DIRECTIONS = {
    "right": (1, 0, 0),
    "left": (-1, 0, 0),
    "up": (0, 1, 0),
    "down": (0, -1, 0),
    "towards the viewer": (0, 0, 1),
    "away from the viewer": (0, 0, -1),
}


@dataclass(frozen=True)
class NormalFrame:
    """How a normal is written down in a camera's frame.

    Attributes:
        axes: where the x, y and z axes point.
        into_surface: the stored vector is the opposite of the normal that leaves the surface.
        used_by: who writes maps like that, and where they say so.
    """

    axes: tuple[str, str, str]
    used_by: str
    into_surface: bool = False

    @property
    def matrix(self) -> Matrix:
        """From memory to the file: stored = matrix @ normal."""
        sign = -1 if self.into_surface else 1
        x, y, z = (_DIRECTIONS[axis] for axis in self.axes)
        return _scaled(x, sign), _scaled(y, sign), _scaled(z, sign)


CAMERA_FRAMES: dict[CameraFrame, NormalFrame] = {
    "opengl": NormalFrame(
        ("right", "up", "towards the viewer"),
        "Blender, Unity, glTF 2.0 (`normalTexture`, Y+), DiLiGenT, Marigold",
    ),
    "directx": NormalFrame(
        ("right", "down", "towards the viewer"),
        "Unreal (Y-); 2D-3D-S and Omnidata (`EPFL-VILAB/omnidata#13`)",
    ),
    "opencv": NormalFrame(("right", "down", "away from the viewer"), "COLMAP, MoGe's arrays; OpenCV's camera axes"),
    "dsine": NormalFrame(
        ("right", "down", "away from the viewer"),
        "DSINE, StableNormal: OpenCV's axes, but a wall that faces the camera is (0, 0, 1)"
        " (`baegwangbin/DSINE#8`); so x points left and y up, as in LUCES",
        into_surface=True,
    ),
    "hypersim-camera": NormalFrame(
        ("right", "up", "towards the viewer"), 'Hypersim\'s `normal_cam` ("Coordinate conventions" in its README)'
    ),
}


def camera_frame(name: str) -> NormalFrame:
    """A frame of the table.

    Raises:
        InputError: there is none of that name.
    """
    for known, frame in CAMERA_FRAMES.items():
        if known == name:
            return frame
    raise InputError(f"convention {name!r}: must be one of {', '.join(CAMERA_FRAMES)}")


def change_of_frame(source: Matrix, target: Matrix) -> Matrix:
    """What takes a vector stored in one frame to the same vector in another."""
    return compose(target, inverse(source))


def compose(after: Matrix, before: Matrix) -> Matrix:
    """The product of two matrices: first `before`, then `after`."""
    columns = tuple(zip(*before, strict=True))
    a, b, c = (tuple(sum(x * y for x, y in zip(row, column, strict=True)) for column in columns) for row in after)
    return _row(a), _row(b), _row(c)


def inverse(matrix: Matrix) -> Matrix:
    """The inverse, which is the transpose: the rows are orthonormal."""
    x, y, z = zip(*matrix, strict=True)
    return x, y, z


def determinant(matrix: Matrix) -> int:
    """1 for a rotation, -1 if the frame is a mirror image of memory's."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def signed_axes() -> list[Matrix]:
    """All 48 permutations of the axes with signs, the 8 without an exchange of axes first."""
    found: list[Matrix] = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            a, b, c = (
                tuple(sign * (column == place) for column in range(3)) for sign, place in zip(signs, order, strict=True)
            )
            found.append((_row(a), _row(b), _row(c)))
    return found


def describe(matrix: Matrix) -> str:
    """Where the axes point, in words: `x right, y down, z towards the viewer`."""
    words = {direction: word for word, direction in _DIRECTIONS.items()}
    return ", ".join(f"{axis} {words[row]}" for axis, row in zip("xyz", matrix, strict=True))


def names(matrix: Matrix) -> list[CameraFrame]:
    """The frames of the table that store a normal like that; none, one or several."""
    return [name for name, frame in CAMERA_FRAMES.items() if frame.matrix == matrix]


def _scaled(row: tuple[int, int, int], factor: int) -> tuple[int, int, int]:
    return row[0] * factor, row[1] * factor, row[2] * factor


def _row(values: tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = values
    return x, y, z
