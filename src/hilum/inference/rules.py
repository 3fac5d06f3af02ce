"""From logits to a decision: the threshold, the calibration and the conformal quantiles in a model's card.

`threshold` (two classes) or `two_steps` (more classes) of the card say where abnormal begins, `calibration` how
logits become probabilities, and `conformal` which classes stay in the prediction set. The decision is made on the
model's own probabilities, as in training and evaluation; only what is stated is calibrated. A card without these
entries gives plain probabilities and no set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.card import Calibration, ModelCard, PredictionSets
from hilum.data.labels import HEALTHY
from hilum.errors import DataError, ModelError
from hilum.inference.calibrate import Scaling, abstains, prediction_sets, softmax

HALF = 0.5


def predicted_classes(
    probabilities: ArrayLike, classes: Sequence[str], threshold: float | None = None
) -> np.ndarray:
    """The predicted class name of each image, "images".

    `probabilities`: "images classes". Two classes: classes[1] when its probability is at least `threshold`
    (default 0.5). More classes: the most probable one, the first of equals; a threshold is a DataError.

    >>> predicted_classes([[0.6, 0.4], [0.5, 0.5]], ["normal", "abnormal"]).tolist()
    ['normal', 'abnormal']
    >>> predicted_classes([[0.6, 0.4]], ["normal", "abnormal"], threshold=0.3).tolist()
    ['abnormal']
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise ValueError(f"probabilities of shape {values.shape} are not images x {len(classes)} classes")
    return np.array(list(classes))[predicted_indices(values, checked_threshold(classes, threshold))]


