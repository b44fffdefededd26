"""The sets by their names."""

from collections.abc import Callable, Iterator
from pathlib import Path

from maquette.bench.normals.datasets import Sample
from maquette.catalogue import BENCH_SETS, resolve

Loader = Callable[[Path, Path], Iterator[Sample]]

SETS: dict[str, Loader] = {name: resolve(each.load) for name, each in BENCH_SETS.items()}
