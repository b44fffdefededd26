"""Files of lights: every layout, every frame, and every mistake in one line."""

from pathlib import Path

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES, camera_frame
from maquette.io.lights import read_lights

PHOTOS = [Path(name) for name in ("a.1.png", "a.2.png", "a.10.png")]
ROWS = "0 0 2\n0.6, 0, 0.8\n0 -0.6 0.8 # from below\n"
DIRECTIONS = torch.tensor([[0, 0, 1], [0.6, 0, 0.8], [0, -0.6, 0.8]])


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "lights.txt") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        f"3\n{ROWS}",
        f"# a comment\n\n{ROWS}\n",
        "a.10.png 0 -0.6 0.8\na.1.png 0 0 2\na.2.png 0.6 0 0.8\n",
        "3\nphotos\\a.10.png 0 -3 4\nphotos\\a.1.png 0 0 2\nphotos\\a.2.png 3 0 4\n",  # RTI's .lp, from Windows
    ],
)
def test_layouts(write, text):
    lights = read_lights(write(text), PHOTOS)
    assert torch.allclose(lights.directions, DIRECTIONS)
    assert torch.equal(lights.intensities, torch.ones(3, 3))
    assert lights.named == ("a.10" in text)


@pytest.mark.parametrize("frame", CAMERA_FRAMES)
def test_every_frame_gives_the_same_lights(write, frame):
    stored = DIRECTIONS @ torch.tensor(camera_frame(frame).matrix).float().T
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in stored.tolist())
    assert torch.allclose(read_lights(write(rows), PHOTOS, frame).directions, DIRECTIONS, atol=1e-6)


def test_intensities_in_the_rows_in_a_file_and_beside(write):
    six = "\n".join(f"{row} 1 2 {k}" for k, row in enumerate(("0 0 1", "3 0 4", "0 -3 4"), start=1))
    assert read_lights(write(six), PHOTOS).intensities.tolist() == [[1, 2, 1], [1, 2, 2], [1, 2, 3]]
    one = write("4\n5\n6\n", "strength.txt")
    assert read_lights(write(ROWS), PHOTOS, intensities=one).intensities.tolist() == [[k] * 3 for k in (4, 5, 6)]
    write("1 1 1\n2 2 2\n7 8 9\n", "light_intensities.txt")
    assert read_lights(write(ROWS, "light_directions.txt"), PHOTOS).intensities[2].tolist() == [7, 8, 9]
    assert read_lights(write(ROWS, "other.txt"), PHOTOS).intensities.tolist() == [[1] * 3] * 3


def test_names_beside_choose_rows_as_in_diligent(write):
    write("a.2.png\nunused.png\na.10.png\na.1.png\n", "filenames.txt")
    write("1 1 1\n2 2 2\n3 3 3\n4 4 4\n", "light_intensities.txt")
    path = write("3 0 4\n1 1 1\n0 -3 4\n0 0 1\n", "light_directions.txt")
    lights = read_lights(path, PHOTOS)
    assert torch.allclose(lights.directions, DIRECTIONS)
    assert lights.intensities[:, 0].tolist() == [4, 1, 3]
    with pytest.raises(InputError, match=r"light_directions.txt: holds no light for b.png \(its 4 rows have names\)"):
        read_lights(path, [Path("b.png")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "holds no rows"),
        ("0 0 1\n0 0 1\n", "holds 2 lights for 3 photos; there must be one for each"),
        (ROWS + "0 0 1\n", "holds 4 lights for 3 photos; there must be one for each"),
        ("4\n" + ROWS, "its first row announces 4 rows, 3 follow"),
        ("0 0\n1 0\n0 1\n", "line 1: holds 2 numbers; 3 or 6 are needed"),
        ("0 0 1\n0 0 1 1 1 1\n0 0 1\n", "line 2: holds 6 numbers"),
        ("0 0 1\n0 x 1\n0 0 1\n", "line 2: 'x' is no number"),
        ("0 0 1\n0 nan 1\n0 0 1\n", "line 2: holds NaN or infinity"),
        ("0 0 1\n0 0 0\n0 0 1\n", r"line 2: the light \(0 0 0\) has no direction"),
        ("0 0 1\n0 1 -1\n0 0 1\n", r"line 2: the light \(0 1 -1\) stands behind the surface: .* z must be above 0"),
        ("0 0 1 1 1 1\n0 0 1 1 0 1\n0 0 1 1 1 1\n", "line 2: an intensity of 0; it must be above 0"),
        ("a.1.png 0 0 1\n0 0 1\n0 0 1\n", "line 2: names no photo, others do"),
        ("a.1.png 0 0 1\na.1.png 0 0 1\na.2.png 0 0 1\n", "line 2: names a.1.png a second time"),
        ("a.1.png 0 0 1\nb.png 0 0 1\na.2.png 0 0 1\n", "holds no light for a.10.png"),
    ],
)
def test_mistakes(write, text, message):
    with pytest.raises(InputError, match=f"lights.txt: {message}") as raised:
        read_lights(write(text), PHOTOS)
    assert "\n" not in str(raised.value)


def test_more_mistakes(write, tmp_path):
    path = write(ROWS)
    with pytest.raises(InputError, match="z must be below 0; is the file in another frame"):
        read_lights(path, PHOTOS, "opencv")
    with pytest.raises(InputError, match=r"two.txt: holds 2 intensities for the 3 lights of .*lights.txt"):
        read_lights(path, PHOTOS, intensities=write("1\n1\n", "two.txt"))
    with pytest.raises(InputError, match=r"strange.txt: line 1: holds 2 numbers; 1 or 3"):
        read_lights(path, PHOTOS, intensities=write("1 1\n1 1\n1 1\n", "strange.txt"))
    with pytest.raises(InputError, match=r"missing.txt: no such file"):
        read_lights(tmp_path / "missing.txt", PHOTOS)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\xd8" * 9)
    with pytest.raises(InputError, match="is no text file"):
        read_lights(tmp_path / "binary", PHOTOS)
