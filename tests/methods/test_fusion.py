"""Two methods as one: the weights against simulation, what is fitted against what was drawn, and the files."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import read_config, save_checkpoint
from maquette.methods.auto import CALIBRATION_NAME, AutoConfig, auto, fingerprint
from maquette.methods.fusion import (
    Calibration,
    CorrelationLaw,
    ErrorCurve,
    ErrorLaw,
    Errors,
    Fused,
    calibrate,
    combine,
    error_vectors,
    fit_correlation,
    fit_curve,
    fit_law,
    fuse,
    weights,
)
from maquette.methods.nirne import NiRNE
from maquette.methods.rose import RoSE
from maquette.nets.nirne import PRESETS as NIRNE_PRESETS
from maquette.nets.nirne import NiRNENet
from maquette.nets.rose import PRESETS, RoSENet
from maquette.types import NormalMap, Photo

pytestmark = pytest.mark.usefixtures("one_thread")
SAME = ErrorCurve((1.0, 90.0), (1.0, 90.0))
PLAIN = Calibration(  # what is expected is what is measured
    ErrorLaw(0.0, 1.0, 0.0), ErrorLaw(0.0, 0.0, 1.0), (0.1, 90.0), (0.1, 90.0), CorrelationLaw(0.0, 0.0, 0.0), SAME
)


def rad(*degrees: float) -> Tensor:
    return torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))


def towards(*degrees: float) -> Tensor:
    """Unit normals in the plane of x and z, by their angle from z."""
    return torch.stack([rad(*degrees).sin(), torch.zeros(len(degrees), dtype=torch.float64), rad(*degrees).cos()], -1)


def random_normals(count: int, rng: torch.Generator) -> Tensor:
    return unit(torch.randn(count, 3, dtype=torch.float64, generator=rng))


def disturbed(truth: Tensor, tangent: Tensor) -> Tensor:
    """The exponential map: truth turned by as many radians as the tangent vector is long."""
    angle = torch.linalg.vector_norm(tangent, dim=-1, keepdim=True)
    return angle.cos() * truth + (angle.sin() / angle.clamp_min(1e-12)) * tangent


def correlated(truth: Tensor, first: Tensor, second: Tensor, rho: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two estimates whose normal errors have these root mean squares and this correlation."""
    helper = unit(torch.linalg.cross(truth, torch.randn(truth.shape, dtype=torch.float64, generator=rng)))
    other = torch.linalg.cross(truth, helper)

    def noise() -> Tensor:
        draw = torch.randn(len(truth), 2, dtype=torch.float64, generator=rng) / math.sqrt(2)
        return draw[:, :1] * helper + draw[:, 1:] * other

    one, own = noise(), noise()
    two = rho * one + math.sqrt(1 - rho**2) * own
    return disturbed(truth, first[:, None] * one), disturbed(truth, second[:, None] * two)


def rms_deg(normals: Tensor, truth: Tensor) -> float:
    return math.degrees(float(error_vectors(normals, truth).square().sum(-1).mean().sqrt()))


def map_of(normals: Tensor, expected_deg: float, mask: Tensor | None = None) -> NormalMap:
    image = normals.float().reshape(1, -1, 3)
    mask = torch.ones(image.shape[:2], dtype=torch.bool) if mask is None else mask.reshape(1, -1)
    kappa = concentration_from_angle(torch.full(image.shape[:2], math.radians(expected_deg)))
    return NormalMap(image * mask[..., None], mask, kappa * mask)


def test_equal_errors_meet_halfway():
    found = fuse(map_of(towards(10), 8.0), map_of(towards(40), 8.0), PLAIN)
    assert torch.allclose(found.normals[0].double(), towards(25), atol=1e-6)
    assert found.concentration is not None
    assert math.isclose(math.degrees(float(expected_angle(found.concentration))), 8 / math.sqrt(2), rel_tol=1e-3)


def test_the_certain_one_has_the_say():
    found = fuse(map_of(towards(10), 1.0), map_of(towards(40), 60.0), PLAIN)
    assert math.degrees(float(torch.acos((found.normals[0].double() * towards(10)).sum()))) < 0.02
    back = fuse(map_of(towards(10), 60.0), map_of(towards(40), 1.0), PLAIN)
    assert math.degrees(float(torch.acos((back.normals[0].double() * towards(40)).sum()))) < 0.02


