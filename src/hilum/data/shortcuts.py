"""Shortcuts: how well simple numbers about file and picture separate the classes, without the lungs.

Each number of the facts table is tried alone as a score, and all together in a small classifier. Their AUROC
is what a model has to exceed before it can be said to detect pneumonia (DeGrave, Janizek & Lee, Nature
Machine Intelligence 3, 2021: "AI for radiographic COVID-19 detection selects shortcuts").
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from hilum.artifacts.audit import JointShortcut, Shortcut
from hilum.artifacts.base import Figure
from hilum.data.cases import HEALTHY
from hilum.data.finding_options import NOT_STATED
from hilum.data.tasks import possible_tasks, task

FOLDS = 5

NAMES = {
    "width": ("width", "pixels"),
    "height": ("height", "pixels"),
    "aspect": ("aspect ratio (width / height)", ""),
    "channels": ("colour channels", ""),
    "bits": ("bits per channel", "bits"),
    "bytes": ("file size", "bytes"),
    "mean": ("mean brightness", "grey levels"),
    "contrast": ("contrast (standard deviation)", "grey levels"),
    "sharpness": ("sharpness (mean absolute Laplacian)", "grey levels"),
    "gradient_ratio": ("horizontal / vertical gradient", ""),
    "marker_top": ("marker in an upper corner", "grey levels"),
    "marker_bottom": ("marker in a lower corner", "grey levels"),
}
"""Each number of the facts table: its name in words and its unit."""


@dataclass(frozen=True)
class Question:
    """Two groups of cases to separate: `task` names it, `positive` and `negative` the groups, `kept` which
    cases take part (bool "cases"), `target` which of those are positive (bool "kept")."""

    task: str
    positive: str
    negative: str
    kept: np.ndarray
    target: np.ndarray


def questions(labels: pd.Series) -> tuple[list[Question], list[str]]:
    """Abnormal against normal, and the two commonest kinds of abnormal against each other; and a sentence for
    each that the labels do not allow.

    >>> possible, impossible = questions(pd.Series(["normal", "virus", "bacteria", "bacteria"]))
    >>> [(q.task, q.negative, q.positive, q.target.tolist()) for q in possible]
    [('binary', 'normal', 'pneumonia', [False, True, True, True]),
     ('multiclass', 'bacteria', 'virus', [True, False, False])]
    """
    possible, impossible = [], []
    stated = labels != NOT_STATED
    if "binary" in possible_tasks(labels[stated].tolist()):
        normal, abnormal = task("binary", labels[stated].tolist()).classes
        target = (labels[stated] != HEALTHY).to_numpy()
        possible.append(Question("binary", abnormal, normal, stated.to_numpy(), target))
    else:
        impossible.append("abnormal against normal: it needs normal and abnormal images")
    kinds = Counter(labels[stated & (labels != HEALTHY)]).most_common(2)
    if len(kinds) == 2:
        negative, positive = sorted(kind for kind, _ in kinds)
        kept = labels.isin([negative, positive]).to_numpy()
        target = (labels[kept] == positive).to_numpy()
        possible.append(Question("multiclass", positive, negative, kept, target))
    else:
        impossible.append("one kind of abnormal against another: it needs two kinds")
    return possible, impossible


def single(question: Question, facts: pd.DataFrame, patients: pd.Series) -> list[Shortcut]:
    """The AUROC of each number that varies, best first. An AUROC under one half is turned around, and
    `higher_in` names the group with the higher numbers.

    >>> facts = pd.DataFrame({"mean": [10.0, 20.0, 30.0, 40.0], "width": [8.0, 8.0, 8.0, 8.0]})
    >>> labels = pd.Series(["virus", "virus", "normal", "normal"])
    >>> [(s.name, s.auroc.value, s.higher_in) for s in single(questions(labels)[0][0], facts, labels)]
    [('mean', 1.0, 'normal')]
    """
    kept, who = facts[question.kept], patients.to_numpy()[question.kept]
    shortcuts = [
        _shortcut(question, name, *auroc_interval(kept[name].to_numpy(float), question.target, who))
        for name in _varying(kept)
    ]
    return sorted(shortcuts, key=lambda shortcut: -(shortcut.auroc.value or 0))


def _shortcut(question: Question, name: str, area: float, low: float | None, high: float | None) -> Shortcut:
    upward = area >= 0.5
    if not upward:
        area, low, high = 1 - area, None if high is None else 1 - high, None if low is None else 1 - low
    label, unit = NAMES[name]
    return Shortcut(
        name=name,
        label=label,
        unit=unit,
        task=question.task,
        auroc=_area_figure(area, low, high),
        higher_in=question.positive if upward else question.negative,
    )


def _area_figure(area: float, low: float | None, high: float | None) -> Figure:
    reason = "1 patient in a group: too few for an interval" if low is None else None
    return Figure(value=area, low=low, high=high, reason=reason)


def joint(question: Question, facts: pd.DataFrame, patients: pd.Series) -> JointShortcut | str:
    """The AUROC of all numbers together (`joint_chances`), or a sentence why there is none.

    >>> labels, facts = pd.Series(["normal"] * 9 + ["virus"] * 9), pd.DataFrame({"mean": np.arange(18.0)})
    >>> joint(questions(labels)[0][0], facts, pd.Series(range(18))).auroc.value
    1.0
    >>> joint(questions(labels)[0][0], facts * 0, pd.Series(range(18)))
    'pneumonia against normal: no number varies between the images'
    """
    chances = joint_chances(question, facts, patients)
    if isinstance(chances, str):
        return chances
    who = patients.to_numpy()[question.kept]
    area, low, high = auroc_interval(chances.chances, question.target, who)
    return JointShortcut(
        auroc=_area_figure(area, low, high),
        positive=question.positive,
        negative=question.negative,
        features=list(chances.features),
        n=len(who),
        n_patients=len(set(who)),
        folds=chances.folds,
    )


class Chances(NamedTuple):
    """`chances`: the probability of the positive group for each kept case, in 0..1; `features`: the numbers
    that were used; `folds`: in how many parts the patients were divided."""

    chances: np.ndarray
    features: tuple[str, ...]
    folds: int


def joint_chances(question: Question, facts: pd.DataFrame, patients: pd.Series) -> Chances | str:
    """The probability of the positive group for each image from all numbers, or a sentence why there is none.

    Each number becomes a normal score by its rank; a logistic regression on these, their squares and
    products gives probabilities for patients that it was not fitted on (5 folds, or as many as the rarer
    group has patients).

    >>> labels, facts = pd.Series(["normal"] * 9 + ["virus"] * 9), pd.DataFrame({"mean": np.arange(18.0)})
    >>> chances = joint_chances(questions(labels)[0][0], facts, pd.Series(range(18)))
    >>> chances.chances[[0, -1]].round(1).tolist(), chances.features, chances.folds
    ([0.0, 1.0], ('mean',), 5)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

    chosen, who = facts[question.kept], patients.to_numpy()[question.kept]
    names = _varying(chosen)
    folds = min(FOLDS, *(len(set(who[question.target == side])) for side in (True, False)))
    against = f"{question.positive} against {question.negative}"
    if not names:
        return f"{against}: no number varies between the images"
    if folds < 2:
        return f"{against}: a classifier needs two patients or more on each side"
    values = chosen[names].to_numpy(float)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    halves = list(splitter.split(values, question.target, who))
    if any(len(set(question.target[train])) < 2 for train, _ in halves):
        return f"{against}: too few patients to hold some out"
    classifier = make_pipeline(
        QuantileTransformer(
            n_quantiles=min(200, *(len(train) for train, _ in halves)), output_distribution="normal"
        ),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(max_iter=2000),
    )
    chances = cross_val_predict(classifier, values, question.target, cv=halves, method="predict_proba")
    return Chances(np.asarray(chances)[:, 1], tuple(names), folds)


