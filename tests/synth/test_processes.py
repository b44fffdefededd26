"""Pieces made by several processes: who is interrupted ends at once and in silence."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
from maquette.synth.processes import in_processes

try:
    for _ in in_processes(time.sleep, [0, 600, 600, 600, 600], 2):
        print("one", flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a Unix signal to a group of processes")
def test_an_interrupt_ends_all_at_once_without_a_word():
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "one\n"
        begun = time.monotonic()
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        try:
            out, err = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        assert time.monotonic() - begun < 30
    assert (out, err) == ("interrupted\n", "")
    while group_is_there(child.pid):  # multiprocessing's own tracker ends a moment after its parent
        assert time.monotonic() - begun < 60
        time.sleep(0.05)


def group_is_there(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
