"""The models of the package as one Predictor: nothing to train.

Two classifiers and a guard see each image: one classifier the lungs alone, the other the whole image. Together they say
whether the image is abnormal (hilum.inference.joined); an abnormal one is then classified as bacterial or viral. The
guard is an anomaly detector: it says how unlike the images of the training set this one is. Where the classifier of
three classes was packed with a guard on its layers, the p-values of both are combined. The predictor abstains when the
image is flagged, and when the two classifiers contradict each other.
"""

import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import ModelError
from hilum.files import digest, read_arrays
from hilum.inference.guard import FeatureGuard, guard_of
from hilum.inference.intake import Intake, intake_of
from hilum.inference.memory import memory_in_words
from hilum.inference.p_values import p_values
from hilum.inference.prediction import ModelName, Prediction
from hilum.inference.predictor import Classifier, Guard, Predictor
from hilum.inference.stream import Image, list_images

if TYPE_CHECKING:  # torch is loaded by the functions that need it
    from hilum.anomaly.detector import Detector
    from hilum.models import ChestModel

WEIGHTS = Path(str(files("hilum"))) / "weights"
"""Where the models of the package lie: binary, multiclass and anomaly."""

GOLDEN_TOLERANCE = 1e-3
"""Largest relative difference of a score that still counts as the same detector."""

CHECK = "HILUM_CHECK_GOLDEN"
"""Set in the environment, the models of the package are compared with their golden outputs when they are loaded."""


def predict(
    images: Image | Iterable[Image],
    model: str | Path | None = None,
    device: str = "auto",
    runtime: str = "torch",
) -> list[Prediction]:
    """Predictions for images: files, folders, grey arrays "rows cols", or several of them, in their order.

    `model`: a run's task folder or a model folder; None: the models of the package. `device`: "auto", "cpu" or
    "cuda"; `runtime`: as in `predictor_for`. An image that can't be read gives an `error` in its place. DataError for
    a path that does not exist; ModelError for a damaged model, or a CUDA device that is not there.

    >>> noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    >>> [prediction] = predict(noise)
    >>> prediction.abstained, prediction.ood.flagged, list(prediction.probabilities)
    (True, True, ['normal', 'bacteria', 'virus'])
    """
    return list(predictor_for(model, device, runtime).stream(list_images(images)))


def predictor_for(model: str | Path | None = None, device: str = "auto", runtime: str = "torch") -> Predictor:
    """The Predictor of a trained model, or of the models of the package (None). `runtime`: "torch", or the engine that
    runs an exported `model`, "onnx" or "openvino", on the CPU.

    >>> predictor_for("gone", "cpu")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    if runtime != "torch":
        return _exported(model, device, runtime)
    if model is not None:
        return Predictor.load(model, device)
    from hilum.inference.runtimes.torch import choose_device

    return packaged(choose_device(device))


def _exported(model: str | Path | None, device: str, runtime: str) -> Predictor:
    if model is None:
        raise ModelError(
            f"the runtime {runtime} needs an exported model",
            f"run: hilum export packaged --to {runtime} --out exported, then give --model exported",
        )
    if device not in ("auto", "cpu"):
        raise ModelError(
            f"the runtime {runtime} computes on the CPU, not on {device!r}", "leave --device out"
        )
    from hilum.inference.exported import load_exported

    return load_exported(Path(model), runtime)


@cache
def packaged(device: str = "cpu", folder: Path = WEIGHTS) -> Predictor:
    """The models that the package brings, read once per device. ModelError when one is missing or was changed.

    >>> packaged("cpu").classes
    ('normal', 'bacteria', 'virus')
    """
    from hilum.anomaly.saved import load_detector
    from hilum.models import load_model

    missing = [name for name in ("binary", "multiclass", "anomaly") if not (folder / name).is_dir()]
    if missing:
        raise ModelError(f"{folder} lacks the model {missing[0]!r}", "install hilum again, or give --model")
    if os.environ.get(CHECK):
        check_packaged(folder)
    with memory_in_words("loading the models of the package"):
        binary, multiclass = load_model(folder / "binary"), load_model(folder / "multiclass")
        detector = load_detector(folder / "anomaly")
    held_out = read_arrays(folder / "anomaly" / "golden.npz")["known"].astype(float)
    embedding, intake = (
        guard_of(folder / "multiclass", multiclass.weights_digest),
        intake_of(folder / "multiclass"),
    )
    return together(
        binary, multiclass, detector, held_out, _rate(detector, folder), device, embedding, intake
    )


def _rate(detector: "Detector", folder: Path) -> float:
    """The share of ordinary images that the packaged detector flags."""
    if detector.card is None or detector.card.threshold is None:
        raise ModelError(f"{folder / 'anomaly'} is not a packaged detector", "install hilum again")
    return detector.card.threshold.rate


def together(
    binary: "ChestModel",
    multiclass: "ChestModel",
    detector: "Detector",
    held_out: np.ndarray,
    rate: float,
    device: str = "cpu",
    embedding: FeatureGuard | None = None,
    intake: Intake | None = None,
) -> Predictor:
    """Two classifiers and a detector as one Predictor, which abstains where the classifiers contradict each other
    or the image is flagged. `held_out`: scores of images that took no part in fitting the detector;
    `rate`: an image with a p-value of at most this is flagged; `embedding`: a guard on the layers of `multiclass`,
    whose p-values are combined with those of the detector; `intake`: the check whether the image is a radiograph of
    the kind at all."""
    import torch

    detector = detector.to(device)

    def p_of(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            scores = detector.score(torch.from_numpy(batch)[:, None].to(device)).score
        return p_values(scores.double().cpu().numpy(), held_out)

    marks = [part.weights_digest for part in (binary, multiclass)]
    marks.append(str(detector.card.weights_digest if detector.card else None))
    return Predictor(
        Classifier.of(multiclass, device, embedding),
        Classifier.of(binary, device),
        Guard(detector.pixels, p_of, rate),
        name=ModelName(name="packaged", digest=digest(*marks)),
        intake=intake,
    )


def check_packaged(folder: Path = WEIGHTS) -> None:
    """ModelError when a model of the package no longer gives its golden outputs here and now.

    >>> check_packaged(WEIGHTS)
    """
    from hilum.models import check_golden

    check_golden(folder / "binary")
    check_golden(folder / "multiclass")
    check_golden_scores(folder / "anomaly")


def check_golden_scores(folder: Path) -> float:
    """Largest relative difference between a packed detector's golden scores and those it gives here and now.

    ModelError above GOLDEN_TOLERANCE.

    >>> check_golden_scores(WEIGHTS / "anomaly") < GOLDEN_TOLERANCE
    True
    """
    import torch

    from hilum.anomaly.saved import load_detector

    detector = load_detector(folder)
    golden = read_arrays(folder / "golden.npz")
    x = torch.from_numpy(detector.pixels.normalize(golden["images"]))[:, None]
    difference = float(np.abs(detector.score(x).score.numpy() / golden["scores"] - 1).max())
    if not difference <= GOLDEN_TOLERANCE:
        raise ModelError(
            f"{folder} gives scores that differ by {difference:.2g} from its golden ones",
            "use the library versions that constraints.txt names",
        )
    return difference
