"""NiRNE as an ONNX file: the whole method but for framing, in one graph that takes any size.

The graph holds the exposure normalisation, both passes of the network (at half the size, then guided by that), and the
average with the mirrored photo, so that a program in another language needs no arithmetic of ours: it resizes the
square about the object to `maquette.size_px` and hands over linear colour in any units, and the mask.
`maquette.methods.adapters.onnx` does the same.

Torch's TorchScript-based exporter writes it. Torch prefers its newer one, which needs onnxscript besides and took
thirty times as long for the same graph; both gave the same numbers.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.io.files import atomic_path
from maquette.methods.nirne import Network, NiRNE, predict
from maquette.nets.nirne import MULTIPLE, NiRNENet, enlarged
from maquette.nets.nirne_conv import MULTIPLE as CONV_MULTIPLE
from maquette.shading.exposure import encode

OPSET = 17
TOLERANCE = 1e-4  # on the mask: of a normal's component, and of kappa relative to max(kappa, 1)
_PERCENTILE = 0.95
_SAMPLES = 16384  # as `shading.exposure.normalise_exposure`


class Graph(nn.Module):
    """What is exported: linear photo and mask to normals and kappa.

    `normalise_exposure` again, with a sort for the percentile: ONNX has no quantile that leaves pixels out.
    """

    def __init__(self, net: Network, mirrored: bool) -> None:
        super().__init__()
        self.net = net
        self.mirrored = mirrored

    def forward(
        self, photo: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 1 height width"]]:
        """Unit normals in the frame of memory, and concentrations, everywhere."""
        if not isinstance(self.net, NiRNENet):
            return self._pass(photo, mask)
        cover = F.avg_pool2d(mask, 2)
        coarse = (cover >= 0.5).to(mask.dtype)
        normals, _ = self._pass(F.avg_pool2d(photo * mask, 2) / cover.clamp_min(1e-3), coarse)
        return self._pass(photo, mask, enlarged(normals, coarse))

    def _pass(self, photo: Tensor, mask: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return predict(self.net, self.mirrored, normalised(photo, mask), mask, guide)


def normalised(
    linear: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """The same as `shading.exposure.normalise_exposure`, in operations that ONNX has."""
    luminance = linear.mean(1).flatten(1)
    inside = mask.flatten(1) > 0
    pixels = luminance.shape[1]
    step = (pixels + _SAMPLES - 1) // _SAMPLES
    chosen = torch.arange((pixels + step - 1) // step, device=linear.device) * step
    luminance, inside = luminance[:, chosen], inside[:, chosen]
    ordered = torch.where(inside, luminance, torch.inf).sort(1).values
    count = inside.sum(1, keepdim=True)
    rank = _PERCENTILE * (count - 1).clamp_min(0).to(linear.dtype)
    below = rank.floor()
    low = ordered.gather(1, below.long())
    high = ordered.gather(1, rank.ceil().long())
    bright = torch.where(count > 0, low + (high - low) * (rank - below), 1.0).clamp_min(1e-6)
    return encode((linear * (0.8 / bright).reshape(-1, 1, 1, 1)).clamp(1e-6, 1)) * mask


def export_onnx(method: NiRNE, path: Path, weights: str) -> dict[str, float]:
    """Write a method as ONNX; the same weights give the same bytes.

    Args:
        method: a loaded NiRNE; its `mirrored` decides whether the graph averages with the mirrored photo.
        path: the file; it appears only once onnxruntime was seen to give torch's numbers.
        weights: name of the weights, kept in the metadata.

    Returns:
        The largest differences to torch on the mask: `normals` of a component, `kappa` relative to max(kappa, 1).

    Raises:
        InputError: onnx or onnxruntime isn't installed, or the file can't be written.
        RuntimeError: onnxruntime's numbers differ from torch's by more than `TOLERANCE`.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(f"export needs onnx and onnxruntime ({error}); pip install 'maquette[onnx]'") from error
    graph = Graph(method.net, method.mirrored).eval().cpu()
    sides, asked = _multiple(method), recommended_px(method)
    axes = {0: "batch", 2: "height", 3: "width"}
    with atomic_path(path) as partial:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the exporter's age, and of a step that is no constant in the graph
            torch.onnx.export(
                graph,
                _example(2, 4 * sides, 3 * sides),
                str(partial),
                dynamo=False,
                opset_version=OPSET,
                input_names=["photo", "mask"],
                output_names=["normals", "kappa"],
                dynamic_axes=dict.fromkeys(("photo", "mask", "normals", "kappa"), axes),
            )
        model = onnx.load(str(partial))
        onnx.helper.set_model_props(model, _metadata(method, weights))
        model.doc_string = "NiRNE of maquette: linear RGB (any exposure) and mask to unit surface normals and kappa"
        onnx.checker.check_model(model)
        partial.write_bytes(model.SerializeToString(deterministic=True))
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        differences = _differences(graph, session, ((1, asked, asked), (2, 3 * sides, 5 * sides)))
    return differences


