"""The bootstrap over patients, for figures that have no interval of their own kind.

Images of one patient resemble each other, so they are not independent. The bootstrap here draws
patients, with all their images, as Rutter (2000) does for diagnostic accuracy and Field & Welsh (2007) for
clustered data in general. Drawing images instead gives intervals that are too narrow.

Percentile intervals: they stay inside the figure's range and follow any monotone change of scale (Carpenter & Bithell
2000). They suit means of many different numbers, such as a Brier score, and differences of two models. Near 0 and 1
of a share, an AUROC or an F1 they are far too narrow, down to a width of 0; those figures have intervals of their
own: hilum.evaluation.shares, areas, tables and ratios; docs/intervals.md has all in numbers.

References
    Rutter CM. Bootstrap estimation of diagnostic accuracy with patient-clustered data. Acad Radiol 7 (2000).
    Carpenter J, Bithell J. Bootstrap confidence intervals: when, which, what? Stat Med 19 (2000).
    Field CA, Welsh AH. Bootstrapping clustered data. J R Stat Soc B 69 (2007).
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure

LEVEL = 0.95
"""The confidence level of every interval in hilum."""

FEWEST_PATIENTS = 2
"""Of a class, below which a figure has no interval: one patient does not show how patients differ."""

UNDEFINED = 0.05
"""The share of replicates without the figure from which it has no interval: the rest would not stand for all."""

ROUNDING = 1e-12
"""An interval of this width is a point."""

BLOCK = 250_000
"""Weights per block (2 MB). The metrics hold a handful of such arrays, which a processor's cache can take."""

Key = TypeVar("Key", bound=Hashable)


def bootstrap_weights(
    patients: ArrayLike, replicates: int, seed: int, block: int = BLOCK
) -> Iterator[np.ndarray]:
    """Yields blocks of weights "replicates cases": how often each case is in each replicate.

    `patients`: the patient of each case, "cases". Each replicate draws as many patients as there are, with
    replacement; all images of a patient get its count. Counts are whole numbers in float64, the type that the
    metrics sum in. The blocks together hold `replicates` rows, each block about `block` numbers; the size of
    the blocks does not change what is drawn.

    >>> [weights] = bootstrap_weights(["ann", "ann", "bob"], replicates=4, seed=0)
    >>> weights.shape, bool((weights[:, 0] == weights[:, 1]).all()), (weights[:, 0] + weights[:, 2]).tolist()
    ((4, 3), True, [2.0, 2.0, 2.0, 2.0])
    """
    names, patient_of_case = np.unique(np.asarray(patients), return_inverse=True)
    rng = np.random.default_rng(seed)
    rows_at_once = max(1, block // max(len(patient_of_case), 1))
    for start in range(0, replicates, rows_at_once):
        rows = min(rows_at_once, replicates - start)
        drawn = rng.integers(0, len(names), size=(rows, len(names)))
        drawn += (np.arange(rows) * len(names))[:, None]  # each row counts in its own bins
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield counts.astype(np.float64)[:, patient_of_case]


def bootstrap(
    metrics: Callable[[np.ndarray], Mapping[Key, np.ndarray]],
    patients: ArrayLike,
    target: ArrayLike,
    replicates: int,
    seed: int,
) -> tuple[dict[Key, np.ndarray], int]:
    """Each metric in every replicate, and how many replicates miss a class that the cases have.

    `metrics`: weights "replicates cases" -> values "replicates ..." by name, NaN where a metric is not defined.
    `target`: each case's class. No replicate is left out; `with_interval` says where a figure was not defined.

    >>> share = lambda weights: {"share of first": weights[:, 0] / weights.sum(1)}
    >>> values, short = bootstrap(share, ["ann", "bob"], target=[0, 1], replicates=100, seed=0)
    >>> sorted(set(values["share of first"].tolist())), len(values["share of first"]), 0 < short < 100
    ([0.0, 0.5, 1.0], 100, True)
    """
    classes, index = np.unique(np.asarray(target), return_inverse=True)
    member = np.eye(len(classes))[index]
    drawn: dict[Key, list[np.ndarray]] = {}
    short = 0
    for weights in bootstrap_weights(patients, replicates, seed):
        short += int((~(weights @ member > 0).all(1)).sum())
        for name, values in metrics(weights).items():
            drawn.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in drawn.items()}, short


def percentile_interval(values: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of the bootstrap values, for example from the 2.5 % to the 97.5 % quantile.

    (NaN, NaN) where more than 5 % of the values are NaN, or the central ones all equal: that is no interval.

    >>> percentile_interval(range(101), level=0.9)
    (5.0, 95.0)
    """
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if len(defined) < max((1 - UNDEFINED) * len(values), 1):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)) if high - low > ROUNDING else (float("nan"), float("nan"))


def percentile_band(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The central `level` of curves, point by point: both ends "points". `values`: "replicates points"; replicates
    with NaN, which lack the curve, do not count. A point where all curves meet has no width.

    >>> [end.tolist() for end in percentile_band(np.array([[0.0, 1.0], [1.0, 1.0]]), level=0.5)]
    [[0.25, 1.0], [0.75, 1.0]]
    """
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def with_interval(value: float, drawn: ArrayLike, reason: str = "", level: float = LEVEL) -> Figure:
    """A value with its percentile interval; None for what is not defined, and then `reason` says why.

    `drawn`: the figure in each bootstrap replicate; infinite counts as not defined. Where there is no interval the
    figure has a reason, and where some replicates lack the figure a note.

    >>> figure = with_interval(0.5, [0.4, 0.5, 0.6])
    >>> figure.value, figure.low, figure.high
    (0.5, 0.405, 0.595)
    >>> with_interval(0.5, [0.5, 0.5]).reason
    'the bootstrap samples give one value: too few patients for an interval'
    """
    if not np.isfinite(value):
        return Figure(value=None, reason=reason or None)
    spread = np.asarray(drawn, np.float64)
    missing = int((~np.isfinite(spread)).sum())
    low, high = percentile_interval(np.where(np.isfinite(spread), spread, np.nan), level)
    if np.isnan(low):
        return Figure(value=float(value), reason=_no_interval(missing, len(spread)))
    note = f"not defined in {missing} of {len(spread)} bootstrap samples" if missing else None
    return Figure(value=float(value), low=low, high=high, note=note)


def _no_interval(missing: int, replicates: int) -> str | None:
    """Why there is no interval; nothing where none was asked for."""
    if not replicates:
        return None
    if missing > UNDEFINED * replicates:
        return f"not defined in {missing} of {replicates} bootstrap samples: too few patients for an interval"
    return "the bootstrap samples give one value: too few patients for an interval"


def too_few(patients: int) -> str:
    """Why a figure has no interval.

    >>> too_few(1)
    '1 patient in a class: too few for an interval'
    """
    return f"{patients} patient{'' if patients == 1 else 's'} in a class: too few for an interval"
