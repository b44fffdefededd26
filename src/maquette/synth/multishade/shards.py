"""Making a MultiShade data set: shards that are whole or absent, by one process, by several, or by a cluster.

A shard's bytes follow from the spec, its number and the meshes' content alone. Everything in it is computed on one
thread of torch, whose sums depend on the number of threads in the last bit; who makes it therefore changes nothing.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import numba
import torch

from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.io.tars import list_tar, pack_tar
from maquette.io.textured_meshes import TexturedMesh, read_textured_mesh
from maquette.synth.multishade.samples import make_samples
from maquette.synth.multishade.spec import FORMAT, MultiShadeSpec, open_manifest, sample_key, shard_path

MAX_WORKERS = 256


class Made(NamedTuple):
    """A shard's number, its content, and the meshes that it lacks, with the reasons."""

    number: int
    content: bytes
    skipped: list[str]


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
        InputError: the folder holds another data set or can't be written; a mesh changed since the spec was made;
            shards are missing of a generator that this isn't any more; Ray isn't installed or can't be reached; a
            worker died.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise InputError(f"workers is {workers}; it must lie in 1..{MAX_WORKERS}")
    open_manifest(folder, spec)
    todo = []
    for number in range(shard[0], spec.shards, shard[1]):
        fault = shard_fault(shard_path(folder, number), spec, number)
        if not fault and done is not None:
            done(number)
        if fault:
            todo.append(number)
            if fault != "missing":
                warnings.warn(f"{fault}; it is made again", stacklevel=2)
    if todo and spec.format != FORMAT:
        raise InputError(
            f"{shard_path(folder, todo[0])}: missing or damaged, and this generator makes format {FORMAT}, not"
            f" {spec.format}; choose an empty folder"
        )
    for made in _makers(spec, todo, meshes, workers, ray):
        for reason in made.skipped:
            warnings.warn(f"{reason}; it is left out", stacklevel=2)
        write_bytes(shard_path(folder, made.number), made.content)
        if done is not None:
            done(made.number)


def make_shard(spec: MultiShadeSpec, number: int, load: Callable[[int], TexturedMesh | str]) -> Made:
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
    return Made(number, pack_tar(files), skipped)


def load_mesh(spec: MultiShadeSpec, folder: Path | None, thing: int) -> TexturedMesh | str:
    """The mesh of an object, or why it can't be used.

    Raises:
        InputError: nobody said where the meshes are.
    """
    if folder is None:
        raise InputError(f"the data set holds {len(spec.meshes)} meshes; say by --meshes in which folder they are")
    try:
        return read_textured_mesh(folder / spec.meshes[thing - spec.count].name)
    except InputError as error:
        return str(error)


def shard_fault(path: Path, spec: MultiShadeSpec, number: int) -> str:
    """What is wrong with a shard, as far as its headers and its length tell; empty if nothing is."""
    if not path.exists():
        return "missing"
    try:
        found = [member.name for member in list_tar(path)]
    except InputError as error:
        return str(error)
    expected = []
    for thing in spec.shard_objects(number):
        names = [
            sample_key(thing, view, light) + suffix
            for view in range(spec.views)
            for light in range(spec.lights)
            for suffix in spec.suffixes
        ]
        if thing < spec.count or found[len(expected) : len(expected) + 1] == names[:1]:  # a mesh may lack all of them
            expected += names
    return "" if found == expected else f"{path}: damaged (it holds other files than the manifest says)"


def _makers(
    spec: MultiShadeSpec, todo: list[int], meshes: Path | None, workers: int, ray: str | None
) -> Iterator[Made]:
    """Shards as they are finished."""
    if ray is not None:
        from maquette.synth.multishade.cluster import make_on_ray

        return make_on_ray(spec, todo, lambda thing: load_mesh(spec, meshes, thing), ray, workers)
    if min(workers, len(todo)) <= 1:
        return (make_shard(spec, number, lambda thing: load_mesh(spec, meshes, thing)) for number in todo)
    return _make_in_processes(spec, todo, meshes, workers)


def _make_in_processes(spec: MultiShadeSpec, todo: list[int], meshes: Path | None, workers: int) -> Iterator[Made]:
    threads = max(1, numba.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, (threads,)) as pool:
        waiting = iter(todo)
        running = {
            pool.submit(_worker_shard, spec, n, meshes) for n, _ in zip(waiting, range(2 * workers), strict=False)
        }
        try:
            while running:
                finished = next(as_completed(running))
                running.remove(finished)
                for number in waiting:
                    running.add(pool.submit(_worker_shard, spec, number, meshes))
                    break
                yield finished.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process died, perhaps for want of memory; try fewer --workers; what is there is kept"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _worker_shard(spec: MultiShadeSpec, number: int, meshes: Path | None) -> Made:
    return make_shard(spec, number, lambda thing: load_mesh(spec, meshes, thing))


def _begin_worker(threads: int) -> None:
    """Share the cores, and end with the process that began this one, even if that was killed."""
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
