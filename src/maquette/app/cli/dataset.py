"""`maquette dataset`: generate training data, and look at it."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from maquette.app.cli.typed import run
from maquette.catalogue import PICTURE_SUFFIX
from maquette.errors import InputError


def shapes(
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    count: int,
    seed: int = 0,
    views: int = 8,
    size_px: int = 128,
    detail: float | None = None,
    meshes: Path | None = None,
    shard: str = "0/1",
    threads: int = 0,
) -> None:
    """Generate G-buffers of procedural shapes; start it again to go on where it was stopped.

    Args:
        output: folder of the dataset.
        count: number of procedural shapes; 0 for meshes alone.
        seed: the same seed gives the same bytes.
        views: cameras per shape.
        size_px: side of the square G-buffers.
        detail: surface detail of every shape in 0..1; drawn by shape if not given.
        meshes: a folder of meshes (glb, obj, ply; y up) that join the procedural shapes.
        shard: i/n makes every n-th shard from the i-th on, so that n processes share the work.
        threads: CPU threads; 0 takes all.
    """
    part = _part(shard)
    if threads < 0:
        raise InputError(f"--threads is {threads}; it must be 0, for all, or more")
    if meshes is not None and not meshes.is_dir():
        raise InputError(f"--meshes {meshes}: no such folder; give a folder of meshes")
    import numba

    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.synth.datasets.dataset import DatasetSpec, generate
    from maquette.synth.datasets.mesh_files import find_meshes

    if threads:
        numba.set_num_threads(min(threads, numba.get_num_threads()))
    show_warnings_in_one_line()
    spec = DatasetSpec(count, seed, views, size_px, detail, () if meshes is None else find_meshes(meshes))
    with _progress() as progress:
        task = progress.add_task("shards", total=len(range(part[0], spec.shards, part[1])))
        generate(output, spec, part, lambda _: progress.advance(task), meshes=meshes)
    joined = f" and {len(spec.meshes)} meshes" if spec.meshes else ""
    print(f"{output}: {spec.count} shapes{joined}, {spec.shapes * spec.views} views, part {shard} done")


def multishade(
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    count: int,
    seed: int = 0,
    views: int = 6,
    lights: int = 1,
    size_px: int = 128,
    frames: int = 9,
    detail: float | None = None,
    meshes: Path | None = None,
    shard: str = "0/1",
    workers: int = 1,
    ray: str | None = None,
) -> None:
    """Generate photos with their shading frames (RoSE's training data); start it again to go on where it was stopped.

    Args:
        output: folder of the data set: tars in WebDataset's layout, a manifest, a datasheet.
        count: number of procedural shapes; 0 for meshes alone.
        seed: the same seed gives the same bytes.
        views: of each object: front, random, left, right, top, bottom, then random ones.
        lights: photos of each view, each under another light and of another material.
        size_px: side of the square images.
        frames: shading frames of each photo, one for each light of the ring.
        detail: surface detail of every procedural shape in 0..1; drawn by shape if not given.
        meshes: a folder of meshes (glb, obj, ply; y up) that join the procedural shapes.
        shard: i/n makes every n-th shard from the i-th on, so that n machines share the work.
        workers: processes; with `--ray local`, CPUs of its cluster.
        ray: address of a Ray cluster that does the work (host:port, auto), or local to start one here.
    """
    share = _part(shard)
    if meshes is not None and not meshes.is_dir():
        raise InputError(f"--meshes {meshes}: no such folder; give a folder of meshes")
    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.io.files import require_writable
    from maquette.synth.datasets.mesh_files import find_meshes
    from maquette.synth.datasets.multishade.shards import generate
    from maquette.synth.datasets.multishade.spec import MultiShadeSpec

    show_warnings_in_one_line()
    found = () if meshes is None else find_meshes(meshes)
    spec = MultiShadeSpec(count, seed, views, lights, size_px, frames, detail, found)
    require_writable(output, "-o")
    with _progress() as progress:
        task = progress.add_task("shards", total=len(range(share[0], spec.shards, share[1])))
        generate(output, spec, meshes, share, workers, ray, lambda _: progress.advance(task))
    print(f"{output}: {spec.count} shapes and {len(found)} meshes, {spec.views} views of each, part {shard} done")


def views(
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    count: int,
    val: int = 0,
    test: int = 0,
    seed: int = 0,
    categories: str = "",
    held_out: str | None = None,
    meshes: Path | None = None,
    views: int = 50,
    test_views: int = 251,
    size_px: int = 128,
    radius: float = 1.3,
    shard: str = "0/1",
    workers: int = 1,
) -> None:
    """Generate objects seen from many sides, as ShapeNet-SRN has them; start it again to go on where it was stopped.

    Args:
        output: folder of the data set: CATEGORY_SPLIT/OBJECT/, a manifest, a datasheet.
        count: training objects of each category that isn't held out; 0 for meshes alone.
        val: validation objects of each category that isn't held out.
        test: test objects of each category.
        seed: the same seed gives the same bytes.
        categories: procedural ones, such as cup,chair; all of them if not given; none for none.
        held_out: categories that are tested and never trained on, such as cup,lamp; hammer,lamp if not given, as far
            as they are among the categories; none for none.
        meshes: a folder of meshes (glb, obj, ply; y up) that join; folders in it are categories.
        views: of each training object, from anywhere.
        test_views: of each other object, along the spiral; the protocol asks for 251.
        size_px: side of the square images.
        radius: of the sphere that the cameras stand on; the diagonal of an object's box is 1.
        shard: i/n makes every n-th object from the i-th on, so that n machines share the work.
        workers: processes.
    """
    share = _part(shard)
    if meshes is not None and not meshes.is_dir():
        raise InputError(f"--meshes {meshes}: no such folder; give a folder of meshes")
    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.io.files import require_writable
    from maquette.synth.datasets.mesh_files import find_meshes
    from maquette.synth.datasets.multiview.objects import generate
    from maquette.synth.datasets.multiview.spec import HELD_OUT, ViewsSpec
    from maquette.synth.solids.categories import CATEGORIES

    show_warnings_in_one_line()
    found = () if meshes is None else find_meshes(meshes)
    names = _names(categories) if categories else tuple(CATEGORIES)
    held = tuple(name for name in HELD_OUT if name in names) if held_out is None else _names(held_out)
    spec = ViewsSpec(count, seed, val, test, names, held, views, test_views, size_px, radius, found)
    require_writable(output, "-o")
    tasks = spec.tasks()[share[0] :: share[1]]
    with _progress() as progress:
        bar = progress.add_task("objects", total=len(tasks))
        generate(output, spec, meshes, share, workers, lambda _: progress.advance(bar))
    print(f"{output}: {len(tasks)} objects of {len({task.category for task in tasks})} categories, part {shard} done")


def preview(
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    count: int = 100,
    seed: int = 0,
    size_px: int = 80,
) -> None:
    """Write a PNG of random shapes, each photo over its normals.

    Args:
        output: the PNG file.
        count: number of samples.
        seed: the same seed gives the same picture, of the shapes of that seed's dataset.
        size_px: side of one photo.
    """
    if output.suffix.lower() != PICTURE_SUFFIX:
        raise InputError(f"{output}: a preview is a PNG; give a name that ends in {PICTURE_SUFFIX}")
    from maquette.io.files import require_writable
    from maquette.io.images import write_png8
    from maquette.synth.datasets.preview import contact_sheet

    require_writable(output.parent, "-o")
    with _progress() as progress:
        task = progress.add_task("samples", total=count)
        sheet = contact_sheet(count, seed, size_px, lambda _: progress.advance(task))
    write_png8(output, sheet)
    print(output)


def main(argv: list[str]) -> int:
    """Entry point of the verb."""
    verbs = {"shapes": shapes, "multishade": multishade, "views": views, "preview": preview}
    run(verbs, "maquette dataset", __doc__ or "", argv)
    return 0


def _progress():
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty())


def _names(text: str) -> tuple[str, ...]:
    """`cup,lamp` as a tuple; `none` is empty."""
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def _part(text: str) -> tuple[int, int]:
    try:
        i, n = (int(p) for p in text.split("/"))
    except ValueError:
        raise InputError(f"--shard is {text!r}; it must be i/n, such as 0/4") from None
    if not 0 <= i < n:
        raise InputError(f"--shard is {text!r}; it must be i/n with 0 <= i < n")
    return i, n
