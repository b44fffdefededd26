"""Photos to normals, confidence, relit pictures and a page to look at: what `make demo` runs.

python examples/demo.py --output demo [PHOTO ...]
"""

import argparse
import html
import json
import sys
from importlib import resources
from pathlib import Path

from maquette.app.cli.main import main as maquette

PHOTOS = Path(__file__).parent / "photos"


def main() -> int:
    """Run the verbs as a user would, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, default=[PHOTOS / "teapot.png", PHOTOS / "coffee.png"])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    options = parser.parse_args()
    out: Path = options.output
    names = [str(p) for p in options.photos]
    status = maquette(["normals", *names, "-o", str(out), "--confidence"])
    if status:
        return status
    for name in names:
        status = maquette(["relight", name, "--elevation", "35", "--orbit", str(out / f"{Path(name).stem}.orbit.gif")])
        if status:
            return status
    page = out / "index.html"
    page.write_text(_page([Path(n).stem for n in names]), encoding="utf-8")
    print(f"open {page.resolve().as_uri()}")
    return 0


def _page(stems: list[str]) -> str:
    """A page that needs nothing but the files beside it."""
    card = json.loads(resources.files("maquette.weights").joinpath("nirne-small/card.json").read_text())
    figures = "\n".join(
        f"<section><h2>{html.escape(s)}</h2><img src='{html.escape(s)}.sheet.png' alt='photo, normals, relit from four "
        f"sides'><div class=row><figure><img src='{html.escape(s)}.orbit.gif' alt='relit by a turning light'>"
        f"<figcaption>a light that turns</figcaption></figure><figure><img src='{html.escape(s)}.confidence.png' "
        "alt='confidence'><figcaption>confidence, bright is sure</figcaption></figure></div></section>"
        for s in stems
    )
    return f"""<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>maquette</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100%; border-radius: 6px }} .row {{ display: flex; gap: 1rem; flex-wrap: wrap }}
figure {{ margin: 1rem 0; flex: 1 1 18rem }} figcaption {{ opacity: .7 }}
</style><h1>maquette</h1>
<p>Normals of single photos by NiRNE ({html.escape(card["name"])}, {card["steps"]} training steps).
Frame: x right, y up, z towards the viewer; 16-bit PNG, OpenGL convention.</p>
{figures}
</html>
"""


if __name__ == "__main__":
    sys.exit(main())
