"""Splats, meshes and normal maps in a browser, through viser; the server listens on this machine alone."""

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from maquette.catalogue import AMBIGUOUS_SPLAT_SUFFIX, MESH_SUFFIXES, SPLAT_SUFFIXES, Axes
from maquette.errors import InputError
from maquette.gaussians.covariance import covariance
from maquette.geometry.integrate import integrate
from maquette.geometry.sh import DC
from maquette.geometry.viewpoints import facing
from maquette.io.decode import require_file
from maquette.io.meshes import load_scene, placed, readable
from maquette.io.normal_maps import Convention, read_normal_map
from maquette.io.splats.colors import to_srgb
from maquette.io.splats.files import read_splat
from maquette.io.splats.ply_container import read_ply_header
from maquette.methods.relief import surface
from maquette.types import Gaussians
from maquette.viz.pictures import shrink_normals
from maquette.viz.splat_pictures import extent

if TYPE_CHECKING:
    import viser

HOST = "127.0.0.1"
_MOST_SPLATS = 1_000_000  # 32 bytes each to the browser, which sorts them for every view
_RELIEF_PX = 384
_CLAY = (150, 146, 138)


@dataclass(frozen=True)
class ViewerContent:
    """What is looked at.

    Attributes:
        kind: `splat`, `mesh` or `normals`.
        count: Gaussians or triangles.
        low, high: the corners of its box; x right, y up, z towards the viewer.
        put: adds it to a `viser.SceneApi`.
    """

    kind: str
    count: int
    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]
    put: Callable[[Any], object]


def read_shown(path: Path, axes: Axes | None = None, convention: Convention = "opengl") -> ViewerContent:
    """Read a splat, a mesh or a normal map, whatever the file is.

    Args:
        path: its suffix says which; a .ply is a splat if its vertices are Gaussians.
        axes: of a splat, as `read_splat` takes it.
        convention: of a normal map.

    Raises:
        InputError: no such file, damaged, or of no kind that can be shown.
    """
    suffix = path.suffix.lower()
    if suffix in SPLAT_SUFFIXES and (suffix != AMBIGUOUS_SPLAT_SUFFIX or _holds_gaussians(path)):
        return _splats(read_splat(path, axes), path)
    return _mesh(path) if suffix in MESH_SUFFIXES else _relief(path, convention)


def serve(shown: ViewerContent, port: int) -> "viser.ViserServer":
    """Start a server that shows something from the front; `stop` ends it.

    Args:
        shown: what to show.
        port: to listen on, 0 for any; if it is taken the next one that is free, which `get_port()` tells.

    Raises:
        InputError: viser isn't installed.
    """
    try:
        import viser
    except ImportError as error:
        raise InputError("viewing needs viser, which isn't installed; type: pip install 'maquette[view]'") from error
    with redirect_stdout(io.StringIO()):  # it prints a table of its own
        server = viser.ViserServer(host=HOST, port=port, label="maquette", verbose=False)
    # Sharing would go through a server that isn't the user's.
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.scene.set_up_direction("+y")
    camera = facing(torch.from_numpy(shown.low), torch.from_numpy(shown.high), 1, 1)  # windows are wider
    server.initial_camera.up = (0.0, 1.0, 0.0)
    server.initial_camera.position = tuple(camera.camera_to_world[:3, 3].tolist())
    server.initial_camera.look_at = tuple(((shown.low + shown.high) / 2).tolist())
    server.initial_camera.fov = float(2 * np.arctan(camera.height / 2 / camera.focal_px))
    shown.put(server.scene)
    return server


def stop(server: "viser.ViserServer") -> None:
    """End a server of `serve`, without a word."""
    with redirect_stdout(io.StringIO()):
        server.stop()


def _holds_gaussians(path: Path) -> bool:
    require_file(path)
    with path.open("rb") as file:
        if b"format ascii" in file.read(1000):  # no splat is in text, but meshes are
            return False
    properties = {name for element in read_ply_header(path).elements for name, _ in element.properties}
    return bool(properties & {"f_dc_0", "packed_position", "scale_0", "rot_0"})


def _splats(gaussians: Gaussians, path: Path) -> ViewerContent:
    low, high = extent(gaussians)
    if len(gaussians) > _MOST_SPLATS:
        warnings.warn(f"{path}: of its {len(gaussians)} Gaussians the {_MOST_SPLATS} largest are shown", stacklevel=2)
    size = gaussians.opacity * gaussians.scale.sort(-1).values[:, 1:].prod(-1)
    kept = size.topk(min(len(gaussians), _MOST_SPLATS)).indices
    display = to_srgb(
        Gaussians(
            mean=gaussians.mean[kept],
            scale=gaussians.scale[kept],
            rotation=gaussians.rotation[kept],
            opacity=gaussians.opacity[kept],
            sh=gaussians.sh[kept, :1],  # the page shows one colour for all directions
            encoding=gaussians.encoding,
        )
    )

    def put(scene: Any) -> object:
        return scene.add_gaussian_splats(
            "/splat",
            centers=display.mean.numpy(),
            covariances=covariance(display.scale, display.rotation).numpy(),
            rgbs=(0.5 + DC * display.sh[:, 0]).clamp(0, 1).numpy(),
            opacities=display.opacity[:, None].numpy(),
        )

    return ViewerContent("splat", len(gaussians), low.double().numpy(), high.double().numpy(), put)


def _mesh(path: Path) -> ViewerContent:
    """The file's whole scene, as it is: a browser knows more of materials than `maquette.types.Mesh` does."""
    with readable(path), warnings.catch_warnings():  # of what is refused below
        warnings.simplefilter("ignore")
        scene = load_scene(path, process=True)
        count = sum(len(mesh.faces) for mesh, _ in placed(scene))
        bounds = np.asarray(scene.bounds if count else np.full((2, 3), np.nan), dtype=np.float64)
        content = scene.export(file_type="glb", include_normals=True) if count else b""
    if count == 0:
        raise InputError(f"{path}: holds no triangles")
    if not np.isfinite(bounds).all():
        raise InputError(f"{path}: holds NaN or infinite numbers")
    return ViewerContent("mesh", count, bounds[0], bounds[1], lambda scene: scene.add_glb("/mesh", content))


def _relief(path: Path, convention: Convention) -> ViewerContent:
    normal_map = shrink_normals(read_normal_map(path, convention), _RELIEF_PX)
    mesh = surface(integrate(normal_map), normal_map)

    vertices, faces = mesh.vertices.numpy(), mesh.faces.numpy()

    def put(scene: Any) -> object:
        return scene.add_mesh_simple("/relief", vertices, faces, color=_CLAY, side="double")

    return ViewerContent("normals", len(faces), vertices.min(0), vertices.max(0), put)
