"""Normals to depth: error, error at steps, time and memory, beside a Poisson solve and a sparse direct solver.

    python benchmarks/integration.py [--quick] [--json] [--data DIR]

Every case runs in a process of its own with one thread. Surfaces have known depth: a sphere and a torn sheet by
formula, a generated solid ray-traced in perspective, and, with --data, DiLiGenT's bear (`integration/bear`) and
scans (`meshes/scans`), to 1024 pixels, ray-cast in perspective by Mitsuba (pip install 'maquette[render]'): their
normals are those of the triangles.

    ours      maquette.geometry.integrate
    poisson   the same equations with both sides weighed equally, once: our own plain Poisson solve
    spsolve   that one linear system by scipy.sparse.linalg.spsolve; to 512 pixels
    dct       a plain Poisson solve by the cosine transforms of scipy.fft; for an orthographic whole frame (torn) only

Error is the mean absolute depth error after the median offset (orthographic) or scale (perspective) of each
piece, in percent of the depth's range (bear: millimetres too); at steps it is that of the pixels within 3 of a
jump of more than 2 percent of the range. Time is processor time, the better of two runs, the first of which may
compile, or that of the first if it took more than 20 seconds; memory is what the process grew by. `--json` prints
one flat object: errors, and times as ratios to spsolve (poisson where that doesn't run); data that is not there is
null, with the reason on stderr.
"""

import argparse
import contextlib
import importlib.util
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import harness

SIZES_PX = (512, 1024, 2048)
METHODS = ("ours", "poisson", "spsolve", "dct")
LARGEST_DIRECT_PX = 512
LARGEST_SCAN_PX = 1024
LONG_S = 20.0  # is not run twice
SCAN = "scan-"  # and the name of the mesh
QUICK = [("sphere", 256), ("torn", 256)]

