"""How often each verdict of the report is wrong when there is nothing to find.

Each row is a verdict in one setting: so many sets are drawn from a faultless model, or from two models that are equally
good, and the share is printed of those that the program calls faulty, better or worse. Aim: at most 5 %. "By image"
rows are the same tests with images in place of patients, as a warning.

    OMP_NUM_THREADS=1 python benchmarks/verdicts.py [SETS]        # 400 sets a row take about half an hour of one core
"""

import sys
from collections.abc import Callable, Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import norm
from torch import nn

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import MapFigures
from hilum.artifacts.metrics import Subgroups
from hilum.evaluation.areas import area_figure
from hilum.evaluation.calibration import ece, ece_of_chance
from hilum.evaluation.chance import effective_cases
from hilum.evaluation.conformal_sets import Sizes, clopper_pearson, coverage_of_chance, fit_quantiles
from hilum.evaluation.curves import calibration_bins, diagram_bins
from hilum.evaluation.means import above_zero, mean_over_patients
from hilum.evaluation.operating import decision_curve
from hilum.evaluation.paired import delong, difference, permutation
from hilum.evaluation.reliability.selective import difference_of_aurc
from hilum.evaluation.shares import share_figure
from hilum.evaluation.subgroups import FEWEST, corrected, gap_of_groups
from hilum.explain.faithfulness.curves import deletion, insertion
from hilum.explain.faithfulness.explainers import BASELINES
from hilum.explain.faithfulness.table import gains
from hilum.explain.filters.concepts import concept_scores
from hilum.report.counterfactual.section import LARGE_LOSS
from hilum.report.explanations.verdicts import INDEPENDENT, SHAKY, STEADY, depends, matters, steady
from hilum.report.summary.shift import Difference

Chance = np.random.Generator

FILTERS = 32
"""Of the layer whose concepts are tried."""

GRID = norm.ppf((np.arange(4000) + 0.5) / 4000)
"""Standard normal numbers, evenly likely."""


class Setting(NamedTuple):
    """`patients` with 1 to `most` images each; `apart`: distance of the classes in standard deviations; `alike`:
    correlation of the images of a patient, given the label that they share."""

    patients: int
    most: int
    apart: float
    alike: float

    def __str__(self) -> str:
        return f"{self.patients} x 1-{self.most}, d' {self.apart:g}, r {self.alike:g}"


class Images(NamedTuple):
    """What a calibrated model states of each image, its class and its patient."""

    probability: np.ndarray
    abnormal: np.ndarray
    patient: np.ndarray


class Paired(NamedTuple):
    """Scores of two equally good models, class and patient of each image."""

    first: np.ndarray
    second: np.ndarray
    abnormal: np.ndarray
    patient: np.ndarray


def images(chance: Chance, at: Setting) -> Images:
    """Images whose probability is that of the class given this image alone."""
    patient = np.repeat(np.arange(at.patients), chance.integers(1, at.most + 1, at.patients))
    abnormal = (chance.random(at.patients) < 0.5)[patient]
    score = at.apart * (abnormal - 0.5) + _noise(chance, patient, at.alike)
    return Images(1 / (1 + np.exp(-at.apart * score)), abnormal, patient)


def two_models(chance: Chance, at: Setting) -> Paired:
    """Both models see the same anatomy and err independently."""
    one = images(chance, at)
    signal = at.apart * (one.abnormal - 0.5)
    first, second = (signal + _noise(chance, one.patient, at.alike) for _ in range(2))
    return Paired(first, second, one.abnormal, one.patient)


def _noise(chance: Chance, patient: np.ndarray, alike: float) -> np.ndarray:
    shared = chance.normal(size=patient.max() + 1)[patient]
    return sqrt(alike) * shared + sqrt(1 - alike) * chance.normal(size=len(patient))


# -- verdicts: True where the program finds what is not there ------------------------------------------------


def calibration(chance: Chance, at: Setting) -> bool:
    """Reliability: "these probabilities are not calibrated"."""
    one = images(chance, at)
    limit = ece_of_chance(one.probability, one.abnormal, one.patient).high
    return bool(ece(one.probability, one.abnormal) > limit)


def calibration_by_image(chance: Chance, at: Setting) -> bool:
    """The same with images as independent, as before."""
    one = images(chance, at)
    limit = ece_of_chance(one.probability, one.abnormal, np.arange(len(one.patient))).high
    return bool(ece(one.probability, one.abnormal) > limit)


