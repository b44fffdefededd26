"""What several folders of tests share; its place also makes `oracles` importable."""

import importlib.util
import re
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

SOURCE, BENCHMARKS = (Path(__file__).parents[1] / folder for folder in ("src", "benchmarks"))
sys.path.append(str(BENCHMARKS))  # its scripts import what lies beside them


def _import_unchecked(*names: str) -> None:
    """Import modules without the wrappers of the runtime type checks: Numba compiles source, not wrappers."""
    hooks = [finder for finder in sys.meta_path if type(finder).__module__.startswith("jaxtyping")]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in hooks]
    for name in names:
        import_module(name)
    sys.meta_path[:0] = hooks


def _compiled(decorator: str) -> list[str]:
    """The package's modules whose source holds a decorator of functions that are compiled."""
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted((SOURCE / "maquette").rglob("*.py"))
        if re.search(rf"^@{decorator}\b", path.read_text(), re.MULTILINE)
    ]


_import_unchecked(*_compiled("njit"))
if importlib.util.find_spec("triton"):  # it compiles source, too
    _import_unchecked(*_compiled(r"triton\.jit"))


@pytest.fixture(scope="session")
def tiny_shapes(tmp_path_factory) -> Path:
    """A dataset of ten shapes on a coarse grid, two views each of 32 pixels: two shards, the last one smaller."""
    from maquette.synth.datasets import dataset

    folder = tmp_path_factory.mktemp("shapes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "sample_solid", partial(dataset.sample_solid, side=32))
        dataset.generate(folder, dataset.DatasetSpec(10, seed=3, views=2, size_px=32))
    return folder


@pytest.fixture(scope="session")
def tiny_views(tmp_path_factory) -> Path:
    """Views of three cups and three cars on coarse grids, 32 pixels: two to train on, of five views, one of four."""
    from maquette.synth.datasets.multiview import making
    from maquette.synth.datasets.multiview.objects import generate
    from maquette.synth.datasets.multiview.spec import ViewsSpec

    folder = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "place_thing", partial(making.place_thing, side=48))
        generate(folder, ViewsSpec(2, 3, 1, 0, ("cup", "car"), (), 5, 4, 32))
    return folder


@pytest.fixture(scope="session")
def write_srn():
    """Writes an object as ShapeNet-SRN publishes them, from 2.0, without masks and normals: all views one image."""
    import cv2
    import numpy as np

    def write(folder: Path, image: np.ndarray, azimuths: list[float]) -> None:
        side = len(image)
        for kind in ("rgb", "pose"):
            (folder / kind).mkdir(parents=True)
        intrinsics = f"{side * 525 / 512:.6f} {side / 2} {side / 2} 0.\n0. 0. 0.\n1.\n{side} {side}\n"
        (folder / "intrinsics.txt").write_text(intrinsics)
        for view, angle in enumerate(azimuths):
            forward = np.array([-np.cos(angle), -np.sin(angle), 0])
            pose = np.eye(4)  # x right, y down, z forward; z up in the world
            pose[:3] = np.stack([[-np.sin(angle), np.cos(angle), 0], [0, 0, -1.0], forward, -2 * forward], 1)
            (folder / "pose" / f"{view:06d}.txt").write_text(" ".join(map(str, pose.ravel())))
            (folder / "rgb" / f"{view:06d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())

    return write


@pytest.fixture(scope="session")
def shared_data():
    """A folder of the test data beside the project, "" for all of it.

    Most of it is for evaluation only and may not ship, so where it isn't, the test that asks for it is skipped.
    """

    def find(folder: str = "") -> Path:
        path = Path(__file__).parents[2] / "shared" / "data" / folder
        if not path.is_dir():
            pytest.skip(f"no test data in {path}")
        return path

    return find


@pytest.fixture(scope="session")
def load_benchmark():
    """A script of `benchmarks/`, by name, as a module."""

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def one_thread():
    """For a module whose networks and images are too small to share between threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