def auroc_interval(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray
) -> tuple[float, float | None, float | None]:
    """AUROC with its 95 % interval; `scores`, `positive`, `patients`: "cases". Ties count one half.

    The variance is DeLong's with the structural components summed within patients (Obuchowski, Biometrics
    53, 1997), so several images of one child do not count as several children; the interval is taken on the
    logit scale. Perfect separation gets the Clopper-Pearson bound for as many patients as the rarer group
    has. No interval (None) where a group has fewer than two patients.

    >>> auroc_interval(np.array([.1, .4, .35, .8]), np.array([0, 0, 1, 1], bool), np.array(list("abcd")))[0]
    0.75
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    place = np.empty(len(scores))  # the share of the other group that the case beats
    place[positive] = (ranks[positive] - rankdata(scores[positive])) / n_negative
    place[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n_positive
    area = float(place[positive].mean())

    _, who = np.unique(patients, return_inverse=True)
    per_patient, clusters = [], []
    for group, size in ((positive, n_positive), (~positive, n_negative)):
        per_patient.append(np.bincount(who, (place - area) * group) / size)
        clusters.append(len(set(who[group])))
    if min(clusters) < 2:
        return area, None, None
    variance = sum(k / (k - 1) * float(part @ part) for k, part in zip(clusters, per_patient, strict=True))
    n = who.max() + 1
    variance += 2 * n / (n - 1) * float(per_patient[0] @ per_patient[1])
    if area in (0.0, 1.0):
        bound = 0.025 ** (1 / min(clusters))
        return (area, bound, 1.0) if area else (area, 0.0, 1 - bound)
    half = 1.959964 * np.sqrt(max(variance, 0.0)) / (area * (1 - area))
    centre = np.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-half, half]))))
    return area, float(low), float(high)


def _varying(facts: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in facts.columns and len(set(facts[name])) > 1]
