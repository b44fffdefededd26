"""`maquette view SPLAT|MESH|NORMALS`: a server whose page shows a file from all sides, until it is interrupted."""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

from maquette.app.cli.parser import CONVENTIONS, SPLAT_FILES, Parser, either, show_warnings_in_one_line
from maquette.catalogue import AXES, MAP_SUFFIXES, MESH_SUFFIXES
from maquette.errors import InputError

_PORT = 8080


def main(argv: list[str]) -> int:
    """Run the verb until it is interrupted; returns 0."""
    options = _parse(argv)
    if find_spec("viser") is None:  # before the file is read
        raise InputError("viewing needs viser, which isn't installed; type: pip install 'maquette[view]'")
    show_warnings_in_one_line()

    from maquette.app.viewer import HOST, read_shown, serve, stop

    server = serve(read_shown(options.input, options.axes, options.convention), options.port)
    print(f"{options.input} at http://{HOST}:{server.get_port()} (Ctrl-C ends it)", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:  # how one leaves
        stop(server)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a number from 1 to 65535, or 0 for any")
    return int(text)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("view", "A splat, a mesh or a normal map (as a relief) in the browser, from all sides.")
    parser.add_argument(
        "input",
        type=Path,
        metavar="SPLAT|MESH|NORMALS",
        help=f"{SPLAT_FILES}; a {either(MESH_SUFFIXES)}; a {either(MAP_SUFFIXES)}",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=_PORT,
        metavar="N",
        help="if taken, the next one; 0 is any; default: %(default)s",
    )
    parser.add_argument("--axes", choices=AXES, help="of a splat: right|left, up|down, back|forward; default: its own")
    parser.add_argument(
        "--convention", choices=CONVENTIONS, default="opengl", help="of a normal map; default: %(default)s"
    )
    return parser.parse_args(argv)
