"""What `--mask` may say, read without anything heavy."""

import math
from dataclasses import dataclass

from maquette.catalogue import MASK_FORMS, MASK_WORDS, SMALLEST_BOX_PX, MaskKind
from maquette.errors import InputError


@dataclass(frozen=True)
class MaskChoice:
    """How the object is to be found.

    Attributes:
        kind: the way; see `maquette.methods.masks.cut_out`.
        numbers: of a box x0, y0, x1, y1, of a point x, y: pixels from the top-left corner, x right, y down.
        text: the path of a file, or the name of one of rembg's models.
    """

    kind: MaskKind
    numbers: tuple[float, ...] = ()
    text: str = ""


def read_choice(text: str) -> MaskChoice:
    """Read a `--mask`; what is none of the words and prefixes is the path of a file.

    Raises:
        InputError: nothing at all, numbers that are missing or none, a box turned inside out, a name that is a path.
    """
    for word in MASK_WORDS:
        if text == word:
            return MaskChoice(word)
    prefix, _, rest = text.partition(":")
    if prefix == "box":
        x0, y0, x1, y1 = _numbers(text, rest, 4, "box:X0,Y0,X1,Y1")
        if min(x1 - x0, y1 - y0) < SMALLEST_BOX_PX:
            raise InputError(
                f"--mask {text}: X1 must be at least {SMALLEST_BOX_PX} pixels right of X0, and Y1 as far below Y0"
            )
        return MaskChoice("box", (x0, y0, x1, y1))
    if prefix == "point":
        return MaskChoice("point", _numbers(text, rest, 2, "point:X,Y"))
    if prefix == "rembg":
        if not rest or "/" in rest or "\\" in rest:
            raise InputError(f"--mask {text}: rembg:NAME names one of rembg's models, as rembg:isnet-general-use does")
        return MaskChoice("rembg", text=rest)
    if not text:
        raise InputError(f"--mask: is empty; give {MASK_FORMS}")
    return MaskChoice("file", text=text)


def searches(text: str) -> bool:
    """Whether a `--mask` looks at the photo's colours, if the photo has no alpha."""
    return read_choice(text).kind not in ("alpha", "none", "file")


def _numbers(text: str, rest: str, count: int, form: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in rest.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InputError(f"--mask {text}: {form} takes {count} numbers, pixels from the top-left corner")
    return numbers
