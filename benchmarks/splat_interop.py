"""Our splat files as other people's programs read them, beside what was written and what we read ourselves.

    python benchmarks/splat_interop.py --install           # once: npm install, 220 MB
    python benchmarks/splat_interop.py [--quick] [--json]

PLY, SPZ 2, 3 and 4 (and 3 in other axes) of the Gaussians of `splat_files.py` (5,000; 300 with `--quick`) are read by
PlayCanvas' splat-transform, which prints their values as text; a `.glb` is read by glTF Transform and checked by
Khronos' validator, and compared to the `.glb` that splat-transform makes of our PLY. Printed is the worst over all
Gaussians: the distance of the means, the largest factor of a scale, the angle of the rotation, the opacity, the
constant harmonic and the others. `quantum` is what the format itself may lose. The validator doesn't know the
extension: it is asked twice, and what it may complain of is the extension and its attributes' names; under names of the
kind that applications choose (_SCALE), it must find nothing.

The packages lie in `--packages DIR`, by default $MAQUETTE_SPLAT_TOOLS or a folder among the temporary files; nothing is
fetched without `--install`. Returns 1 if something is lost beyond its quantum.
"""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import harness
import numpy as np
import torch
from splat_files import losses, sample

from maquette.errors import InputError
from maquette.io.splats.files import read_splat, write_splat
from maquette.io.splats.raw import RawSplats, to_gaussians
from maquette.types import Gaussians

PACKAGES = ("@playcanvas/splat-transform@2.7.1", "gltf-validator@2.0.0-dev.3.10", "@gltf-transform/core@4.5.1")
EXTENSION = "KHR_gaussian_splatting"
QUANTITIES = ("mean", "scale_factor", "rotation_deg", "opacity", "constant", "harmonics")
# The logarithms and logits of a PLY are float32; so is what splat-transform prints of an SPZ.
FLOAT = {"mean": 1e-6, "scale_factor": 1 + 1e-5, "rotation_deg": 1e-3, "opacity": 1e-6, "constant": 1e-5,
         "harmonics": 1e-6}  # fmt: skip
# Means of 24 bits; log scales, harmonics and opacities of 8, rounded; quaternions of 10 bits a part. Version 2 has 8
# and leaves w out: half a step of 1/255 in each of three parts is up to sqrt(2 sqrt(3) / 255) = 0.117 in a w of 0.
SPZ = {"mean": 2e-6, "scale_factor": math.exp(1 / 32) + 1e-5, "rotation_deg": 0.28, "opacity": 0.501 / 255,
       "constant": 0.501 / 255 / 0.15, "harmonics": 0.501 / 128}  # fmt: skip
QUANTA = {
    "ply": FLOAT,
    "spz2": SPZ | {"rotation_deg": 14.5},
    "spz3": SPZ,
    "spz3 rdf": SPZ,
    "spz4": SPZ,
    "glb": FLOAT,
    "glb of splat-transform": FLOAT,
}


def main(argv: list[str] | None = None) -> int:
    """Compare, print; returns 0, or 1 if something is lost."""
    parser = harness.arguments(__doc__, quick="300 Gaussians", json="one flat object")
    parser.add_argument("--install", action="store_true", help=f"npm install {' '.join(PACKAGES)}, then compare")
    parser.add_argument("--packages", type=Path, default=packages_folder(), metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(argv)
    if options.install:
        install(options.packages)
    missing = what_is_missing(options.packages)
    if missing:
        print(f"splat_interop: {missing}", file=sys.stderr)
        return 2
    made = within_spz(sample(300 if options.quick else 5_000))
    with tempfile.TemporaryDirectory() as folder:
        found = compare(options.packages, made, Path(folder))
        issues = validate(options.packages, made, Path(folder))
    harness.show(options, flat, table, found, issues)
    return int(bool(beyond(found) or issues))


def packages_folder() -> Path:
    """Where the packages are looked for."""
    return Path(os.environ.get("MAQUETTE_SPLAT_TOOLS") or Path(tempfile.gettempdir()) / "maquette-splat-tools")


def install(folder: Path) -> None:
    """Put the packages into a folder, with npm."""
    if shutil.which("npm") is None:
        raise SystemExit("no npm on the path; install Node.js 20 or later")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    # No package's own install script has anything to do here.
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *PACKAGES]
    subprocess.run(command, check=True, stdout=sys.stderr)


