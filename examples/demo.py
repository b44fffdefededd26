"""Photos to normals, confidence, relit pictures and a page of each to look at: what `make demo` runs.

python examples/demo.py --output demo [PHOTO ...]
"""

import argparse
import sys
from pathlib import Path

from maquette.app.cli.main import main as maquette

PHOTOS = Path(__file__).parent / "photos"


def main() -> int:
    """Run the verbs as a user would, and say what to open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, default=[PHOTOS / "teapot.png", PHOTOS / "coffee.png"])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    options = parser.parse_args()
    out: Path = options.output
    names = [str(p) for p in options.photos]
    status = maquette(["normals", *names, "-o", str(out), "--confidence", "--report"])
    if status:
        return status
    for name in names:
        status = maquette(["relight", name, "--elevation", "35", "--orbit", str(out / f"{Path(name).stem}.orbit.gif")])
        if status:
            return status
    for name in names:
        print(f"open {(out / f'{Path(name).stem}.report.html').resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
