"""Applying what evaluation has fitted: calibrated probabilities and conformal prediction sets.

Fitting and measuring them is the business of hilum.evaluation; here lies only what a finished model needs, so this
module knows neither labels nor patients, and no torch.

References
    Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017).
    Sadinle M, Lei J, Wasserman L. Least ambiguous set-valued classifiers with bounded error levels. JASA 114
        (2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.card import ScalingFacts
from hilum.errors import DataError, ModelError


def softmax(logits: ArrayLike) -> np.ndarray:
    """Probabilities "images classes", each row summing to 1, of logits "images classes".

    >>> softmax([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """
    values = np.asarray(logits, np.float64)
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def sigmoid(logits: ArrayLike) -> np.ndarray:
    """Probabilities of logits, each for itself, in the same shape.

    >>> sigmoid([0.0, -1000.0]).tolist()
    [0.5, 0.0]
    """
    values = np.asarray(logits, np.float64)
    return np.asarray(np.where(values >= 0, 1.0, np.exp(-np.abs(values))) / (1 + np.exp(-np.abs(values))))


@dataclass(frozen=True)
class Scaling:
    """logits -> logits * scale + shift, one number of each per class.

    >>> Scaling("vector", (1.0, 2.0), (0.0, 1.0))([[1.0, 3.0]]).tolist()
    [[1.0, 7.0]]
    """

    method: Literal["temperature", "vector"]
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, logits: ArrayLike) -> np.ndarray:
        """Scaled logits "images classes"."""
        return np.asarray(logits, np.float64) * np.array(self.scale) + np.array(self.shift)

    @property
    def temperature(self) -> float:
        """What the logits are divided by; above 1 the model was overconfident. Vector scaling has none.

        >>> temperature_scaling(2.0, classes=3).temperature
        2.0
        """
        if self.method == "vector":
            raise ValueError("vector scaling has no single temperature")
        return 1 / self.scale[0]

    def facts(self) -> ScalingFacts:
        """What a model's card keeps of it: the temperature, or scale and shift."""
        if self.method == "vector":
            return ScalingFacts(method="vector", scale=list(self.scale), shift=list(self.shift))
        return ScalingFacts(method="temperature", temperature=self.temperature)

    @classmethod
    def of(cls, facts: ScalingFacts, classes: int) -> "Scaling":
        """The inverse of `facts`. ModelError when they are damaged.

        >>> Scaling.of(ScalingFacts(method="temperature", temperature=2.0), 3).scale
        (0.5, 0.5, 0.5)
        """
        if facts.method == "temperature" and facts.temperature is not None and 0 < facts.temperature < np.inf:
            return temperature_scaling(facts.temperature, classes)
        scale, shift = tuple(facts.scale or ()), tuple(facts.shift or ())
        if facts.method == "vector" and len(scale) == len(shift) == classes:
            return cls("vector", scale, shift)
        raise ModelError(
            f"the card's calibration by {facts.method} scaling can't be used", "run: hilum evaluate RUN"
        )


def temperature_scaling(temperature: float, classes: int) -> Scaling:
    """Divides all logits by one temperature (Guo 2017, section 4.2). DataError unless it is above 0.

    >>> temperature_scaling(2.0, 2)([[1.0, 3.0]]).tolist()
    [[0.5, 1.5]]
    """
    if not 0 < temperature < np.inf:
        raise DataError(f"temperature {temperature!r} is no positive number", "calibrate the model again")
    return Scaling("temperature", (1 / temperature,) * classes, (0.0,) * classes)


def prediction_sets(
    probabilities: ArrayLike, quantiles: Mapping[str, float], classes: Sequence[str]
) -> np.ndarray:
    """Which classes are in each image's prediction set: true or false, "images classes" (Sadinle 2019).

    `probabilities`: the model's own, not calibrated, "images classes"; `quantiles`: how improbable each class
    may look, 0 to 1. DataError for a class without one.

    >>> prediction_sets([[0.9, 0.1], [0.5, 0.5]], {"normal": 0.6, "abnormal": 0.6}, ["normal", "abnormal"]).tolist()
    [[True, False], [True, True]]
    """
    missing = [name for name in classes if name not in quantiles]
    if missing:
        raise DataError(f"there is no conformal quantile for class {missing[0]!r}", "run: hilum evaluate RUN")
    return 1 - np.asarray(probabilities, np.float64) <= np.array([quantiles[name] for name in classes])


def abstains(sets: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Where a prediction set is a reason to abstain, "images": it is empty, holds every class, or lacks the
    predicted one.

    `sets`: true or false, "images classes". `predicted`: the index of the predicted class, "images".

    >>> sets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    >>> abstains(sets, np.array([0, 0, 0, 0])).tolist()
    [False, True, True, True]
    """
    size = sets.sum(1)
    return (size == 0) | (size == sets.shape[1]) | ~sets[np.arange(len(sets)), predicted]