def test_the_weights_by_hand():
    # s = 1, 2: 1/1 : 1/4 without correlation; with rho = 0.25, (1 - 1/8) : (1/4 - 1/8) = 7 : 1; with rho = 1/2, 1 : 0.
    one, two = rad(1.0, 1.0, 1.0), rad(2.0, 2.0, 2.0)
    for index, (rho, share) in enumerate(((0.0, 0.8), (0.25, 0.875), (0.5, 1.0))):
        first, second = weights(Errors(one, two, torch.full_like(one, rho)))
        assert math.isclose(float(first[index]), share, rel_tol=1e-12)
        assert math.isclose(float(first[index] + second[index]), 1.0)
    blunt = Errors(rad(1.0), rad(2.0), torch.tensor([0.9], dtype=torch.float64))
    assert float(weights(blunt)[1]) == 0.0  # below zero, without the clamp


def test_where_one_has_no_normal_the_other_stands():
    left, right = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    found = fuse(map_of(towards(10, 10, 10, 10), 9.0, left), map_of(towards(40, 40, 40, 40), 5.0, right), PLAIN)
    assert found.mask.tolist() == [[True, True, True, False]]
    assert torch.allclose(found.normals[0, 1:].double(), torch.cat([towards(10, 40), torch.zeros(1, 3)]), atol=1e-6)
    assert found.concentration is not None
    angle = torch.rad2deg(expected_angle(found.concentration[0].double()))
    assert torch.allclose(angle[1:3], torch.tensor([9.0, 5.0], dtype=torch.float64), rtol=1e-3)
    assert float(found.concentration[0, 3]) == 0


def test_opposite_normals_still_give_a_normal():
    found = fuse(map_of(towards(90), 20.0), map_of(towards(-90), 20.0), PLAIN)
    assert torch.allclose(found.normals, torch.tensor([[[0.0, 0.0, 1.0]]]), atol=1e-4)


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.3, 0.7])
def test_simulation_has_the_predicted_variance_and_is_never_worse_than_both(rho):
    rng = torch.Generator().manual_seed(1)
    truth = random_normals(60_000, rng)
    for first_deg, second_deg in ((2.0, 2.0), (1.0, 3.0), (4.0, 1.5)):
        spread = [torch.full((len(truth),), math.radians(s), dtype=torch.float64) for s in (first_deg, second_deg)]
        one, two = correlated(truth, *spread, rho, rng)
        found, deviation = combine(one, two, Errors(*spread, torch.full_like(spread[0], rho)))
        measured = rms_deg(found, truth)
        assert math.isclose(measured, math.degrees(float(deviation[0])), rel_tol=0.015)
        assert measured < 1.01 * min(first_deg, second_deg)
        # No other weights on the arc between the two do better.
        for share in torch.linspace(0, 1, 11).tolist():
            assert measured < 1.005 * rms_deg(unit(share * one + (1 - share) * two), truth)


def test_calibration_finds_what_was_drawn():
    rng = torch.Generator().manual_seed(2)
    truth = random_normals(120_000, rng)
    said = [torch.deg2rad(1.0 + 9.0 * torch.rand(len(truth), dtype=torch.float64, generator=rng)) for _ in range(2)]
    # One is too sure of itself; the other doesn't know what the first knows.
    real = 1.5 * said[0], (said[0] * said[1]).sqrt()
    one, two = correlated(truth, *real, 0.35, rng)
    found = calibrate(one, two, *said, truth)
    assert math.isclose(found.first_deg[0], 1.09, rel_tol=0.05)
    assert math.isclose(found.first_deg[1], 9.91, rel_tol=0.05)
    errors = found.errors(*said)
    assert float((errors.correlation - 0.35).abs().quantile(0.99)) < 0.05
    for guess, actual in zip((errors.first_rad, errors.second_rad), real, strict=True):
        assert float((guess / actual).log().abs().quantile(0.99)) < 0.06
    fused, deviation = combine(one, two, errors)
    assert rms_deg(fused, truth) < 0.95 * min(rms_deg(one, truth), rms_deg(two, truth))
    # The mean of a Rayleigh distribution is sqrt(pi) / 2 of its root mean square.
    middle = deviation.median()[None]
    assert math.isclose(float(found.fused(middle)), math.sqrt(math.pi) / 2 * float(middle), rel_tol=0.06)


