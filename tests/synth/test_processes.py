"""Pieces made by several processes: who is interrupted ends at once and in silence; who is killed leaves nobody."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
from maquette.synth.datasets.processes import in_processes

try:
    for _ in in_processes(time.sleep, [0, 9999, 9999, 9999, 9999], 2):
        print("one", flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends Unix signals to a group of processes")


@pytest.fixture
def working():
    """The program, once a piece is made: the others would take its workers hours. It leads a group of processes."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "one\n"
        yield child
        if group_is_there(child.pid):
            os.killpg(child.pid, signal.SIGKILL)


def test_an_interrupt_ends_all_at_once_without_a_word(working):
    begun = time.monotonic()
    os.killpg(working.pid, signal.SIGINT)  # as a terminal does
    assert working.communicate(timeout=30) == ("interrupted\n", "")
    wait_for_the_end(working.pid, begun)  # multiprocessing's own tracker ends a moment after its parent


def test_workers_end_with_the_process_that_began_them_even_if_that_was_killed(working):
    begun = time.monotonic()
    working.kill()  # it alone; the group is the workers' as well
    working.wait(30)
    wait_for_the_end(working.pid, begun)


def wait_for_the_end(group: int, begun: float) -> None:
    while group_is_there(group):
        assert time.monotonic() - begun < 30
        time.sleep(0.02)


def group_is_there(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
