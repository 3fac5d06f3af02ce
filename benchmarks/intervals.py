"""How often the 95 % intervals of hilum hold the truth, beside the usual ones: percentile bootstrap, BCa, DeLong.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py                          # all tables, 2,000 repetitions
    OMP_NUM_THREADS=1 python benchmarks/intervals.py --repetitions 400 --tables auroc

Each row draws many data sets from a known truth and counts the intervals that hold it. Scores are normal in both
classes, with one variance, and a patient's images share a part of it (`alike`, their correlation). `images` are per
patient, evenly distributed from 1 to that number. Patients are abnormal by chance, with the prevalence of the row.
Per method: coverage in per cent with its Monte-Carlo standard error, and in brackets the mean width. The usual
intervals are slow and are taken in the first quarter of the repetitions.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy import stats

from hilum.evaluation import metrics as m
from hilum.evaluation.areas import precision_of, ranking_figures
from hilum.evaluation.curves import pr_band, roc_band
from hilum.evaluation.intervals import bootstrap_weights
from hilum.evaluation.operating import decision_figures, likelihood_ratios, predictive_values
from hilum.evaluation.selective import aurc, aurc_interval, aurc_of
from hilum.evaluation.shares import share_interval, wilson_interval
from hilum.evaluation.tables import JudgedTable

Ends = tuple[float, float]
Z = 1.959964
REPLICATES = 200
"""Bootstrap draws of the usual intervals."""

LEFT_OUT = 100
"""At most so many groups of patients are left out in turn for the acceleration of BCa."""

PREVALENCE = 0.05
"""At which predictive values are given."""


@dataclass(frozen=True)
class Setting:
    """One row. `truth`: the AUROC, or the share of correct images."""

    patients: int
    images: int
    truth: float
    alike: float
    prevalence: float
    shape: str = "normal"


@dataclass(frozen=True)
class Sample:
    """One data set: score, abnormal and patient, "cases"."""

    score: np.ndarray
    abnormal: np.ndarray
    patient: np.ndarray


AUROC = [
    *(Setting(551, 2, 0.998, 0.5, 0.74), Setting(300, 2, 0.993, 0.5, 0.6), Setting(192, 2, 0.997, 0.5, 0.6)),
    *(Setting(120, 1, 0.997, 0, 0.5), Setting(100, 1, 0.9998, 0, 0.5)),
    *(Setting(40, 1, 0.7, 0, 0.5), Setting(40, 1, 0.95, 0, 0.5), Setting(40, 3, 0.95, 0.5, 0.5)),
    *(Setting(40, 10, 0.95, 0.9, 0.5), Setting(40, 10, 0.8, 0, 0.5), Setting(60, 5, 0.99, 0.3, 0.7)),
    *(Setting(100, 10, 0.7, 0.9, 0.5), Setting(100, 10, 0.9, 0, 0.5), Setting(100, 10, 0.9, 0.7, 0.5)),
    *(Setting(100, 10, 0.99, 0.7, 0.5), Setting(150, 3, 0.98, 0.5, 0.3), Setting(200, 3, 0.95, 0.5, 0.1)),
    *(Setting(200, 3, 0.7, 0.5, 0.9), Setting(200, 1, 0.999, 0, 0.9), Setting(300, 10, 0.99, 0.9, 0.5)),
    *(Setting(400, 2, 0.9, 0.5, 0.05), Setting(500, 5, 0.98, 0.7, 0.2), Setting(1000, 1, 0.999, 0, 0.5)),
    *(Setting(1000, 3, 0.999, 0.5, 0.1), Setting(1000, 10, 0.8, 0.9, 0.5)),
    # not the model that the intervals assume: one class twice as spread, and exponential scores
    *(Setting(200, 2, 0.98, 0.5, 0.5, "wide"), Setting(200, 2, 0.98, 0.5, 0.5, "narrow")),
    *(Setting(200, 1, 0.98, 0, 0.5, "exponential"), Setting(200, 1, 0.98, 0, 0.5, "exponential healthy")),
]

SHARES = [
    *(Setting(40, 10, 0.95, 0.5, 1), Setting(40, 10, 0.95, 0, 1), Setting(40, 10, 0.95, 0.9, 1)),
    *(Setting(40, 2, 0.9, 0.5, 1), Setting(60, 10, 0.7, 0.5, 1), Setting(100, 1, 0.97, 0, 1)),
    *(Setting(100, 10, 0.98, 0.5, 1), Setting(150, 3, 0.98, 0.7, 1), Setting(150, 10, 0.98, 0.9, 1)),
    *(Setting(150, 10, 0.99, 0.5, 1), Setting(20, 5, 0.9, 0.5, 1), Setting(500, 3, 0.995, 0.5, 1)),
]

TABLES = [
    *(Setting(551, 2, 0.994, 0.5, 0.74), Setting(120, 1, 0.994, 0, 0.5), Setting(100, 1, 0.9998, 0, 0.5)),
    *(Setting(40, 1, 0.84, 0, 0.5), Setting(40, 10, 0.93, 0.9, 0.5), Setting(100, 10, 0.84, 0.7, 0.5)),
    *(Setting(100, 10, 0.98, 0.7, 0.5), Setting(200, 3, 0.93, 0.5, 0.1), Setting(200, 3, 0.93, 0.5, 0.9)),
    *(Setting(1000, 3, 0.994, 0.5, 0.1), Setting(400, 2, 0.98, 0.5, 0.05)),
]
"""`truth`: sensitivity and specificity."""


RISKS = [
    *(Setting(300, 1, 0.8, 0, 0.1), Setting(300, 2, 0.9, 0.5, 0.02), Setting(300, 2, 0.9, 0.5, 0.01)),
    *(Setting(100, 1, 0.85, 0, 0.03), Setting(551, 2, 0.95, 0.5, 0.015), Setting(150, 3, 0.7, 0.5, 0.2)),
    *(Setting(60, 10, 0.8, 0.7, 0.1), Setting(300, 2, 2, 0.5, 0.5, "calibrated")),
    *(Setting(300, 2, 4, 0.5, 0.5, "calibrated"), Setting(551, 2, 5, 0.5, 0.5, "calibrated")),
    *(Setting(100, 1, 3, 0, 0.5, "calibrated"), Setting(60, 10, 3, 0.7, 0.5, "calibrated")),
]
"""See `risk_sample`."""


# -- data ----------------------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, row: Setting, distance: float) -> Sample:
    """One data set; at least two patients of each class."""
    abnormal = rng.random(row.patients) < row.prevalence
    if row.prevalence < 1:
        abnormal[:2], abnormal[-2:] = True, False
    patient = np.repeat(np.arange(row.patients), rng.integers(1, row.images + 1, row.patients))
    noise = np.sqrt(row.alike) * rng.normal(size=row.patients)[patient]
    noise += np.sqrt(1 - row.alike) * rng.normal(size=len(patient))
    side = abnormal[patient]
    spread = {"wide": 2.0, "narrow": 0.5}.get(row.shape, 1.0)
    score = np.where(side, distance + spread * noise, noise)
    if row.shape.startswith("exponential"):
        tail = -np.log(stats.norm.sf(noise))
        score = np.where(side, distance * tail, tail)
        score = -np.where(side, tail, distance * tail) if row.shape.endswith("healthy") else score
    return Sample(score, side, patient)


def distance_of(row: Setting) -> float:
    """What `drawn` needs for the AUROC of the row."""
    if row.shape.startswith("exponential"):
        return row.truth / (1 - row.truth)  # P(c E > F) = c / (1 + c)
    spread = {"wide": 2.0, "narrow": 0.5}.get(row.shape, 1.0)
    return float(np.sqrt(1 + spread**2) * stats.norm.ppf(row.truth))


# -- usual intervals -----------------------------------------------------------------------------------------


def percentile(values: np.ndarray) -> Ends:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def bca(values: np.ndarray, value: float, jackknife: np.ndarray) -> Ends:
    """Bias-corrected and accelerated (Efron 1987); a point where the correction is infinite."""
    values = values[~np.isnan(values)]
    below = (np.mean(values < value) + np.mean(values <= value)) / 2
    if not 0 < below < 1:
        return value, value
    deviations = jackknife.mean() - jackknife
    scale = 6 * (deviations**2).sum() ** 1.5
    bias, speed = stats.norm.ppf(below), (deviations**3).sum() / scale if scale else 0.0
    ends = [bias + (bias + z) / (1 - speed * (bias + z)) for z in (-Z, Z)]
    low, high = np.quantile(values, stats.norm.cdf(ends))
    return float(low), float(high)


def delong(sample: Sample) -> Ends:
    """Normal, images taken as independent (DeLong 1988)."""
    positive, negative = sample.score[sample.abnormal], sample.score[~sample.abnormal]
    first = np.searchsorted(np.sort(negative), positive) / len(negative)
    second = 1 - np.searchsorted(np.sort(positive), negative) / len(positive)
    half = Z * np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return float(first.mean() - half), float(first.mean() + half)


Values = Callable[[np.ndarray], np.ndarray]
"""Weights "replicates cases" -> the figure "replicates"."""


def usual(sample: Sample, values: Values, seed: int) -> dict[str, Ends]:
    """Both bootstraps over patients."""
    weights = np.concatenate(list(bootstrap_weights(sample.patient, REPLICATES, seed)))
    groups = sample.patient % LEFT_OUT
    one_left_out = (groups != np.unique(groups)[:, None]).astype(float)
    replicates, whole = values(weights), float(values(np.ones((1, len(sample.score))))[0])
    return {
        "percentile": percentile(replicates),
        "BCa": bca(replicates, whole, np.nan_to_num(values(one_left_out), nan=whole)),
    }


# -- tables --------------------------------------------------------------------------------------------------

Line = dict[str, tuple[float, Ends]]
"""Per method the truth and an interval."""


def auroc_line(row: Setting, rng: np.random.Generator, usual_too: bool) -> Line:
    sample = drawn(rng, row, distance_of(row))
    area, precision = ranking_figures(sample.score, sample.abnormal, sample.patient)
    line: Line = {"hilum": (row.truth, (area.low or 0.0, area.high or 1.0))}
    if usual_too:
        others = {
            **usual(sample, partial(_area, sample), int(rng.integers(1 << 31))),
            "DeLong": delong(sample),
        }
        line |= {name: (row.truth, ends) for name, ends in others.items()}
    if row.shape == "normal":
        truth = precision_of(row.truth, row.prevalence)
        line["average precision"] = (truth, (precision.low or 0.0, precision.high or 1.0))
    return line


def _area(sample: Sample, weights: np.ndarray) -> np.ndarray:
    return np.asarray(m.auroc(sample.score, sample.abnormal, weights))


def share_line(row: Setting, rng: np.random.Generator, usual_too: bool) -> Line:
    sample = drawn(rng, row, 0.0)
    hits = sample.score < stats.norm.ppf(row.truth)
    intervals = {
        "hilum": share_interval(hits, sample.patient, sample.score),
        "without scores": share_interval(hits, sample.patient),
        "Wilson over images": wilson_interval(int(hits.sum()), len(hits)),
    }
    if usual_too:
        seed = int(rng.integers(1 << 31))
        intervals |= usual(sample, lambda weights: weights @ hits / weights.sum(1), seed)
    return {name: (row.truth, ends) for name, ends in intervals.items()}


TABLE_METRICS: dict[str, tuple[Callable, float]] = {
    "balanced accuracy": (m.balanced_accuracy, 0.0),
    "F1": (m.f1, 0.0),
    "MCC": (m.mcc, -1.0),
}


def table_line(row: Setting, rng: np.random.Generator, usual_too: bool) -> Line:
    cut = float(stats.norm.ppf(row.truth))
    sample = drawn(rng, row, 2 * cut)
    truth = np.array([[row.truth, 1 - row.truth], [1 - row.truth, row.truth]])
    truth *= np.array([[1 - row.prevalence], [row.prevalence]])
    predicted, target = (sample.score >= cut).astype(int), sample.abnormal.astype(int)
    table = JudgedTable.of(target, predicted, np.column_stack([-sample.score, sample.score]), sample.patient)
    line: Line = {}
    for name, (metric, worst) in TABLE_METRICS.items():
        figure = table.figure(metric, worst)
        line[name] = (float(metric(truth)), (figure.low or worst, figure.high or 1.0))
    if usual_too:
        seed = int(rng.integers(1 << 31))
        weights = np.concatenate(list(bootstrap_weights(sample.patient, REPLICATES, seed)))
        replicates = np.asarray(m.f1(m.confusion_matrix(target, predicted, 2, weights)))
        line["F1 percentile"] = (float(m.f1(truth)), percentile(replicates))
    return line | _ratio_line(row, sample, predicted.astype(bool))


def _ratio_line(row: Setting, sample: Sample, predicted: np.ndarray) -> Line:
    decisions = decision_figures(predicted, sample.abnormal, sample.patient, [PREVALENCE], sample.score)
    down = float(likelihood_ratios(row.truth, row.truth)[1])
    ppv, npv = (float(value) for value in predictive_values(row.truth, row.truth, PREVALENCE))
    [at] = decisions.at_prevalence
    figures = {"LR-": (down, decisions.lr_negative), "PPV": (ppv, at.ppv), "NPV": (npv, at.npv)}
    return {
        name: (truth, (0.0 if figure.low is None else figure.low, figure.high or 1.0))
        for name, (truth, figure) in figures.items()
    }


CURVE = {"ROC at 0.02": 0.02, "ROC at 0.2": 0.2, "precision at 0.5": 0.5, "precision at 0.9": 0.9}
"""Points of the bands: a false-positive rate, or a recall."""


def band_line(row: Setting, rng: np.random.Generator, usual_too: bool) -> Line:
    distance = distance_of(row)
    sample = drawn(rng, row, distance)
    line: Line = {}
    for name, place in CURVE.items():
        at, roc = np.array([place]), name.startswith("ROC")
        band = (roc_band if roc else pr_band)(sample.score, sample.abnormal, sample.patient, at)
        ends = float(band["low"][0]), float(band["high"][0])
        if roc:
            truth = stats.norm.cdf(distance + stats.norm.ppf(place))
        else:
            alarms = (1 - row.prevalence) * stats.norm.sf(distance - stats.norm.ppf(place))
            truth = row.prevalence * place / (row.prevalence * place + alarms)
        line[name] = float(truth), ends
    return line


def risk_line(row: Setting, rng: np.random.Generator, usual_too: bool) -> Line:
    truth, sample = risk_truth(row), risk_sample(row, rng, row.patients)
    line: Line = {"hilum": (truth, aurc_interval(sample.score, sample.abnormal, sample.patient))}
    if usual_too:
        values = lambda weights: np.asarray(aurc(sample.score, sample.abnormal, weights))  # noqa: E731
        others = usual(sample, values, int(rng.integers(1 << 31)))
        line |= {name: (truth, ends) for name, ends in others.items()}
    return line


def risk_sample(row: Setting, rng: np.random.Generator, patients: int) -> Sample:
    """Confidence, whether the prediction is wrong, and patient. "normal": `truth` is the AUROC of confidence for being
    correct, `prevalence` the share of errors. "calibrated": two classes `truth` standard deviations apart."""
    patient = np.repeat(np.arange(patients), rng.integers(1, row.images + 1, patients))

    def noise() -> np.ndarray:
        own = rng.normal(size=len(patient))
        return np.sqrt(row.alike) * rng.normal(size=patients)[patient] + np.sqrt(1 - row.alike) * own

    if row.shape == "normal":
        wrong = stats.norm.cdf(noise()) < row.prevalence
        return Sample(noise() + np.sqrt(2) * stats.norm.ppf(row.truth) * ~wrong, wrong, patient)
    side = (rng.random(patients) < 0.5)[patient]
    score = row.truth * (side - 0.5) + noise()
    return Sample(np.abs(score), (score > 0) != side, patient)


@lru_cache(maxsize=1)
def risk_truth(row: Setting) -> float:
    if row.shape == "normal":
        return aurc_of(row.truth, row.prevalence)
    many = risk_sample(row, np.random.default_rng(99), 300_000)
    return float(aurc(many.score, many.abnormal))


def lines(
    rows: list[Setting],
    one: Callable[[Setting, np.random.Generator, bool], Line],
    repetitions: int,
    seed: int,
) -> Iterator[str]:
    """The table as Markdown, a line as soon as it is known."""
    for number, row in enumerate(rows):
        rng = np.random.default_rng([seed, number])
        held: dict[str, list[bool]] = {}
        widths: dict[str, list[float]] = {}
        for repetition in range(repetitions):
            usual_too = 4 * repetition < repetitions
            for name, (truth, (low, high)) in one(row, rng, usual_too).items():
                held.setdefault(name, []).append(low - 1e-12 <= truth <= high + 1e-12)
                widths.setdefault(name, []).append(high - low)
        if number == 0:
            names = list(held)
            yield f"| patients | images | truth | alike | abnormal | scores | {' | '.join(names)} |"
            yield "|---" * (6 + len(names)) + "|"
        images = "1" if row.images == 1 else f"1 to {row.images}"
        cells = [cell(held[name], widths[name]) if name in held else "" for name in names]
        facts = [f"{row.patients:,}", images, f"{row.truth:g}", f"{row.alike:g}", f"{row.prevalence:g}"]
        yield f"| {' | '.join([*facts, row.shape, *cells])} |"


def cell(held: list[bool], widths: list[float]) -> str:
    """Coverage in per cent, its Monte-Carlo standard error, and the mean width.

    >>> cell([True] * 95 + [False] * 5, [0.5] * 100)
    '95.0 ± 2.2 (0.5)'
    """
    share, sets = float(np.mean(held)), len(held)
    error = np.sqrt(max(share * (1 - share), 1 / sets) / sets)
    return f"{100 * share:.1f} ± {100 * error:.1f} ({np.mean(widths):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", nargs="*", default=["auroc", "shares", "tables", "bands", "risks"])
    options = parser.parse_args()
    tables = {"auroc": (AUROC, auroc_line), "shares": (SHARES, share_line), "tables": (TABLES, table_line)}
    tables |= {"bands": (AUROC[:25:3], band_line), "risks": (RISKS, risk_line)}
    for name in options.tables:
        print(
            f"\n{name}, {options.repetitions} repetitions, seed {options.seed}: coverage in % (mean width)\n"
        )
        for line in lines(*tables[name], options.repetitions, options.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