def what_is_missing(folder: Path) -> str:
    """What keeps the comparison from running, in words; empty if nothing does."""
    if shutil.which("node") is None:
        return "no node on the path; install Node.js 20 or later"
    for package in PACKAGES:
        if not (folder / "node_modules" / package.rsplit("@", 1)[0]).is_dir():
            return f"{folder} has no {package}; `python benchmarks/splat_interop.py --install` fetches it"
    return ""


def within_spz(gaussians: Gaussians) -> Gaussians:
    """The few constant harmonics and scales that a byte of SPZ can't hold, moved to what it does."""
    sh = gaussians.sh.clone()
    sh[:, 0] = sh[:, 0].clamp(-3.3, 3.3)
    sh[:, 1:] = sh[:, 1:].clamp(-0.99, 0.99)
    return replace(gaussians, sh=sh, scale=gaussians.scale.clamp(5e-5, 370))


Readings = dict[str, tuple[Gaussians, Gaussians]]  # theirs, ours


def compare(packages: Path, made: Gaussians, folder: Path) -> dict[str, dict[str, float]]:
    """For each format: the losses as the other program reads it, and how far our own reading is from that."""
    paths = {
        "ply": write_splat(folder / "a.ply", made),
        "spz2": write_splat(folder / "a2.spz", made, spz_version=2),
        "spz3": write_splat(folder / "a3.spz", made, spz_version=3),
        "spz3 rdf": write_splat(folder / "rdf.spz", made, axes="rdf"),
        "spz4": write_splat(folder / "a4.spz", made, spz_version=4),
    }
    found = {}
    for case, path in paths.items():
        theirs = by_splat_transform(packages, path)
        found[case] = worst(theirs, made) | {f"{k}_apart": v for k, v in worst(theirs, read_splat(path)).items()}
    found["glb"] = worst(by_gltf_transform(packages, write_splat(folder / "a.glb", made)), made)
    transform(packages, paths["ply"], folder / "theirs.glb")
    theirs = by_gltf_transform(packages, folder / "theirs.glb", axes="luf")
    found["glb of splat-transform"] = worst(theirs, made)
    return found


def worst(found: Gaussians, wanted: Gaussians) -> dict[str, float]:
    """The worst of each quantity; half a turn about an axis of its own leaves a Gaussian what it is."""
    w, x, y, z = found.rotation.unbind(-1)
    turned = [found.rotation, *(torch.stack(q, -1) for q in ((-x, w, z, -y), (-y, -z, w, x), (-z, y, -x, w)))]
    turns = torch.stack([losses(replace(found, rotation=q), wanted)["rotation_deg"] for q in turned])
    lost = {name: float(values.max()) for name, values in losses(found, wanted).items() if name != "color"}
    apart = (found.sh - wanted.sh).abs()
    lost["rotation_deg"] = float(turns.amin(0).max())
    return lost | {"constant": float(apart[:, 0].max()), "harmonics": float(apart[:, 1:].max())}


def transform(packages: Path, source: Path, target: Path) -> None:
    """Convert with splat-transform."""
    script = packages / "node_modules/@playcanvas/splat-transform/bin/cli.mjs"
    subprocess.run(["node", script, "-q", "-w", source, target], check=True, capture_output=True, timeout=300)


def by_splat_transform(packages: Path, path: Path) -> Gaussians:
    """What splat-transform reads; it prints everything in the axes of a PLY, with logarithms and logits."""
    target = path.with_name(f"{path.name}.csv")
    transform(packages, path, target)
    names = target.open().readline().strip().split(",")
    table = np.loadtxt(target, delimiter=",", skiprows=1, ndmin=2)

    def columns(wanted: list[str]) -> np.ndarray:
        return table[:, [names.index(name) for name in wanted]]

    rest = columns([f"f_rest_{k}" for k in range(sum(name.startswith("f_rest_") for name in names))])
    higher = rest.reshape(len(table), 3, -1).swapaxes(1, 2)
    raw = RawSplats(
        mean=columns(["x", "y", "z"]),
        scale=np.exp(columns(["scale_0", "scale_1", "scale_2"])),
        rotation=columns(["rot_0", "rot_1", "rot_2", "rot_3"]),
        opacity=1 / (1 + np.exp(-columns(["opacity"])[:, 0])),
        sh=np.concatenate([columns(["f_dc_0", "f_dc_1", "f_dc_2"])[:, None], higher], axis=1),
    )
    return to_gaussians(path, as_float32(raw), "rdf")


