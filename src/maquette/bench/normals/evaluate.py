"""Scores of predictors on a set: per photo, then per object, then over objects."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isnan
from statistics import fmean
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from maquette import metrics
from maquette.bench.normals.datasets import Sample
from maquette.bench.normals.predictor import Predictor
from maquette.methods.whole_frame import level
from maquette.types import NormalMap

COLUMNS = ("mean", "median", "below_11_25", "below_22_5", "below_30", "ne", "sne", "levelled", "seconds")
CALIBRATION_PIXELS = 10_000  # of each photo, so that a large photo doesn't outweigh a small one

Scores = dict[str, float]  # by the names of COLUMNS; nan where a measure does not exist


@dataclass
class SetResult:
    """What a bench of one set found.

    Attributes:
        objects: scores by object and method, mean over the object's photos.
        overall: scores by method, mean over objects.
        photos: how many photos were predicted.
        confidence: by method, what `metrics.calibration` needs: (kappa, measured error in degrees) of
            a fixed random choice of pixels of every photo.
        shown: the first sample of each object with its predictions, for pictures.
        missing: why there are no scores, in one line; empty if there are.
    """

    objects: dict[str, dict[str, Scores]] = field(default_factory=dict)
    overall: dict[str, Scores] = field(default_factory=dict)
    photos: int = 0
    confidence: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    shown: list[tuple[Sample, dict[str, NormalMap]]] = field(default_factory=list)
    missing: str = ""


def evaluate(samples: Iterable[Sample], predictors: dict[str, Predictor], progress: Callable[[str], None]) -> SetResult:
    """Predict every sample with every predictor.

    Args:
        progress: is told, in a few words, what was just done.
    """
    result = SetResult()
    scores: dict[str, dict[str, list[Scores]]] = {}
    confidence: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for sample in samples:
        first = sample.group not in scores
        of_object = scores.setdefault(sample.group, {method: [] for method in predictors})
        predictions = {}
        for method, predict in predictors.items():
            started = perf_counter()
            predictions[method] = predict(sample.photo)
            seconds = perf_counter() - started
            of_object[method].append(score(predictions[method], sample) | {"seconds": seconds})
            if predictions[method].concentration is not None:
                confidence.setdefault(method, []).append(_calibration_pixels(predictions[method], sample))
        result.photos += 1
        progress(f"{sample.group} {sample.view}")
        if first:
            result.shown.append((sample, predictions))
    for name, by_method in scores.items():
        result.objects[name] = {method: _mean(found) for method, found in by_method.items()}
    for method in predictors:
        result.overall[method] = _mean([of_object[method] for of_object in result.objects.values()])
    for method, pairs in confidence.items():
        kappas, errors = zip(*pairs, strict=True)
        result.confidence[method] = (torch.cat(kappas), torch.cat(errors))
    return result


def score(prediction: NormalMap, sample: Sample) -> Scores:
    """The measures of one prediction, by the names of `COLUMNS` less the time.

    A pixel of the truth outside the prediction's mask counts as 90 degrees.
    """
    normals = prediction.normals.cpu() * prediction.mask.cpu()[..., None]
    truth = sample.truth
    summary = metrics.summarise(metrics.angular_error_deg(normals, truth.normals, truth.mask))
    silhouette = truth.mask if sample.photo.mask is None else sample.photo.mask
    ne, sne = metrics.ne_sne_deg(normals, truth.normals, silhouette, sample.truth_grey)
    return {
        "mean": summary.mean,
        "median": summary.median,
        "below_11_25": summary.below_11_25,
        "below_22_5": summary.below_22_5,
        "below_30": summary.below_30,
        "ne": ne,
        "sne": sne,
        "levelled": _levelled(normals, truth) if sample.fills_frame else float("nan"),
    }


def _levelled(normals: Float[Tensor, "height width 3"], truth: NormalMap) -> float:
    """Mean error where neither map has a mean tilt any more."""
    turned, true = (level(NormalMap(each, truth.mask)).normals for each in (normals, truth.normals))
    return float(metrics.angular_error_deg(turned, true, truth.mask).mean())


def _calibration_pixels(
    prediction: NormalMap, sample: Sample
) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    assert prediction.concentration is not None
    error = metrics.angular_error_deg(prediction.normals.cpu(), sample.truth.normals, sample.truth.mask)
    kappa = prediction.concentration.cpu()[sample.truth.mask].double()
    chosen = torch.randperm(len(error), generator=torch.Generator().manual_seed(0))[:CALIBRATION_PIXELS]
    return kappa[chosen], error[chosen]


def _mean(scores: list[Scores]) -> Scores:
    """Mean of each measure over those that have it; nan if none has."""
    means = {}
    for column in COLUMNS:
        values = [found[column] for found in scores if not isnan(found[column])]
        means[column] = fmean(values) if values else float("nan")
    return means
