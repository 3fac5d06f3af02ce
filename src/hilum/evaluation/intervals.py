"""How certain a figure is: intervals from a bootstrap over patients, and Wilson's for a plain share.

Images of one patient resemble each other, so they are not independent. The bootstrap here draws
patients, with all their images, as Rutter (2000) does for diagnostic accuracy and Field & Welsh (2007) for
clustered data in general. Drawing images instead gives intervals that are too narrow.

Percentile intervals, not BCa (Efron 1987), on purpose. BCa corrects bias and skew, but its bias correction is
a normal quantile of the share of replicates below the estimate: that is infinite for a perfect model, and
jumps for figures with few distinct values, such as sensitivity on a few dozen cases. The percentile interval
stays inside the figure's range, follows any monotone change of scale, and is what readers of diagnostic
studies know (Carpenter & Bithell 2000 compare both). Its weakness is a small sample, where it is a little too
narrow. A share of 0 or 1 has no spread to draw from; `evaluate` gives Wilson's interval over patients there.

References
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    Efron B. Better bootstrap confidence intervals. JASA 82 (1987).
    Rutter CM. Bootstrap estimation of diagnostic accuracy with patient-clustered data. Acad Radiol 7 (2000).
    Carpenter J, Bithell J. Bootstrap confidence intervals: when, which, what? Stat Med 19 (2000).
    Field CA, Welsh AH. Bootstrapping clustered data. J R Stat Soc B 69 (2007).
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure

LEVEL = 0.95
"""The confidence level of every interval in hilum."""

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
    """Each metric in every replicate, and how many replicates were dropped.

    `metrics`: weights "replicates cases" -> values "replicates ..." by name. `target`: each case's class.
    A replicate that misses a class which the cases have is degenerate: it is dropped from all metrics and
    counted, so that all intervals speak of the same replicates.

    >>> share = lambda weights: {"share of first": weights[:, 0] / weights.sum(1)}
    >>> values, dropped = bootstrap(share, ["ann", "bob"], target=[0, 1], replicates=100, seed=0)
    >>> set(values["share of first"].tolist()), dropped + len(values["share of first"])
    ({0.5}, 100)
    """
    classes, index = np.unique(np.asarray(target), return_inverse=True)
    member = np.eye(len(classes))[index]
    kept: dict[Key, list[np.ndarray]] = {}
    dropped = 0
    for weights in bootstrap_weights(patients, replicates, seed):
        whole = (weights @ member > 0).all(1)
        dropped += int((~whole).sum())
        for name, values in metrics(weights[whole] if not whole.all() else weights).items():
            kept.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in kept.items()}, dropped


def percentile_interval(values: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of the bootstrap values, for example from the 2.5 % to the 97.5 % quantile.

    NaN values (replicates where the metric is 0/0) are left out; (NaN, NaN) when they are more than half,
    because the rest would no longer stand for the sample.

    >>> percentile_interval(range(101), level=0.9)
    (5.0, 95.0)
    """
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or 2 * len(defined) < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def with_interval(value: float, drawn: ArrayLike, reason: str = "") -> Figure:
    """A value with its percentile interval; None for what is not defined, and then `reason` says why.

    `drawn`: the figure in each bootstrap replicate. An infinite figure (a ratio with denominator 0) counts as
    not defined.

    >>> figure = with_interval(0.5, [0.4, 0.5, 0.6])
    >>> figure.value, figure.low, figure.high
    (0.5, 0.405, 0.595)
    """
    spread = np.asarray(drawn, np.float64)
    low, high = percentile_interval(np.where(np.isfinite(spread), spread, np.nan))
    figure = Figure(value=_finite(value), low=_finite(low), high=_finite(high))
    return figure.model_copy(update={"reason": reason}) if reason and figure.value is None else figure


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def wilson_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval for a share k / n of independent cases (Wilson 1927); sound for small n and for k = 0 or n.

    Images of the same patient are not independent: use the bootstrap where patients have several. With n = 0
    nothing is known: (0, 1).

    >>> [round(end, 4) for end in wilson_interval(5, 10)]
    [0.2366, 0.7634]
    >>> [round(end, 4) for end in wilson_interval(10, 10)]
    [0.7225, 1.0]
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = k / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # At k = 0 and k = n the ends are 0 and 1 exactly, which rounding would miss by one digit.
    return (0.0 if k == 0 else middle - half), (1.0 if k == n else middle + half)
