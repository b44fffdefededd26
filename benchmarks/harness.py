"""What the benchmarks share: arguments, Markdown, ratios to a peer, and cases in processes of their own."""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
FORGET_PEAK = "5"  # what Linux is told to forget the highest resident set of a process so far
_ALIGNMENTS = {"l": "---", "r": "---:"}


class Process(NamedTuple):
    """What a process that has ended left behind.

    Attributes:
        code: its exit code.
        output, errors: what it printed; errors are empty where they went to our own stderr.
        seconds: wall time.
        peak_mib: its largest resident set.
    """

    code: int
    output: str
    errors: str
    seconds: float
    peak_mib: float


def arguments(page: str | None, quick: str, json: str = "one flat object of ratios") -> argparse.ArgumentParser:
    """The arguments of every benchmark; a script adds its own.

    Args:
        page: the script's docstring, printed as it is.
        quick, json: help of `--quick` and `--json`.
    """
    parser = argparse.ArgumentParser(description=page, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help=json)
    return parser


def show(
    options: argparse.Namespace, flat: Callable[..., Mapping[str, Any]], table: Callable[..., str], *results: Any
) -> None:
    """Print results as one flat JSON object, if `--json` asks for it, or as a table."""
    print(json.dumps(flat(*results)) if options.json else table(*results))


def head(columns: str, alignments: str) -> list[str]:
    """The two lines that begin a Markdown table.

    Args:
        columns: their names, separated by " | ".
        alignments: a letter a column, `l` or `r`; the last one counts for all that follow.
    """
    names = columns.split(" | ")
    letters = alignments + alignments[-1] * (len(names) - len(alignments))
    return [row(names), f"|{'|'.join(_ALIGNMENTS[letter] for letter in letters)}|"]


def row(cells: Sequence[object]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def number(value: float | None, form: str = ".2f") -> str:
    """A number's cell; empty for what was not measured."""
    return "" if value is None else format(value, form)


def over(value: float | None, peer: float | None, digits: int = 4) -> float | None:
    """A ratio to a peer; None if either is missing, or the peer isn't above zero."""
    return None if value is None or peer is None or peer <= 0 else round(value / peer, digits)


def finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """The same without NaN and infinity, which JSON has no word for: they are None."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def two_threads() -> None:
    """Keep torch to two threads, as all that is measured in one process is."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), 2))


def in_scratch(run: Callable[[Path], int]) -> int:
    """Run a benchmark on at most two threads, with a folder for what it makes; returns what it returns.

    What is missing or doesn't fit is told in one line on stderr, and 2 is returned.
    """
    from maquette.errors import InputError

    two_threads()
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(Path(folder))
        except InputError as error:
            print(error, file=sys.stderr)
            return 2


def run_case(name: str, script: str, options: Sequence[str], threads: int = 0, quiet: bool = True) -> Any:
    """What a script prints as JSON on its last line, in a process of its own; None, with the reason, if it fails.

    Args:
        name: of the case, for the reason.
        script: its file.
        options: its arguments.
        threads, quiet: as `run` has them.
    """
    process = run(name, [sys.executable, script, *options], threads, quiet)
    return None if process is None else json.loads(process.output.splitlines()[-1])


def run(name: str, command: Sequence[str], threads: int = 0, quiet: bool = True) -> Process | None:
    """Run a command to its end; None, with the reason in one line on stderr, if it fails.

    Args:
        name: of the case, for the reason.
        command: the program and its arguments.
        threads: that it may use; 0 for as many as it likes.
        quiet: keep its stderr, whose last line is the reason; else it goes to ours.
    """
    process = launch(command, os.environ | dict.fromkeys(THREAD_LIMITS, str(threads)) if threads else None, quiet)
    if process.code == 0:
        return process
    reason = (process.errors.strip().splitlines() or [f"exit code {process.code}"])[-1]
    print(f"{name}: not run: {reason}", file=sys.stderr)
    return None


def launch(command: Sequence[str], env: Mapping[str, str] | None, quiet: bool) -> Process:
    """Start a process, wait for its end, and say what it took. Linux and macOS."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=output, stderr=errors if quiet else None)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # it is collected; Popen must not wait again
        output.seek(0)
        errors.seek(0)
        return Process(process.returncode, output.read(), errors.read(), seconds, mebibytes(usage.ru_maxrss))


def mebibytes(resident: float) -> float:
    """Of a resident set as the system tells it: Linux counts in KiB, macOS in bytes."""
    return resident / (1024**2 if sys.platform == "darwin" else 1024)


def resident_mib(from_now: bool = False) -> tuple[float, float] | None:
    """What this process holds and the most that it held, MiB; None where the system doesn't tell (all but Linux).

    Args:
        from_now: the most is counted from now on.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    if from_now:
        Path("/proc/self/clear_refs").write_text(FORGET_PEAK)
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, most = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most
