"""How many images the guard on the embedding flags: ordinary ones of test, and altered ones of each kind."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.anomaly import OodShare
from hilum.artifacts.base import Figure
from hilum.evaluation.intervals import bootstrap, wilson_interval, with_interval


def flagged_share(flagged: ArrayLike, patients: ArrayLike, replicates: int, seed: int) -> Figure:
    """The share of flagged images, with counts and the 95 % interval of a bootstrap over patients.

    `flagged`: true or false, "images"; `patients`: "images". Where all or none are flagged, every bootstrap sample
    says the same; the interval is then Wilson's, with as many cases as there are patients.

    >>> figure = flagged_share([True, False, False, True], ["ann", "ann", "bob", "bob"], replicates=20, seed=0)
    >>> figure.counts, figure.low, figure.high
    ('2/4', 0.5, 0.5)
    >>> flagged_share([True] * 4, ["ann", "ann", "bob", "bob"], replicates=20, seed=0).low.__round__(2)
    0.34
    """
    flags, names = np.asarray(flagged, bool), np.asarray(patients, str)
    k, n = int(flags.sum()), len(flags)
    if k in (0, n):
        people = len(set(names))
        low, high = wilson_interval(people if k else 0, people)
        return Figure(value=k / n, low=low, high=high, k=k, n=n)
    drawn, _ = bootstrap(partial(_share, flags), names, np.zeros(n), replicates, seed)
    return with_interval(k / n, drawn["share"]).model_copy(update={"k": k, "n": n})


def _share(flags: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {"share": weights @ flags / weights.sum(1)}


def altered_shares(
    flagged: Mapping[str, np.ndarray],
    titles: Mapping[str, str],
    patients: ArrayLike,
    replicates: int,
    seed: int,
) -> list[OodShare]:
    """The share of flagged images of each kind. `flagged`: kind -> true or false, "images"; `titles`: kind -> words;
    `patients`: of the images that were altered, "images".

    >>> [share] = altered_shares({"noise": np.array([True])}, {"noise": "noise"}, ["ann"], replicates=20, seed=0)
    >>> share.title, share.counts
    ('noise', '1/1')
    """
    return [
        OodShare(
            kind=kind, title=titles[kind], **flagged_share(flags, patients, replicates, seed).model_dump()
        )
        for kind, flags in flagged.items()
    ]
