"""U^2-Net-p (Qin et al. 2020, arXiv:2005.09007): how much each part of a picture stands out.

The weights in `maquette/weights/u2netp` are the authors' own, as an ONNX graph that onnxruntime runs on the CPU.
"""

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

SIDE_PX = 320  # that the network was trained at
THREADS = 2  # a fixed number, so that every machine sums alike
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet's, red, green, blue
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_BLACK = 1e-6


def saliency(picture: Float[ndarray, "height width 3"]) -> Float[ndarray, "side side"]:
    """The network's probability, 0 to 1, that a pixel belongs to what stands out; the same picture gives the same bits.

    The common code around this network stretches it to 0..1 afterwards, which finds something in every wall. It isn't
    stretched here: on a plain texture it stays near 0.

    Args:
        picture: display-encoded red, green and blue, 0 to 1.

    Returns:
        A square of `SIDE_PX` pixels, whatever the picture's proportions.
    """
    session = _session()
    (found,) = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: prepared(picture)})
    return np.asarray(found)[0, 0]


def prepared(picture: Float[ndarray, "height width 3"]) -> Float[ndarray, "1 3 side side"]:
    """A picture as the network was trained on them: its brightest value 1, then ImageNet's mean and deviation."""
    shrinks = max(picture.shape[:2]) > SIDE_PX
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    small = small / max(float(small.max()), _BLACK)
    return np.ascontiguousarray(((small - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None], np.float32)


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime  # a fifth of a second, which a photo with alpha needn't wait for

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised; stderr is for people
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = Path(str(resources.files("maquette.weights"))) / "u2netp" / "u2netp.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