def test_who_does_not_know_what_is_hard_gets_no_say_there():
    rng = torch.Generator().manual_seed(6)
    truth = random_normals(60_000, rng)
    hard = torch.deg2rad(2.0 + 18.0 * torch.rand(len(truth), dtype=torch.float64, generator=rng))
    one, two = correlated(truth, hard, 1.6 * hard, 0.7, rng)  # 0.7 > 1 / 1.6: the first alone is best
    blind = torch.full_like(hard, math.radians(8.0))  # where the first expects 20, this looks better, and isn't
    found = calibrate(one, two, hard, blind, truth)
    fused, _ = combine(one, two, found.errors(hard, blind))
    assert rms_deg(fused, truth) < 1.002 * rms_deg(one, truth)


def test_beyond_what_was_seen_nothing_is_extrapolated():
    calibration = replace(PLAIN, first_deg=(5.0, 20.0))
    low = calibration.errors(rad(1.0, 5.0), rad(1.0, 1.0)).first_rad
    high = calibration.errors(rad(80.0, 20.0), rad(1.0, 1.0)).first_rad
    assert torch.allclose(low, rad(5.0, 5.0)) and torch.allclose(high, rad(20.0, 20.0))


def test_a_law_is_a_power_of_both_and_never_falls():
    rng = torch.Generator().manual_seed(7)
    logs = torch.randn(50_000, 2, dtype=torch.float64, generator=rng) * 0.4 - 2
    spread = (0.3 + 0.8 * logs[:, 0] + 0.25 * logs[:, 1]).exp()
    squared = spread.square() * torch.randn(50_000, 2, dtype=torch.float64, generator=rng).square().mean(-1)
    found = fit_law(logs[:, 0], logs[:, 1], squared)
    assert abs(found.first - 0.8) < 0.03 and abs(found.second - 0.25) < 0.03
    assert math.isclose(found.offset, 0.3, abs_tol=0.1)
    assert fit_law(-logs[:, 0], logs[:, 1], squared).first == 0.0


def test_a_correlation_may_grow_with_what_is_hard():
    rng = torch.Generator().manual_seed(8)
    truth = random_normals(100_000, rng)
    hard = torch.deg2rad(2.0 + 18.0 * torch.rand(len(truth), dtype=torch.float64, generator=rng))
    rho = (1.5 + 0.5 * hard.log()).tanh()
    # Of pixels with one correlation each, in parts.
    parts = [
        correlated(truth[i], hard[i], hard[i], float(rho[i].mean()), rng) for i in hard.argsort().tensor_split(200)
    ]
    order = hard.argsort()
    one, two = torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])
    scaled = [error_vectors(n, truth[order]) / hard[order, None] for n in (one, two)]
    found = fit_correlation(hard[order].log(), torch.zeros_like(hard), (scaled[0] * scaled[1]).sum(-1))
    guess = (found.offset + found.first * hard.log()).tanh()
    assert float((guess - rho).abs().max()) < 0.06


