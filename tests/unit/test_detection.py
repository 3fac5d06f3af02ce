"""Figures of a score: against hand values, scikit-learn, and the promise about thresholds."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from hilum.errors import DataError
from hilum.evaluation.detection import best_over_thresholds, detection_figures, ranking_entry
from hilum.evaluation.shares import wilson_interval


def images(seed: int = 0, n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = rng.choice(["normal", "bacteria", "virus"], n)
    score = rng.standard_normal(n) + 0.8 * (label == "bacteria") + 1.6 * (label == "virus")
    return pd.DataFrame({"patient": [f"p{k // 2}" for k in range(n)], "label": label, "score": score})


def test_areas_are_those_of_scikit_learn() -> None:
    table = images()
    found = detection_figures(table, 1.0)
    assert found is not None
    abnormal = table["label"] != "normal"
    assert found["auroc"]["value"] == pytest.approx(sklearn_metrics.roc_auc_score(abnormal, table["score"]))
    ap = sklearn_metrics.average_precision_score(abnormal, table["score"])
    assert found["average_precision"]["value"] == pytest.approx(ap)
    for cause in ("bacteria", "virus"):
        some = table[table["label"].isin(["normal", cause])]
        area = sklearn_metrics.roc_auc_score(some["label"] == cause, some["score"])
        assert found["causes"][cause]["auroc"]["value"] == pytest.approx(area)


def test_shares_at_the_threshold_are_counted() -> None:
    table = pd.DataFrame(
        {
            "patient": list("abcdef"),
            "label": ["normal", "normal", "normal", "virus", "virus", "bacteria"],
            "score": [0.0, 1.0, 2.0, 1.0, 3.0, 5.0],
        }
    )
    found = detection_figures(table, 1.0)
    assert found is not None
    assert (found["false_alarms"]["k"], found["false_alarms"]["n"]) == (1, 3)  # 1.0 is not above 1.0
    assert (found["sensitivity"]["k"], found["sensitivity"]["n"]) == (2, 3)
    assert found["causes"]["virus"]["sensitivity"]["k"] == 1
    bacteria = found["causes"]["bacteria"]["sensitivity"]
    assert (bacteria["low"], bacteria["high"]) == wilson_interval(1, 1)


def test_the_interval_holds_the_value_and_narrows_with_more_patients() -> None:
    few, many = (detection_figures(images(1, n), 1.0)["auroc"] for n in (60, 600))  # type: ignore[index]
    assert few["low"] < few["value"] < few["high"]
    assert many["high"] - many["low"] < 0.6 * (few["high"] - few["low"])


def test_one_kind_alone_has_no_figures() -> None:
    table = images()
    assert detection_figures(table[table["label"] == "normal"], 1.0) is None
    assert detection_figures(table[table["label"] != "normal"], 1.0) is None


def test_a_score_that_is_no_number_is_named() -> None:
    with pytest.raises(DataError, match="score nan is no number"):
        detection_figures(images().assign(score=np.nan), 1.0)


def test_best_over_thresholds_tries_every_threshold() -> None:
    rng = np.random.default_rng(3)
    score, abnormal = rng.integers(0, 12, 40).astype(float), rng.random(40) < 0.3
    found = best_over_thresholds(score, abnormal)
    lines = [*np.unique(score), np.inf]
    accuracy = max(int(((score >= line) == abnormal).sum()) for line in lines)
    f1 = max(sklearn_metrics.f1_score(abnormal, score >= line, zero_division=0.0) for line in lines)
    assert found["best_accuracy"]["k"] == accuracy
    assert found["best_f1"]["value"] == pytest.approx(f1)


def test_ranking_entry_draws_patients() -> None:
    """Two patients with many images each are two witnesses, however many images there are."""
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(0, 1, 50), rng.normal(1, 1, 50)])
    abnormal = np.arange(100) >= 50
    alone = ranking_entry(score, abnormal, np.arange(100))
    grouped = ranking_entry(score, abnormal, np.arange(100) // 25)
    assert alone["value"] == grouped["value"]
    assert set(grouped) == {"value", "low", "high"}
