"""A MultiShade generator that is killed at random moments, twenty times, against one that is left alone.

    python benchmarks/multishade_kill.py [--quick] [--json] [--kills N] [--seed N]

The program itself, `maquette dataset multishade` in a process of its own, makes a data set of small meshes, fifteen
shards, once without a disturbance, and again while it is killed (SIGKILL, which no handler sees) and started anew. A
kill comes at a random moment: from half of the time that the undisturbed run took to write its first file, to 1.2 times
what it took in all. Every fifth run has two workers. After each kill, whatever lies under a final name must be whole.
When the data set is complete it must be the undisturbed one, byte for byte; then it is deleted, and the next run begins
from nothing.

`--quick` kills three times. `--json` prints one flat object: `kills`, `while_working` (kills that met the program
before it had ended), `data_sets` (how often one was completed and compared), `half_files` (files under a final name
that weren't whole, summed over the kills), `equal` (1 if the bytes are equal) and `seed`. Exit code 1 if a file was
half or the bytes differ.
"""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import kills

MESHES, SIZE_PX, VIEWS = 120, 24, 1  # fifteen shards


class Killed(NamedTuple):
    """What came of it."""

    kills: int
    while_working: int
    data_sets: int
    half_files: int
    equal: int


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    return kills.main(
        __doc__ or "",
        argv,
        (3, "three kills"),
        lambda folder, count, moments: measure(folder, count, moments),
        lambda found: found._asdict(),
        lambda found, seed: (
            f"{found.kills} kills (seed {seed}), {found.while_working} of them while it worked: {found.half_files} half"
            f" files; {found.data_sets} data sets completed, bytes {'equal' if found.equal else 'DIFFER'}"
        ),
        lambda found: bool(found.equal and not found.half_files),
    )


def measure(folder: Path, count: int, random_moments: random.Random) -> Killed:
    """Make the data set below a folder, once alone, and then with kills."""
    alone, killed = folder / "undisturbed", folder / "killed"
    started = time.perf_counter()
    child = _begin(alone, 1)
    while child.poll() is None and not contents(alone):
        time.sleep(0.01)
    first_s = time.perf_counter() - started
    if child.wait() != 0:
        raise RuntimeError("the undisturbed run failed")
    wall_s = time.perf_counter() - started
    expected = contents(alone)
    halves = working = complete = 0
    for number in range(count):
        child = _begin(killed, 2 if number % 5 == 4 else 1)
        try:
            child.wait(random_moments.uniform(0.5 * first_s, 1.2 * wall_s))
        except subprocess.TimeoutExpired:
            working += 1
        child.kill()
        child.wait()
        found = contents(killed)
        halves += sum(content != expected.get(name) for name, content in found.items())
        print(f"kill {number + 1} of {count}: {len(found)} of {len(expected)} files are there", file=sys.stderr)
        if found == expected:
            complete += 1
            shutil.rmtree(killed)
    if _begin(killed, 1).wait() != 0:
        raise RuntimeError("the last run failed")
    equal = contents(killed) == expected
    return Killed(count, working, complete + equal, halves, int(equal))


def contents(folder: Path) -> dict[str, bytes]:
    """What a reader of the data set sees; files that are being written begin with a dot."""
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def _begin(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    options = {"--count": 0, "--size-px": SIZE_PX, "--views": VIEWS, "--workers": workers, "--meshes": _meshes(folder)}
    flat = [str(part) for pair in options.items() for part in pair]
    command = [sys.executable, "-m", "maquette.app.cli.main", "dataset", "multishade", "-o", str(folder), *flat]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _meshes(folder: Path) -> Path:
    """Balls of several sizes, beside the data set."""
    import trimesh

    place = folder.parent / "meshes"
    if not place.exists():
        place.mkdir()
        for number in range(MESHES):
            trimesh.creation.icosphere(2, 1 + number).export(place / f"{number:03d}.ply")
    return place


if __name__ == "__main__":
    sys.exit(main())
