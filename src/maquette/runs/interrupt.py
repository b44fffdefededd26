"""Ctrl-C that waits until the work can be left."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C (SIGINT) is remembered, and the function that is given says so; a second one interrupts at once.

    Where it can't be had, in a thread or where somebody ignores the signal already, all stays as it is.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: False
        return
    asked = False

    def remember(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def ignore_interrupts(*_: object) -> None:
    """For a worker process: whoever started it sees to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
