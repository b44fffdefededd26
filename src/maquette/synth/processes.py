"""Pieces of a data set made by several processes of this machine."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

import numba

from maquette.errors import InputError

MAX_WORKERS = 256
Piece = TypeVar("Piece")
Made = TypeVar("Made")


def in_processes(make: Callable[[Piece], Made], todo: Iterable[Piece], workers: int) -> Iterator[Made]:
    """What `make` returns for each piece, as they are finished, a process each.

    Args:
        make: can be pickled, and so can what it takes and returns.
        todo: the pieces.
        workers: how many processes; they share this machine's threads.

    Raises:
        InputError: a process died.
    """
    threads = max(1, numba.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, (threads,)) as pool:
        waiting = iter(todo)
        running = {pool.submit(make, piece) for piece, _ in zip(waiting, range(2 * workers), strict=False)}
        try:
            while running:
                finished = next(as_completed(running))
                running.remove(finished)
                for piece in waiting:
                    running.add(pool.submit(make, piece))
                    break
                yield finished.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process died, perhaps for want of memory; try fewer --workers; what is there is kept"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker(threads: int) -> None:
    """Share the cores, and end with the process that began this one, even if that was killed."""
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
