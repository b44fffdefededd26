"""The sets by their names."""

from collections.abc import Callable, Iterator
from pathlib import Path

from maquette.bench.normals.datasets import Sample, diligent, luces, pathtraced, scans
from maquette.bench.normals.textures import textures
from maquette.bench.normals.validation import validation

Loader = Callable[[Path, Path], Iterator[Sample]]

SETS: dict[str, Loader] = {
    "diligent": diligent,
    "luces": luces,
    "pathtraced": pathtraced,
    "scans": scans,
    "textures": textures,
    "validation": validation,  # for choices; the others are for evaluation alone
}
