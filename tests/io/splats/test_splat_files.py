"""Splat files: other programs' files to their exact values, round trips within each format's quantum, axes, colours."""

import json
import math
import struct
import zipfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from known_splats import known

from maquette.errors import InputError
from maquette.gaussians.covariance import covariance
from maquette.geometry.sh import DC, sh_color
from maquette.io.splats.colors import to_linear, to_srgb
from maquette.io.splats.files import read_splat, write_splat
from maquette.io.splats.raw import axis_signs
from maquette.types import Gaussians

FIXTURES = Path(__file__).parent / "fixtures"
CORNERS = torch.tensor([[-1.0, 0, -1], [0, 0, -1], [-1, 0, 0], [0, 0, 0]])
DIRECTIONS = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), dim=-1)


def assert_near(
    found: Gaussians, wanted: Gaussians, mean=0.0, log_scale=0.0, turn_deg=0.0, opacity=0.0, dc=0.0, sh=0.0
):
    """Within the quanta of a format, in the order of the file; every tolerance is of the worst Gaussian."""
    assert (found.mean - wanted.mean).abs().max() <= mean + 1e-6
    assert (found.scale / wanted.scale).log().abs().max() <= log_scale + 1e-6
    a, b = (torch.nn.functional.normalize(g.rotation.double(), dim=-1) for g in (found, wanted))
    half_sine = ((a - b).norm(dim=-1)).minimum((a + b).norm(dim=-1)) / 2
    assert math.degrees(float(4 * half_sine.clamp(max=1).asin().max())) <= turn_deg + 1e-4
    assert (found.opacity - wanted.opacity).abs().max() <= opacity + 1e-6
    assert (found.sh[:, 0] - wanted.sh[:, 0]).abs().max() <= dc + 1e-6
    assert found.sh.shape == wanted.sh.shape
    assert ((found.sh - wanted.sh)[:, 1:].abs() <= sh + 1e-6).all()


def matched(found: Gaussians, wanted: Gaussians) -> Gaussians:
    """The wanted ones in the order of the found: some programs sort."""
    order = torch.cdist(found.mean, wanted.mean).argmin(1)
    assert len(order.unique()) == len(wanted)
    return Gaussians(
        wanted.mean[order], wanted.scale[order], wanted.rotation[order], wanted.opacity[order], wanted.sh[order]
    )


# --- files of other programs ---


def test_a_splat_reads_to_its_bytes():
    found = read_splat(FIXTURES / "minimal.splat")
    assert found.mean.equal(CORNERS * torch.tensor([1.0, -1, -1]))
    assert found.scale.eq(torch.tensor(0.1)).all()
    assert found.opacity.eq(torch.tensor(0xE6 / 255)).all()
    codes = torch.tensor([[0x55, 0x55, 0x80], [0xAA, 0x55, 0x80], [0x55, 0xAA, 0x80], [0xAA, 0xAA, 0x80]])
    torch.testing.assert_close(found.sh[:, 0] * DC + 0.5, codes / 255)
    assert found.rotation.abs().equal(torch.tensor([0.0, 0, 0, 127 / 128]).expand(4, 4))
    assert found.encoding == "srgb"


def test_a_ksplat_reads_to_its_floats_and_bytes():
    found = read_splat(FIXTURES / "minimal.ksplat")
    assert found.mean.equal(CORNERS * torch.tensor([1.0, -1, -1]))
    assert found.scale.eq(torch.tensor(0.1)).all()
    assert found.opacity.eq(torch.tensor(0xE6 / 255)).all()
    codes = torch.tensor([[0x55, 0x55, 0x80], [0xAA, 0x55, 0x80], [0x55, 0xAA, 0x80], [0xAA, 0xAA, 0x80]])
    torch.testing.assert_close(found.sh[:, 0] * DC + 0.5, codes / 255)
    assert found.rotation.abs().equal(torch.tensor([0.0, 0, 0, 1]).expand(4, 4))
    assert found.encoding == "srgb"


@pytest.mark.parametrize(
    ("level", "mean", "log_scale", "turn_deg", "sh"),
    # 16 bits of a block of 1; the 11 bits of half floats (a quaternion has four); 8 bits between +-0.4, rounded down.
    [(0, 0, 0, 0, 0), (1, 1 / 65534, 2**-10, 0.1, 2**-12), (2, 1 / 65534, 2**-10, 0.1, 0.8 / 255)],
)
def test_a_ksplat_of_its_own_program_at_every_level(level, mean, log_scale, turn_deg, sh):
    """Twelve full buckets of four, then seven with fewer; colours and opacities are bytes, opacities rounded down."""
    found = read_splat(FIXTURES / f"known.level{level}.ksplat")
    made = matched(found, known(60, degree=2))
    assert_near(found, made, mean, log_scale, turn_deg, 1 / 255, 1 / 255 / DC, sh)


