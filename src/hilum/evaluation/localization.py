"""Whether a map localizes the lesion, where the truth about every pixel is known (phantom images).

Three figures, each with what chance would give:

- pixel AUROC: the chance that a pixel of a lesion scores above one that is in none, over all images together,
  so the map's scale must mean the same in every image;
- AUPRO (Bergmann et al., MVTec AD, CVPR 2019): each lesion counts the same however large it is. The share of
  each lesion's pixels above a threshold, averaged over the lesions, against the false-positive rate of all
  pixels outside, as an area up to a rate of 30 % divided by 0.3;
- pointing game (Zhang et al., ECCV 2016): the share of images whose highest pixel lies in a lesion. No
  tolerance around the lesion is given here.

Both areas have intervals over patients. A pixel of a lesion adds the share of the pixels outside that score below it,
a pixel outside what it takes from that share; what a patient's pixels add beyond the mean is summed first, so that
neighbouring pixels do not count as independent (structural components, Obuchowski 1997; for an area up to a false-
positive rate Dodd & Pepe 2003). The interval is that of hilum.evaluation.means.interval_by_variance.

References
    Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 53 (1997).
    Dodd LE, Pepe MS. Partial AUC estimation and regression. Biometrics 59 (2003).
"""

from collections.abc import Sequence

import cv2
import numpy as np

from hilum.artifacts.anomaly import Localization, Pointing
from hilum.artifacts.base import Figure
from hilum.evaluation.intervals import FEWEST_PATIENTS
from hilum.evaluation.means import interval_by_variance
from hilum.evaluation.metrics import auroc
from hilum.evaluation.shares import share_figure

MOST_FALSE = 0.3
"""The false-positive rate at which the area of AUPRO ends."""


def localization_figures(maps: np.ndarray, lesions: np.ndarray, patients: Sequence[str]) -> Localization:
    """How well maps point at lesions that are known to the pixel.

    `maps`: float "images rows cols", higher is more anomalous; `lesions`: bool of the same shape, empty for normal
    images; `patients`: the patient of each image. A figure that can't be measured has a reason.

    >>> lesions = np.zeros((1, 4, 4), bool); lesions[0, 1, 1] = True
    >>> figures = localization_figures(lesions.astype(float), lesions, ["ann"])
    >>> figures.pixel_auroc.value, figures.aupro.value, figures.pointing.counts
    (1.0, 1.0, '1/1')
    >>> figures.aupro.reason
    '1 patient with a lesion: too few for an interval'
    """
    abnormal = lesions.any(axis=(1, 2))
    area = float(auroc(maps.ravel(), lesions.ravel())) if lesions.any() and not lesions.all() else None
    weights, regions = _region_weights(lesions)
    people = np.unique(np.asarray(patients), return_inverse=True)[1]
    hits = [pointed(map_, truth) for map_, truth in zip(maps[abnormal], lesions[abnormal], strict=True)]
    chance = float(lesions[abnormal].mean()) if abnormal.any() else None
    pointing = share_figure(hits, np.asarray(patients)[abnormal])
    return Localization(
        pixel_auroc=_with_interval(area, maps, lesions, lesions / max(lesions.sum(), 1), people, 1.0),
        aupro=_with_interval(
            aupro(maps, lesions), maps, lesions, weights / max(regions, 1), people, MOST_FALSE
        ),
        pointing=Pointing(**pointing.set_fields(), chance=chance),
        n_images=len(maps),
        n_abnormal=int(abnormal.sum()),
        n_regions=regions,
    )


def pointed(map_: np.ndarray, lesion: np.ndarray) -> bool:
    """Whether the highest pixel of a map "rows cols" lies in the lesion; of equals, the share in it decides.

    >>> pointed(np.array([[0.0, 1.0]]), np.array([[False, True]]))
    True
    """
    return bool(lesion[map_ == map_.max()].mean() > 0.5)