def diagram(chance: Chance, at: Setting) -> bool:
    """Performance: "the largest gap that chance does not explain"."""
    one = images(chance, at)
    bins = calibration_bins(one.probability, one.abnormal, diagram_bins(len(one.patient)), one.patient)
    limits = [(each.by_chance, each.observed) for each in bins if each.by_chance]
    return any(not low <= observed <= high for (low, high), observed in limits)


def diagram_by_image(chance: Chance, at: Setting) -> bool:
    """Any bin outside its own Wilson interval, as before."""
    one = images(chance, at)
    bins = calibration_bins(one.probability, one.abnormal, diagram_bins(len(one.patient)))
    return any(not each.low <= each.probability <= each.high for each in bins)


def coverage(chance: Chance, at: Setting) -> bool:
    """Reliability: coverage "is below" or "is above" the nominal coverage; one quantile by class."""
    hits, rows = _sets(chance, at)
    groups = []
    for number in (False, True):
        fitted, measured = (one.abnormal == number for one in rows)
        effective = [
            effective_cases(hit[inside], one.patient[inside])
            for hit, inside, one in zip(hits, (fitted, measured), rows, strict=True)
        ]
        groups.append(Sizes(int(fitted.sum()), int(measured.sum()), *effective))
    low, high = coverage_of_chance(groups, 0.1)
    return not low <= hits[1].mean() <= high


def coverage_by_image(chance: Chance, at: Setting) -> bool:
    """The exact binomial interval leaves out the nominal coverage, as before."""
    hits, _ = _sets(chance, at)
    low, high = clopper_pearson(int(hits[1].sum()), len(hits[1]))
    return not low <= 0.9 <= high


def _sets(chance: Chance, at: Setting) -> tuple[list[np.ndarray], list[Images]]:
    rows = [images(chance, at) for _ in range(2)]
    tables = [np.stack([1 - one.probability, one.probability], 1) for one in rows]
    quantiles = fit_quantiles(tables[0], rows[0].abnormal.astype(int), ("a", "b"), 0.1, "class_conditional")
    limits = np.array([quantiles["a"], quantiles["b"]])
    index = [one.abnormal.astype(int) for one in rows]
    hits = [1 - table[np.arange(len(k)), k] <= limits[k] for table, k in zip(tables, index, strict=True)]
    return hits, rows


def auroc_test(chance: Chance, at: Setting) -> bool:
    """Comparison: p of the AUROC."""
    one = two_models(chance, at)
    return delong(one.first, one.second, one.abnormal, one.patient).p < 0.05


def auroc_test_by_image(chance: Chance, at: Setting) -> bool:
    """DeLong's test of images."""
    one = two_models(chance, at)
    return delong(one.first, one.second, one.abnormal).p < 0.05


def accuracy_test(chance: Chance, at: Setting) -> bool:
    """Comparison, leakage, corruptions: p of the accuracy."""
    one = two_models(chance, at)
    first, second = ((score > 0) == one.abnormal for score in one[:2])
    return permutation(first, second, one.patient).p < 0.05


def accuracy_test_by_image(chance: Chance, at: Setting) -> bool:
    """McNemar's test of images."""
    one = two_models(chance, at)
    return permutation(*((score > 0) == one.abnormal for score in one[:2])).p < 0.05


def subgroup(chance: Chance, at: Setting) -> bool:
    """Performance: "accuracy differs by ..." any of four kinds of subgroups, none of which differ."""
    one = images(chance, at)
    correct = (one.probability > 0.5) == one.abnormal
    count = np.bincount(one.patient)[one.patient]
    kinds = {
        "size": chance.integers(0, 3, len(correct)),
        "exposure": chance.integers(0, 3, at.patients)[one.patient],
        "label": one.abnormal.astype(int),
        "images": np.minimum(count, 3),
    }
    found = {}
    for kind, group in kinds.items():
        members = [(str(name), "", group == name) for name in np.unique(group)]
        kept = [member for member in members if len(np.unique(one.patient[member[2]])) >= FEWEST]
        if len(kept) > 1:
            gap = gap_of_groups(correct, one.probability, one.patient, kept, with_ends=False)
            found[kind] = Subgroups(groups=[], gap=gap)
    return any((entry.gap.p_holm or 1) < 0.05 for entry in corrected(found).values())


