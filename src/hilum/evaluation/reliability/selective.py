"""Risk and coverage for several confidence scores: which one should decide when a person takes over."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import SelectiveFigures
from hilum.errors import ModelError, RunError
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.paired import holm
from hilum.evaluation.reliability.design import Design
from hilum.evaluation.selective import aurc, confidence_scores, risk_at_grid, selective_figures
from hilum.inference.calibrate import softmax
from hilum.run import Run

Scores = dict[str, np.ndarray]
"""Confidence in the predicted class by name, each "cases"; NaN where there is none for an image."""

Members = Callable[[list[str], str], np.ndarray]
"""(case ids, "mc_dropout" or "views") -> probabilities "members images classes"."""


def selective(design: Design, extra: Scores) -> dict[str, SelectiveFigures]:
    """The figures of each confidence score, `extra` ones after those of the probabilities. All but the first are
    compared with the probability on the same images; a score of no image is left out."""
    judged, config = design.judged, design.config
    plain = confidence_scores(softmax(judged.logits))
    names = ["probability"] if len(judged.classes) == 2 else ["probability", "margin", "entropy"]
    scores = {**{name: plain[name] for name in names}, **extra}
    wrong = judged.logits.argmax(1) != judged.target
    figures, p_values = {}, dict[str, float | None]()
    for name, score in scores.items():
        known = np.isfinite(score)
        if not known.any():
            continue
        first, patients = plain["probability"][known], judged.patients[known]
        figures[name] = selective_figures(score[known], wrong[known], patients)
        if name != "probability":
            figures[name].probability_risk = risk_at_grid(first, wrong[known], figures[name].curve.coverage)
            figures[name].aurc_difference, p_values[name] = difference_of_aurc(
                score[known], first, wrong[known], patients, design.replicates, config.seed
            )
    corrected = holm([np.nan if p is None else p for p in p_values.values()])
    for name, p in zip(p_values, corrected.tolist(), strict=True):
        figures[name].p_holm = None if np.isnan(p) else p
    return figures


def difference_of_aurc(
    score: np.ndarray, other: np.ndarray, wrong: np.ndarray, patients: np.ndarray, replicates: int, seed: int
) -> tuple[Figure, float | None]:
    """AURC of one score less that of another on the same images and draws, below 0 the first is better; and the
    two-sided p-value, by the standard deviation over the draws of patients; None without spread.

    >>> rng = np.random.default_rng(0)
    >>> wrong, people = rng.random(300) < 0.3, np.arange(300)
    >>> good, idle = -2.0 * wrong + rng.normal(size=300), rng.normal(size=300)
    >>> figure, p = difference_of_aurc(good, idle, wrong, people, 200, 0)
    >>> figure.value < 0, p < 0.01
    (True, True)
    """

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"less": np.asarray(aurc(score, wrong, weights)) - np.asarray(aurc(other, wrong, weights))}

    drawn, _ = bootstrap(measure, patients, np.zeros(len(wrong)), replicates, seed)
    value = float(measure(np.ones((1, len(wrong))))["less"][0])
    sd = float(drawn["less"].std()) if replicates else 0.0
    p = 2 * NormalDist().cdf(-abs(value) / sd) if sd > 1e-12 else None
    return with_interval(value, drawn["less"]), p


# -- further scores ----------------------------------------------------------------------------------------


def ensemble_score(design: Design, task: str) -> Scores:
    """The mean probability, over this and other runs' models, of the most probable class. RunError for a run
    whose model was trained on a judged case, lacks it, or has other classes."""
    if not design.config.ensemble:
        return {}
    judged = design.judged
    members = [softmax(judged.logits)]
    for path in design.config.ensemble:
        rows = Run(path).task(task).predictions().set_index("case_id").reindex(judged.rows["case_id"])
        columns = [f"logit_{name}" for name in judged.classes]
        bad = (rows["split"].isna() | (rows["split"] == "train")).to_numpy()
        if not set(columns) <= set(rows.columns) or bad.any():
            case = judged.rows["case_id"][int(bad.argmax())]
            what = f"trained on case {case!r} or lacks it" if bad.any() else "has other classes"
            raise RunError(
                f"{path} can't join the ensemble of {task}: it {what}", "name runs of the same split"
            )
        members.append(softmax(rows[columns].to_numpy(np.float64)))
    predicted = members[0].argmax(1)
    return {"ensemble": np.mean(members, axis=0)[np.arange(len(predicted)), predicted]}


def repeated_scores(design: Design, members: Members) -> Scores:
    """The mean probability, over passes with dropout and over views, of the most probable class; of as many
    random images as the config says. A model without dropout has no such score."""
    config, predicted = design.config, design.judged.logits.argmax(1)
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(len(predicted))[: config.images])
    ids = design.judged.rows["case_id"].iloc[rows].tolist()
    scores = {}
    for name, wanted in (("mc_dropout", config.mc_passes), ("views", config.views)):
        if not wanted:
            continue
        try:
            probabilities = members(ids, name).mean(0)
        except ModelError:
            continue  # a model without dropout
        scores[name] = np.full(len(predicted), np.nan)
        scores[name][rows] = probabilities[np.arange(len(rows)), predicted[rows]]
    return scores


def anomaly_score(design: Design, scores: pd.DataFrame) -> Scores:
    """Minus the anomaly score, of images that the detector was not fitted on. `scores`: anomaly/scores.csv."""
    by_case = scores.set_index("case_id")
    detectors = [str(name) for name in by_case.columns if f"{name}_p" in by_case.columns]
    if not detectors:
        return {}
    detector = "ensemble" if "ensemble" in detectors else detectors[0]
    known = by_case[detector].where(by_case["role"] != "fit")
    return {"anomaly": -known.reindex(design.judged.rows["case_id"]).to_numpy(np.float64)}
