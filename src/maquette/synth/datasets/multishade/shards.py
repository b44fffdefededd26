"""Making a MultiShade data set: shards that are whole or absent, by one process, by several, or by a cluster."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.synth.datasets.multishade.cluster import make_on_ray, require_ray
from maquette.synth.datasets.multishade.making import ShardResult, load_mesh, make_shard
from maquette.synth.datasets.multishade.spec import FORMAT, MultiShadeSpec, open_manifest, shard_members, shard_path
from maquette.synth.datasets.pieces import MISSING, still_to_make
from maquette.synth.datasets.processes import MAX_WORKERS, in_processes


def generate(
    folder: Path,
    spec: MultiShadeSpec,
    meshes: Path | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    ray: str | None = None,
    done: Callable[[int], None] | None = None,
) -> None:
    """Write the shards that are missing, and those that are damaged, which a warning names.

    A mesh that can't be used is left out, and a warning names it.

    Args:
        folder: of the data set.
        spec: what it is.
        meshes: the folder that `spec.meshes` are below.
        shard: part i of n: every n-th shard from the i-th on.
        workers: processes, or CPUs of a local Ray cluster.
        ray: address of a Ray cluster that makes them instead, as `ray.init` takes it: `local` starts one.
        done: told each shard's number.

    Raises:
        InputError: the folder holds another data set or can't be written; nobody said where the meshes are;
            shards are missing of a generator that this isn't any more; Ray isn't installed or can't be reached; a
            worker died.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise InputError(f"workers is {workers}; it must lie in 1..{MAX_WORKERS}")
    if ray is not None:
        require_ray(ray)
    open_manifest(folder, spec)
    todo = still_to_make(
        range(shard[0], spec.shards, shard[1]),
        lambda number: shard_path(folder, number),
        lambda path, number: shard_fault(path, spec, number),
        (spec.format, FORMAT),
        done,
    )
    for made in _makers(spec, todo, meshes, workers, ray):
        for reason in made.skipped:
            warnings.warn(f"{reason}; it is left out", stacklevel=2)
        write_bytes(shard_path(folder, made.number), made.content)
        if done is not None:
            done(made.number)


def shard_fault(path: Path, spec: MultiShadeSpec, number: int) -> str:
    """What is wrong with a shard, as far as its headers and its length tell; empty if nothing is."""
    if not path.exists():
        return MISSING
    try:
        shard_members(path, spec, number)
    except InputError as error:
        return str(error)
    return ""


def _makers(
    spec: MultiShadeSpec, todo: list[int], meshes: Path | None, workers: int, ray: str | None
) -> Iterator[ShardResult]:
    """Shards as they are finished."""
    if ray is not None and todo:
        return make_on_ray(spec, todo, lambda thing: load_mesh(spec, meshes, thing), ray, workers)
    if min(workers, len(todo)) <= 1:
        return (make_shard(spec, number, lambda thing: load_mesh(spec, meshes, thing)) for number in todo)
    return in_processes(partial(_worker_shard, spec, meshes), todo, workers)


def _worker_shard(spec: MultiShadeSpec, meshes: Path | None, number: int) -> ShardResult:
    return make_shard(spec, number, lambda thing: load_mesh(spec, meshes, thing))
