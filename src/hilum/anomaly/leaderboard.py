"""The leaderboard: every detector's figures, made from what it said of each image. No network is asked here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.anomaly.conformal import p_values, threshold
from hilum.anomaly.ensemble import mean_rank
from hilum.anomaly.odd import KINDS
from hilum.anomaly.result import Result
from hilum.data.cases import HEALTHY
from hilum.evaluation.detection import detection_figures, ranking_entry, share_entry
from hilum.evaluation.matching import Pairs

PARTS = ("measure", "test")
"""The images that figures are measured on."""

STRANGEST = 12
"""Images of the training set that are listed."""

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Leaderboard:
    """What the rows share. `table`: case_id, patient, split, label, role, one row per image; `pairs`: per part
    the matched images, or a sentence why there are none; `rate`: the false-alarm rate asked for."""

    table: pd.DataFrame
    pairs: Mapping[str, Pairs | str]
    rate: float
    replicates: int
    seed: int

    @property
    def calibrate(self) -> np.ndarray:
        """The images that fix thresholds, bool "images"."""
        return (self.table["role"] == "calibrate").to_numpy()


def with_ensemble(
    leaderboard: Leaderboard, results: Mapping[str, Result], members: Sequence[str]
) -> dict[str, Result]:
    """The results and, where it has two members or more, that of their mean p-value: all images, OOD images."""
    if len(members) < 2:
        return dict(results)
    calibrate = leaderboard.calibrate
    joining = {row: results[row] for row in members}
    scores = {row: one.score for row, one in joining.items()}
    odd = {}
    for kind in next(iter(joining.values())).odd:
        both = {row: np.concatenate([one.score, one.odd[kind]]) for row, one in joining.items()}
        fixed = np.concatenate([calibrate, np.zeros(len(next(iter(both.values()))) - len(calibrate), bool)])
        odd[kind] = mean_rank(both, fixed)[len(calibrate) :]
    first = next(iter(results.values()))
    joined = Result("", first.case_id, mean_rank(scores, calibrate), first.examples, odd)
    return {**results, ENSEMBLE: joined}


def row_figures(leaderboard: Leaderboard, result: Result) -> dict[str, Any]:
    """One detector: threshold, figures per part, matched figures, OOD images, its own training set, truth."""
    score, roles = result.score, leaderboard.table["role"].to_numpy()
    fixed = score[leaderboard.calibrate]
    line = threshold(fixed, leaderboard.rate)
    figures: dict[str, Any] = {
        "threshold": {"value": line, "false_alarm_rate": leaderboard.rate, "n": len(fixed)},
        "seconds": result.seconds,
        "truth": result.truth,
        "odd": odd_figures(result.odd, line),
        "own": own_figures(result, fixed, line),
    }
    for part in PARTS:
        rows = np.flatnonzero(roles == part)
        images = leaderboard.table.iloc[rows][["patient", "label"]].assign(score=score[rows])
        block = detection_figures(images, line, leaderboard.replicates, leaderboard.seed)
        if block is not None:
            figures[part] = {
                **block,
                "matched": _matched(leaderboard, leaderboard.pairs.get(part, ""), score),
            }
    return figures


def _matched(leaderboard: Leaderboard, pairs: Pairs | str, score: np.ndarray) -> dict[str, Any] | None:
    """AUROC among the images that the shortcuts can't tell apart; None where there are none."""
    if isinstance(pairs, str):
        return None
    rows = pairs.rows
    abnormal = (leaderboard.table["label"].to_numpy() != HEALTHY)[rows]
    patients = leaderboard.table["patient"].to_numpy(str)[rows]
    return {
        **ranking_entry(score[rows], abnormal, patients, leaderboard.replicates, leaderboard.seed),
        "pairs": len(pairs.abnormal),
    }


def odd_figures(odd: Mapping[str, np.ndarray], line: float) -> list[dict[str, Any]]:
    """Per kind of odd image the share that is flagged: [{"kind", "title", "value", "low", "high", "k", "n"}];
    first the same images as they are."""
    titles = {
        "as_they_are": "the same images as they are",
        **{kind: title for kind, (title, _) in KINDS.items()},
    }
    return [
        {"kind": kind, "title": titles[kind], **share_entry(values > line)} for kind, values in odd.items()
    ]


def own_figures(result: Result, fixed: np.ndarray, line: float) -> dict[str, Any] | None:
    """The strangest images of those to fit on, by copies of the detector that have not seen their patients;
    None if none were asked. Scores are in robust standard deviations from the median, so that they can be
    compared with those of the images that fix the threshold (`fixed`) although other copies gave them.

    `flagged`: how many lie above the threshold `line`. The copies learnt from fewer images, so a few more than
    the false-alarm rate are to be expected.
    """
    if not len(result.own):
        return None
    order = np.lexsort((result.own_id, -result.own))[:STRANGEST]
    p = p_values(result.own, robust(fixed, fixed))
    flagged = result.own > robust(np.array([line]), fixed)[0]
    return {
        "images": [
            {"case_id": str(result.own_id[at]), "deviations": float(result.own[at]), "p": float(p[at])}
            for at in order
        ],
        "flagged": share_entry(flagged),
    }


def robust(values: np.ndarray, healthy: np.ndarray) -> np.ndarray:
    """Values in robust standard deviations (1.4826 x the median absolute deviation) from the median of the
    healthy ones.

    >>> robust(np.array([5.0]), np.array([1.0, 2.0, 3.0])).round(2).tolist()
    [2.02]
    """
    middle = np.median(healthy)
    spread = 1.4826 * np.median(np.abs(healthy - middle))
    return (values - middle) / max(float(spread), 1e-12)


def scores_table(leaderboard: Leaderboard, results: Mapping[str, Result]) -> pd.DataFrame:
    """scores.csv: the images, and per row of the leaderboard its score and conformal p-value."""
    columns: dict[str, np.ndarray] = {}
    for row, one in results.items():
        columns[row] = one.score
        columns[f"{row}_p"] = p_values(one.score, one.score[leaderboard.calibrate])
    return leaderboard.table.assign(**columns)


def best_row(rows: Mapping[str, dict[str, Any]]) -> str:
    """The row with the highest AUROC on the matched images that measure (else on all that measure, else on
    the test images): the one that leans least on shortcuts. Rows whose networks were pre-trained elsewhere are
    left out unless there are no others; so is a name that only stands for several rows."""

    def worth(row: str) -> tuple[float, ...]:
        part = rows[row].get("measure") or {}
        matched = (part.get("matched") or {}).get("value")
        plain = (part.get("auroc") or {}).get("value")
        return (-1.0 if matched is None else matched, -1.0 if plain is None else plain)

    own = [row for row in rows if not rows[row].get("pretrained")] or list(rows)
    return max(own, key=worth)
