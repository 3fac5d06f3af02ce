"""Linear probes: how well the classes can be told by a linear classifier on each layer.

Alain & Bengio, "Understanding intermediate layers using linear classifier probes", ICLR 2017 workshop
(arXiv:1610.01644). The maps of a layer are averaged over their positions, and a logistic regression is fitted
on images of some patients and measured on images of others. A good probe shows that the class can be read off a
layer, not that the network reads it there. Compare with a network of random weights, whose late layers
already tell classes better than chance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.artifacts.base import Figure
from hilum.errors import DataError, ModelError
from hilum.evaluation.evaluate import evaluate
from hilum.explain.network.convolutions import activated, conv_layers
from hilum.explain.network.frozen import example_of, frozen_copy
from hilum.explain.network.layers import check_layer
from hilum.models import ChestModel

PENALTY = 0.1
"""Inverse strength of the ridge penalty (C of scikit-learn) on standardised features."""


@dataclass(frozen=True)
class Probe:
    """`width`: numbers per image. `accuracy`, `auroc`: on the held-out images, with 95 % intervals over
    patients. `fitted`, `measured`: images of either kind."""

    layer: str
    width: int
    accuracy: Figure
    auroc: Figure
    fitted: int
    measured: int


def probed_layers(model: nn.Module, image_size: tuple[int, int]) -> list[str]:
    """The layers to probe, in the order in which they run: each convolution where its activation is, or the
    block that it is a part of (a module of its own kind, such as a residual block), and what the head sees.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3))
    >>> probed_layers(net, (16, 16))
    ['1', '3']
    """
    layers = [layer.name for layer in conv_layers(model, image_size)]
    _, example = example_of(model, image_size)
    names = [_block(model, layer) or activated(model, layer, example) for layer in layers]
    neck = getattr(model, "neck", None)
    if isinstance(model, ChestModel) and isinstance(neck, nn.Sequential) and len(neck):
        names.append("neck")
    return list(dict.fromkeys(names))


def _block(model: nn.Module, layer: str) -> str:
    """The innermost module around a layer that is no plain container and does not hold every convolution of
    the model; "" if there is none."""
    parts = layer.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        module = model.get_submodule(name)
        if not isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
            return name if _convolutions(module) < _convolutions(model) else ""
    return ""


def _convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


@torch.no_grad()
def layer_means(
    model: nn.Module,
    batches: Iterable[Float[Tensor, "_batch channels rows cols"]],
    layers: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The mean of each filter over its positions: float32 "images filters" by layer, in one pass over the
    images.

    A layer that gives one vector per image is taken as it is. The model is not changed. ModelError for a layer
    that does not exist, with the nearest name, or is not used; DataError without images. `progress` is called
    with (images done, 0).

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    >>> layer_means(net, [torch.zeros(3, 1, 4, 4)], ["1"])["1"].shape
    (3, 2)
    """
    frozen = frozen_copy(model)
    means: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}

    def keep(layer: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            value = output.float()
            value = value.mean(tuple(range(2, value.dim()))) if value.dim() > 2 else value
            means[layer].append(value.cpu().numpy())

        return hook

    for layer in layers:
        check_layer(frozen, layer)
        frozen.get_submodule(layer).register_forward_hook(keep(layer))
    done = 0
    for x in batches:
        frozen(x)
        done += len(x)
        if progress is not None:
            progress(done, 0)
    if not done:
        raise DataError("there is no image to read", "name a split that has cases")
    for layer, parts in means.items():
        if sum(map(len, parts)) != done:
            raise ModelError(f"layer {layer!r} does not run once per image", "name another layer")
    return {layer: np.concatenate(parts) for layer, parts in means.items()}


def probe_layers(
    features: Mapping[str, np.ndarray],
    targets: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    patients: Sequence[str] | np.ndarray,
    fit: np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
) -> list[Probe]:
    """One probe per layer, fitted on the images of mask `fit` "images" and measured on all others.

    `features`: "images width" by layer, see `layer_means`; `targets`: class numbers; `patients`: whose image it
    is. The fit has no chance in it; `seed` is that of the intervals, from `replicates` draws of patients (see
    hilum.evaluation.intervals). AUROC with more than two classes is the mean of each class against the rest.

    DataError when a patient has images on both sides, when a side has no images, when the images for the fit
    do not hold every class, or when features are not finite.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(80) % 2
    >>> noise = rng.normal(size=(80, 3))
    >>> features = {"chance": noise, "known": noise + 9 * targets[:, None]}
    >>> people = [f"p{i}" for i in range(80)]
    >>> chance, known = probe_layers(features, targets, ["normal", "abnormal"], people, np.arange(80) < 40, 50)
    >>> known.accuracy.counts, chance.accuracy.value < 0.8
    ('40/40', True)
    """
    truth, people = np.asarray(targets), np.asarray(patients)
    fit = np.asarray(fit, bool)
    _check_sides(truth, people, fit, classes)
    probes = []
    for layer, values in features.items():
        values = np.asarray(values, np.float64)
        if len(values) != len(truth):
            raise DataError(f"layer {layer!r} has {len(values)} images, not {len(truth)}", "extract it again")
        if not np.isfinite(values).all():
            raise DataError(f"layer {layer!r} holds NaN or infinity", "train the model again")
        probabilities = _probabilities(values, truth, fit)
        block = _measured(probabilities, truth[~fit], people[~fit], classes, replicates, seed)
        probes.append(
            Probe(
                layer,
                values.shape[1],
                _figure(block["accuracy"]),
                _figure(block["auroc"]),
                int(fit.sum()),
                int((~fit).sum()),
            )
        )
    return probes


def _figure(entry: Mapping[str, Any]) -> Figure:
    return Figure(**{key: entry.get(key) for key in ("value", "low", "high", "k", "n")})


def _check_sides(truth: np.ndarray, people: np.ndarray, fit: np.ndarray, classes: Sequence[str]) -> None:
    if not len(truth) == len(people) == len(fit):
        raise DataError(
            f"there are {len(truth)} targets, {len(people)} patients and {len(fit)} marks",
            "give one of each per image",
        )
    shared = np.intersect1d(people[fit], people[~fit])
    if len(shared):
        raise DataError(
            f"patient {shared[0]} has images on both sides of the probe", "divide the images by patient"
        )
    if not fit.any() or fit.all():
        raise DataError("the probe has no images on one side", "mark some images for the fit, not all")
    missing = [name for number, name in enumerate(classes) if number not in truth[fit]]
    if missing:
        raise DataError(f"the images for the fit hold no {missing[0]!r}", "mark images of every class")


def _probabilities(values: np.ndarray, truth: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Probabilities "held classes" of a logistic regression on standardised values."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=5000))
    return probe.fit(values[fit], truth[fit]).predict_proba(values[~fit])


def _measured(
    probabilities: np.ndarray,
    truth: np.ndarray,
    people: np.ndarray,
    classes: Sequence[str],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    import pandas as pd

    table = pd.DataFrame(
        {
            "case_id": [f"{number:09d}" for number in range(len(truth))],
            "patient": people.astype(str),
            "target": np.asarray(list(classes))[truth],
            **{f"prob_{name}": probabilities[:, column] for column, name in enumerate(classes)},
        }
    )
    return evaluate(table, classes, replicates=replicates, seed=seed)
