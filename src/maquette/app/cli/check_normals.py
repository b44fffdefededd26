"""`maquette check-normals MAP [--photo P] [--mask M]`: which frame a stranger's normal map is most likely in."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli.parser import Parser
from maquette.errors import InputError
from maquette.geometry.frames import Matrix, describe, names

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.io.frame_conversion import StoredMap
    from maquette.tools.frame_check import FrameCheck

_ALTERNATIVES = 0.01  # certainty from which a reading is worth a line


def main(argv: list[str]) -> int:
    """Run the verb; returns 0, whether the frame could be told or not."""
    options = _parse(argv)

    from maquette.io.frame_conversion import read_stored_map
    from maquette.tools.frame_check import check_frame

    stored = read_stored_map(options.map)
    mask, luminance = _mask(stored, options), None
    if options.photo is not None:
        luminance, mask = _photo(stored, mask, options)
    if not bool(mask.any()):
        raise InputError(f"{options.map}: no pixel of the mask has a normal; give another --mask")
    try:
        check = check_frame(stored.vectors, mask, luminance)
    except InputError as error:
        raise InputError(f"{options.map}: {error}") from error
    report = _report(options.map, check)
    print(json.dumps(report) if options.json else _words(report))
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        "check-normals", "Which frame a normal map is most likely in, how certain that is, and what shows it."
    )
    parser.add_argument("map", type=Path, metavar="MAP", help="png, tiff, exr or npy")
    parser.add_argument("--photo", type=Path, metavar="PHOTO", help="what the map is of, of the same size")
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="where the object is; default: where MAP has normals, cut down to the photo's alpha",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(argv)


def _mask(stored: "StoredMap", options: argparse.Namespace) -> "Tensor":
    from maquette.io.images import read_mask

    mask = stored.is_normal
    if stored.alpha is not None and stored.largest is not None:
        mask = mask & (stored.alpha > 0.5)
    if options.mask is not None:
        mask = mask & _same_size(read_mask(options.mask), mask, options.mask, options.map)
    return mask


def _photo(stored: "StoredMap", mask: "Tensor", options: argparse.Namespace) -> "tuple[Tensor, Tensor]":
    """Linear luminance of the photo, and the mask with what the photo's alpha takes from it."""
    from maquette.io.images import read_photo

    photo = read_photo(options.photo)
    luminance = _same_size(photo.rgb.mean(-1), mask, options.photo, options.map)
    return luminance, mask if photo.mask is None or options.mask is not None else mask & photo.mask


def _same_size(values: "Tensor", mask: "Tensor", path: Path, map: Path) -> "Tensor":
    if values.shape != mask.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (values.shape, mask.shape)]
        raise InputError(f"{path}: is {sizes[0]}, {map} is {sizes[1]}; they must agree")
    return values


def _report(path: Path, check: "FrameCheck") -> dict[str, Any]:
    from maquette.tools.frame_check import FACING_AWAY, MATRICES

    order = check.probability.argsort()[::-1]
    readings = [_reading(MATRICES[index], float(check.probability[index])) for index in order]
    x_right = [reading for index, reading in zip(order, readings, strict=True) if MATRICES[index][0] == (1, 0, 0)]
    share = sum(reading["certainty"] for reading in x_right)
    return {
        "map": str(path),
        "can_tell": check.can_tell,
        **readings[0],
        "alternatives": [reading for reading in readings[1:] if reading["certainty"] >= _ALTERNATIVES],
        "if_x_is_right": {**x_right[0], "certainty": x_right[0]["certainty"] / share} if share > 0 else None,
        "cues": {name: _cue(values) for name, values in check.cues.items()},
        "facing_away": round(check.facing_away, 4),
        "none_fits": check.facing_away > FACING_AWAY,
        "shading_fit": None if check.shading_fit is None else round(check.shading_fit, 4),
    }


def _reading(matrix: Matrix, certainty: float) -> dict[str, Any]:
    return {"frames": names(matrix), "axes": describe(matrix), "certainty": certainty}


def _cue(values: Any) -> dict[str, Any]:
    """What one cue says by itself: the readings that it can't tell from its best."""
    from maquette.tools.frame_check import MATRICES

    near = [index for index in range(len(values)) if values[index] > values.max() - 1]
    apart = sorted(values.max() - values[index] for index in range(len(values)) if index not in near)
    return {
        "readings": [describe(MATRICES[index]) for index in near],
        "others_are_less_likely_by_nats": round(float(apart[0]), 2) if apart else None,
    }


def _words(report: dict[str, Any]) -> str:
    lines = []
    if report["can_tell"]:
        lines.append(f"{report['map']}: {_title(report)}; certainty {_share(report['certainty'])}")
    else:
        lines.append(f"{report['map']}: can't tell; the likeliest of its frames:")
        lines.append(f"  {_share(report['certainty'])}  {_title(report)}")
    lines += [f"  {_share(other['certainty'])}  {_title(other)}" for other in report["alternatives"]]
    conditional = report["if_x_is_right"]
    if not report["can_tell"] and conditional is not None:
        lines.append(f"if its x points right: {_title(conditional)}; certainty {_share(conditional['certainty'])}")
    for name, cue in report["cues"].items():
        readings = cue["readings"]
        if len(readings) > 4:
            lines.append(f"{name}: leaves {len(readings)} of 48 readings open")
        else:
            lines.append(f"{name}: {' | '.join(readings)}")
    missing = [name for name in ("silhouette", "integrability", "light") if name not in report["cues"]]
    if missing:
        lines.append(f"not there to judge by: {', '.join(missing)}")
    if report["none_fits"]:
        lines.append(
            f"{report['facing_away']:.0%} of it faces away from the viewer even so: perhaps its normals are in"
            " world, object or tangent space, which no camera's frame fits"
        )
    return "\n".join(lines)


def _title(reading: dict[str, Any]) -> str:
    return f"{' = '.join(reading['frames']) or 'no named frame'} ({reading['axes']})"


def _share(certainty: float) -> str:
    return f"{certainty:.2f}" if certainty < 0.995 else "> 0.99"