def aupro(maps: np.ndarray, lesions: np.ndarray, most: float = MOST_FALSE) -> float | None:
    """Area under the per-region overlap against the false-positive rate, from 0 to `most`, divided by `most`;
    1 is perfect, `most` / 2 is chance. None without a lesion, or without a pixel outside one.

    Exact: every distinct score is a threshold, tied pixels enter together, and the curve is joined by
    straight lines. Regions are 8-connected.

    >>> lesion = np.array([[[True, False, False, False]]])
    >>> aupro(np.array([[[3.0, 4.0, 1.0, 2.0]]]), lesion, most=1.0)
    0.6666666666666667
    """
    weights, regions = _region_weights(lesions)
    outside = int((~lesions).sum())
    if not regions or not outside:
        return None
    scores = maps.ravel()
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    overlap = np.concatenate([[0.0], np.cumsum(weights.ravel()[order])[last] / regions])
    false = np.concatenate([[0.0], np.cumsum(~lesions.ravel()[order])[last] / outside])
    at_most = float(np.interp(most, false, overlap))
    inside = false < most
    x, y = np.append(false[inside], most), np.append(overlap[inside], at_most)
    return float(np.trapezoid(y, x) / most)


def _region_weights(lesions: np.ndarray) -> tuple[np.ndarray, int]:
    """Each lesion pixel as 1 / size of its connected region, float64 of the shape of `lesions`, and how many
    regions there are."""
    weights = np.zeros(lesions.shape)
    regions = 0
    for place in np.flatnonzero(lesions.any(axis=(1, 2))):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(lesions[place].astype(np.uint8))
        size = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
        weights[place] = np.where(lesions[place], 1.0 / size[labels], 0.0)
        regions += count - 1
    return weights, regions


def _with_interval(
    value: float | None,
    maps: np.ndarray,
    lesions: np.ndarray,
    weights: np.ndarray,
    patient: np.ndarray,
    most: float,
) -> Figure:
    """An area with its interval. `weights`: of each lesion pixel, together 1; `patient`: number of each image's."""
    if value is None:
        return Figure(value=None, reason="there are not both lesions and pixels outside")
    count = len(np.unique(patient[lesions.any(axis=(1, 2))]))
    if count < FEWEST_PATIENTS:
        return Figure(value=value, reason=f"{count} patient with a lesion: too few for an interval")
    added = added_by_image(maps, lesions, weights, most)
    summed = np.bincount(patient, added)
    variance = float((summed**2).sum()) * count / (count - 1)
    low, high = interval_by_variance(value, variance, count)
    return Figure(value=value, low=low, high=high)


def added_by_image(maps: np.ndarray, lesions: np.ndarray, weights: np.ndarray, most: float) -> np.ndarray:
    """What each image adds to the area up to the false-positive rate `most` beyond the mean, "images"; the squares,
    summed, are its variance. Arguments as in `localization_figures`; `weights`: of each lesion pixel, together 1.

    >>> lesions = np.array([[[True, False]], [[True, False]]])
    >>> added_by_image(np.array([[[3.0, 1.0]], [[2.0, 2.5]]]), lesions, lesions / 2, most=1.0).tolist()
    [0.25, -0.25]
    """
    inside, outside = maps[lesions], maps[~lesions]
    share = weights[lesions]
    ordered = np.sort(outside)
    false = 1 - _below(ordered, inside) / len(outside)
    reached = np.maximum(most - false, 0) / most
    counts = false < most
    order = np.argsort(inside[counts], kind="stable")
    before = np.concatenate([[0.0], np.cumsum(share[counts][order])])
    scores = inside[counts][order]
    least, most_taken = (before[np.searchsorted(scores, outside, side)] for side in ("left", "right"))
    taken = (least + most_taken) / 2 / most  # by each pixel outside, of what lies below it
    of_pixel = np.zeros(maps.shape)
    of_pixel[lesions] = share * (reached - share @ reached)
    of_pixel[~lesions] = -(taken - taken.mean()) / len(outside)
    return of_pixel.sum(axis=(1, 2))


def _below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many of the `ordered` numbers lie below each of `values`; equals count one half."""
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2
