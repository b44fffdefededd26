"""One shard of a MultiShade data set.

Its bytes follow from the spec, its number and the meshes' content alone. All is computed on one thread of torch, whose
sums depend on the number of threads in the last bit; who makes a shard therefore changes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from maquette.errors import InputError
from maquette.io.meshes import read_mesh
from maquette.io.tars import pack_tar
from maquette.synth.datasets.multishade.samples import make_samples
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
from maquette.types import Mesh


class ShardResult(NamedTuple):
    """A shard's number, its content, and the meshes that it lacks, with the reasons."""

    number: int
    content: bytes
    skipped: list[str]


def make_shard(spec: MultiShadeSpec, number: int, load: Callable[[int], Mesh | str]) -> ShardResult:
    """One shard.

    Args:
        spec: of the data set.
        number: of the shard.
        load: given an object's number, its mesh, or why it has none.
    """
    files, skipped = [], []
    with _one_thread():
        for thing in spec.shard_objects(number):
            mesh = load(thing) if thing >= spec.count else None
            if isinstance(mesh, str):
                skipped.append(mesh)
                continue
            for key, contents in make_samples(spec, thing, mesh):
                files += [(key + suffix, content) for suffix, content in contents.items()]
    return ShardResult(number, pack_tar(files), skipped)


def load_mesh(spec: MultiShadeSpec, folder: Path | None, thing: int) -> Mesh | str:
    """The mesh of an object, or why it can't be used.

    Raises:
        InputError: nobody said where the meshes are.
    """
    if folder is None:
        raise InputError(f"the data set holds {len(spec.meshes)} meshes; say by --meshes in which folder they are")
    try:
        return read_mesh(folder / spec.meshes[thing - spec.count].name)
    except InputError as error:
        return str(error)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
