"""Which pieces of a data set (its shards, its objects) are still to be made."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from maquette.errors import InputError

MISSING = "missing"
Piece = TypeVar("Piece")


def still_to_make(
    pieces: Iterable[Piece],
    place: Callable[[Piece], Path],
    fault: Callable[[Path, Piece], str],
    formats: tuple[int, int],
    done: Callable[[Piece], None] | None = None,
) -> list[Piece]:
    """The pieces that are missing, and those that are damaged, which a warning names.

    Args:
        pieces: all of them.
        place: where a piece lies.
        fault: what is wrong with the piece at a place: `MISSING`, else a line that names it, empty if nothing is.
        formats: versions of the generator: of the data set, and of the one that runs.
        done: told each piece that is whole.

    Raises:
        InputError: there are such pieces, and the generator that runs isn't theirs any more.
    """
    todo = []
    for piece in pieces:
        found = fault(place(piece), piece)
        if found:
            todo.append(piece)
            if found != MISSING:
                warnings.warn(f"{found}; it is made again", stacklevel=3)
        elif done is not None:
            done(piece)
    if todo and formats[0] != formats[1]:
        raise InputError(
            f"{place(todo[0])}: missing or damaged, and this generator makes format {formats[1]}, not"
            f" {formats[0]}; choose an empty folder"
        )
    return todo
