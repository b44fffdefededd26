"""The fast shader against Mitsuba on two small scenes, and the comparison's own arithmetic by hand."""

import json
import sys

import pytest
import torch


@pytest.fixture(scope="module")
def check(load_benchmark):
    return load_benchmark("shader_vs_pathtracer")


def found(check, case, side_px: int, samples: int) -> dict[str, float]:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3; pip install 'maquette[render]'")
    return check.compare(*check.render(case, side_px, samples))


def test_a_bowl_from_outside_under_one_light(check):
    """Nothing shines into itself here: factor, angle, camera, principal point and normals must be exact."""
    values = found(check, check.Case("bowl", check.BOWL, 7, "matte", "distant"), 64, 16)
    assert values["direct_scale"] == pytest.approx(1, abs=0.01)
    assert values["direct_correlation"] > 0.995
    assert values["direct_error"] < 0.02
    assert values["error"] < 0.03
    assert values["normals"] < 1
    assert values["overlap"] > 0.98


def test_a_capsule_under_a_turned_panorama(check):
    """A panorama that is mirrored, or turned the other way, correlates by less than 0.9 on a convex solid."""
    values = found(check, check.Case("capsule", check.CAPSULE, 1, "matte", None, check.PHOTOGRAPHED), 48, 36)
    assert values["scale"] == pytest.approx(1, abs=0.03)
    assert values["correlation"] > 0.96
    assert values["error"] < 0.08
    assert values["normals"] < 1


def test_agreement_by_hand(check):
    theirs = torch.tensor([[1.0, 2, 3], [4, 5, 3]])
    scale, correlation, error = check.agreement(2 * theirs, theirs)
    assert (scale, correlation, error) == pytest.approx((2, 1, 0), abs=1e-6)
    # Means 3 and 1: [1, 2, 3, 4, 5, 3] / 3 against ones differs by 4 / 3 + 2 / 3 over six values.
    scale, _, error = check.agreement(theirs, torch.tensor([[1.0, 1, 1], [1, 1, 1 + 1e-6]]))
    assert scale == pytest.approx(3, rel=1e-5)
    assert error == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 2 / 3) / 6, rel=1e-4)


def test_without_mitsuba_every_value_is_null(check, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    assert check.main(["--quick", "--json"]) == 0
    printed, complaint = capsys.readouterr()
    values = json.loads(printed)
    assert len(values) == len(check.QUICK) * len(check.METRICS)
    assert set(values.values()) == {None}
    assert complaint.count("\n") == 1
    assert "maquette[render]" in complaint
