"""Means over photos and objects by hand, the table, its JSON, its pictures, and the verb around them."""

import json

import numpy as np
import pytest
import torch

from maquette.app.cli import bench as verb
from maquette.bench.normals import pictures, report
from maquette.bench.normals.datasets import Sample
from maquette.bench.normals.evaluate import SetResult, evaluate, score
from maquette.errors import InputError
from maquette.methods.baselines import flat
from maquette.types import NormalMap, Photo

SIDE = 40


def tilted(angle_deg: float) -> torch.Tensor:
    angle = np.deg2rad(angle_deg)
    return torch.tensor([np.sin(angle), 0, np.cos(angle)]).float().expand(SIDE, SIDE, 3)


def sample(group: str, view: str, angle_deg: float) -> Sample:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[4:-4, 4:-4] = True
    truth = NormalMap(tilted(angle_deg) * mask[..., None], mask)
    return Sample(group, view, Photo(torch.rand(SIDE, SIDE, 3), mask, view), truth)


def sure(photo: Photo) -> NormalMap:
    """A flat guess that is certain on the left and not on the right."""
    kappa = torch.full((SIDE, SIDE), 2.0)
    kappa[:, : SIDE // 2] = 50.0
    guess = flat(photo)
    return NormalMap(guess.normals, guess.mask, kappa)


@pytest.fixture
def result() -> SetResult:
    samples = [sample("a", "1", 10), sample("a", "2", 20), sample("a", "3", 30), sample("b", "1", 40)]
    return evaluate(samples, {"flat": flat, "sure": sure}, lambda _: None)


def test_the_mean_is_over_photos_then_over_objects(result):
    assert result.photos == 4
    assert result.objects["a"]["flat"]["mean"] == pytest.approx(20, abs=1e-4)
    assert result.objects["a"]["flat"]["below_22_5"] == pytest.approx(200 / 3)
    assert result.overall["flat"]["mean"] == pytest.approx(30, abs=1e-4)  # (20 + 40) / 2, not 25
    assert result.overall["flat"]["ne"] == pytest.approx(30, abs=1e-4)
    assert np.isnan(result.overall["flat"]["sne"])  # constant normals have no crease


def test_what_a_method_leaves_out_counts_as_ninety_degrees():
    one = sample("a", "1", 0)
    mask = one.truth.mask.clone()
    mask[:, : SIDE // 2] = False
    prediction = NormalMap(tilted(0).clone(), mask)
    assert score(prediction, one)["mean"] == pytest.approx(45)


def test_markdown_by_hand(result):
    table = report.markdown({"luces": result})
    assert "4 photos of 2 objects." in table
    assert "| a | flat | 20.00 | 20.00 | 33.33 | 66.67 | " in table
    assert "| **mean of 2** | flat | 30.00 | 30.00 |" in table
    assert "NE / SNE over ten objects; ours is 2 of them: NiRNE 21.84 / 26.63." in table
    assert "Confidence of sure: expected calibration error" in table
    assert "Confidence of flat" not in table


def test_a_set_that_could_not_run_is_in_the_table_and_in_the_json():
    results = {"scans": SetResult(missing="/x: no such folder")}
    assert "**Not run:** /x: no such folder" in report.markdown(results)
    assert report.as_json(results, {})["sets"]["scans"] == {"missing": "/x: no such folder"}


def test_json_is_strict_and_holds_the_calibration(result):
    text = json.dumps(report.as_json({"luces": result}, {"weights": "w"}), allow_nan=False)
    found = json.loads(text)
    assert found["weights"] == "w"
    assert found["sets"]["luces"]["mean"]["flat"]["sne"] is None
    curves = found["sets"]["luces"]["calibration"]
    assert list(curves) == ["sure"]
    assert curves["sure"]["pixels"] == 4 * 32 * 32
    assert sum(curves["sure"]["reliability"]["share"]) == pytest.approx(1)


def test_strips_show_a_right_guess_dark_and_a_wrong_one_bright():
    samples = [sample("right", "1", 0), sample("wrong", "1", 80)]
    sheet = np.asarray(pictures.strips(evaluate(samples, {"flat": flat}, lambda _: None)))
    tile = pictures.TILE_PX
    assert sheet.shape == (2 * tile + pictures.LABEL_PX, 4 * tile, 3)
    middle = [pictures.LABEL_PX + tile // 2, pictures.LABEL_PX + tile // 2 + tile]
    right, wrong = (sheet[row, 3 * tile + tile // 2].astype(int) for row in middle)
    assert right.sum() < 30
    assert wrong.sum() > 600
    assert sheet[middle[0], tile + tile // 2].tolist() == [128, 128, 255]  # the truth faces the camera


def test_the_calibration_plot_has_its_curves(result):
    found = report.calibrations(result)["sure"]
    sheet = np.asarray(pictures.calibration_plot(found, "sure on luces"))
    for colour in (pictures.BLUE, pictures.GREEN, pictures.GREY):
        assert int((sheet == colour).all(-1).sum()) > 100


def test_the_verb_with_nothing_to_measure_says_so_and_fails(tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["normals", "--data", str(tmp_path), "--sets", "diligent", "luces", "--method", "flat"]
    assert verb.main([*arguments, "-o", str(output)]) == 2
    out, err = capsys.readouterr()
    assert out.count("**Not run:**") == 2
    assert [line.split(":")[1] for line in err.splitlines()] == [" diligent not run", " luces not run"]
    assert set(json.loads((output / "bench.json").read_text())["sets"]) == {"diligent", "luces"}
    assert (output / "bench.md").read_text().count("no such folder") == 2


def test_the_verb_saves_what_it_prints(tmp_path, capsys, monkeypatch):
    from maquette.bench.normals import sets

    monkeypatch.setitem(sets.SETS, "luces", lambda data, cache: iter([sample("a", "1", 25)]))
    rendered = []
    monkeypatch.setattr(report, "markdown", lambda results, real=report.markdown: rendered.append(1) or real(results))
    arguments = ["normals", "--data", str(tmp_path), "--method", "flat", "-o", str(tmp_path / "out"), "--json"]
    assert verb.main([*arguments, "--sets", "luces"]) == 0
    capsys.readouterr()
    # A set that can't be run leaves the others, in either order, and is told by the exit code.
    assert verb.main([*arguments, "--sets", "scans", "luces"]) == 2
    assert len(rendered) == 2  # once a run
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert printed["sets"]["luces"]["mean"]["flat"]["mean"] == pytest.approx(25, abs=1e-3)
    assert "no such folder" in printed["sets"]["scans"]["missing"]
    assert (tmp_path / "out" / "luces.png").stat().st_size > 500


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    from maquette.bench.normals import sets

    def work(*_):
        raise AssertionError("the work began")

    monkeypatch.setitem(sets.SETS, "luces", work)
    (tmp_path / "file").write_text("in the way")
    arguments = ["normals", "--data", str(tmp_path), "--sets", "luces", "--method", "flat"]
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=rf"^-o {output}: [^\n]*give a folder that can be written$"):
            verb.main([*arguments, "-o", str(output)])


def test_the_verb_refuses_a_data_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"^--data .*: no such folder"):
        verb.main(["normals", "--data", str(tmp_path / "nowhere")])
