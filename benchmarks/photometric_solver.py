"""The shading solver: what its three modes get right, and how fast, beside a least-squares loop and RANSAC.

    python benchmarks/photometric_solver.py [--data DATA] [--quick] [--json]

Simulated: nine lights in a ring, 45 degrees up, normals spread evenly over the hemisphere (areas, not pixels), albedo
one; shadings clean, with noise, with a floor of light in the shadow, with a tenth of the values dimmed to a tenth.
Real, where DATA holds them: DiLiGenT's ball and bear with 20, 10 and 4 of their lights (evenly spaced in the set's
order), the University of Washington's grey sphere against its analytic normals, with 8-bit codes taken as light and
as sRGB. The number is the mean angle to the truth in degrees.

Time is per pixel, on simulated shadings of 20 lights, all in this run and on as many threads as each takes:
`numpy.linalg.lstsq` once a pixel, and scikit-image's RANSAC (100 triples) once a pixel, on the first few of the same
pixels. `full` is the whole call for 96 lights at 612x512, no mask: seconds of the clock and of all threads together.
`--json` prints one flat object; what could not run is null, with the reason on stderr.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from jaxtyping import Float
from scipy.io import loadmat
from torch import Tensor

from maquette.catalogue import Solver
from maquette.errors import InputError
from maquette.io.images import read_mask, read_photo
from maquette.io.lights import read_lights
from maquette.methods.photometric import circle_of_mask, photometric_stereo, sphere_normals
from maquette.metrics import angle_between_deg
from maquette.shading.rigs import ring_lights
from maquette.shading.solve import solve_shading
from maquette.types import Lights, Photo

SOLVERS: tuple[Solver, ...] = ("least-squares", "paper", "robust")
OBJECTS = ("ball", "bear")
LIGHT_COUNTS = (20, 10, 4)
NOISE = 0.01
RANSAC_TRIALS = 100
RANSAC_BOUND = 0.05  # of the albedo, which is one here
FULL_SIZE, FULL_LIGHTS = (512, 612), 96
Case = tuple[Float[Tensor, " frames pixels"], Float[Tensor, "frames 3"], Float[Tensor, "pixels 3"]]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="fewer pixels, no bear; under a minute", json="one flat object")
    parser.add_argument("--data", type=Path, help="folder with diligent/ and photometric/")
    options = parser.parse_args(argv)
    rows = {name: scores(*case) for name, case in simulated(5_000 if options.quick else 50_000)}
    rows |= real(options.data, ("ball",) if options.quick else OBJECTS)
    seconds = timing(500 if options.quick else 3000, 20 if options.quick else 100)
    seconds |= full_size(1 if options.quick else 5)
    harness.show(options, flat, table, rows, seconds)
    return 0


def hemisphere(count: int, random: torch.Generator) -> Float[Tensor, "pixels 3"]:
    """Normals spread evenly over the hemisphere that faces the viewer."""
    z = torch.rand(count, generator=random, dtype=torch.float64)
    azimuth = torch.rand(count, generator=random, dtype=torch.float64) * 2 * torch.pi
    across = (1 - z * z).sqrt()
    return torch.stack([across * azimuth.cos(), across * azimuth.sin(), z], dim=-1)


def simulated(pixels: int) -> Iterator[tuple[str, Case]]:
    """Shadings of the ring, each case with a defect of its own."""
    random = torch.Generator().manual_seed(0)
    lights, normals = ring_lights(), hemisphere(pixels, random)
    clean = (lights @ normals.T).clamp_min(0)
    noise = torch.randn(clean.shape, generator=random, dtype=torch.float64)
    dimmed = torch.rand(clean.shape, generator=random, dtype=torch.float64) < 0.1
    yield "ring, clean", (clean, lights, normals)
    yield "ring, noise 0.02", ((clean + 0.02 * noise).clamp_min(0), lights, normals)
    yield "ring, noise 0.05", ((clean + 0.05 * noise).clamp_min(0), lights, normals)
    yield "ring, shadow floor 0.005", (clean.clamp_min(0.005), lights, normals)
    yield "ring, a tenth dimmed", (torch.where(dimmed, 0.1 * clean, clean), lights, normals)


def scores(
    shadings: Float[Tensor, " frames pixels"], lights: Float[Tensor, "frames 3"], truth: Float[Tensor, "pixels 3"]
) -> dict[str, float | None]:
    """Mean angle to the truth of every solver, degrees."""
    return {
        solver: float(angle_between_deg(solve_shading(shadings, lights, solver).normals, truth).mean())
        for solver in SOLVERS
    }


def real(data: Path | None, objects: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    """The photographed rows; None for what DATA doesn't hold."""
    rows: dict[str, dict[str, float | None]] = {}
    for name in objects:
        for count in LIGHT_COUNTS:
            rows[f"{name}, {count} lights"] = _or_missing(
                f"{name}, {count} lights", lambda name=name, count=count: diligent(_folder(data), name, count)
            )
    for encoding in ("linear", "srgb"):
        rows[f"grey sphere, {encoding}"] = _or_missing(
            f"grey sphere, {encoding}", lambda encoding=encoding: grey_sphere(_folder(data), encoding)
        )
    return rows


