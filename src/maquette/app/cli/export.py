"""`maquette export nirne -o nirne.onnx`: a network for programs that have no torch."""

import argparse
import json
from pathlib import Path

from maquette.app.cli.parser import Parser
from maquette.catalogue import METHODS
from maquette.errors import InputError


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    if options.output.suffix.lower() != ".onnx":
        raise InputError(f"-o {options.output}: the file must end in .onnx")
    if options.output.is_dir():
        raise InputError(f"-o {options.output}: is a folder; give the name of a file")

    from maquette.methods.nirne import NiRNE
    from maquette.tools.export import OPSET, export_onnx, recommended_px

    method = NiRNE.from_pretrained(options.weights, size_px=options.size_px, mirrored=not options.no_mirror)
    weights = Path(options.weights).resolve().name
    differences = export_onnx(method, options.output, weights)
    report = {
        "file": str(options.output),
        "weights": weights,
        "frame": "opengl",
        "opset": OPSET,
        "size_px": recommended_px(method),
        "mirrored": method.mirrored,
        "largest_difference_to_torch": differences,
    }
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{options.output}: {weights}, within {max(differences.values()):.1g} of torch")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("export", __doc__ or "")
    parser.add_argument("network", choices=["nirne"], help="what is exported")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.onnx", help="the file to write")
    parser.add_argument("--weights", default=METHODS["nirne"].weights, metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument(
        "--size-px",
        type=int,
        metavar="PX",
        help="size of the first pass; the file recommends twice that; default: of the training",
    )
    parser.add_argument(
        "--no-mirror", action="store_true", help="don't average with the mirrored photo: half the time, less accurate"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    return parser.parse_args(argv)
