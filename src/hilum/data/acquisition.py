"""Acquisition groups: images with similar numbers about file and picture, whatever their lungs or labels.

Each number of the facts table becomes a normal score by its rank, and k-means divides the images by these
(Lloyd, IEEE Trans Inf Theory 28, 1982). A whole group held out of training, or a group on which a model does
badly, stands for a device that the model has not met.
"""

import numpy as np
import pandas as pd

from hilum.data.shortcuts import NAMES
from hilum.errors import DataError


def clusters(facts: pd.DataFrame, k: int = 5, seed: int = 0) -> np.ndarray:
    """The acquisition group of each image, int64 "images": 0 is the largest group, k - 1 the smallest.

    `facts`: the facts table. DataError when no number varies, or there are fewer images than groups.

    >>> sharp = pd.DataFrame({"sharpness": [1.0, 1.1, 1.2, 9.0, 9.1]})
    >>> clusters(sharp, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    from sklearn.cluster import KMeans

    names = [name for name in NAMES if name in facts.columns and len(set(facts[name].dropna())) > 1]
    if not names:
        raise DataError("no number of file or picture varies between the images", "use another split scheme")
    if len(facts) < k:
        raise DataError(f"{len(facts)} images can't be divided into {k} groups", "use fewer folds")
    unread = facts[names].isna().any(axis=1)
    if unread.any():
        raise DataError(f"{int(unread.sum())} images could not be measured", "pass --skip-unreadable")
    means = KMeans(k, n_init=10, random_state=seed)  # type: ignore[arg-type]
    groups = means.fit_predict(_normal_scores(facts[names]))
    order = np.argsort(-np.bincount(groups, minlength=k), kind="stable")
    return np.argsort(order)[groups].astype(np.int64)


def _normal_scores(values: pd.DataFrame) -> np.ndarray:
    """Each column by rank as quantiles of a normal distribution; equal values stay equal."""
    from scipy.stats import norm

    shares = (values.rank(method="average") - 0.5) / len(values)
    return norm.ppf(shares.to_numpy(float))