def shifted(chance: Chance, at: Setting) -> bool:
    """Summary: "validation and test differ by more than their intervals", in any of four figures."""
    blocks = []
    for _ in range(2):
        one = images(chance, at)
        predicted, area = one.probability > 0.5, area_figure(one.probability, one.abnormal, one.patient)
        correct = share_figure(predicted == one.abnormal, one.patient, one.probability)
        sides = [
            share_figure(predicted[rows] == side, one.patient[rows], one.probability[rows])
            for side, rows in ((True, one.abnormal), (False, ~one.abnormal))
        ]
        blocks.append([correct, area, *sides])
    return any(Difference("", "", *pair).beyond_intervals for pair in zip(*blocks, strict=True))


def counterfactual(chance: Chance, at: Setting) -> bool:
    """Counterfactual: "the network relies on how images were taken", where the AUROC falls by just the loss that is
    let pass."""
    one = two_models(chance, at)
    area = norm.cdf(at.apart / sqrt(2))
    worse = sqrt(2) * norm.ppf(area - LARGE_LOSS)
    second = one.second - (at.apart - worse) * (one.abnormal - 0.5)
    right = np.zeros(len(second))
    change = difference(second, one.first, right, right, one.abnormal, one.patient, 300)["auroc"]
    return change.get("high", 0) < -LARGE_LOSS


def selective(chance: Chance, at: Setting) -> bool:
    """Reliability: a score is "better than the probability"; an equally good one is not."""
    one = two_models(chance, at)
    wrong = chance.random(at.patients)[one.patient] < 0.2
    figure, p = difference_of_aurc(one.first, one.second, wrong, one.patient, 500, 0)
    return p is not None and p < 0.05 and (figure.value or 0) < 0


def stars(chance: Chance, at: Setting) -> bool:
    """Explanations: a star at any of twelve scores; the layer knows the concepts, the classes do not need them."""
    people = np.repeat(np.arange(at.patients), at.most)
    mix = chance.normal(size=(FILTERS, FILTERS)) / sqrt(FILTERS)
    means = np.stack([_noise(chance, people, 0.5) for _ in range(FILTERS)], 1) @ mix
    slopes = {name: chance.normal(size=FILTERS) + chance.normal(size=(60, FILTERS)) / 2 for name in (0, 1)}
    found = []
    for _ in range(6):
        side = (chance.random(at.patients) < 0.5)[people].astype(int)
        values = means + np.outer(side - 0.5, chance.normal(size=FILTERS)) * 4 / sqrt(FILTERS)
        found += concept_scores("concept", values, side, people, slopes)
    return any(score.matters(tests=12) for score in found)


def marked(chance: Chance, at: Setting) -> bool:
    """Explanations: "the marked pixels matter", or a part of that; smooth maps that know nothing of the network."""
    torch.manual_seed(int(chance.integers(1 << 31)))
    net = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Conv2d(4, 8, 3, 2), nn.ReLU())
    net.extend([nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2)])
    with torch.no_grad():
        for weights in net.parameters():
            weights *= 2
    figures: dict[str, dict[str, MapFigures]] = {}
    for number in range(at.patients):
        x = nn.functional.interpolate(torch.rand(1, 1, 8, 8), size=(24, 24), mode="bicubic")
        own = nn.functional.interpolate(torch.rand(1, 1, 6, 6), size=(24, 24), mode="bicubic")[:, 0]
        target = int(net(x).argmax())
        maps = {"own": own, "random": torch.rand(1, 24, 24)}
        maps |= {name: BASELINES[name](net, x, target) for name in ("edges", "centre")}
        for name, heat in maps.items():
            areas = [float(each(net, x, target, heat, 8, seed=number).auc) for each in (deletion, insertion)]
            both = dict(zip(("deletion", "insertion"), areas, strict=True))
            figures.setdefault(name, {})[str(number)] = MapFigures.model_construct(**both)
    own_figures, people = figures.pop("own"), np.arange(at.patients)
    p_values = [
        max(above_zero(gains(own_figures, other, area, sign), people) for other in figures.values())
        for area, sign in (("deletion", -1), ("insertion", 1))
    ]
    return "is not shown: do not rely" not in matters(*p_values)


def steadied(chance: Chance, at: Setting) -> bool:
    """Explanations: "depends on the trained weights", with a mean correlation that is just the limit."""
    words = depends(_mean_correlation(chance, at, INDEPENDENT))
    return words == "The map depends on the trained weights."


