"""The trials of `maquette doctor`: each does a little real work and returns a line about it.

Whatever a trial needs it imports itself, so that one that is missing leaves the others alone.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class Broken(Exception):
    """A part that doesn't work.

    Attributes:
        fix: what one would type, or do.
    """

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.fix = fix


def python() -> str:
    """The interpreter; pip itself refuses one that is too old."""
    if sys.maxsize < 2**32:
        raise Broken(f"{platform.python_version()} of 32 bits, for which there is no torch", "install a 64-bit Python")
    return f"{platform.python_version()} on {platform.platform()}"


def torch_on_the_cpu() -> str:
    """A convolution of ones with a known answer."""
    import torch

    answer = torch.nn.functional.conv2d(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 3, 3))
    _expect(bool((answer == 18).all()), "a convolution gave a wrong answer")
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def cuda() -> str:
    """A product of matrices on every GPU."""
    import torch

    if torch.version.cuda is None:
        raise Broken(
            f"torch {torch.__version__} is a build without CUDA",
            "with an NVIDIA GPU: pip install --force-reinstall torch, from an index that pytorch.org names",
        )
    if not torch.cuda.is_available():
        raise Broken("torch sees no NVIDIA GPU", "nvidia-smi; if it names a GPU, update its driver")
    names = []
    for index in range(torch.cuda.device_count()):
        ones = torch.ones(8, 8, device=f"cuda:{index}")
        _expect(float((ones @ ones).sum()) == 512, f"cuda:{index} multiplied wrongly")
        names.append(torch.cuda.get_device_name(index))
    return f"{', '.join(names)}; CUDA {torch.version.cuda}"


def splat_backend(name: str, fix: str) -> Callable[[], str]:
    """The trial of a rasterizer's backend on CUDA: one Gaussian of half opacity over one pixel."""

    def trial() -> str:
        from importlib import import_module

        import torch

        from maquette.render.splat.projected import Projected

        backend = import_module(f"maquette.render.splat.{name}_cuda")
        if missing := backend.why_not():
            raise Broken(missing, fix)
        numbers = [[[0.5, 0.5]], [[1.0, 0.0, 1.0]], [0.5], [1.0], [[0.0, 0.0, 1.0]], [True]]
        one = Projected(*(torch.tensor(value, device="cuda") for value in numbers))
        alpha = backend.blend(one, torch.ones(1, 1, device="cuda"), 1, 1).alpha
        _expect(abs(float(alpha) - 0.5) < 1e-6, "one Gaussian was blended wrongly")
        return f"{metadata.version(name)} on {torch.cuda.get_device_name()}"

    return trial


def numba_compiles() -> str:
    """A loop, compiled now."""
    import numba

    @numba.njit
    def total(count):
        found = 0
        for number in range(count):
            found += number
        return found

    _expect(total(101) == 5050, "a compiled loop gave a wrong answer")
    return f"{numba.__version__}, {numba.get_num_threads()} threads"


def scipy_solves() -> str:
    """A sparse system with a known answer."""
    import numpy as np
    import scipy
    from scipy.sparse import diags
    from scipy.sparse.linalg import spsolve

    answer = np.asarray(spsolve(diags([2.0, 4.0, 8.0], format="csc"), np.ones(3)))
    _expect(bool(np.allclose(answer, [0.5, 0.25, 0.125])), "a sparse system was solved wrongly")
    return f"scipy {scipy.__version__}, numpy {np.__version__}"


def images() -> str:
    """Each format there and back."""
    import cv2
    import numpy as np
    import PIL

    grey = np.full((16, 16, 3), 100, np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".tiff"):
        wrote, content = cv2.imencode(suffix, grey)
        read = cv2.imdecode(content, cv2.IMREAD_COLOR) if wrote else None
        _expect(read is not None and abs(int(read[8, 8, 1]) - 100) <= 2, f"{suffix} didn't come back as it was written")
    return f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}"


def exr() -> str:
    """A file of floats, written and read."""
    import OpenEXR
    import torch

    from maquette.io.images import read_photo, write_exr

    values = torch.rand(16, 16, 3)
    with tempfile.TemporaryDirectory() as folder:
        write_exr(Path(folder) / "trial.exr", values)
        _expect(torch.equal(read_photo(Path(folder) / "trial.exr").rgb, values), "floats came back changed")
    return f"OpenEXR {getattr(OpenEXR, '__version__', '')}"


