"""How many altered images of each kind the guard on the network's layers flags."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.anomaly import OodShare
from hilum.evaluation.shares import share_figure


def altered_shares(
    flagged: Mapping[str, np.ndarray], titles: Mapping[str, str], patients: ArrayLike
) -> list[OodShare]:
    """The share of flagged images of each kind, with counts and an interval over patients. `flagged`: kind -> true or
    false, "images"; `titles`: kind -> words; `patients`: of the images that were altered, "images".

    >>> [share] = altered_shares({"noise": np.array([True])}, {"noise": "noise"}, ["ann"])
    >>> share.title, share.counts
    ('noise', '1/1')
    """
    return [
        OodShare(kind=kind, title=titles[kind], **share_figure(flags, patients).model_dump())
        for kind, flags in flagged.items()
    ]
