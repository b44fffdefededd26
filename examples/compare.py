"""One sheet of photos and what several weights make of them, to look at.

    python examples/compare.py PHOTO ... --weights nirne-small-1@256 nirne-small@512 -o sheet.jpg

NAME@N looks as finely as N pixels across the object. Masks are what `--mask auto` finds.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray

from maquette.io.images import read_photo, to_srgb8
from maquette.methods.masks import cut_out
from maquette.methods.nirne import NiRNE
from maquette.viz.pictures import normals_in_colour


def main() -> int:
    """Predict and lay out: a row a photo, in two columns of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", default=["nirne-small-1@256", "nirne-small@512"], metavar="NAME@N")
    parser.add_argument("--side-px", type=int, default=384, help="of a picture in the sheet")
    parser.add_argument("-o", "--output", type=Path, default=Path("sheet.jpg"))
    options = parser.parse_args()
    methods = []
    for text in options.weights:
        name, _, detail = text.partition("@")
        methods.append(NiRNE.from_pretrained(name, detail_px=int(detail) if detail else None))
    rows = []
    for path in options.photos:
        photo = cut_out(read_photo(path))
        pictures = [to_srgb8(photo.rgb).numpy()]
        pictures += [normals_in_colour(method(photo)).numpy() for method in methods]
        rows.append(np.concatenate([_fitted(picture, options.side_px) for picture in pictures], 1))
        print(path.name, file=sys.stderr)
    if len(rows) % 2:
        rows.append(np.full_like(rows[0], 128))
    half = len(rows) // 2
    sheet = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1)
    cv2.imwrite(str(options.output), np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 0


def _fitted(picture: ndarray, side_px: int) -> ndarray:
    """The picture in the middle of a grey square."""
    height, width = picture.shape[:2]
    scale = side_px / max(height, width)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    square = np.full((side_px, side_px, 3), 128, np.uint8)
    top, left = (side_px - small.shape[0]) // 2, (side_px - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


if __name__ == "__main__":
    sys.exit(main())
