"""`maquette VERB ...`: finds the verb, and turns every mistake of a user into one line and exit code 2.

Nothing heavy is imported before the verb is known, so that `maquette --help` answers at once.
"""

import os
import sys
from importlib import import_module

from maquette.errors import InputError

VERBS = {
    "normals": ("maquette.app.cli.normals", "surface normals of photos"),
    "photometric": ("maquette.app.cli.photometric", "one normal map from photos under several lights"),
    "video": ("maquette.app.cli.video", "normal maps of a film that don't flicker"),
    "splat": ("maquette.app.cli.splat", "a picture of an object as Gaussians"),
    "relight": ("maquette.app.cli.relight", "a photo, a normal map or Gaussians under another light"),
    "mesh": ("maquette.app.cli.mesh", "a photo or a normal map as a textured mesh or a solid relief"),
    "render": ("maquette.app.cli.render", "Gaussians as a picture, or as a film around them"),
    "grasp": ("maquette.app.cli.grasp", "where a two-finger gripper could take hold of a splat's object"),
    "view": ("maquette.app.cli.view", "a splat, a mesh or a normal map in the browser"),
    "convert": ("maquette.app.cli.convert", "a normal map from one frame to another"),
    "export": ("maquette.app.cli.export", "a network as an ONNX file"),
    "check-normals": ("maquette.app.cli.check_normals", "which frame a normal map is in, and how certain that is"),
    "doctor": ("maquette.app.cli.doctor", "what works here, and what one would type where it does not"),
    "bench": ("maquette.app.cli.bench", "score methods against measured normals"),
    "dataset": ("maquette.app.cli.dataset", "generate training data"),
    "train": ("maquette.app.cli.train", "train a network"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: what follows the program's name; by default, what it was started with.

    Returns:
        The exit code: 0 done, 2 wrong input or interrupted. A fault of the program itself raises, which
        makes it 1.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # who reads what is printed has left, as `| head -1` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it exits
        return 2


def _run(argv: list[str]) -> int:
    try:
        return _dispatch(argv)
    except InputError as error:
        print(f"maquette: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("maquette: interrupted; the files that are there are whole", file=sys.stderr)
    finally:
        sys.stdout.flush()
    return 2


def _dispatch(argv: list[str]) -> int:
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        from maquette import __version__

        print(f"maquette {__version__}")
        return 0
    if verb not in VERBS:
        kind = "option" if verb.startswith("-") else "verb"
        raise InputError(f"unknown {kind} {verb!r}; the verbs are {', '.join(VERBS)}")
    module, _ = VERBS[verb]
    return import_module(module).main(argv[1:])


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {verb:<{width}}{what}" for verb, (_, what) in VERBS.items())
    return (
        "usage: maquette VERB ...\n\n"
        "Photos into surface normals, and normals into geometry.\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n  --help    this text; after a verb, that verb's own\n  --version the version"
    )


if __name__ == "__main__":
    sys.exit(main())
