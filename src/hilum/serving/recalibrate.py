"""`hilum recalibrate`: a hospital's own healthy images set the threshold of a model.

The threshold is a split conformal quantile: it lies directly above the k-th smallest of the n probabilities of
abnormal, k = ceil((n + 1) * specificity). A new healthy image of the same origin is then classified as normal with a
probability of at least k / (n + 1), whatever the distribution; the specificity that one set of n images leads to
follows the beta distribution Beta(k, n + 1 - k) (Vovk 2012). The promise needs images that are exchangeable with the
new ones: one image per child, not chosen by how they look, from the same devices.

References
    Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005).
    Vovk V. Conditional validity of inductive conformal predictors. ACML (2012).
"""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.card import AtPrevalence, ModelCard, OperatingPoint, PredictiveValues
from hilum.data.cases import HEALTHY
from hilum.errors import DataError, ModelError
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.intervals import LEVEL, bootstrap, with_interval
from hilum.evaluation.operating import predictive_values
from hilum.folders import TaskFolder
from hilum.inference.calibrate import softmax
from hilum.inference.forward import logits_of
from hilum.inference.rules import Rules
from hilum.models import load_model, model_folder
from hilum.serving.own_images import new_folder, own_images

RULE = "healthy images"
"""The name of the rule in the card."""

ROUNDING = 1e-9
"""Taken off before rounding up: (n + 1) * specificity may miss a whole number in the last digit."""

REPLICATES = 2000
"""Of the intervals of the predictive values."""


@dataclass(frozen=True)
class HealthyThreshold:
    """An image is classified as abnormal from `value` on. `n`: healthy images; `rank`: how many of them the
    quantile leaves normal; `specificity`: expected of new healthy images, with the 95 % interval of what one set of n
    images may lead to."""

    value: float
    n: int
    rank: int
    specificity: Figure


def recalibrate(source: Path, healthy: Path, specificity: float = 0.95, out: Path | None = None) -> Path:
    """Writes a copy of a model whose threshold comes from a folder of healthy images; gives its folder.

    `source`: as in `hilum.load_model`; `specificity`: at least this share of new healthy images is expected to be
    classified as normal; `out`: default NAME-recalibrated. The weights stay. DataError for too few images,
    for a specificity out of range, and where `out` exists; ModelError for a model without the class normal.

    >>> recalibrate(Path("gone"), Path("healthy"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    folder = model_folder(source)
    out = new_folder(out, folder, "recalibrated")
    model, card = load_model(folder), ModelCard.load(folder / "model.json")
    if model.classes[0] != HEALTHY:
        raise ModelError(f"{folder} has no class {HEALTHY!r}", "recalibrate a model that tells normal images")
    fewest_images(specificity)
    probability = abnormal_probability(softmax(logits_of(model, own_images(healthy, model.pixels))))
    chosen = healthy_threshold(probability, specificity)
    values = _predictive_values(folder, chosen)
    new = {"threshold": _entry(chosen, card, healthy), "predictive_values": values}
    if values is None and card.predictive_values is None:
        del new["predictive_values"]
    copytree(folder, out, ignore=ignore_patterns("model.json"), dirs_exist_ok=True)
    card.model_copy(update=new).save(out / "model.json")
    return out


def abnormal_probability(probabilities: np.ndarray) -> np.ndarray:
    """The number that the threshold is compared with, "images": as in `hilum.inference.rules`.

    >>> abnormal_probability(np.array([[0.75, 0.125, 0.125]])).tolist()
    [0.25]
    """
    return probabilities[:, 1] if probabilities.shape[1] == 2 else 1 - probabilities[:, 0]


def fewest_images(specificity: float) -> int:
    """The smallest number of healthy images that can promise a specificity. DataError unless it is between 0 and 1.

    >>> fewest_images(0.95), fewest_images(0.99)
    (19, 99)
    """
    if not 0 < specificity < 1:
        raise DataError(f"specificity {specificity:g} is not between 0 and 1", "write 0.95 for 95 %")
    return ceil(specificity / (1 - specificity) - ROUNDING)


def healthy_threshold(scores: ArrayLike, specificity: float) -> HealthyThreshold:
    """The conformal threshold of probabilities of abnormal, "images", of healthy images alone.

    DataError when there are too few, or when so many have probability 1 that no threshold leaves them normal.

    >>> chosen = healthy_threshold(np.arange(19) / 100, 0.95)
    >>> round(chosen.value, 6), chosen.rank, chosen.specificity.value
    (0.18, 19, 0.95)
    """
    values, needed = np.sort(np.asarray(scores, np.float64)), fewest_images(specificity)
    n = len(values)
    if n < needed:
        raise DataError(
            f"{n} different healthy images cannot promise a specificity of {specificity:g}, which takes at least"
            f" {needed}",
            "add images or lower --specificity",
        )
    rank = ceil((n + 1) * specificity - ROUNDING)
    highest = float(values[rank - 1])
    if highest >= 1:
        raise DataError(
            f"{int((values >= 1).sum())} of {n} healthy images have a probability of abnormal of 1, so no threshold"
            f" has a specificity of {specificity:g}",
            "adapt or train the model",
        )
    return HealthyThreshold(float(np.nextafter(highest, 1)), n, rank, expected_specificity(rank, n))


def expected_specificity(rank: int, n: int) -> Figure:
    """Mean and central 95 % of Beta(rank, n + 1 - rank): the specificity on new healthy images (Vovk 2012).

    Scores with ties give at least as much.

    >>> figure = expected_specificity(19, 19)
    >>> round(figure.low, 3), figure.value, round(figure.high, 3)
    (0.824, 0.95, 0.999)
    """
    from scipy.stats import beta

    low, high = beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], rank, n + 1 - rank)
    return Figure(value=rank / (n + 1), low=float(low), high=float(high))


def _entry(chosen: HealthyThreshold, card: ModelCard, healthy: Path) -> OperatingPoint:
    """The card's new threshold."""
    before = card.threshold or card.two_steps
    two = len(card.classes) == 2
    return OperatingPoint(
        positive=card.classes[1] if two else "abnormal",
        value=chosen.value,
        chosen_on=healthy.resolve().name,
        rule=RULE,
        n=chosen.n,
        expected_specificity=chosen.specificity,
        **({"replaces": Rules.of(card, card.classes).threshold} if before else {}),
    )


