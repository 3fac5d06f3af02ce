"""findings.json of a task of several findings per image: how good its model is at each, a block per split."""

from collections.abc import Mapping
from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part
from hilum.artifacts.curves import ClassCurves
from hilum.artifacts.metrics import HELD_OUT

RANKED = ("auroc", "average_precision")
"""The figures of which the mean over findings is taken as well."""


class FindingFigures(Part):
    """One finding on the images of a split that state it as present or absent. `n_not_stated`: images that do not, or
    call it uncertain; `sensitivity`, `specificity`, `precision` and `npv`: at the threshold of the card; `brier`,
    `brier_before`: mean squared error of the probability, calibrated and as trained."""

    name: str
    n_present: int
    n_absent: int
    n_not_stated: int
    n_patients: int
    auroc: Figure
    average_precision: Figure
    sensitivity: Figure
    specificity: Figure
    precision: Figure
    npv: Figure
    brier: Figure
    brier_before: Figure


class FindingsBlock(Part):
    """All findings on one split. `mean`: the plain mean of the figures in RANKED over the findings `averaged`, those
    with an interval."""

    n_cases: int
    n_patients: int
    findings: list[FindingFigures]
    averaged: list[str]
    mean: dict[str, Figure]


class FindingsMetrics(Artifact):
    """The whole file. `reported`: the split that is reported first; `curves`: of it, per finding with images on both
    sides; `replicates`: bootstrap samples of the intervals of brier."""

    STAGE: ClassVar[str] = "evaluate"

    weights_digest: str
    classes: list[str]
    replicates: int
    seed: int
    splits: Mapping[str, FindingsBlock]
    curves: list[ClassCurves]

    @property
    def reported(self) -> str:
        """The split that is reported first: test, else validation, else the first there is.

        >>> FindingsMetrics.model_construct(splits={"train": None, "val": None}).reported
        'val'
        """
        return next((name for name in HELD_OUT if name in self.splits), next(iter(self.splits)))
