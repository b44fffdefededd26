"""A MultiShade generator that is killed at random moments, twenty times, against one that is left alone.

    python benchmarks/multishade_kill.py [--quick] [--json] [--kills N] [--seed N]

The program itself, `maquette dataset multishade` in a process of its own, makes a small data set of procedural shapes
once without a disturbance, and once more being killed (SIGKILL, which no handler sees) and started again. A kill comes
at a moment drawn from 0 to 1.2 times what the undisturbed run took; every other run has two workers. After each kill,
whatever lies under a final name must be whole; in the end all bytes must be the undisturbed ones.

`--quick` kills three times. `--json` prints one flat object: `kills`, `while_working` (kills that met the program
before it had ended), `half_files` (files under a final name that weren't whole, summed over the kills), `equal` (1 if
the bytes are equal) and `seed`. Exit code 1 if a file was half or the bytes differ.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SHAPES, SIZE_PX, VIEWS = 24, 32, 1  # three shards


class Killed(NamedTuple):
    """What came of it."""

    kills: int
    while_working: int
    half_files: int
    equal: int


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three kills")
    parser.add_argument("--json", action="store_true", help="one flat object")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, help="of the moments; drawn and printed if not given")
    options = parser.parse_args(argv)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), 3 if options.quick else options.kills, random.Random(seed))
    if options.json:
        print(json.dumps(found._asdict() | {"seed": seed}))
    else:
        print(
            f"{found.kills} kills (seed {seed}), {found.while_working} of them while it worked: {found.half_files} half"
            f" files, bytes {'equal' if found.equal else 'DIFFER'}"
        )
    return 0 if found.equal and not found.half_files else 1


def measure(folder: Path, kills: int, random_moments: random.Random) -> Killed:
    """Make the data set twice below a folder, the second time with kills."""
    started = time.perf_counter()
    if _begin(folder / "undisturbed", 1).wait() != 0:
        raise RuntimeError("the undisturbed run failed")
    wall_s = time.perf_counter() - started
    expected = contents(folder / "undisturbed")
    halves = working = 0
    for number in range(kills):
        child = _begin(folder / "killed", 1 + number % 2)
        try:
            child.wait(random_moments.uniform(0, 1.2) * wall_s)
        except subprocess.TimeoutExpired:
            working += 1
        child.kill()
        child.wait()
        found = contents(folder / "killed")
        halves += sum(content != expected.get(name) for name, content in found.items())
        print(f"kill {number + 1} of {kills}: {len(found)} of {len(expected)} files are there", file=sys.stderr)
    if _begin(folder / "killed", 1).wait() != 0:
        raise RuntimeError("the last run failed")
    equal = contents(folder / "killed") == expected
    return Killed(kills, working, halves, int(equal))


def contents(folder: Path) -> dict[str, bytes]:
    """What a reader of the data set sees; files that are being written begin with a dot."""
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def _begin(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    options = {"--count": SHAPES, "--size-px": SIZE_PX, "--views": VIEWS, "--workers": workers, "--seed": 11}
    flat = [str(part) for pair in options.items() for part in pair]
    command = [sys.executable, "-m", "maquette.app.cli.main", "dataset", "multishade", "-o", str(folder), *flat]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