@pytest.mark.parametrize(
    ("name", "codes", "signs"),
    [
        ("minimal-raw.spz", (0x55, 0xAA), (1, 1, 1)),
        ("minimal-v2.spz", (0x55, 0xAA), (1, 1, 1)),
        ("minimal-v3.spz", (0x69, 0x96), (1, 1, -1)),
        ("minimal-v4.spz", (0x69, 0x96), (1, 1, -1)),
    ],
)
def test_spz_reads_to_its_bytes(name, codes, signs):
    found = read_splat(FIXTURES / name)
    assert found.mean.equal(CORNERS * torch.tensor(signs))
    torch.testing.assert_close(found.scale, torch.full((4, 3), math.exp(0x7B / 16 - 10)))
    assert found.opacity.eq(torch.tensor(0xE6 / 255)).all()
    pattern = torch.tensor([[0, 0, 2], [1, 0, 2], [0, 1, 2], [1, 1, 2]])
    wanted = (torch.tensor([*codes, 0x80])[pattern] / 255 - 0.5) / 0.15
    torch.testing.assert_close(found.sh[:, 0], wanted)
    if "raw" in name or "v2" in name:  # 0x80 is half a step from the middle
        part = 0x80 / 127.5 - 1
        wanted_rotation = torch.tensor([math.sqrt(1 - 3 * part**2), part, part, part])
    else:
        wanted_rotation = torch.tensor([1.0, 0, 0, 0])
    torch.testing.assert_close(found.rotation, wanted_rotation.expand(4, 4))


def test_a_compressed_ply_of_another_program():
    found = read_splat(FIXTURES / "known.compressed.ply")
    assert_near(found, matched(found, known()), 1.1e-3, 1e-3, 0.3, 0, 2.5e-3, 1 / 64)


def test_a_sog_of_another_program_zipped_and_as_a_folder(tmp_path):
    found = read_splat(FIXTURES / "known.sog")
    assert_near(found, matched(found, known()), 1e-4, 1e-6, 1.6, 1 / 255, 1e-5, 1e-5)
    with zipfile.ZipFile(FIXTURES / "known.sog") as bundle:
        bundle.extractall(tmp_path)
    assert_near(read_splat(tmp_path / "meta.json"), found)


# --- round trips ---


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_ply_keeps_everything(tmp_path, degree):
    made = known(50, degree)
    made = replace(made, albedo=torch.rand(50, 3), features=torch.randn(50, 5))
    found = read_splat(write_splat(tmp_path / "a.ply", made))
    assert_near(found, made)
    assert found.sh.equal(made.sh)
    assert found.albedo is not None and found.albedo.equal(made.albedo)
    assert found.features is not None and found.features.equal(made.features)


def test_ply_holds_opacities_of_zero_and_one_and_discs_without_thickness(tmp_path):
    made = replace(known(2), opacity=torch.tensor([0.0, 1.0]), scale=torch.tensor([[1.0, 1.0, 0.0], [1e-9, 1.0, 1e9]]))
    found = read_splat(write_splat(tmp_path / "a.ply", made))
    torch.testing.assert_close(found.opacity, made.opacity, atol=2e-7, rtol=0)
    torch.testing.assert_close(found.scale, made.scale, atol=1e-29, rtol=1e-6)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", [0, 1, 3, 4])
def test_spz_keeps_what_its_bits_hold(tmp_path, version, degree):
    made = known(degree=degree)
    found = read_splat(write_splat(tmp_path / "a.spz", made, spz_version=version))
    # Half a step of each of three parts and what that does to the largest, at least 0.5: 0.0024, or 0.0048 radians.
    # The parts of version 2 are coarser, and the w that is left out is at least 0.3 here: 0.022, or 0.045 radians.
    turn = 2.6 if version == 2 else 0.28
    if version == 2:
        keep = made.rotation[:, 0].abs() > 0.3
        found, made = (
            replace(g, mean=g.mean[keep], scale=g.scale[keep], rotation=g.rotation[keep], opacity=g.opacity[keep],
                    sh=g.sh[keep]) for g in (found, made)
        )  # fmt: skip
    assert_near(found, made, 2**-21, 1 / 32, turn, 0.5 / 255, 0.5 / 255 / 0.15, 1 / 256)