# -- predictive values ---------------------------------------------------------------------------------------


def _predictive_values(folder: Path, chosen: HealthyThreshold) -> AtPrevalence | None:
    """From the sensitivity that the new threshold has on held-out images of the run; None outside a run."""
    task = TaskFolder(folder.parent)
    if folder.name != "model" or not task.predictions_file.exists():
        return None
    table = task.predictions()
    split = next((name for name in ("test", "val") if (table["split"] == name).any()), None)
    rows = table[(table["split"] == split) & (table["target"] != HEALTHY)]
    if rows.empty:
        return None
    return predictive_values_of(rows, chosen, f"sensitivity: {split}; specificity: {RULE}")


def predictive_values_of(rows: pd.DataFrame, chosen: HealthyThreshold, measured_on: str) -> AtPrevalence:
    """Predictive values at the prevalences 0.05, 0.2 and 0.5. `rows`: abnormal images of predictions.csv.

    Sensitivity is drawn by patient, specificity from its beta distribution, one independent of the other.

    >>> rows = pd.DataFrame({"patient": [*"abcd"], "prob_normal": [0.2, 0.3, 0.4, 0.9], "prob_pneumonia": 0.0})
    >>> rows["prob_pneumonia"] = 1 - rows["prob_normal"]
    >>> figures = predictive_values_of(rows, healthy_threshold(np.arange(19) / 100, 0.95), "test")
    >>> figures.sensitivity.counts, round(figures.values[2].ppv.value, 3)  # 0.75 / (0.75 + 0.05)
    ('3/4', 0.938)
    """
    columns = [name for name in rows.columns if name.startswith("prob_")]
    positive = abnormal_probability(rows[columns].to_numpy(float)) >= chosen.value
    drawn, _ = bootstrap(
        lambda weights: {"sensitivity": weights @ positive / weights.sum(1)},
        rows["patient"],
        np.zeros(len(rows)),
        REPLICATES,
        seed=0,
    )
    sensitivities = drawn["sensitivity"]
    specificities = np.random.default_rng(0).beta(chosen.rank, chosen.n + 1 - chosen.rank, len(sensitivities))
    share, healthy = float(positive.mean()), chosen.specificity
    sensitivity = with_interval(share, sensitivities).model_copy(
        update={"k": int(positive.sum()), "n": len(positive)}
    )
    values = []
    for prevalence in ReliabilityConfig().prevalences:
        ppv, npv = predictive_values(share, healthy.value or 0.0, prevalence)
        ppvs, npvs = predictive_values(sensitivities, specificities, prevalence)
        values.append(
            PredictiveValues(
                prevalence=prevalence,
                ppv=with_interval(float(ppv), ppvs),
                npv=with_interval(float(npv), npvs),
            )
        )
    return AtPrevalence(sensitivity=sensitivity, specificity=healthy, measured_on=measured_on, values=values)
