"""Making a data set of views: objects' folders that are whole or absent, by one process or by several."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from maquette.errors import InputError
from maquette.io.files import write_folder
from maquette.synth.datasets.multiview.making import ObjectResult, make_object
from maquette.synth.datasets.multiview.spec import FORMAT, Task, ViewsSpec, object_files, open_manifest
from maquette.synth.datasets.pieces import MISSING, still_to_make
from maquette.synth.datasets.processes import MAX_WORKERS, in_processes


def generate(
    folder: Path,
    spec: ViewsSpec,
    meshes: Path | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    done: Callable[[Task], None] | None = None,
) -> None:
    """Write the objects that are missing, and those that are damaged, which a warning names.

    A mesh that can't be used is left out, and a warning names it.

    Args:
        folder: of the data set.
        spec: what it is.
        meshes: the folder that `spec.meshes` are below.
        shard: part i of n: every n-th object from the i-th on.
        workers: processes.
        done: told each object.

    Raises:
        InputError: the folder holds another data set or can't be written; nobody said where the meshes are; objects
            are missing of a generator that this isn't any more; a worker died.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise InputError(f"workers is {workers}; it must lie in 1..{MAX_WORKERS}")
    open_manifest(folder, spec)
    todo = still_to_make(
        spec.tasks()[shard[0] :: shard[1]],
        lambda task: folder / task.folder,
        lambda path, task: object_fault(path, spec, task),
        (spec.format, FORMAT),
        done,
    )
    for made in _makers(spec, todo, meshes, workers):
        if made.skipped:
            warnings.warn(f"{made.skipped}; it is left out", stacklevel=2)
        else:
            path = folder / made.task.folder
            if path.exists():
                shutil.rmtree(path)
            write_folder(path, made.files)
        if done is not None:
            done(made.task)


def object_fault(path: Path, spec: ViewsSpec, task: Task) -> str:
    """What is wrong with an object, as far as the names and lengths of its files tell; empty if nothing is."""
    if not path.exists():
        return MISSING
    files = {file.relative_to(path).as_posix(): file.stat().st_size for file in path.rglob("*") if file.is_file()}
    wrong = [name for name in object_files(spec, task) if not files.get(name)]
    return f"{path}: damaged ({wrong[0]} is missing or empty)" if wrong else ""


def _makers(spec: ViewsSpec, todo: list[Task], meshes: Path | None, workers: int) -> Iterator[ObjectResult]:
    """Objects as they are finished."""
    make = partial(make_object, spec, meshes)
    return map(make, todo) if min(workers, len(todo)) <= 1 else in_processes(make, todo, workers)