def predicted_indices(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """The index of the predicted class, "images", by a threshold on the second class, or the most probable.

    >>> predicted_indices(np.array([[0.6, 0.4]]), 0.3).tolist()
    [1]
    """
    if threshold is None:
        return probabilities.argmax(1)
    return (probabilities[:, 1] >= threshold).astype(np.int64)


def checked_threshold(classes: Sequence[str], threshold: float | None) -> float | None:
    """The threshold in use: 0.5 for two classes that name none, None for more classes. DataError for one
    outside 0..1, or given for more than two classes.

    >>> checked_threshold(["normal", "abnormal"], None)
    0.5
    """
    if len(classes) > 2:
        if threshold is not None:
            raise DataError(f"threshold {threshold:g} was given for {len(classes)} classes", "leave it out")
        return None
    value = HALF if threshold is None else float(threshold)
    if not 0 <= value <= 1:
        raise DataError(f"threshold {value:g} is no number in 0..1", "choose one on the validation split")
    return value


def classes_in_two_steps(probabilities: ArrayLike, classes: Sequence[str], threshold: float) -> np.ndarray:
    """First normal vs abnormal, by a threshold on the probability of any abnormal class; then the most probable
    abnormal class. Class names, "images".

    `probabilities`: "images classes", healthy first. The most probable of all classes would be healthy too
    often, because the probability of being abnormal is divided between the abnormal classes.

    >>> classes_in_two_steps([[0.4, 0.3, 0.3], [0.9, 0.06, 0.04]], ["normal", "flu", "cold"], 0.5).tolist()
    ['flu', 'normal']
    """
    values = np.asarray(probabilities, np.float64)
    abnormal = np.array(list(classes))[1 + values[:, 1:].argmax(1)]
    return np.where(1 - values[:, 0] >= threshold, abnormal, classes[0])


@dataclass(frozen=True)
class Decisions:
    """What the rules make of a batch of images, in its order.

    `classes`: of the model. `probabilities`: "images classes", calibrated where the card says how. `predicted`: class
    names. `sets`: the classes of each prediction set, None without quantiles; `uninformative`: why a set is a reason
    to abstain, "" where it is none. `abnormal`: the probability of any abnormal class; `thresholds`: where abnormal
    begins, on the scale of `abnormal`; `positive`: the decision. These three are None for a model without a healthy
    class.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    predicted: list[str]
    sets: list[list[str]] | None
    uninformative: list[str]
    abnormal: np.ndarray | None
    thresholds: np.ndarray | None
    positive: np.ndarray | None

    @property
    def healthy(self) -> int:
        """Which of the classes is the healthy one.

        >>> Rules(("normal", "pneumonia")).decide(np.zeros((1, 2))).healthy
        0
        """
        return self.classes.index(HEALTHY)


@dataclass(frozen=True)
class Rules:
    """The decision rules of one model.

    `threshold`: where abnormal begins, on the model's own probability, None for the most probable class;
    `coverage`: the share of images whose set holds the true class, None without quantiles.

    >>> rules = Rules(("normal", "pneumonia"), threshold=0.3)
    >>> rules.decide(np.log([[0.6, 0.4]])).predicted
    ['pneumonia']
    """

    classes: tuple[str, ...]
    threshold: float | None = None
    scaling: Scaling | None = None
    quantiles: Mapping[str, float] | None = None
    coverage: float | None = None

    @classmethod
    def of(cls, card: ModelCard | None, classes: Sequence[str]) -> "Rules":
        """The rules in a model's card; those of a model without one. ModelError for entries that are damaged or
        were made for other weights.

        >>> from importlib.resources import files
        >>> card = ModelCard.load(files("hilum") / "weights" / "binary" / "model.json")
        >>> Rules.of(card, card.classes).classes
        ('normal', 'pneumonia')
        """
        if card is None:
            return cls(tuple(classes))
        threshold = card.threshold_value
        if threshold is None and len(classes) > 2 and classes[0] == HEALTHY:
            threshold = card.two_steps.threshold if card.two_steps else None
        calibration, conformal = card.calibration, card.conformal
        for name, entry in (("calibration", calibration), ("conformal", conformal)):
            _check_weights(card, name, entry)
        return cls(
            tuple(classes),
            threshold,
            Scaling.of(calibration, len(classes)) if calibration else None,
            conformal.quantiles if conformal else None,
            round(1 - conformal.alpha, 6) if conformal else None,
        )

    def decide(self, logits: np.ndarray) -> Decisions:
        """The decisions for logits "images classes".

        >>> decisions = Rules(("normal", "pneumonia"), threshold=0.3).decide(np.log([[0.6, 0.4], [0.9, 0.1]]))
        >>> decisions.predicted, decisions.abnormal.round(2).tolist(), decisions.positive.tolist()
        (['pneumonia', 'normal'], [0.4, 0.1], [True, False])
        """
        own = softmax(logits)
        probabilities = softmax(self.scaling(logits)) if self.scaling else own
        predicted = self._predicted(own)
        sets, reasons = self._sets(own, predicted)
        abnormal = thresholds = positive = None
        if HEALTHY in self.classes:
            healthy = self.classes.index(HEALTHY)
            abnormal = 1 - probabilities[:, healthy]
            thresholds = self._thresholds(logits, healthy)
            if self.threshold is None and len(self.classes) > 2:
                positive = abnormal >= HALF
            else:
                positive = np.array([name != HEALTHY for name in predicted])
        return Decisions(
            self.classes, probabilities, predicted, sets, reasons, abnormal, thresholds, positive
        )

    def _predicted(self, own: np.ndarray) -> list[str]:
        if self.threshold is not None and len(self.classes) > 2:
            return classes_in_two_steps(own, self.classes, self.threshold).tolist()
        return predicted_classes(own, self.classes, self.threshold).tolist()

    def _sets(self, own: np.ndarray, predicted: list[str]) -> tuple[list[list[str]] | None, list[str]]:
        if self.quantiles is None:
            return None, [""] * len(own)
        inside = prediction_sets(own, self.quantiles, self.classes)
        doubtful = abstains(inside, np.array([self.classes.index(name) for name in predicted], int))
        sets = [[name for name, is_in in zip(self.classes, row, strict=True) if is_in] for row in inside]
        reasons = [
            self._reason(row, name) if is_doubtful else ""
            for row, name, is_doubtful in zip(sets, predicted, doubtful, strict=True)
        ]
        return sets, reasons

    def _reason(self, prediction_set: list[str], predicted: str) -> str:
        if not prediction_set:
            return f"The prediction set is empty: at a coverage of {self.coverage:.4g} no class is probable enough."
        if len(prediction_set) == len(self.classes):
            return f"The prediction set holds every class at a coverage of {self.coverage:.4g}."
        return f"The prediction set does not hold the predicted class, {predicted}."

    def _thresholds(self, logits: np.ndarray, healthy: int) -> np.ndarray:
        """Where abnormal begins for each image, on the calibrated scale: the probability that calibration gives
        an image whose own probability of being abnormal lies at the threshold, its abnormal classes in the same
        proportion. For two classes and one temperature it is the same number for all images."""
        limit = HALF if self.threshold is None else self.threshold
        undecided = self.threshold is None and len(self.classes) > 2
        if undecided or self.scaling is None or not 0 < limit < 1:
            return np.full(len(logits), limit)
        others = np.delete(logits, healthy, axis=1)
        highest = others.max(1)
        together = np.log(np.exp(others - highest[:, None]).sum(1)) + highest
        shift = logits[:, healthy] + np.log(limit / (1 - limit)) - together
        moved = logits + shift[:, None]
        moved[:, healthy] = logits[:, healthy]
        return 1 - softmax(self.scaling(moved))[:, healthy]


def _check_weights(card: ModelCard, name: str, entry: Calibration | PredictionSets | None) -> None:
    if entry and entry.weights_digest != card.weights_digest:
        raise ModelError(f"the card's {name} was made for other weights", "run: hilum evaluate RUN")