def recommended_px(method: NiRNE) -> int:
    """The side that the file recommends: with a pass of half of it before, that pass has the training size."""
    return method.size_px * (2 if isinstance(method.net, NiRNENet) else 1)


def _multiple(method: NiRNE) -> int:
    """Sides must be multiples of this; a guided network has a pass at half of them."""
    return 2 * MULTIPLE if isinstance(method.net, NiRNENet) else CONV_MULTIPLE


def _metadata(method: NiRNE, weights: str) -> dict[str, str]:
    from maquette import __version__

    return {
        "maquette.version": __version__,
        "maquette.method": "NiRNE",
        "maquette.weights": weights,
        "maquette.frame": "opengl",
        "maquette.frame_in_words": "x right, y up, z towards the viewer",
        "maquette.input": "linear",
        "maquette.exposure": "normalised in the graph: 95th percentile of the mask's luminance at 0.8",
        "maquette.framing": "object",
        "maquette.size_px": str(recommended_px(method)),
        "maquette.size_multiple": str(_multiple(method)),
        "maquette.mirrored": "averaged in the graph" if method.mirrored else "no",
    }


def _differences(graph: Graph, session, sizes: tuple[tuple[int, int, int], ...]) -> dict[str, float]:
    largest = {"normals": 0.0, "kappa": 0.0}
    for size in sizes:
        photo, mask = _example(*size)
        with torch.inference_mode():
            normals, kappa = (tensor.numpy() for tensor in graph(photo, mask))
        found = session.run(["normals", "kappa"], {"photo": photo.numpy(), "mask": mask.numpy()})
        inside = mask.numpy() > 0
        of_normals = np.abs(found[0] - normals) * inside
        of_kappa = np.abs(found[1] - kappa) / np.maximum(kappa, 1) * inside
        largest["normals"] = max(largest["normals"], float(of_normals.max()))
        largest["kappa"] = max(largest["kappa"], float(of_kappa.max()))
    if max(largest.values()) > TOLERANCE:
        raise RuntimeError(f"the exported graph differs from torch: {largest}, allowed is {TOLERANCE}")
    return largest


def _example(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A matte ball, lit from above on the right.

    Something a network has an opinion on: where a photo's normals and the mirrored photo's all but cancel, as
    they may on noise and outside the mask, their average is ill-conditioned and no two programs agree.
    """
    y = torch.linspace(1.2, -1.2, height)[:, None]
    x = torch.linspace(-1.2, 1.2, width)[None]
    mask = (x**2 + y**2 < 1).float()
    shading = (0.5 * x + 0.6 * y + 0.6 * (1 - x**2 - y**2).clamp_min(0).sqrt()).clamp_min(0)
    photo = (0.05 + shading) * mask
    return photo.expand(batch, 3, -1, -1).contiguous(), mask.expand(batch, 1, -1, -1).contiguous()
