"""Pieces of a data set made by several processes of this machine."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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
    context = get_context("spawn")
    ended, end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (threads, ended))
    try:
        waiting = iter(todo)
        with _interrupts_held():
            running = {pool.submit(make, piece) for piece, _ in zip(waiting, range(2 * workers), strict=False)}
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
        end.close()  # who is interrupted doesn't wait for pieces that nobody will take
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A Ctrl-C goes to all processes of a terminal: those begun here never see it, this one sees it afterwards."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(threads: int, ended: connection.Connection) -> None:
    """Share the cores, and end with the process that began this one, or with its interest, even if that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel, ended), daemon=True).start()


def _end_with(*sentinels: int | connection.Connection) -> None:
    connection.wait(sentinels)
    os._exit(1)
