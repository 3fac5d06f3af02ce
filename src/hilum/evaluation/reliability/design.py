"""The design of the reliability stage: what is fitted on which split, and judged on which."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from hilum.errors import DataError
from hilum.evaluation.calibration import Fit, cross_fitted, fit_temperature, fit_vector
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.metrics import log_loss
from hilum.inference.calibrate import softmax

SCALINGS: dict[str, Fit] = {"temperature": fit_temperature, "vector": fit_vector}


@dataclass(frozen=True)
class SplitPredictions:
    """The cases of one split as arrays, in the order of predictions.csv."""

    rows: pd.DataFrame
    classes: tuple[str, ...]
    logits: np.ndarray  # "cases classes"
    target: np.ndarray  # "cases", class indices
    predicted: np.ndarray  # "cases", class indices
    patients: np.ndarray  # "cases"

    @classmethod
    def of(cls, table: pd.DataFrame, split: str, classes: tuple[str, ...]) -> "SplitPredictions":
        """The rows of one split; DataError when a logit is missing or a target is no class."""
        rows = table[table["split"] == split].reset_index(drop=True)
        columns = [f"logit_{name}" for name in classes]
        missing = [name for name in columns if name not in rows]
        if missing:
            raise DataError(f"predictions.csv lacks the column {missing[0]!r}", "run: hilum evaluate RUN")
        target = pd.Index(list(classes)).get_indexer(pd.Index(rows["target"]))
        if (target < 0).any():
            case = rows["case_id"][int((target < 0).argmax())]
            raise DataError(
                f"predictions.csv: the target of case {case!r} is no class of the model",
                "run: hilum evaluate RUN",
            )
        predicted = pd.Index(list(classes)).get_indexer(pd.Index(rows["predicted"]))
        logits, patients = rows[columns].to_numpy(np.float64), rows["patient"].to_numpy(str)
        return cls(rows, classes, logits, target, predicted, patients)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def names(self) -> np.ndarray:
        """The true class of each case."""
        return np.array(self.classes)[self.target]

    def check_classes(self, split: str) -> None:
        """DataError when a class has no case."""
        for index, name in enumerate(self.classes):
            if not (self.target == index).any():
                raise DataError(
                    f"split {split} has no case of class {name!r}", "use a split that holds every class"
                )

    @property
    def curve_classes(self) -> list[tuple[int, str]]:
        """Of two classes the second, the abnormal one; of more, each against the rest."""
        named = list(enumerate(self.classes))
        return named[1:] if len(named) == 2 else named


@dataclass(frozen=True)
class Design:
    """`fit`: val. `judged`: test; without a test split val again, cross-fitted by patient. `method`: the scaling
    that travels with the model."""

    fit: SplitPredictions
    judged: SplitPredictions
    cross_fitted: bool
    config: ReliabilityConfig
    replicates: int
    method: Fit

    @classmethod
    def of(
        cls, table: pd.DataFrame, classes: tuple[str, ...], config: ReliabilityConfig, replicates: int
    ) -> "Design":
        """`table`: predictions.csv. DataError when there is no val split, or a class is absent."""
        val, test = (SplitPredictions.of(table, split, classes) for split in ("val", "test"))
        if not len(val):
            raise DataError(
                "there are no validation images to fit a temperature on", "train with a val split"
            )
        val.check_classes("val")
        if len(test):
            test.check_classes("test")
        method = _method(val, config)
        return cls(val, test if len(test) else val, not len(test), config, replicates, method)

    @property
    def judged_on(self) -> Literal["val", "test"]:
        """The split behind the figures."""
        return "val" if self.cross_fitted else "test"

    @property
    def method_name(self) -> str:
        """The name of the scaling in use."""
        return next(name for name, fit in SCALINGS.items() if fit is self.method)

    def scaled(self, method: Fit | None = None) -> np.ndarray:
        """Calibrated logits of the judged cases, each scaled by what was fitted on other cases."""
        method, config = method or self.method, self.config
        if self.cross_fitted:
            return _cross_fitted(method, self.fit, config)
        return method(self.fit.logits, self.fit.target, self.fit.classes)(self.judged.logits)


def _method(val: SplitPredictions, config: ReliabilityConfig) -> Fit:
    """The configured scaling, or the one with the lower cross-fitted log-loss on val."""
    if config.calibration != "auto":
        return SCALINGS[config.calibration]
    try:
        losses = {name: _loss(fit, val, config) for name, fit in SCALINGS.items()}
    except DataError:
        return fit_temperature  # too few patients to compare: the scaling with one number
    return SCALINGS[min(losses, key=lambda name: losses[name])]


def _loss(fit: Fit, val: SplitPredictions, config: ReliabilityConfig) -> float:
    return float(log_loss(softmax(_cross_fitted(fit, val, config)), val.target))


def _cross_fitted(fit: Fit, val: SplitPredictions, config: ReliabilityConfig) -> np.ndarray:
    return cross_fitted(fit, val.logits, val.target, val.patients, val.classes, config.folds, config.seed)