def test_spz_is_the_same_bytes_every_time_and_every_rotation_is_unit(tmp_path):
    for version in (2, 3, 4):
        first, second = (write_splat(tmp_path / f"{k}.spz", known(), spz_version=version) for k in range(2))
        assert first.read_bytes() == second.read_bytes()
        norms = read_splat(first).rotation.norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones(len(norms)), atol=0.01, rtol=0)


def test_spz_uses_fewer_fractional_bits_for_larger_scenes(tmp_path):
    made = replace(known(), mean=known().mean * 1e5)
    found = read_splat(write_splat(tmp_path / "a.spz", made))
    assert_near(found, made, 2**-5, 1 / 32, 0.28, 0.5 / 255, 0.5 / 255 / 0.15, 1 / 256)
    with pytest.raises(InputError, match="24 bits"):
        write_splat(tmp_path / "b.spz", replace(made, mean=made.mean * 1e3))
    assert not (tmp_path / "b.spz").exists()


def test_gltf_holds_the_activated_values(tmp_path):
    made = known(degree=3)
    scene, arrays = read_glb(write_splat(tmp_path / "a.glb", made))
    name = "KHR_gaussian_splatting"
    primitive = scene["meshes"][0]["primitives"][0]
    assert scene["extensionsUsed"] == [name]
    assert primitive["mode"] == 0
    assert primitive["extensions"][name]["kernel"] == "ellipse"
    assert primitive["extensions"][name]["colorSpace"] == "srgb_rec709_display"
    torch.testing.assert_close(arrays["POSITION"], made.mean)
    torch.testing.assert_close(arrays[f"{name}:SCALE"], made.scale)
    torch.testing.assert_close(arrays[f"{name}:ROTATION"], made.rotation[:, [1, 2, 3, 0]])
    torch.testing.assert_close(arrays[f"{name}:OPACITY"][:, 0], made.opacity)
    coefficients = [arrays[f"{name}:SH_DEGREE_{l}_COEF_{n}"] for l in range(4) for n in range(2 * l + 1)]
    torch.testing.assert_close(torch.stack(coefficients, dim=1), made.sh)
    position = scene["accessors"][primitive["attributes"]["POSITION"]]
    torch.testing.assert_close(torch.tensor(position["min"]), made.mean.amin(0))
    linear = to_linear(replace(made, sh=made.sh[:, :1]))
    wanted = (0.5 + DC * linear.sh[:, 0]).clamp(0, 1)
    torch.testing.assert_close(arrays["COLOR_0"][:, :3] / 65535, wanted, atol=1e-5, rtol=0)


def test_gltf_says_when_its_colour_is_linear(tmp_path):
    made = replace(known(), encoding="linear")
    scene, arrays = read_glb(write_splat(tmp_path / "a.glb", made))
    extension = scene["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]
    assert extension["colorSpace"] == "lin_rec709_display"
    torch.testing.assert_close(arrays["KHR_gaussian_splatting:SH_DEGREE_0_COEF_0"], made.sh[:, 0])


def read_glb(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    content = path.read_bytes()
    magic, version, total, length, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, total, kind) == (b"glTF", 2, len(content), b"JSON")
    scene, start = json.loads(content[20 : 20 + length]), 20 + length + 8
    arrays = {}
    for name, index in scene["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = scene["accessors"][index]
        view = scene["bufferViews"][accessor["bufferView"]]
        blob = content[start + view["byteOffset"] :][: view["byteLength"]]
        kind = {5126: "<f4", 5123: "<u2"}[accessor["componentType"]]
        values = np.frombuffer(blob, kind).reshape(accessor["count"], -1).astype(np.float32)
        assert values.shape[1] == {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        arrays[name] = torch.from_numpy(values)
    return scene, arrays


# --- axes ---


@pytest.mark.parametrize("suffix", [".ply", ".spz"])
@pytest.mark.parametrize("axes", ["".join(letters) for letters in product("rl", "ud", "bf")])
def test_a_file_says_in_which_axes_it_is(tmp_path, suffix, axes):
    made = known(degree=3)
    path = write_splat(tmp_path / f"a{suffix}", made, axes=axes, spz_version=4)
    found = read_splat(path)
    plain = read_splat(write_splat(tmp_path / f"b{suffix}", made, spz_version=4))
    assert_near(found, plain)
    flips = torch.tensor([1.0 if letter == own else -1.0 for letter, own in zip(axes, "rub", strict=True)])
    as_stored = read_splat(path, axes="rub")
    torch.testing.assert_close(as_stored.mean, found.mean * flips)
    stored_sigma = covariance(as_stored.scale, as_stored.rotation)
    torch.testing.assert_close(stored_sigma, covariance(found.scale, found.rotation) * flips[:, None] * flips)
    seen = sh_color(found.sh[:, None], DIRECTIONS)
    torch.testing.assert_close(sh_color(as_stored.sh[:, None], DIRECTIONS * flips), seen)


def test_a_ply_that_says_nothing_is_y_down(tmp_path):
    path = write_splat(tmp_path / "a.ply", known())
    content = path.read_bytes()
    assert b"comment maquette axes rdf\n" in content
    path.write_bytes(content.replace(b"comment maquette axes rdf\n", b""))
    assert_near(read_splat(path), known())
    assert read_splat(path, axes="rub").mean[:, 1].equal(-known().mean[:, 1])


# --- normals and colours ---


def test_the_normals_of_a_ply_are_the_thinnest_axes_on_the_viewers_side(tmp_path):
    """A disc tipped by a quarter turn about x and then towards the viewer; in the file y and z point the other way."""
    half = math.radians(60) / 2
    disc = Gaussians(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 1.0, 0.01]]),
        torch.tensor([[math.cos(half), math.sin(half), 0, 0]]),
        torch.ones(1),
        torch.zeros(1, 1, 3),
        encoding="srgb",
    )
    path = write_splat(tmp_path / "a.ply", disc)
    row = np.frombuffer(path.read_bytes().split(b"end_header\n", 1)[1], "<f4")
    np.testing.assert_allclose(row[3:6], [0, math.sin(math.radians(60)), -0.5], atol=1e-6)
    write_splat(path, disc, normals=torch.tensor([[0.0, 0.6, 0.8]]))
    row = np.frombuffer(path.read_bytes().split(b"end_header\n", 1)[1], "<f4")
    np.testing.assert_allclose(row[3:6], [0, -0.6, -0.8])