def film_gif() -> str:
    """Two frames."""
    return _film(".gif")


def film_mp4() -> str:
    """Two frames, read back."""
    return _film(".mp4")


def meshes() -> str:
    """The isosurface of a ball is closed."""
    import numpy as np
    import trimesh
    from skimage.measure import marching_cubes

    axis = np.linspace(-1, 1, 12) ** 2
    distance = axis[:, None, None] + axis[:, None] + axis - 0.5
    vertices, faces, *_ = marching_cubes(distance, 0.0)
    _expect(trimesh.Trimesh(vertices, faces).is_watertight, "the isosurface of a ball has holes")
    return f"trimesh {trimesh.__version__}, scikit-image {metadata.version('scikit-image')}"


def shipped_weights() -> list[str]:
    """The names of the weights that ship."""
    folder = Path(str(resources.files("maquette.weights")))
    return sorted(path.name for path in folder.iterdir() if (path / "config.json").exists())


def weights(name: str) -> Callable[[], str]:
    """The trial of shipped weights: they are given a small ball."""
    trials = {"clone": _refiner_weights, "gsn": _gsn_weights, "rose": _rose_weights}
    return partial(trials.get(name.partition("-")[0], _nirne_weights), name)


def _nirne_weights(name: str) -> str:
    from maquette.methods.nirne import NiRNE
    from maquette.types import Photo

    mask = _ball()
    method = NiRNE.from_pretrained(name, size_px=32, mirrored=False)
    normals = method(Photo(mask[..., None].expand(-1, -1, 3).float() * 0.5, mask)).normals
    return _described(method.net, method.net.config.size_px, normals, mask)


def _rose_weights(name: str) -> str:
    from maquette.methods.rose import RoSE
    from maquette.types import Photo

    mask = _ball()
    method = RoSE.from_pretrained(name, steps=1)
    normals = method(Photo(mask[..., None].expand(-1, -1, 3).float() * 0.5, mask)).normals
    return _described(method.net, method.net.config.size_px, normals, mask)


def _gsn_weights(name: str) -> str:
    import torch

    from maquette.methods.gsn import GSN

    mask = _ball()
    method = GSN.from_pretrained(name)
    found = method(mask[..., None].expand(-1, -1, 3).float().numpy() * 0.5, mask.numpy())
    _expect(len(found) > 0 and bool(torch.isfinite(found.mean).all()), "the splat that they give isn't finite")
    count = sum(parameter.numel() for parameter in method.net.parameters())
    return f"{count / 1e6:.1f} million parameters, {len(found)} of {method.net.config.count} Gaussians seen"


def _refiner_weights(name: str) -> str:
    import torch

    from maquette.io.checkpoints import load_network
    from maquette.nets.refiner import RefinerConfig, RefinerNet

    mask = _ball()
    refiner = load_network(name, RefinerConfig, RefinerNet)
    solid = mask[None, None].float()
    facing = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1) * solid
    with torch.inference_mode():
        normals = refiner(solid.expand(-1, 3, -1, -1) * 0.5, facing, solid).fused[0].permute(1, 2, 0)
    return _described(refiner, refiner.config.size_px, normals, mask)


def mask_weights() -> str:
    """A red ball on grey stands out."""
    import torch

    from maquette.methods.masks import stands_out
    from maquette.types import Photo

    alpha = stands_out(Photo(torch.where(_ball()[..., None], torch.tensor([0.6, 0.05, 0.02]), 0.3)))
    _expect(alpha is not None and float(((alpha > 0.5) == _ball()).float().mean()) > 0.95, "a red ball isn't found")
    return "U^2-Net-p, at 320 px"


def _ball() -> "Tensor":
    import torch

    axis = torch.linspace(-1.1, 1.1, 32)
    return axis[:, None] ** 2 + axis[None] ** 2 < 1


def _described(network: "nn.Module", size_px: int, normals: "Tensor", mask: "Tensor") -> str:
    import torch

    unit = torch.allclose(normals.norm(dim=-1), mask.float(), atol=1e-3)
    _expect(unit and bool(torch.isfinite(normals).all()), "the normals that they give aren't of unit length")
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.1f} million parameters, trained at {size_px} px"