def diligent(data: Path, name: str, count: int) -> dict[str, float | None]:
    """One object of DiLiGenT with `count` of the lights whose photos are there."""
    folder = data / "diligent" / f"{name}PNG"
    paths = sorted(folder.glob("[0-9][0-9][0-9].png"))
    if len(paths) < count:
        raise InputError(f"{folder}: {len(paths)} photos; {count} are needed")
    paths = [paths[round(place)] for place in np.linspace(0, len(paths) - 1, count)]
    truth = torch.from_numpy(loadmat(folder / "Normal_gt.mat")["Normal_gt"])
    mask = read_mask(folder / "mask.png") & (torch.linalg.vector_norm(truth, dim=-1) > 0.5)
    lights = read_lights(folder / "light_directions.txt", paths)
    photos = [read_photo(path, "linear") for path in paths]
    return _photographed(photos, lights, mask, truth[mask])


def grey_sphere(data: Path, encoding: Any) -> dict[str, float | None]:
    """The matte sphere of `photometric/gray`, twelve lights; its truth is that of its mask's circle."""
    folder = data / "photometric" / "gray"
    paths = [folder / f"gray.{number}.png" for number in range(12)]
    lights = read_lights(folder.parent / "lights.txt", paths)
    photos = [read_photo(path, encoding) for path in paths]
    shown = read_mask(folder / "gray.mask.png")
    inside, truth = sphere_normals(circle_of_mask(shown), photos[0])
    both = shown & inside
    return _photographed(photos, lights, both, truth[both[inside]])


def timing(pixels: int, few: int) -> dict[str, float | None]:
    """Seconds a pixel of the solvers and of the peers, for 20 lights."""
    random = torch.Generator().manual_seed(1)
    lights = ring_lights(20, 50.0)
    clean = (lights @ hemisphere(pixels, random).T).clamp_min(0)
    shadings = (clean + NOISE * torch.randn(clean.shape, generator=random, dtype=torch.float64)).clamp_min(0)
    found: dict[str, float | None] = {}
    for solver in SOLVERS:
        many = shadings.repeat(1, 20)
        solve_shading(many, lights, solver)  # compiles or loads the compiled loop
        found[solver] = best(lambda solver=solver, many=many: solve_shading(many, lights, solver), 5) / many.shape[1]
    a, columns = lights.numpy(), shadings.numpy()
    found["lstsq loop"] = best(lambda: lstsq_loop(a, columns), 3) / pixels
    found["RANSAC"] = best(lambda: ransac_loop(a, columns[:, :few]), 2) / few
    return found


def full_size(repeats: int) -> dict[str, float | None]:
    """The whole robust call at 612x512 and 96 lights: seconds of the clock, and of all threads together."""
    random = torch.Generator().manual_seed(2)
    lights = hemisphere(FULL_LIGHTS, random)
    lights = torch.nn.functional.normalize(lights + torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64), dim=-1)
    normals = hemisphere(FULL_SIZE[0] * FULL_SIZE[1], random)
    shadings = (lights @ normals.T).clamp_min(0).float()
    shadings = (shadings + NOISE * torch.randn(shadings.shape, generator=random)).reshape(-1, *FULL_SIZE)
    solve_shading(shadings[:, :2], lights)
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        solve_shading(shadings, lights)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {"full, clock": min(wall), "full, all threads": min(cpu)}