def test_linear_colour_becomes_display_values_exactly_at_degree_0(tmp_path):
    made = replace(known(degree=0), encoding="linear")
    found = read_splat(write_splat(tmp_path / "a.ply", made))
    light = 0.5 + DC * made.sh[:, 0]
    shown = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
    torch.testing.assert_close(0.5 + DC * found.sh[:, 0], shown)
    torch.testing.assert_close(to_linear(found).sh, made.sh, atol=1e-5, rtol=1e-4)


def test_colour_of_higher_degree_keeps_a_small_error_when_its_light_changes_little():
    made = known(degree=2)
    made = replace(made, sh=made.sh * torch.tensor([0.3] + 8 * [0.05])[:, None])
    light = to_linear(made)
    seen = sh_color(made.sh[:, None], DIRECTIONS)
    wanted = ((seen + 0.055) / 1.055) ** 2.4
    assert (sh_color(light.sh[:, None], DIRECTIONS) - wanted).abs().max() < 2e-3
    assert to_srgb(made) is made
    assert to_linear(light) is light


# --- what is refused on the way out ---


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a.obj", {}, "ends? in one of"),
        ("a.ply", {"mean": torch.full((3, 3), math.nan)}, "splat 0 has a value in mean that is not finite"),
        ("a.spz", {"scale": torch.tensor([[1.0, 1, 1], [1, -1, 1], [1, 1, 1]])}, "splat 1 has a negative scale"),
        ("a.glb", {"opacity": torch.tensor([0.0, 1, 2])}, "splat 2 has an opacity outside"),
        ("a.ply", {"rotation": torch.zeros(3, 4)}, "splat 0 has a"),
    ],
)
def test_values_that_no_gaussian_has_are_not_written(tmp_path, name, change, message):
    with pytest.raises(InputError, match=message) as caught:
        write_splat(tmp_path / name, replace(known(3), **change))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.glb", {"axes": "rdf"}, "glTF has rub alone"),
        ("a.spz", {"spz_version": 5}, "SPZ version 5"),
        ("a.ply", {"normals": torch.zeros(2, 3)}, "2 normals for 3 Gaussians"),
    ],
)
def test_wrong_options_are_told(tmp_path, name, options, message):
    with pytest.raises((InputError, TypeError), match=message):
        write_splat.__wrapped__(tmp_path / name, known(3), **options)  # past the checks of types


def test_unknown_axes_are_told():
    with pytest.raises(InputError, match="axes 'xyz': not known; give one of rub, rdf"):
        axis_signs("xyz")


def test_gltf_has_no_degree_4(tmp_path):
    with pytest.raises(InputError, match="degree 4"):
        write_splat(tmp_path / "a.glb", known(degree=4))
    assert list(tmp_path.iterdir()) == []
