"""The table of a bench, as Markdown and as JSON."""

from dataclasses import asdict
from math import isnan
from typing import Any

from maquette.bench.normals.evaluate import COLUMNS, Scores, SetResult
from maquette.catalogue import BENCH_SETS
from maquette.metrics import calibration

HEADINGS = {
    "mean": "mean",
    "median": "median",
    "below_11_25": "% < 11.25",
    "below_22_5": "% < 22.5",
    "below_30": "% < 30",
    "ne": "NE",
    "sne": "SNE",
    "levelled": "levelled",
    "seconds": "s / photo",
}


def markdown(results: dict[str, SetResult]) -> str:
    """One table per set: a row per object and method, then the mean over objects.

    Angles are in degrees. NE and SNE are the measures of the LUCES protocol (mask eroded by 10 pixels; sharp
    regions), given for every set; where no photo of an object has a sharp region its SNE is blank, and it does
    not count in the mean. Where surfaces fill the frame, the mean error of levelled maps has a column. A set that
    could not be run has its reason instead of a table.
    """
    return "\n\n".join(_section(name, result) for name, result in results.items()) + "\n"


def as_json(results: dict[str, SetResult], about: dict[str, Any]) -> dict[str, Any]:
    """The same numbers as plain dictionaries, with the calibration of every method that has one.

    Args:
        about: what was run (weights, command), copied to the top.
    """
    sets = {}
    for name, result in results.items():
        if result.missing:
            sets[name] = {"missing": result.missing}
            continue
        sets[name] = {
            "photos": result.photos,
            "objects": {
                name: {method: _plain(found) for method, found in by_method.items()}
                for name, by_method in result.objects.items()
            },
            "mean": {method: _plain(found) for method, found in result.overall.items()},
            "calibration": calibrations(result),
        }
    return {**about, "columns": list(COLUMNS), "sets": sets}


def calibrations(result: SetResult) -> dict[str, Any]:
    """Reliability and sparsification of every method of the set that says how certain it is."""
    found = {}
    for method, (kappa, error) in result.confidence.items():
        honest, curve = calibration(kappa, error)
        found[method] = {
            "pixels": len(error),
            "reliability": asdict(honest),
            "sparsification": asdict(curve),
        }
    return found


def _section(name: str, result: SetResult) -> str:
    known = BENCH_SETS.get(name)
    title = f"## {name}: {name if known is None else known.about}"
    if result.missing:
        return f"{title}\n\n**Not run:** {result.missing}"
    fills = any(not isnan(found["levelled"]) for found in result.overall.values())
    columns = [column for column in COLUMNS if fills or column != "levelled"]
    lines = [
        "| object | method | " + " | ".join(HEADINGS[column] for column in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for group, by_method in result.objects.items():
        lines += [_row(group, method, found, columns) for method, found in by_method.items()]
    count = len(result.objects)
    rows = [_row(f"**mean of {count}**", method, found, columns) for method, found in result.overall.items()]
    parts = [title, f"{result.photos} photos of {count} objects.", "\n".join(lines + rows)]
    if known is not None and known.papers:
        parts.append(known.papers.format(count=count))
    parts += [_calibration_line(method, found) for method, found in calibrations(result).items()]
    return "\n\n".join(parts)


def _row(group: str, method: str, found: Scores, columns: list[str]) -> str:
    cells = ["" if isnan(found[column]) else f"{found[column]:.2f}" for column in columns]
    return f"| {group} | {method} | " + " | ".join(cells) + " |"


def _calibration_line(method: str, found: dict[str, Any]) -> str:
    gap = found["reliability"]["expected_calibration_error_deg"]
    curve = found["sparsification"]
    return (
        f"Confidence of {method}: expected calibration error {gap:.2f}; area between its sparsification "
        f"curve and the oracle's {curve['ause_deg']:.2f} (chance: {curve['random_ause_deg']:.2f})."
    )


def _plain(found: Scores) -> dict[str, float | None]:
    """JSON has no nan: a measure that does not exist is null."""
    return {column: None if isnan(value) else value for column, value in found.items()}
