"""What all benchmarks that kill a program share: their arguments, moments, report and exit code."""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import harness

Killed = TypeVar("Killed", bound=NamedTuple)
Measure = Callable[[Path, int, random.Random], Killed]


def main(
    page: str,
    argv: list[str] | None,
    quick: tuple[int, str],
    measure: Measure[Killed],
    facts: Callable[[Killed], dict[str, Any]],
    sentence: Callable[[Killed, int], str],
    right: Callable[[Killed], bool],
) -> int:
    """Kill, compare, print; returns 1 if anything differs.

    Args:
        page: the script's docstring.
        argv: its arguments.
        quick: how often `--quick` kills, as a number and in words.
        measure: is given a folder, how often to kill, and what draws the moments.
        facts: what `--json` prints beside the seed.
        sentence: what else is printed; is given the seed, too.
        right: whether nothing differs.
    """
    parser = harness.arguments(page, quick=quick[1], json="one flat object")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, help="of the moments; drawn and printed if not given")
    options = parser.parse_args(argv)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as folder:
        killed = measure(Path(folder), quick[0] if options.quick else options.kills, random.Random(seed))
    print(json.dumps(facts(killed) | {"seed": seed}) if options.json else sentence(killed, seed))
    return 0 if right(killed) else 1
