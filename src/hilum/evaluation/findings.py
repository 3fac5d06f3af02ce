"""Figures of a model that states several findings per image: each finding on the images that state it.

A finding that an image does not state, or calls uncertain, is left out for this finding alone. Intervals count
patients (docs/intervals.md).

References
    Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers (1999).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.card import FindingRule
from hilum.artifacts.curves import ClassCurves
from hilum.artifacts.findings import RANKED, FindingFigures, FindingsBlock, FindingsMetrics
from hilum.data.cases import SPLITS, Cases
from hilum.data.multilabel import targets
from hilum.data.tasks import Task
from hilum.evaluation.areas import added_by_case, mean_of
from hilum.evaluation.curves import curves_of
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.metrics import auroc, average_precision
from hilum.inference.calibrate import sigmoid
from hilum.inference.finding_rules import FindingRules

FEWEST = 10
"""Images on each side of val below which a probability is not calibrated."""

KEYS = ("auroc", "average_precision", "sensitivity", "specificity", "precision", "npv", "brier")
"""What each finding has of the figures of `evaluate`."""

_ABSENT = "absent"


def findings_table(logits: np.ndarray, cases: Cases, split: pd.Series, task: Task) -> pd.DataFrame:
    """The rows of predictions.csv, in the order of `cases`: case_id, patient, split, label and, for each finding,
    target_<name> (1, 0 or NaN), logit_<name> and prob_<name>, the network's own probability.

    >>> from pathlib import Path
    >>> from hilum.data.tasks import task
    >>> rows = {"case_id": ["a", "b"], "patient": ["p", "q"], "label": ["abnormal", "normal"]}
    >>> cases = Cases(pd.DataFrame({**rows, "finding:Edema": [1.0, np.nan]}), "table", Path("cases.csv"))
    >>> split = pd.Series({"a": "train", "b": "val"})
    >>> table = findings_table(np.array([[2.0], [0.0]]), cases, split, task("findings", cases.labels, cases.findings))
    >>> table[["split", "target_Edema", "prob_Edema"]].values.tolist()
    [['train', 1.0, 0.8808], ['val', nan, 0.5]]
    """
    table = cases.table[["case_id", "patient"]].copy()
    table["split"] = split.loc[table["case_id"]].to_numpy()
    table["label"] = cases.table["label"]
    columns = {
        "target": targets(cases.table, task.classes),
        "logit": logits,
        "prob": sigmoid(logits),
    }
    made = {
        f"{what}_{name}": values[:, place]
        for what, values in columns.items()
        for place, name in enumerate(task.classes)
    }
    return table.reset_index(drop=True).join(pd.DataFrame(made))


def validation_figures(predictions: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Mean AUROC and average precision over the findings that are present and absent, for the history of a training.

    >>> table = pd.DataFrame({"target_Edema": [0, 1, np.nan], "prob_Edema": [0.2, 0.9, 0.5], "target_Mass": 0.0,
    ...     "prob_Mass": 0.5})
    >>> validation_figures(table, ["Edema", "Mass"])["auroc"]
    1.0
    """
    areas, precisions = [], []
    for name in names:
        target = predictions[f"target_{name}"].to_numpy(np.float64)
        known, score = np.isfinite(target), predictions[f"prob_{name}"].to_numpy(np.float64)
        if len(np.unique(target[known])) == 2:
            areas.append(float(auroc(score[known], target[known] == 1)))
            precisions.append(float(average_precision(score[known], target[known] == 1)))
    return {"auroc": float(np.mean(areas)), "average_precision": float(np.mean(precisions))}


# -- the rules of the card ---------------------------------------------------------------------------------------


def rules_of(table: pd.DataFrame, names: Sequence[str], rule: str) -> list[FindingRule]:
    """Calibration and threshold of each finding, from val and from val only: one half, on the network's own
    probability, where val has no image on one side.

    >>> table = pd.DataFrame({"split": "val", "target_Edema": [0.0, 0.0, 1.0], "logit_Edema": [-1.0, 0.0, 2.0],
    ...     "target_Mass": [0.0, 0.0, np.nan], "logit_Mass": 0.0})
    >>> [(rule.name, rule.rule, rule.calibrated) for rule in rules_of(table, ["Edema", "Mass"], "youden")]
    [('Edema', 'youden', False), ('Mass', 'half', False)]
    """
    val = table[table["split"] == "val"]
    return [_rule(val, name, rule) for name in names]