Found = dict[tuple[str, int, str], dict[str, float]]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="256 pixels, two cases; under a minute", json="one flat object")
    parser.add_argument("--data", type=Path, help="folder with integration/bear and meshes/scans")
    parser.add_argument("--run", nargs=3, metavar=("CASE", "SIZE", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.run:
        case, size, method = options.run
        print(json.dumps(_measure(case, int(size), method, options.data)))
        return 0
    cases, missing = (QUICK, {}) if options.quick else (_own_cases(), {})
    if options.data and not options.quick:
        more, missing = _data_cases(options.data)
        cases = sorted(more + cases, key=lambda case: case[1])
    found = {}
    for case, size in cases:
        for method in METHODS:
            if _runs(method, case, size):
                found[case, size, method] = row = _in_process(case, size, method, options.data)
                print(_line(case, size, method, row), file=sys.stderr, flush=True)  # a long run shows how far it is
    for name, reason in missing.items():
        print(f"{name}: not run: {reason}", file=sys.stderr)
    harness.show(options, flat, table, found, tuple(missing))
    return 0


def _own_cases() -> list[tuple[str, int]]:
    return [(case, size) for size in SIZES_PX for case in CASES]


def _data_cases(data: Path) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """The cases that the folder holds, and why others can't run."""
    cases: list[tuple[str, int]] = []
    missing = {}
    if (data / "integration" / "bear").is_dir():
        cases.append(("bear", 512))
    else:
        missing["bear"] = f"no folder {data / 'integration' / 'bear'}"
    scans = sorted(path.stem for path in (data / "meshes" / "scans").glob("*.obj"))
    if not scans:
        missing["scans"] = f"no .obj in {data / 'meshes' / 'scans'}"
    elif importlib.util.find_spec("mitsuba") is None:
        missing["scans"] = "no Mitsuba; pip install 'maquette[render]'"
    else:
        cases += [(SCAN + name, size) for size in SIZES_PX if size <= LARGEST_SCAN_PX for name in scans]
    return cases, missing


def _runs(method: str, case: str, size: int) -> bool:
    if method == "spsolve":
        return size <= LARGEST_DIRECT_PX
    return method != "dct" or case == "torn"


def flat(found: Found, missing: tuple[str, ...] = ()) -> dict[str, float | None]:
    """`sphere_512_ours_error`, `..._edge_error`, `..._time`: the time as a ratio to spsolve, or else to poisson."""
    out = {}
    for (case, size, method), row in found.items():
        peer = found.get((case, size, "spsolve")) or found[case, size, "poisson"]
        name = f"{case}_{size}_{method}"
        out[f"{name}_error"], out[f"{name}_edge_error"] = row["error"], row["edge_error"]
        out[f"{name}_time"] = row["seconds"] / peer["seconds"]
    return {key: round(value, 5) for key, value in out.items()} | dict.fromkeys(missing)


def table(found: Found, missing: tuple[str, ...] = ()) -> str:
    """The same in Markdown, with seconds and mebibytes."""
    lines = harness.head("case | size | method | error, % | at steps, % | error, scene units | seconds | MiB", "lrlr")
    lines += [_line(*key, row) for key, row in found.items()]
    lines += [f"| {name} | not run | | | | | | |" for name in missing]
    return "\n".join(lines)


def _line(case: str, size: int, method: str, row: dict[str, float]) -> str:
    numbers = [f"{row[key]:.3f}" for key in ("error", "edge_error", "absolute")]
    cells = [*numbers, f"{row['seconds']:.2f}", f"{row['mib']:.0f}"]
    return f"| {case} | {size} | {method} | {' | '.join(cells)} |"


def _in_process(case: str, size: int, method: str, data: Path | None) -> dict[str, float]:
    options = ["--run", case, str(size), method, *(["--data", str(data)] if data else [])]
    row = harness.run_case(f"{case} at {size} by {method}", __file__, options, threads=1, quiet=False)
    if row is None:
        raise SystemExit(1)
    return row


def _measure(case: str, size: int, method: str, data: Path | None) -> dict[str, float]:
    given, camera, truth = _scene(case, size, data)
    before = _fresh_peak()
    seconds = []
    for _ in range(2):
        start = time.process_time()
        depth, piece = _solve(method, given, camera)
        seconds.append(time.process_time() - start)
        if seconds[0] > LONG_S:
            break
    grown = harness.mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return {**_errors(depth, piece, truth, camera), "seconds": min(seconds), "mib": grown}


def _fresh_peak() -> int:
    """The peak of the resident set, forgotten first where the system (Linux) can: making a case may take more."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(harness.FORGET_PEAK)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _scene(case: str, size: int, data: Path | None) -> tuple[Any, Any, Any]:
    """Normals, their camera, and the true depth, NaN where there is none."""
    if case in CASES:
        return CASES[case](size)
    if data is None:
        raise SystemExit(f"{case} needs --data")
    return _bear(data) if case == "bear" else _scan(data, case.removeprefix(SCAN), size)


def _solve(method: str, given: Any, camera: Any) -> tuple[Any, Any]:
    from maquette.geometry.integrate import integrate

    if method == "ours":
        found = integrate(given, camera)
    elif method == "poisson":
        found = integrate(given, camera, sharpness=0.0, max_rounds=1)
    else:
        return _direct(given, camera) if method == "spsolve" else _cosines(given)
    return found.depth.numpy(), found.piece.numpy()


def _direct(given: Any, camera: Any) -> tuple[Any, Any]:
    """The Poisson system, assembled by scipy and handed to its direct solver."""
    import numpy as np
    from scipy import ndimage
    from scipy.sparse import coo_matrix, identity
    from scipy.sparse.linalg import spsolve

    from maquette.geometry.camera import image_plane

    mask, normals = given.mask.numpy(), given.normals.double().numpy()
    facing = normals[..., 2].copy()
    if not camera.orthographic:
        facing -= (normals[..., :2] * image_plane(camera).numpy()).sum(-1)
    facing = np.maximum(facing, 0.1)
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(mask.sum())
    rows, columns, values, wanted = [], [], [], []
    for axis, slope in ((1, normals[..., 0]), (0, -normals[..., 1])):
        ahead, behind = [np.s_[:, 1:], np.s_[:, :-1]] if axis else [np.s_[1:], np.s_[:-1]]
        both = mask[ahead] & mask[behind]
        for side in (ahead, behind):
            m, count = facing[side][both], sum(len(part) for part in wanted)
            row = count + np.arange(len(m))
            rows += [row, row]
            columns += [index[ahead][both], index[behind][both]]
            values += [m, -m]
            wanted.append(slope[side][both])
    shape = (sum(len(part) for part in wanted), int(mask.sum()))
    matrix: Any = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape).tocsr()
    normal_equations: Any = (matrix.T @ matrix + 1e-9 * identity(shape[1])).tocsc()
    q = np.zeros(mask.shape)
    q[mask] = np.asarray(spsolve(normal_equations, matrix.T @ np.concatenate(wanted)))
    depth = q / camera.focal_px if camera.orthographic else np.exp(q / camera.focal_px)
    labels: Any = ndimage.label(mask)
    return np.where(mask, depth, 0), labels[0] - 1


def _cosines(given: Any) -> tuple[Any, Any]:
    """Least squares between slopes at links and differences, free at the border, pixels as units; whole frames."""
    import numpy as np
    from scipy.fft import dctn, idctn

    normals = given.normals.double().numpy()
    facing = np.maximum(normals[..., 2], 0.1)
    right, down = normals[..., 0] / facing, -normals[..., 1] / facing
    height, width = facing.shape
    divergence = np.zeros(facing.shape)
    at_links = (right[:, 1:] + right[:, :-1]) / 2
    divergence[:, :-1] += at_links
    divergence[:, 1:] -= at_links
    at_links = (down[1:] + down[:-1]) / 2
    divergence[:-1] += at_links
    divergence[1:] -= at_links
    rows, columns = (2 * np.cos(np.pi * np.arange(count) / count) - 2 for count in (height, width))
    eigenvalues = rows[:, None] + columns
    eigenvalues[0, 0] = 1.0  # of the mean, which is free
    waves = dctn(divergence, norm="ortho") / eigenvalues
    waves[0, 0] = 0.0
    return idctn(waves, norm="ortho"), np.zeros(facing.shape, int)


def _errors(depth: Any, piece: Any, truth: Any, camera: Any) -> dict[str, float]:
    import numpy as np
    from scipy import ndimage

    known = (piece >= 0) & np.isfinite(truth)
    aligned = depth.copy()
    for number in range(piece.max() + 1):
        here = known & (piece == number)
        if not here.any():
            continue
        if camera.orthographic:
            aligned[here] += np.median(truth[here] - depth[here])
        else:
            aligned[here] *= np.median(truth[here] / depth[here])
    low, high = np.percentile(truth[known], (1, 99))
    error = np.where(known, np.abs(aligned - np.where(known, truth, 0)), 0)
    jump = np.zeros(known.shape, bool)
    filled = np.where(known, truth, np.nan)
    for axis in (0, 1):
        steep = np.abs(np.diff(filled, axis=axis)) > 0.02 * (high - low)
        jump |= np.pad(steep, [(0, int(axis == 0)), (0, int(axis == 1))])
    near = ndimage.binary_dilation(jump, iterations=3) & known
    absolute = float(error[known].mean())
    at_steps = float(error[near].mean()) if near.any() else 0.0
    return {"error": 100 * absolute / (high - low), "edge_error": 100 * at_steps / (high - low), "absolute": absolute}


def _height_field(right: Any, up: Any, mask: Any, heights: Any) -> tuple[Any, Any, Any]:
    import numpy as np
    import torch

    from maquette.geometry.integrate import pixel_camera
    from maquette.types import NormalMap

    vectors = np.stack([-right, -up, np.ones_like(right)], -1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    given = NormalMap(torch.from_numpy(vectors * mask[..., None]), torch.from_numpy(mask))
    return given, pixel_camera(mask.shape[1], mask.shape[0]), np.where(mask, -heights, np.nan)


def _sphere(size: int) -> tuple[Any, Any, Any]:
    import numpy as np

    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    radius = 0.48 * size
    inside = x**2 + y**2 < radius**2
    z = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 1e-9))
    return _height_field(-x / z, y / z, inside, z)


def _torn(size: int) -> tuple[Any, Any, Any]:
    import numpy as np

    rows, x = np.mgrid[:size, :size] + 0.5 - size / 2
    y = -rows
    flap = (x < 0) & (y > 0)
    return _height_field(np.zeros(x.shape), flap * 1.0, np.ones(x.shape, bool), flap * y)


def _solid(size: int) -> tuple[Any, Any, Any]:
    """The first generated shape of a seed that fills a fifth of its perspective view."""
    import numpy as np
    import torch

    from maquette.render.gbuffer import trace
    from maquette.synth.solids.shapes import CLASSIC, sample_solid
    from maquette.synth.views import sample_view
    from maquette.types import Camera, NormalMap

    for index in range(100):
        rng = np.random.default_rng([7, index])
        solid, family = sample_solid(7, index, families=CLASSIC)
        view = sample_view(rng, solid.grid, family, size)
        if view.orthographic:
            continue
        seen = trace(solid, view, np.zeros((0, 4)))
        if seen.mask.mean() > 0.2:
            camera = Camera(size, size, view.focal_px, view.center_px, torch.eye(4, dtype=torch.float64))
            given = NormalMap(torch.from_numpy(seen.normal), torch.from_numpy(seen.mask))
            return given, camera, np.where(seen.mask, -seen.position[..., 2].astype(float), np.nan)
    raise RuntimeError("no shape fills its view")


def _bear(data: Path) -> tuple[Any, Any, Any]:
    import cv2
    import numpy as np
    import torch

    from maquette.io.normal_maps import read_normal_map
    from maquette.types import Camera, NormalMap

    folder = data / "integration" / "bear"
    mask = torch.from_numpy(np.asarray(cv2.imread(str(folder / "mask.png"), cv2.IMREAD_GRAYSCALE)) > 0)
    normals = read_normal_map(folder / "normal_map.png").normals
    k = np.loadtxt(folder / "K.txt")
    camera = Camera(612, 512, k[0, 0], (k[0, 2] + 0.5, k[1, 2] + 0.5), torch.eye(4, dtype=torch.float64))
    return NormalMap(normals * mask[..., None], mask), camera, np.load(folder / "depth_gt.npz")["depth_gt"]


def _scan(data: Path, name: str, size: int) -> tuple[Any, Any, Any]:
    """A mesh as it lies, seen along -z at 30 degrees; one ray through the centre of each pixel."""
    import numpy as np
    import torch
    import trimesh

    from maquette.bench.normals.pathtrace import load_mitsuba, upload_mesh
    from maquette.types import Camera, NormalMap

    mesh: Any = trimesh.load(data / "meshes" / "scans" / f"{name}.obj", force="mesh")
    mesh.vertices -= mesh.bounds.mean(0)
    mesh.vertices /= np.linalg.norm(mesh.vertices, axis=1).max()
    field_deg = 30.0
    distance = 1 / np.sin(np.deg2rad(field_deg) / 2)
    mi = load_mitsuba()
    film = {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}}
    scene = {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": "place:position,normal:geo_normal"},
        "shape": upload_mesh(mi, mesh, {"type": "diffuse"}),
        "sensor": {
            "type": "perspective",
            "fov": field_deg,
            "to_world": mi.ScalarTransform4f().look_at(origin=[0, 0, distance], target=[0, 0, 0], up=[0, 1, 0]),
            "sampler": {"type": "stratified", "sample_count": 1, "jitter": False},
            "film": film,
        },
    }
    seen = np.array(mi.render(mi.load_dict(scene)))[..., -6:].astype(float)
    place, normals = seen[..., :3] - (0, 0, distance), seen[..., 3:]
    mask = np.linalg.norm(normals, axis=-1) > 0.5
    normals *= np.where((normals * place).sum(-1) > 0, -1, 1)[..., None]  # open meshes show their back, too
    focal_px = size / 2 / np.tan(np.deg2rad(field_deg) / 2)
    camera = Camera(size, size, focal_px, (size / 2, size / 2), torch.eye(4, dtype=torch.float64))
    given = NormalMap(torch.from_numpy(normals * mask[..., None]), torch.from_numpy(mask))
    return given, camera, np.where(mask, -place[..., 2], np.nan)


CASES = {"sphere": _sphere, "solid": _solid, "torn": _torn}

if __name__ == "__main__":
    sys.exit(main())
