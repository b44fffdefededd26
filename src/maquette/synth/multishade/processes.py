"""The shards of a MultiShade data set made by several processes of this machine."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

import numba

from maquette.errors import InputError
from maquette.synth.multishade.making import Made, load_mesh, make_shard
from maquette.synth.multishade.spec import MultiShadeSpec


def make_in_processes(spec: MultiShadeSpec, todo: list[int], meshes: Path | None, workers: int) -> Iterator[Made]:
    """Shards as they are finished, a process each.

    Args:
        spec: of the data set.
        todo: numbers of the shards.
        meshes: the folder that `spec.meshes` are below.
        workers: how many processes; they share this machine's threads.

    Raises:
        InputError: a process died.
    """
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