def test_errors_are_angles_along_the_surface():
    truth, off = towards(20, 20, 20), towards(50, 20, -10)
    vectors = error_vectors(off, truth)
    assert torch.allclose(torch.linalg.vector_norm(vectors, dim=-1), rad(30, 0, 30), atol=1e-12)
    assert torch.allclose((vectors * truth).sum(-1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(vectors[0], -vectors[2], atol=1e-12)
    assert torch.allclose(disturbed(truth, vectors), off, atol=1e-12)


def test_a_curve_never_falls_and_stays_within_what_was_seen():
    expected = rad(*torch.linspace(1, 30, 240).tolist())
    measured = torch.where(expected < math.radians(15), expected, 0.5 * expected)
    curve = fit_curve(expected, measured)
    assert all(a <= b for a, b in zip(curve.measured_deg, curve.measured_deg[1:], strict=False))
    assert torch.equal(curve(rad(0.0, 90.0)), curve(rad(curve.expected_deg[0], curve.expected_deg[-1])))
    constant = fit_curve(torch.full((50,), 0.5, dtype=torch.float64), torch.full((50,), 0.25, dtype=torch.float64))
    assert len(constant.expected_deg) == 1
    assert math.isclose(float(constant(rad(77.0))), 0.25, rel_tol=1e-9)
    with pytest.raises(InputError, match="5 pixels to calibrate on; at least 12"):
        fit_curve(expected[:5], measured[:5])


@pytest.mark.parametrize(
    ("expected", "measured", "message"),
    [
        ((1.0, 2.0), (1.0,), "2 expected, 1 measured angles"),
        ((), (), "0 expected"),
        ((1.0, 1.0), (1.0, 2.0), "must increase"),
        ((1.0, 2.0), (2.0, 1.0), "never fall"),
        ((0.0, 2.0), (1.0, 2.0), "all must lie in 0..180"),
        ((1.0, math.nan), (1.0, 2.0), "all must lie in 0..180"),
    ],
)
def test_bad_curves(expected, measured, message):
    with pytest.raises(InputError, match=message):
        ErrorCurve(expected, measured)


def test_bad_maps():
    sure, unsure = map_of(towards(10), 5.0), NormalMap(towards(10).float()[None], torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(InputError, match="one doesn't know its own"):
        fuse(sure, unsure, PLAIN)
    with pytest.raises(InputError, match="the maps to fuse are 1x1 and 2x1"):
        fuse(sure, map_of(towards(10, 20), 5.0), PLAIN)
    with pytest.raises(InputError, match="must be finite"):
        CorrelationLaw(math.nan, 0.0, 0.0)
    with pytest.raises(InputError, match=r"angles from 0\.0 to 9\.0"):
        replace(PLAIN, first_deg=(0.0, 9.0))
    with pytest.raises(InputError, match=r"the exponents lie in 0\.\.3"):
        ErrorLaw(0.0, -0.1, 0.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny untrained weights of both methods, and a calibration beside RoSE's."""
    torch.manual_seed(0)
    nirne, rose = tmp_path_factory.mktemp("nirne"), tmp_path_factory.mktemp("rose")
    NiRNE(NiRNENet(NIRNE_PRESETS["tiny"])).save_pretrained(nirne)
    net = RoSENet(PRESETS["tiny"])
    save_checkpoint(rose, net.config, net.state_dict(), torch.float32)
    config = AutoConfig(
        fingerprint(nirne),
        fingerprint(rose),
        2,
        1.5,
        "paper",
        100,
        replace(PLAIN, correlation=CorrelationLaw(0.25, 0.1, 0.0)),
    )
    (rose / CALIBRATION_NAME).write_text(json.dumps(asdict(config)))
    return nirne, rose, config


def test_auto_is_both_methods_as_they_were_calibrated(folders):
    nirne, rose, config = folders
    assert read_config(rose / CALIBRATION_NAME, AutoConfig) == config
    photo = Photo(torch.rand(40, 36, 3, generator=torch.Generator().manual_seed(3)), name="cup")
    method = auto(rose, nirne_weights=nirne)
    first, second = NiRNE.from_pretrained(nirne), RoSE.from_pretrained(rose, "cpu", 2, 1.5, "paper")
    found, expected = method(photo), fuse(first(photo), second(photo), config.calibration)
    assert torch.equal(found.normals, expected.normals)
    assert found.concentration is not None and expected.concentration is not None
    assert torch.equal(found.concentration, expected.concentration)
    assert isinstance(method, Fused)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c | {"rose": "0" * 64}, "was made for other weights of rose"),
        (lambda c: c | {"nirne": "0" * 64}, "was made for other weights of nirne"),
        (lambda c: {k: v for k, v in c.items() if k != "steps"}, "lacks field steps"),
        (lambda c: c | {"more": 1}, "has the unknown field more"),
        (lambda c: c | {"solver": "guess"}, "solver: is 'guess'"),
        (lambda c: c | {"steps": 2.5}, "steps: is 2.5"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(folders, tmp_path, spoil, message):
    nirne, rose, config = folders
    for path in rose.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / CALIBRATION_NAME).write_text(json.dumps(spoil(asdict(config))))
    with pytest.raises(InputError, match=message):
        auto(tmp_path, nirne_weights=nirne)


def test_a_calibration_that_is_missing_or_cut_off(folders, tmp_path):
    nirne, rose, _ = folders
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((rose / name).read_bytes())
    with pytest.raises(InputError, match=r"fusion\.json: not there; it is made by"):
        auto(tmp_path, nirne_weights=nirne)
    (tmp_path / CALIBRATION_NAME).write_text("{")
    with pytest.raises(InputError, match="is not JSON, or is cut off"):
        auto(tmp_path, nirne_weights=nirne)