def _rule(val: pd.DataFrame, name: str, rule: str) -> FindingRule:
    target = val[f"target_{name}"].to_numpy(np.float64)
    known = np.isfinite(target)
    present, logits = target[known] == 1, val[f"logit_{name}"].to_numpy(np.float64)[known]
    counts = {"n_present": int(present.sum()), "n_absent": int((~present).sum())}
    if not min(counts.values()):
        return FindingRule(
            name=name, threshold=0.5, rule="half", chosen_on="nothing", calibrated=False, **counts
        )
    scaling = platt(logits, present) if min(counts.values()) >= FEWEST else None
    scale, shift = scaling or (1.0, 0.0)
    return FindingRule(
        name=name,
        threshold=float(choose_threshold(sigmoid(scale * logits + shift), present, rule)),
        rule=rule,
        chosen_on="val",
        calibrated=scaling is not None,
        scale=scale,
        shift=shift,
        **counts,
    )


def platt(logits: np.ndarray, present: np.ndarray) -> tuple[float, float] | None:
    """Scale and shift of Platt (1999): the lowest log-loss against targets that are drawn in by one image a side, so
    that logits without an error do not grow without bound. None where the best scale is not above 0, that is, where
    higher logits do not mean more findings.

    `logits`, `present`: "cases".

    >>> rng = np.random.default_rng(0)
    >>> fair = rng.normal(size=20000) * 2
    >>> scale, shift = platt(3 * fair + 1, rng.random(20000) < sigmoid(fair))
    >>> round(scale, 1), round(shift, 1)
    (0.3, -0.3)
    """
    from scipy.optimize import minimize

    n_present, n_absent = int(present.sum()), int((~present).sum())
    truth = np.where(present, (n_present + 1) / (n_present + 2), 1 / (n_absent + 2))

    def loss_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = x[0] * logits + x[1]
        loss = np.logaddexp(0, scaled) - truth * scaled
        error = (sigmoid(scaled) - truth) / len(logits)
        return float(loss.mean()), np.array([(error * logits).sum(), error.sum()])

    best = minimize(loss_and_slope, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B")
    scale, shift = best.x.tolist()
    return (scale, shift) if scale > 0 else None


# -- the figures -------------------------------------------------------------------------------------------------


def findings_metrics(
    table: pd.DataFrame,
    rules: Sequence[FindingRule],
    weights_digest: str,
    replicates: int,
    seed: int = 0,
) -> FindingsMetrics:
    """The figures of each finding on every split that has cases, and the curves of the one that is reported first.

    `table`: of `findings_table`. DataError as in `evaluate`.
    """
    names = [rule.name for rule in rules]
    decided = FindingRules.from_entries(names, rules)
    calibrated = decided.probabilities(table[[f"logit_{name}" for name in names]].to_numpy(np.float64))
    parts = {name: (table["split"] == name).to_numpy() for name in SPLITS}
    splits = {
        name: _block(table[rows], calibrated[rows], rules, replicates, seed)
        for name, rows in parts.items()
        if rows.any()
    }
    metrics = FindingsMetrics(
        weights_digest=weights_digest,
        classes=names,
        replicates=replicates,
        seed=seed,
        splits=splits,
        curves=[],
    )
    rows = parts[metrics.reported]
    curves = [
        curve
        for place, rule in enumerate(rules)
        for curve in _curves(table[rows], calibrated[rows, place], rule, metrics.reported)
    ]
    return metrics.model_copy(update={"curves": curves})


def _block(
    rows: pd.DataFrame, calibrated: np.ndarray, rules: Sequence[FindingRule], replicates: int, seed: int
) -> FindingsBlock:
    figures = [
        _figures(rows, calibrated[:, place], rule, replicates, seed) for place, rule in enumerate(rules)
    ]
    averaged = [place for place, each in enumerate(figures) if each.auroc.low is not None]
    if not replicates:
        averaged = [place for place, each in enumerate(figures) if each.auroc.value is not None]
    correlation = _correlations(rows, [rules[place].name for place in averaged])
    mean = {
        key: mean_of([getattr(figures[place], key) for place in averaged], correlation)
        if averaged and replicates
        else _plain_mean([getattr(figures[place], key) for place in averaged])
        for key in RANKED
    }
    return FindingsBlock(
        n_cases=len(rows),
        n_patients=int(rows["patient"].nunique()),
        findings=figures,
        averaged=[rules[place].name for place in averaged],
        mean=mean,
    )


def _plain_mean(figures: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in figures if figure.value is not None]
    if not values:
        return Figure(value=None, reason="no finding has an interval")
    return Figure(value=float(np.mean(values)))


def _correlations(rows: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """How the AUROCs of findings vary together, from what each patient adds to each (Obuchowski 1997); see
    `hilum.evaluation.areas.area_correlations`."""
    _, group = np.unique(rows["patient"], return_inverse=True)
    summed = np.zeros((len(names), int(group.max()) + 1))
    for place, name in enumerate(names):
        target = rows[f"target_{name}"].to_numpy(np.float64)
        known = np.isfinite(target)
        added = added_by_case(rows[f"prob_{name}"].to_numpy(np.float64)[known], target[known] == 1)
        np.add.at(summed[place], group[known], added)
    spread = np.sqrt((summed**2).sum(1))
    scale = np.outer(spread, spread)
    return np.where(scale > 0, summed @ summed.T / np.where(scale > 0, scale, 1), 1.0)


def _figures(
    rows: pd.DataFrame, probability: np.ndarray, rule: FindingRule, replicates: int, seed: int
) -> FindingFigures:
    stated, names = _two_classes(rows, probability, rule.name)
    counts = {
        "n_present": int((stated["target"] == rule.name).sum()),
        "n_absent": int((stated["target"] != rule.name).sum()),
        "n_not_stated": len(rows) - len(stated),
        "n_patients": int(stated["patient"].nunique()),
    }
    if stated.empty:
        none = Figure(value=None, reason="no image states it")
        absent: dict[str, Any] = dict.fromkeys((*KEYS, "brier_before"), none)
        return FindingFigures(name=rule.name, **counts, **absent)
    block = evaluate(stated, names, rule.threshold, replicates=replicates, seed=seed)
    before, _ = _two_classes(rows, rows[f"prob_{rule.name}"].to_numpy(np.float64), rule.name)
    plain = evaluate(before, names, replicates=replicates, seed=seed)
    figures: Mapping[str, Any] = {key: block[key] for key in KEYS}
    return FindingFigures(name=rule.name, **counts, **figures, brier_before=plain["brier"])


def _two_classes(rows: pd.DataFrame, probability: np.ndarray, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The images that state a finding, as predictions of two classes, and those classes."""
    target = rows[f"target_{name}"].to_numpy(np.float64)
    known = np.isfinite(target)
    other = _ABSENT if name != _ABSENT else f"no {name}"
    stated = rows.loc[known, ["case_id", "patient"]].reset_index(drop=True)
    stated["target"] = np.where(target[known] == 1, name, other)
    stated[f"prob_{other}"], stated[f"prob_{name}"] = 1 - probability[known], probability[known]
    return stated, [other, name]


def _curves(rows: pd.DataFrame, probability: np.ndarray, rule: FindingRule, split: str) -> list[ClassCurves]:
    """The curves of one finding; none where one side has no image."""
    stated, names = _two_classes(rows, probability, rule.name)
    if stated["target"].nunique() < 2:
        return []
    positive = stated[f"prob_{rule.name}"] >= rule.threshold
    stated["predicted"] = np.where(positive, names[1], names[0])
    return curves_of(stated, names, split, "").classes