def calm(chance: Chance, at: Setting) -> bool:
    """Explanations: "a little noise hardly changes it", with a mean correlation that is just the limit."""
    return steady(_mean_correlation(chance, at, STEADY)) == "A little noise hardly changes it."


def shaken(chance: Chance, at: Setting) -> bool:
    """Explanations: "a little noise changes it", with a mean correlation that is just the limit."""
    return steady(_mean_correlation(chance, at, SHAKY)).startswith("A little noise changes it")


def _mean_correlation(chance: Chance, at: Setting, truth: float) -> Figure:
    """Of maps of so many patients, as skewed as correlations are, whose true mean is `truth`."""
    middle = np.arctanh(truth)
    values = np.tanh(middle + 0.3 * chance.normal(size=at.patients))
    moved = np.clip(values - np.tanh(middle + 0.3 * GRID).mean() + truth, -1, 1)
    return mean_over_patients(moved, np.arange(at.patients), -1, 1)


def decision(chance: Chance, at: Setting) -> bool:
    """Reliability: thresholds at which treating by the model is better than by none; a model that knows nothing."""
    one = images(chance, at)
    probability = np.clip(0.5 + 0.15 * _noise(chance, one.patient, at.alike), 0.01, 0.99)
    curve = decision_curve(probability, one.abnormal, one.patient, replicates=300)
    return any(curve.shown)


VERDICTS: tuple[tuple[Callable[[Chance, Setting], bool], str], ...] = (
    (calibration, "calibration error"),
    (calibration_by_image, "calibration error, by image"),
    (diagram, "calibration diagram"),
    (diagram_by_image, "calibration diagram, by image"),
    (coverage, "coverage of prediction sets"),
    (coverage_by_image, "coverage of prediction sets, by image"),
    (auroc_test, "AUROC of two models"),
    (auroc_test_by_image, "AUROC of two models, by image"),
    (accuracy_test, "accuracy of two models"),
    (accuracy_test_by_image, "accuracy of two models, by image"),
    (subgroup, "accuracy by any of four kinds of subgroups"),
    (shifted, "validation and test differ"),
    (counterfactual, "AUROC falls in the counterfactual"),
    (selective, "score better than the probability"),
    (decision, "net benefit at some threshold"),
)

SETTINGS = (
    Setting(200, 1, 2, 0.5),
    Setting(200, 3, 2, 0.5),
    Setting(200, 10, 2, 0.5),
    Setting(200, 10, 2, 0.9),
    Setting(60, 10, 2, 0.5),
    Setting(300, 3, 4, 0.5),
)


EXPLAINED: tuple[tuple[Callable[[Chance, Setting], bool], str, tuple[Setting, ...]], ...] = (
    (stars, "a star at any of 12 concept scores", (Setting(100, 1, 0, 0.5), Setting(60, 3, 0, 0.5))),
    (marked, "the marked pixels of a map matter", (Setting(6, 1, 0, 0), Setting(12, 1, 0, 0))),
    (steadied, "a map depends on the weights", (Setting(6, 1, 0, 0), Setting(12, 1, 0, 0))),
    (calm, "a little noise hardly changes a map", (Setting(6, 1, 0, 0), Setting(12, 1, 0, 0))),
    (shaken, "a little noise changes a map", (Setting(6, 1, 0, 0), Setting(12, 1, 0, 0))),
)
"""Verdicts of the explanations, each with settings of its own: patients, and images of each."""


def rates(sets: int, wanted: str = "") -> Iterator[tuple[str, Setting, float, float]]:
    """Verdict, setting, share of false alarms, its Monte-Carlo standard error."""
    for verdict, words, settings in [*((*pair, SETTINGS) for pair in VERDICTS), *EXPLAINED]:
        for number, at in enumerate(settings):
            if wanted in words:
                chance = np.random.default_rng([7, number])
                share = float(np.mean([verdict(chance, at) for _ in range(sets)]))
                yield words, at, share, sqrt(max(share * (1 - share), 1 / sets) / sets)


if __name__ == "__main__":
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print("| verdict | setting | false alarms, % (Monte-Carlo error) | sets |\n|---|---|---|---|")
    for words, at, share, error in rates(sets, sys.argv[2] if len(sys.argv) > 2 else ""):
        print(f"| {words} | {at} | {100 * share:.1f} ({100 * error:.1f}) | {sets} |", flush=True)
