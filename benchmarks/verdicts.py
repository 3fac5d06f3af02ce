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
import pandas as pd

from hilum.evaluation.calibration import ece, ece_of_chance
from hilum.evaluation.chance import effective_cases
from hilum.evaluation.conformal_sets import Sizes, clopper_pearson, coverage_of_chance, fit_quantiles
from hilum.evaluation.curves import calibration_bins, diagram_bins
from hilum.evaluation.operating import decision_curve
from hilum.evaluation.paired import delong, permutation
from hilum.evaluation.reliability.selective import difference_of_aurc
from hilum.evaluation.subgroups import gap_of_groups

Chance = np.random.Generator


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
    """Performance: "accuracy differs by brightness", three groups that do not differ."""
    one = images(chance, at)
    correct = (one.probability > 0.5) == one.abnormal
    third = chance.integers(0, 3, len(correct))
    groups = [(name, "", third == number) for number, name in enumerate("abc")]
    return gap_of_groups(correct, one.probability, one.patient, groups, with_ends=False).p < 0.05


def selective(chance: Chance, at: Setting) -> bool:
    """Reliability: a score is "better than the probability"; an equally good one is not."""
    one = two_models(chance, at)
    wrong = chance.random(at.patients)[one.patient] < 0.2
    figure, p = difference_of_aurc(one.first, one.second, wrong, one.patient, 500, 0)
    return p is not None and p < 0.05 and (figure.value or 0) < 0


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
    (subgroup, "accuracy by subgroup"),
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


def rates(sets: int, wanted: str = "") -> Iterator[tuple[str, Setting, float, float]]:
    """Verdict, setting, share of false alarms, its Monte-Carlo standard error."""
    for verdict, words in VERDICTS:
        for number, at in enumerate(SETTINGS):
            if wanted in words:
                chance = np.random.default_rng([7, number])
                share = float(np.mean([verdict(chance, at) for _ in range(sets)]))
                yield words, at, share, sqrt(max(share * (1 - share), 1 / sets) / sets)


if __name__ == "__main__":
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    table = pd.DataFrame(columns=["verdict", *map(str, SETTINGS)]).set_index("verdict")
    for words, at, share, error in rates(sets, sys.argv[2] if len(sys.argv) > 2 else ""):
        table.loc[words, str(at)] = f"{100 * share:.1f} ({100 * error:.1f})"
        print(f"{words}; {at}: {100 * share:.1f} % (+- {100 * error:.1f})", flush=True)
    print("\nfalse alarms, %, with the Monte-Carlo error in brackets\n")
    print("| verdict | " + " | ".join(table.columns) + " |")
    print("|---" * (len(table.columns) + 1) + "|")
    for words, row in table.iterrows():
        print(f"| {words} | " + " | ".join(row) + " |")
