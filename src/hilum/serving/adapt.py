"""`hilum adapt`: a model adapts to a folder of images without labels.

Statistics of batch normalisation are measured anew on the images, layer by layer, each below its already adapted
predecessors, and mixed with those of training: with n new images, training counts as N of N + n (Schneider 2020,
equation 3). The shares of the classes among the images can be estimated by EM (Saerens 2002) and moved into the bias
of the head. The result depends neither on the order of the images nor on batches.

Both assume that the folder holds what the model will meet: a folder of healthy images alone moves the statistics of
healthy and abnormal images together.

References
    Schneider S et al. Improving robustness against common corruptions by covariate shift adaptation. NeurIPS (2020).
    Saerens M, Latinne P, Decaestecker C. Adjusting the outputs of a classifier to new a priori probabilities: a
        simple procedure. Neural Computation 14 (2002).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hilum.artifacts.card import Adaptation, Calibration, EstimatedPrior, ModelCard, ModelFacts
from hilum.errors import DataError, ModelError
from hilum.folders import TaskFolder
from hilum.inference.calibrate import Scaling, softmax, temperature_scaling
from hilum.inference.intake import FILE, intake_of
from hilum.inference.intake_features import PIXELS
from hilum.inference.p_values import fewest
from hilum.inference.rules import Rules
from hilum.inference.stream import Wanted, list_images, prepared_images
from hilum.models import ChestModel, SingleLogit, load_model, logits_of, model_folder, save_model
from hilum.progress import advancing
from hilum.serving.own_images import new_folder, own_images

BATCH = 64
"""Images that go through the network together."""

NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d)
"""The layers whose statistics are measured anew."""

DROPPED = (*("conformal", "predictive_values", "figures", "half_precision", "int8_weights", "distillation"),)
"""Figures in the card that were measured with other weights: the new one does not take them over."""

ITERATIONS, CLOSE = 10_000, 1e-10
"""EM ends when no share changes by more than CLOSE, or after so many rounds."""


def adapt(
    source: Path, folder: Path, out: Path | None = None, source_images: int = 16, prior: bool = False
) -> Path:
    """Writes a model that has adapted to the images of a folder; gives its folder.

    `source`: as in `hilum.load_model`; `out`: default NAME-adapted; `source_images`: how many images the statistics
    of training count for; `prior`: estimate the shares of the classes too. DataError where `out` exists or shares
    before are not known; ModelError for a model without batch normalisation.

    >>> adapt(Path("gone"), Path("images"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    if source_images < 0:
        raise DataError(f"{source_images} images of training are fewer than none", "write 0 or more")
    where = model_folder(source)
    out = new_folder(out, where, "adapted")
    model, card = load_model(where), ModelCard.load(where / "model.json")
    if card.kind == "multi":
        raise ModelError(f"{where} states several findings per image", "adapt a model of one class per image")
    before = calibrated_shares(where, card) if prior else None
    images = own_images(folder, model.pixels)
    layers = adapt_statistics(model, images, source_images)
    adaptation = Adaptation(
        adapted_to=folder.resolve().name,
        images=len(images),
        layers=layers,
        source_images=source_images,
        weights_digest_before=card.weights_digest,
        dropped=[name for name in DROPPED if getattr(card, name)],
        **({"prior": adapt_prior(model, images, before)} if before else {}),
    )
    known = {name: value for name, value in card.set_fields().items() if name in ModelFacts.model_fields}
    kept = {name: value for name, value in known.items() if name not in DROPPED}
    model.pretrained = card.pretrained
    save_model(model, out, card.architecture, ModelFacts(**{**kept, "adaptation": adaptation}))
    _keep_calibration(out, card.calibration)
    _keep_intake(where, out, folder)
    return out


def _keep_intake(before: Path, out: Path, folder: Path) -> None:
    """The intake check of the old model, with p-values among the images that the new one is for, if they are enough."""
    intake = intake_of(before)
    if intake is None:
        return
    read = prepared_images(list_images(folder), Wanted([PIXELS]))
    images = [image.images[PIXELS] for image in read if image.error is None]
    if len(images) >= fewest(intake.rate):
        intake = intake.calibrated(np.stack(images))
    intake.save(out / FILE)


def _keep_calibration(out: Path, calibration: Calibration | None) -> None:
    """The scaling stays in use for the new weights, and the card says that its figures are older."""
    if calibration:
        card = ModelCard.load(out / "model.json")
        judged_on = f"{calibration.judged_on}; before adaptation"
        new = {"weights_digest": card.weights_digest, "judged_on": judged_on}
        entry = calibration.model_copy(update=new)
        card.model_copy(update={"calibration": entry}).save(out / "model.json")


# -- batch normalisation -------------------------------------------------------------------------------------


@torch.no_grad()
def adapt_statistics(model: ChestModel, images: np.ndarray, source_images: int = 16) -> int:
    """Changes mean and variance of every batch normalisation, in place; gives the number of layers.

    `images`: prepared uint8 "images rows cols". The new mean is N / (N + n) times that of training plus
    n / (N + n) times that of the n images, and the variance likewise (Schneider 2020, equation 3). One forward pass
    over all images for each layer. ModelError for a network without such a layer.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(32, 32)), {"blocks": [[4], [4]], "dense": [4]})
    >>> adapt_statistics(model.eval(), np.full((2, 32, 32), 90, np.uint8))
    2
    """
    layers = _in_order(model, images[:1])
    if not layers:
        raise ModelError(
            f"this {type(model.features).__name__} has no batch normalisation to adapt",
            "recalibrate the model with healthy images instead",
        )
    share = len(images) / (len(images) + source_images)
    with advancing("measuring statistics") as advance:
        for number, layer in enumerate(layers, 1):
            mean, variance = _moments(model, layer, images)
            layer.running_mean.lerp_(mean.to(layer.running_mean), share)
            layer.running_var.lerp_(variance.to(layer.running_var), share)
            advance(number, len(layers))
    return len(layers)


class _Reached(Exception):
    """Ends a forward pass: the rest of the network is of no interest."""


def _in_order(model: ChestModel, images: np.ndarray) -> list[Any]:
    """The normalisation layers that keep statistics, in the order in which an image meets them."""
    met: list[nn.Module] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: met.append(layer))
        for layer in model.modules()
        if isinstance(layer, NORMALISATION) and layer.running_mean is not None
    ]
    try:
        model(_tensor(model, images))
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(met))