def read_glb(packages: Path, path: Path) -> dict:
    """What the validator says (`issues`), and what glTF Transform reads (`attributes`)."""
    command = ["node", Path(__file__).with_suffix(".js"), packages, path]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)


def by_gltf_transform(packages: Path, path: Path, axes: str = "rub") -> Gaussians:
    """What glTF Transform reads."""
    answer = read_glb(packages, path)
    values = {name.removeprefix(f"{EXTENSION}:"): np.array(array) for name, array in answer["attributes"].items()}
    degrees = [(l, n) for l in range(4) for n in range(2 * l + 1) if f"SH_DEGREE_{l}_COEF_{n}" in values]
    raw = RawSplats(
        mean=values["POSITION"].reshape(-1, 3),
        scale=values["SCALE"].reshape(-1, 3),
        rotation=np.roll(values["ROTATION"].reshape(-1, 4), 1, axis=-1),
        opacity=values["OPACITY"],
        sh=np.stack([values[f"SH_DEGREE_{l}_COEF_{n}"].reshape(-1, 3) for l, n in degrees], axis=1),
    )
    return to_gaussians(path, as_float32(raw), axes)


def as_float32(raw: RawSplats) -> RawSplats:
    """The same in the type that all of ours have."""
    names = ("mean", "scale", "rotation", "opacity", "sh")
    return replace(raw, **{name: getattr(raw, name).astype(np.float32) for name in names})


def validate(packages: Path, made: Gaussians, folder: Path) -> list[str]:
    """What the validator finds wrong beyond not knowing the extension and its names."""
    path = write_splat(folder / "a.glb", made)
    issues = read_glb(packages, path)["issues"]
    unknown = ("UNSUPPORTED_EXTENSION", "MESH_PRIMITIVE_INVALID_ATTRIBUTE")
    wrong = [f"{issue['code']} at {issue['pointer']}" for issue in issues if issue["code"] not in unknown]
    named = [issue["pointer"] for issue in issues if issue["code"] == unknown[1]]
    wrong += [f"invalid name at {pointer}" for pointer in named if f"{EXTENSION}:" not in pointer]
    renamed = folder / "renamed.glb"
    renamed.write_bytes(rewritten(path.read_bytes(), lambda text: text.replace(f'"{EXTENSION}:', '"_')))
    again = [issue for issue in read_glb(packages, renamed)["issues"] if issue["code"] != unknown[0]]
    return wrong + [f"{issue['code']} at {issue['pointer']}, renamed" for issue in again]


def rewritten(content: bytes, change: Callable[[str], str]) -> bytes:
    """A `.glb` with its JSON changed."""
    (length,) = struct.unpack_from("<I", content, 12)
    text = change(content[20 : 20 + length].decode()).rstrip().encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def beyond(found: dict[str, dict[str, float]]) -> list[str]:
    """What is lost beyond the format's own quantum."""
    return [f"{case}: {name}" for case in found for name in QUANTITIES if not found[case][name] <= QUANTA[case][name]]


def flat(found: dict[str, dict[str, float]], issues: list[str]) -> dict[str, float]:
    """`spz3_mean`, `spz3_mean_apart`, ... and `validator_issues`."""
    named = {f"{case.replace(' ', '_')}_{k}": float(f"{v:.3g}") for case, of in found.items() for k, v in of.items()}
    return named | {"validator_issues": len(issues)}


def table(found: dict[str, dict[str, float]], issues: list[str]) -> str:
    """The same in Markdown."""
    head = ["file", "mean", "scale, factor", "rotation, degrees", "opacity", "constant harmonic", "others"]
    rows = [head, ["---"] * len(head)]
    for case, values in found.items():
        rows.append([case, *(f"{values[name]:.6g}" for name in QUANTITIES)])
        rows.append(["(quantum)", *(f"{QUANTA[case][name]:.6g}" for name in QUANTITIES)])
        if "mean_apart" in values:
            rows.append(["(from our reading)", *(f"{values[f'{name}_apart']:.6g}" for name in QUANTITIES)])
    lines = [harness.row(row) for row in rows]
    lines.append(f"\nvalidator: {'; '.join(issues) or 'nothing but the unknown extension and its names'}")
    lines.append(f"beyond the quantum: {'; '.join(beyond(found)) or 'nothing'}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.SubprocessError, InputError) as error:
        sys.exit(f"splat_interop: {error}")
