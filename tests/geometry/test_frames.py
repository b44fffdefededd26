"""The table of frames: what each says of known surfaces, and that changing between them is a group."""

import itertools
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from maquette.errors import InputError
from maquette.geometry.frames import (
    CAMERA_FRAMES,
    IDENTITY,
    CameraFrame,
    camera_frame,
    change_of_frame,
    compose,
    describe,
    determinant,
    inverse,
    names,
    signed_axes,
)

RIGHT_FACING, FLOOR, WALL = (1, 0, 0), (0, 1, 0), (0, 0, 1)  # in memory


def stored(name, normal):
    return tuple(np.array(CAMERA_FRAMES[name].matrix) @ normal)


@pytest.mark.parametrize(
    ("name", "right_facing", "floor", "wall"),
    [
        ("opengl", (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ("directx", (1, 0, 0), (0, -1, 0), (0, 0, 1)),
        ("opencv", (1, 0, 0), (0, -1, 0), (0, 0, -1)),
        # "a fronto-parallel wall facing the camera [is] (0, 0, 1)", and DSINE is the negative of OpenCV
        ("dsine", (-1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ("hypersim-camera", (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ],
)
def test_what_known_surfaces_are_stored_as(name, right_facing, floor, wall):
    assert stored(name, RIGHT_FACING) == right_facing
    assert stored(name, FLOOR) == floor
    assert stored(name, WALL) == wall


def test_dsine_is_opencv_into_the_surface():
    for normal in (RIGHT_FACING, FLOOR, WALL):
        assert stored("dsine", normal) == tuple(-value for value in stored("opencv", normal))


def test_every_frame_has_a_source_and_the_type_knows_them_all():
    assert tuple(CAMERA_FRAMES) == get_args(CameraFrame)
    assert all(frame.used_by for frame in CAMERA_FRAMES.values())
    assert camera_frame("opencv") is CAMERA_FRAMES["opencv"]
    with pytest.raises(InputError, match=r"'maya'.*opengl.*dsine"):
        camera_frame("maya")


def test_the_48_signed_axes_are_a_group():
    group = signed_axes()
    members = set(group)
    assert len(group) == len(members) == 48
    assert IDENTITY in members
    assert sum(determinant(one) == 1 for one in group) == 24
    for one in group:
        assert np.array_equal(compose(one, IDENTITY), one)
        assert compose(one, inverse(one)) == compose(inverse(one), one) == IDENTITY
        assert determinant(one) == round(np.linalg.det(np.array(one)))
    for one, other in itertools.product(group, group):
        product = compose(one, other)
        assert product in members
        assert np.array_equal(product, np.array(one) @ np.array(other))
    assert all(abs(one[axis][axis]) == 1 for one in group[:8] for axis in range(3))


@pytest.mark.parametrize(("source", "target"), itertools.product(CAMERA_FRAMES, CAMERA_FRAMES))
def test_changes_of_frame_invert_and_do_not_depend_on_the_way(source, target):
    a, b = CAMERA_FRAMES[source].matrix, CAMERA_FRAMES[target].matrix
    assert compose(change_of_frame(b, a), change_of_frame(a, b)) == IDENTITY
    for frame in CAMERA_FRAMES.values():
        detour = compose(change_of_frame(frame.matrix, b), change_of_frame(a, frame.matrix))
        assert detour == change_of_frame(a, b)
    for normal in (RIGHT_FACING, FLOOR, WALL):
        assert tuple(np.array(change_of_frame(a, b)) @ stored(source, normal)) == stored(target, normal)


def test_words_and_names():
    assert describe(CAMERA_FRAMES["opencv"].matrix) == "x right, y down, z away from the viewer"
    assert describe(CAMERA_FRAMES["dsine"].matrix) == "x left, y up, z towards the viewer"
    assert describe(((0, 0, 1), (1, 0, 0), (0, -1, 0))) == "x towards the viewer, y right, z down"
    assert names(IDENTITY) == ["opengl", "hypersim-camera"]
    assert names(((-1, 0, 0), (0, -1, 0), (0, 0, 1))) == []
    assert len({describe(one) for one in signed_axes()}) == 48


def test_the_table_is_read_without_anything_heavy():
    script = "import sys, maquette.geometry.frames; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