def _moments(model: ChestModel, layer: nn.Module, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel that a layer receives, over all images and positions."""
    sums: list[tuple[Tensor, Tensor, int]] = []
    with _stopping(layer, sums):
        for start in range(0, len(images), BATCH):
            try:
                model(_tensor(model, images[start : start + BATCH]))
            except _Reached:
                continue
    n = sum(part[2] for part in sums)
    mean = torch.stack([part[0] for part in sums]).sum(0) / n
    return mean, torch.stack([part[1] for part in sums]).sum(0) / n - mean**2


@contextmanager
def _stopping(layer: nn.Module, sums: list[tuple[Tensor, Tensor, int]]) -> Iterator[None]:
    """Keeps sum, sum of squares and count of what the layer receives, and ends the pass there."""

    def measure(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)
        sums.append((values.sum(1), (values**2).sum(1), values.shape[1]))
        raise _Reached

    hook = layer.register_forward_pre_hook(measure)
    try:
        yield
    finally:
        hook.remove()


def _tensor(model: ChestModel, images: np.ndarray) -> Tensor:
    return torch.from_numpy(model.pixels.normalize(images))[:, None]


# -- class prior ---------------------------------------------------------------------------------------------


def adapt_prior(model: ChestModel, images: np.ndarray, before: dict[str, float]) -> EstimatedPrior:
    """Moves the head's bias to the shares of the classes that EM estimates on `images`; gives the card's entry.

    `before`: class -> its share where the probabilities were calibrated. No class is taken to be rarer than one image
    in the folder. ModelError for a head without a bias of its own.
    """
    scaling = _scaling(model)
    shares = np.array([before[name] for name in model.classes])
    probabilities = softmax(scaling(logits_of(model, images)))
    estimated = np.maximum(estimated_prior(probabilities, shares), 1 / len(images))
    estimated /= estimated.sum()
    ratio = np.log(estimated / shares)
    _shift_head(model, (ratio - ratio[0]) / np.array(scaling.scale))
    return EstimatedPrior(before=before, estimated=dict(zip(model.classes, estimated.tolist(), strict=True)))


def estimated_prior(probabilities: ArrayLike, before: ArrayLike) -> np.ndarray:
    """The shares of the classes among images, by EM on their probabilities "images classes" (Saerens 2002, 2.4).

    `before`: the shares that the probabilities assume. The estimate maximises the likelihood where the
    probabilities are calibrated and only the shares have changed.

    >>> probabilities = [[0.9, 0.1]] * 3 + [[0.1, 0.9]]  # a test that is right 9 times in 10, positive for 1/4
    >>> estimated_prior(probabilities, [0.5, 0.5]).round(4).tolist()  # (1/4 - 0.1) / (0.9 - 0.1)
    [0.8125, 0.1875]
    """
    own, source = np.asarray(probabilities, np.float64), np.asarray(before, np.float64)
    shares = source
    for _ in range(ITERATIONS):
        posterior = own * (shares / source)
        new = (posterior / posterior.sum(1, keepdims=True)).mean(0)
        if np.abs(new - shares).max() < CLOSE:
            break
        shares = new
    return shares


def calibrated_shares(folder: Path, card: ModelCard) -> dict[str, float]:
    """class -> its share of the validation images, on which calibration was fitted: from the run's predictions.csv
    or a packaged card's confusion matrix. DataError where neither is there, or a class is absent."""
    classes, task, figures = card.classes, TaskFolder(folder.parent), card.figures
    if folder.name == "model" and task.predictions_file.exists():
        rows = task.predictions()
        targets = rows.loc[rows["split"] == "val", "target"]
        counts = [int((targets == name).sum()) for name in classes]
    else:
        counts = [sum(row) for row in figures.confusion] if figures and figures.split == "val" else []
    if not counts or min(counts) == 0:
        raise DataError(
            f"the shares of the classes among the validation images of {folder} are not known",
            "name the task folder of its run, or leave out --prior",
        )
    return {name: count / sum(counts) for name, count in zip(classes, counts, strict=True)}


def _scaling(model: ChestModel) -> Scaling:
    """The card's scaling, or none."""
    rules = Rules.of(model.card, model.classes)
    return rules.scaling or temperature_scaling(1.0, len(model.classes))


@torch.no_grad()
def _shift_head(model: ChestModel, shift: np.ndarray) -> None:
    """Adds to the logits, by way of the bias; `shift` is 0 for the first class."""
    if isinstance(model.head, SingleLogit):
        model.head.linear.bias.add_(float(shift[1]))
    elif isinstance(model.head, nn.Linear) and model.head.bias is not None:
        model.head.bias.add_(torch.from_numpy(shift).to(model.head.bias))
    else:
        raise ModelError(
            f"the head {type(model.head).__name__} has no bias that could hold the shares of the classes",
            "leave out --prior",
        )
