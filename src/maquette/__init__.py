"""maquette: photos into surface normals, and normals into geometry.

Names are loaded when they are first used, so that `import maquette` brings neither torch nor a network.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "maquette.errors": ("InputError",),
    "maquette.front": ("as_photo", "load", "normals", "object_mask", "relief", "relight"),
    "maquette.geometry.integrate": ("integrate",),
    "maquette.io.images": ("read_photo",),
    "maquette.io.meshes": ("read_mesh", "write_mesh"),
    "maquette.io.normal_maps": ("read_normal_map", "write_normal_map"),
    "maquette.io.splats.files": ("read_splat", "write_splat"),
    "maquette.methods.photometric": ("photometric_stereo",),
    "maquette.render.splat.rasterize": ("rasterize",),
    "maquette.types": (
        *("Camera", "Depth", "Gaussians", "Lights", "Mesh", "NormalMap", "Photo", "RenderOutput", "Scene", "View"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME), "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from maquette.errors import InputError as InputError
    from maquette.front import as_photo as as_photo
    from maquette.front import load as load
    from maquette.front import normals as normals
    from maquette.front import object_mask as object_mask
    from maquette.front import relief as relief
    from maquette.front import relight as relight
    from maquette.geometry.integrate import integrate as integrate
    from maquette.io.images import read_photo as read_photo
    from maquette.io.meshes import read_mesh as read_mesh
    from maquette.io.meshes import write_mesh as write_mesh
    from maquette.io.normal_maps import read_normal_map as read_normal_map
    from maquette.io.normal_maps import write_normal_map as write_normal_map
    from maquette.io.splats.files import read_splat as read_splat
    from maquette.io.splats.files import write_splat as write_splat
    from maquette.methods.photometric import photometric_stereo as photometric_stereo
    from maquette.render.splat.rasterize import rasterize as rasterize
    from maquette.types import Camera as Camera
    from maquette.types import Depth as Depth
    from maquette.types import Gaussians as Gaussians
    from maquette.types import Lights as Lights
    from maquette.types import Mesh as Mesh
    from maquette.types import NormalMap as NormalMap
    from maquette.types import Photo as Photo
    from maquette.types import RenderOutput as RenderOutput
    from maquette.types import Scene as Scene
    from maquette.types import View as View


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'maquette' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