def lstsq_loop(lights: np.ndarray, shadings: np.ndarray) -> np.ndarray:
    """`numpy.linalg.lstsq` of the lit frames, one pixel after the other."""
    found = np.zeros((shadings.shape[1], 3))
    for pixel in range(shadings.shape[1]):
        lit = shadings[:, pixel] > 0
        found[pixel] = np.linalg.lstsq(lights[lit], shadings[lit, pixel], rcond=None)[0]
    return found


class Shading:
    """x of a pixel, as scikit-image's `ransac` wants a model."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    @classmethod
    def from_estimate(cls, lights: np.ndarray, shading: np.ndarray) -> "Shading":
        """Least squares of some frames."""
        return cls(np.linalg.lstsq(lights, shading, rcond=None)[0])

    def residuals(self, lights: np.ndarray, shading: np.ndarray) -> np.ndarray:
        """What the frames are off."""
        return np.abs(shading - lights @ self.x)


def ransac_loop(lights: np.ndarray, shadings: np.ndarray) -> np.ndarray:
    """scikit-image's RANSAC of the lit frames, one pixel after the other."""
    from skimage.measure import ransac

    found = np.zeros((shadings.shape[1], 3))
    for pixel in range(shadings.shape[1]):
        lit = shadings[:, pixel] > 0
        data = (lights[lit], shadings[lit, pixel])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, _ = ransac(data, Shading, 3, RANSAC_BOUND, max_trials=RANSAC_TRIALS, stop_probability=1, rng=0)
        found[pixel] = model.x if model else 0
    return found


def best(job: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, seconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def flat(rows: dict[str, dict[str, float | None]], seconds: dict[str, float | None]) -> dict[str, float | None]:
    """`deg: CASE: SOLVER`, `PEER over robust` and `full, ...`: one number each, None where it did not run."""
    found = {
        f"deg: {case}: {solver}": None if value is None else round(value, 4)
        for case, row in rows.items()
        for solver, value in row.items()
    }
    for peer in ("lstsq loop", "RANSAC"):
        for solver in SOLVERS:
            found[f"{peer} over {solver}"] = round(_ratio(seconds, peer, solver), 1)
    return found | {name: value for name, value in seconds.items() if name.startswith("full")}


def table(rows: dict[str, dict[str, float | None]], seconds: dict[str, float | None]) -> str:
    """The same in Markdown."""
    lines = harness.head(" | ".join(["mean angle, degrees", *SOLVERS]), "lr")
    for case, row in rows.items():
        cells = ["not run" if (value := row[solver]) is None else f"{value:.2f}" for solver in SOLVERS]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    lines += ["", *harness.head("20 lights | microseconds a pixel | times robust", "lr")]
    for name in (*SOLVERS, "lstsq loop", "RANSAC"):
        lines.append(f"| {name} | {1e6 * (seconds[name] or 0):.2f} | {_ratio(seconds, name, 'robust'):.1f} |")
    clock, threads = seconds["full, clock"], seconds["full, all threads"]
    lines += [
        "",
        f"robust, {FULL_LIGHTS} lights at 612x512: {clock:.2f} s of the clock, {threads:.2f} s of all threads",
    ]
    return "\n".join(lines)


def _ratio(seconds: dict[str, float | None], peer: str, solver: str) -> float:
    return (seconds[peer] or 0.0) / (seconds[solver] or 1.0)


def _photographed(photos: list[Photo], lights: Lights, mask: Tensor, truth: Tensor) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for solver in SOLVERS:
        normals = photometric_stereo(photos, lights, mask, solver).normal_map.normals[mask]
        found[solver] = float(angle_between_deg(normals, truth).mean())
    return found


def _folder(data: Path | None) -> Path:
    if data is None:
        raise InputError("give --data DATA")
    return data


def _or_missing(name: str, job: Callable[[], dict[str, float | None]]) -> dict[str, float | None]:
    try:
        return job()
    except (InputError, FileNotFoundError) as error:
        print(f"{name}: not run: {error}", file=sys.stderr)
        return dict.fromkeys(SOLVERS)


if __name__ == "__main__":
    sys.exit(main())