def mitsuba() -> str:
    """A scene of one white light."""
    import mitsuba
    import numpy as np

    mitsuba.set_variant("scalar_rgb")
    film = {"type": "hdrfilm", "width": 4, "height": 4}
    parts = {"light": {"type": "constant"}, "sensor": {"type": "perspective", "film": film}}
    scene = mitsuba.load_dict({"type": "scene", "integrator": {"type": "path"}} | parts)
    picture = np.array(mitsuba.render(scene, spp=1))[..., :3]
    _expect(bool(np.allclose(picture, 1, atol=1e-3)), "an empty scene under a white light isn't white")
    return metadata.version("mitsuba")


def transformers() -> str:
    """The classes that are used can be imported, and what of diffusers needs them."""
    import transformers
    from diffusers.pipelines.marigold.pipeline_marigold_normals import MarigoldNormalsPipeline
    from transformers import CLIPVisionModelWithProjection, ResNetConfig, ResNetModel

    small = ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4)
    count = sum(parameter.numel() for parameter in ResNetModel(small).parameters())
    _expect(count > 0, "a network that it makes has no parameters")
    return f"{transformers.__version__}, {CLIPVisionModelWithProjection.__name__}, {MarigoldNormalsPipeline.__name__}"


def onnx() -> str:
    """A graph of one node is valid."""
    import onnx

    onnx.checker.check_model(_doubling())
    return onnx.__version__


def onnxruntime() -> str:
    """A graph of one node doubles a number."""
    import numpy as np
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    try:
        model = _doubling().SerializeToString()
    except ImportError:  # only export needs it
        return f"{onnxruntime.__version__} (imported; to try it, onnx is missing), {', '.join(providers)}"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.full(1, 21, np.float32)})
    _expect(float(np.asarray(answer)[0]) == 42, "a sum came out wrong")
    return f"{onnxruntime.__version__}, {', '.join(name.removesuffix('ExecutionProvider') for name in providers)}"


def diffusers() -> str:
    """The video model and its scheduler can be imported and set up."""
    import diffusers
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(4)
    _expect(len(scheduler.timesteps) == 4, "its scheduler has another number of steps")
    names = UNetSpatioTemporalConditionModel.__name__, AutoencoderKLTemporalDecoder.__name__
    return ", ".join((diffusers.__version__, *names))


def viser() -> str:
    """A server starts and answers."""
    import io
    from contextlib import redirect_stdout
    from urllib.request import urlopen

    import viser

    with redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
        page = urlopen(f"http://127.0.0.1:{server.get_port()}/", timeout=30).read()
        server.stop()
    _expect(b"<html" in page, "its server gave no page")
    return viser.__version__


def ray() -> str:
    """It can be imported; a cluster would take seconds to start."""
    import ray

    _expect(callable(ray.init) and not ray.is_initialized(), "it claims a cluster that nobody started")
    return ray.__version__


def webdataset() -> str:
    """It reads a sample out of a tar."""
    import webdataset

    from maquette.io.tars import pack_tar

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.tar"
        path.write_bytes(pack_tar([("key.txt", b"21")]))
        found = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))  # pyright: ignore[reportAttributeAccessIssue]
    _expect([sample["txt"] for sample in found] == [b"21"], "what it reads isn't what was written")
    return webdataset.__version__


def chromium() -> str:
    """A browser that prints its version."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise Broken("no Chromium on the path", "apt-get install chromium")
    return subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout


def _expect(right: bool, complaint: str) -> None:
    if not right:
        raise RuntimeError(complaint)


def _film(suffix: str) -> str:
    """Write two frames as the verbs do, and count those that can be read back."""
    import cv2
    import torch
    from PIL import Image

    from maquette.viz.films import write_film

    frames = [torch.full((32, 32, 3), grey, dtype=torch.uint8) for grey in (50, 200)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trial{suffix}"
        write_film(path, frames)
        if suffix == ".gif":
            with Image.open(path) as film:
                count = getattr(film, "n_frames", 1)
        else:
            film = cv2.VideoCapture(str(path))
            count = sum(film.read()[0] for _ in range(3))
            film.release()
    _expect(count == 2, f"of two frames, {count} came back")
    return "through Pillow" if suffix == ".gif" else "MPEG-4, through OpenCV"


def _doubling():
    from onnx import TensorProto, helper

    one = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", one[:1], one[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
