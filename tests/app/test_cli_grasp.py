"""`maquette grasp`: what it says of a box whose grasps are known, and every mistake in one line."""

import json
from functools import partial

import numpy as np
import pytest
from grasp_discs import box, discs

from maquette.app.cli.main import main
from maquette.io.splats.files import write_splat
from maquette.tools.grasp.plan import find_grasps

pytestmark = pytest.mark.usefixtures("one_thread")
SIDES = (0.4, 0.6, 0.9)
DIAGONAL = float(np.linalg.norm(SIDES))


@pytest.fixture(scope="module")
def ply(tmp_path_factory):
    points, normals = box(SIDES, step=0.06)
    return write_splat(tmp_path_factory.mktemp("splats") / "box.ply", discs(points + [0.0, 0.1, 0.2], normals, 0.04))


@pytest.fixture(autouse=True)
def _fewer_lines(monkeypatch):
    monkeypatch.setattr("maquette.tools.grasp.plan.find_grasps", partial(find_grasps, draws=400))


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["grasp", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_a_box_in_millimetres_and_in_units(ply, capfd):
    code, lines, errors = run(
        capfd, ply, "--gripper-mm", 80, "--object-mm", 100 * DIAGONAL, "--mu", 0.4, "--count", 5, "--json"
    )
    assert (code, errors, len(lines)) == (0, [], 1)
    report = json.loads(lines[0])
    assert report["size"] == "given"
    assert report["object_mm"] == pytest.approx(100 * DIAGONAL, rel=1e-4)
    assert report["unit_mm"] == pytest.approx(100, rel=0.03)  # the outermost discs end where the box does not
    assert report["gripper"]["opening_mm"] == 80
    assert report["mu"] == 0.4
    assert report["frame"] == "x right, y up, z towards the viewer"
    assert report["surface"] == {"points": report["gaussians"], "too_faint": 0, "strays": 0, "hidden": 0}
    assert report["fitting"] > len(report["grasps"]) == 5
    best = report["grasps"][0]
    assert best["width"] == pytest.approx(0.4, abs=1e-3)
    assert best["width_mm"] == pytest.approx(best["width"] * report["unit_mm"], rel=1e-4)
    assert np.array(best["position_mm"]) == pytest.approx(np.array(best["position"]) * report["unit_mm"], abs=1e-2)
    # In maquette's frame: the file itself has y down and z forward.
    assert best["position"] == pytest.approx([0, 0.1, 0.2], abs=0.12)
    assert abs(best["closing_axis"][0]) == pytest.approx(1, abs=1e-4)
    rotation = np.array(best["rotation"])
    assert rotation[:, 0] == pytest.approx(best["closing_axis"])
    assert rotation[:, 2] == pytest.approx(best["approach_axis"])
    assert rotation.T @ rotation == pytest.approx(np.eye(3), abs=1e-5)
    assert np.array(best["contacts_mm"]).mean(0) == pytest.approx(best["position_mm"], abs=1e-2)
    scores = [grasp["score"] for grasp in report["grasps"]]
    assert scores == sorted(scores, reverse=True)


def test_a_size_that_nobody_gave_is_said_to_be_assumed(ply, capfd):
    code, lines, errors = run(capfd, ply, "--gripper-mm", 80)
    assert code == 0
    assert len(errors) == 1
    assert errors[0].startswith("maquette: warning: a splat has no size") and "150 mm" in errors[0]
    assert "150 mm across, assumed" in lines[0]
    assert lines[2].split()[0] == "1"
    assert "hands fit" in lines[-2]
    assert lines[-1].startswith("axes: x right, y up")


def test_what_cannot_be_held_is_an_answer_with_reasons(ply, capfd):
    code, lines, errors = run(capfd, ply, "--gripper-mm", 80, "--unit-mm", 1000)
    assert (code, errors) == (0, [])
    assert "no grasp was found: 0 hands fit" in lines[1] and "too wide" in lines[1]
    report = json.loads(run(capfd, ply, "--gripper-mm", 80, "--unit-mm", 1000, "--json")[1][0])
    assert report["grasps"] == [] and report["fitting"] == 0
    assert report["rejected"]["too wide"] > 300
    assert report["unit_mm"] == 1000


def test_thicker_fingers_fit_less_often_and_an_assumed_size_is_in_the_report(ply, capfd):
    fitting = []
    for finger in ("20x10x55", "60x30x55"):
        _, lines, _ = run(capfd, ply, "--gripper-mm", 80, "--finger-mm", finger, "--json")
        report = json.loads(lines[0])
        assert report["size"] == "assumed"
        assert f"{report['gripper']['finger_width_mm']:g}" == finger.split("x")[0]
        fitting.append(report["fitting"])
    assert fitting[1] < fitting[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "SPLAT, --gripper-mm"),
        (("SPLAT",), "--gripper-mm"),
        (("SPLAT", "--gripper-mm", "0"), "'0' is no length in mm"),
        (("SPLAT", "--gripper-mm", "wide"), "'wide' is no length in mm"),
        (("SPLAT", "--gripper-mm", "nan"), "'nan' is no length in mm"),
        (("SPLAT", "--gripper-mm", "80", "--object-mm", "-3"), "--object-mm"),
        (("SPLAT", "--gripper-mm", "80", "--object-mm", "3", "--unit-mm", "3"), "not allowed with"),
        (("SPLAT", "--gripper-mm", "80", "--mu", "0"), "'0' is no coefficient of friction"),
        (("SPLAT", "--gripper-mm", "80", "--count", "0"), "whole number from 1 to 1000"),
        (("SPLAT", "--gripper-mm", "80", "--finger-mm", "20x10"), "is no finger"),
        (("SPLAT", "--gripper-mm", "80", "--finger-mm", "20x10x5"), "from palm to tip they must be longer than 10 mm"),
        (("SPLAT", "--gripper-mm", "80", "--axes", "xyz"), "--axes"),
        (("missing.ply", "--gripper-mm", "80"), "missing.ply"),
        (("cup.obj", "--gripper-mm", "80"), "a file of splats ends in"),
    ],
)
def test_every_mistake_is_one_line(ply, capfd, arguments, said):
    code, out, errors = run(capfd, *(ply if word == "SPLAT" else word for word in arguments))
    assert (code, out, len(errors)) == (2, [], 1)
    assert errors[0].startswith("maquette: ") and said in errors[0]


def test_a_splat_without_a_surface_is_named(tmp_path, capfd):
    points, normals = box(SIDES, step=0.3)
    few = write_splat(tmp_path / "few.ply", discs(points[:5], normals[:5], 0.04))
    code, out, errors = run(capfd, few, "--gripper-mm", 80)
    assert (code, out, len(errors)) == (2, [], 1)
    assert str(few) in errors[0] and "5 Gaussians" in errors[0]
