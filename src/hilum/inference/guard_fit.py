"""The images that a guard is fitted on and measured against, and its fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.counterfactual.sets import in_other_look
from hilum.data.images import Pixels
from hilum.errors import DataError
from hilum.files import digest
from hilum.inference.forward import vectors_of
from hilum.inference.guard import FeatureGuard, layers_to_judge
from hilum.inference.runtimes.torch import layer_names
from hilum.models import ChestModel


@dataclass(frozen=True)
class GuardImages:
    """Prepared images, uint8 "images rows cols": as they are, and some of them in the look of the other label's
    devices. Empty where none can be made."""

    train: np.ndarray
    train_other_look: np.ndarray
    held_out: np.ndarray
    held_out_other_look: np.ndarray

    @classmethod
    def of(
        cls,
        cases: Cases,
        predictions: pd.DataFrame,
        held_out: Sequence[str],
        pixels: Pixels,
        other_look: int,
        seed: int = 0,
    ) -> "GuardImages":
        """Of a run. `predictions`: with case_id and split; `held_out`: case_ids; `other_look`: how many images of train
        and how many held-out ones take the look of a training image of the other label, at most. DataError for no
        training images.

        >>> from pathlib import Path
        >>> cases = Cases(pd.DataFrame({"case_id": ["a"]}), "table", Path("cases.csv"))
        >>> predictions = pd.DataFrame({"case_id": ["a"], "split": ["val"]})
        >>> GuardImages.of(cases, predictions, ["a"], Pixels(size=(8, 8)), other_look=0)
        Traceback (most recent call last):
        hilum.errors.DataError: predictions.csv has no training images to fit a guard on; run: hilum evaluate RUN
        """
        train = predictions.loc[predictions["split"] == "train", "case_id"].tolist()
        if not train:
            raise DataError(
                "predictions.csv has no training images to fit a guard on", "run: hilum evaluate RUN"
            )
        cache = ImageCache.of(cases, pixels)
        looks = [some_in_other_look(cases, ids, train, pixels, other_look, seed) for ids in (train, held_out)]
        plain = [np.asarray(cache.images[cache.rows(list(ids))]) for ids in (train, held_out)]
        return cls(plain[0], looks[0], plain[1], looks[1])


def some_in_other_look(
    cases: Cases, ids: Sequence[str], train: Sequence[str], pixels: Pixels, most: int, seed: int
) -> np.ndarray:
    """At most `most` of the images `ids` in the look of training images of another label, uint8 "images rows cols";
    none where train has no other label. `ids`, `train`: case_ids.

    >>> from pathlib import Path
    >>> none = Cases(pd.DataFrame({"case_id": []}), "table", Path("."))
    >>> some_in_other_look(none, [], [], Pixels(size=(4, 4)), most=9, seed=0).shape
    (0, 4, 4)
    """
    table = cases.table.set_index("case_id", drop=False)
    order = sorted(ids, key=lambda case: digest("guard", str(seed), str(case)))[:most]
    pool = table.loc[list(train)].reset_index(drop=True)
    if not order or pool["label"].nunique() < 2:
        return np.zeros((0, *pixels.size), np.uint8)
    rows = table.loc[order].reset_index(drop=True)
    return in_other_look(cases, rows, pool, pixels, seed, "guard: images in the other look")


def fitted_guard(model: ChestModel, images: GuardImages, rate: float) -> FeatureGuard:
    """The guard of a network. DataError where it can't be fitted (see `FeatureGuard.fit`).

    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(8, 8)), {"blocks": [[4]], "dense": [4]})
    >>> images, none = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8), np.zeros((0, 8, 8), np.uint8)
    >>> guard = fitted_guard(model, GuardImages(images[:3], none, images[3:], none), rate=0.5)
    >>> len(guard.known), guard.rate
    (3, 0.5)
    """
    layers = layers_to_judge(layer_names(model))
    train = _vectors(model, layers, images.train, images.train_other_look)
    return FeatureGuard.fit(layers, train, held_out_vectors(model, layers, images), rate)


def held_out_vectors(model: ChestModel, layers: Sequence[str], images: GuardImages) -> np.ndarray:
    """Joined vectors of the held-out images in both looks, float32 "images dim".

    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(8, 8)), {"blocks": [[4]], "dense": [4]})
    >>> images, none = np.zeros((2, 8, 8), np.uint8), np.zeros((0, 8, 8), np.uint8)
    >>> held_out_vectors(model, ("pool",), GuardImages(images, none, held_out=images, held_out_other_look=images)).shape
    (4, 4)
    """
    return _vectors(model, layers, images.held_out, images.held_out_other_look)


def _vectors(model: ChestModel, layers: Sequence[str], *looks: np.ndarray) -> np.ndarray:
    each = [vectors_of(model, images, layers, what="guard")[1] for images in looks if len(images)]
    return np.concatenate([np.concatenate([vectors[layer] for layer in layers], axis=1) for vectors in each])
