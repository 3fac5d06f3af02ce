"""The leaderboard: the figures of every detector, made from its scores alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.anomaly.conformal import threshold
from hilum.anomaly.detector import Detector
from hilum.anomaly.ensemble import mean_rank
from hilum.anomaly.ood_images import KINDS, UNALTERED, UNALTERED_TITLE
from hilum.anomaly.result import Result
from hilum.artifacts.anomaly import (
    DetectorFigures,
    Matched,
    Measured,
    OodShare,
    SuspectImage,
    Threshold,
    TrainingImages,
)
from hilum.data.cases import HEALTHY
from hilum.evaluation.detection import detection_figures, ranking_entry
from hilum.evaluation.matching import Pairs
from hilum.evaluation.shares import share_figure
from hilum.inference.p_values import p_values
from hilum.models import parameters

PARTS = ("measure", "test")
"""The images that figures are measured on."""

SUSPECTS = 12
"""Training images that are listed."""

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Leaderboard:
    """What the rows share. `table`: case_id, patient, split, label, role, one row per image; `pairs`: per part
    the matched images, or a sentence why there are none; `rate`: the false-alarm rate of the threshold;
    `other_look`: the images that were scored in the look of the other label's devices, None without any."""

    table: pd.DataFrame
    pairs: Mapping[str, Pairs | str]
    rate: float
    replicates: int
    other_look: pd.DataFrame | None = None

    @property
    def calibrate(self) -> np.ndarray:
        """The images that fix thresholds, bool "images".

        >>> Leaderboard(pd.DataFrame({"role": ["calibrate", "test"]}), {}, 0.05, 200).calibrate.tolist()
        [True, False]
        """
        return (self.table["role"] == "calibrate").to_numpy()


def detector_of(row: str) -> str:
    """The detector of a row of the leaderboard.

    >>> detector_of("patch_memory@random"), detector_of("autoencoder")
    ('patch_memory', 'autoencoder')
    """
    return row.partition("@")[0]


def with_ensemble(
    leaderboard: Leaderboard, results: Mapping[str, Result], members: Sequence[str]
) -> dict[str, Result]:
    """The results and, with two members or more, those of their ensemble, for all images and the OOD images.

    >>> from hilum.anomaly.result import Examples
    >>> leaderboard = Leaderboard(pd.DataFrame({"role": ["calibrate", "calibrate", "test"]}), {}, 0.05, 200)
    >>> none = np.array([])
    >>> result = Result("", np.array(["a", "b", "c"]), np.array([1.0, 2.0, 9.0]), Examples(none, none, none, none))
    >>> joined = with_ensemble(leaderboard, {"one": result, "two": result}, ["one", "two"])
    >>> joined["ensemble"].score.round(2).tolist()
    [0.0, 0.5, 0.67]
    """
    if len(members) < 2:
        return dict(results)
    calibrate = leaderboard.calibrate
    joined = {row: results[row] for row in members}
    first = results[members[0]]
    score = mean_rank({row: result.score for row, result in joined.items()}, calibrate)
    ood = {}
    for kind in first.ood:
        ood[kind] = _joined(joined, {row: result.ood[kind] for row, result in joined.items()}, calibrate)
    look = _joined(joined, {row: result.other_look for row, result in joined.items()}, calibrate)
    fixing = _joined(joined, {row: result.calibrate_look for row, result in joined.items()}, calibrate)
    together = Result("", first.case_id, score, first.examples, ood, other_look=look, calibrate_look=fixing)
    return {**results, ENSEMBLE: together}


def _joined(
    results: Mapping[str, Result], further: Mapping[str, np.ndarray], calibrate: np.ndarray
) -> np.ndarray:
    """The ensemble's scores of further images, float64; `further`: row -> the scores of its detector."""
    both = {row: np.concatenate([result.score, further[row]]) for row, result in results.items()}
    n = len(next(iter(further.values())))
    return mean_rank(both, np.concatenate([calibrate, np.zeros(n, bool)]))[len(calibrate) :]


# -- one row -------------------------------------------------------------------------------------------------


def detector_row(
    leaderboard: Leaderboard, row: str, options: dict[str, Any], detector: Detector, result: Result
) -> DetectorFigures:
    """The row of a fitted detector: threshold, figures per part, shares of OOD images. `row`: its name on the
    leaderboard; `options`: of its build(). The detector was saved or loaded, so that its card names the weights."""
    assert detector.card is not None
    return DetectorFigures(
        detector=detector_of(row),
        options=options,
        description=detector.description,
        pretrained=detector.pretrained,
        parameters=parameters(detector),
        weights_digest=detector.card.weights_digest,
        **_scores(leaderboard, result),
    )


def ensemble_row(
    leaderboard: Leaderboard, members: Mapping[str, Detector], result: Result
) -> DetectorFigures:
    """The row of the ensemble of `members`, with the figures of `result` (see `with_ensemble`)."""
    return DetectorFigures(
        detector=ENSEMBLE,
        members=list(members),
        pretrained=any(detector.pretrained for detector in members.values()),
        description="mean of the conformal p-values of its members",
        **_scores(leaderboard, result),
    )


def _scores(leaderboard: Leaderboard, result: Result) -> dict[str, Any]:
    """The fields that come from the scores."""
    line = calibrated_threshold(leaderboard, result)
    parts = {part: measured(leaderboard, part, result.score, line.value) for part in PARTS}
    return {
        "threshold": line,
        "parts": {part: block for part, block in parts.items() if block is not None},
        **_in_other_look(leaderboard, result, line.value),
        "ood": ood_shares(result.ood, line.value, ood_patients(leaderboard.table)),
        "training_images": training_images(
            result,
            fixed_scores(leaderboard, result),
            line.value,
            leaderboard.table.set_index("case_id")["patient"],
            result.score[leaderboard.calibrate],
        ),
        "localization": result.localization,
        "seconds": result.seconds,
    }


def _in_other_look(leaderboard: Leaderboard, result: Result, line: float) -> dict[str, Measured | None]:
    """Figures of the same held-out images in the look of the other label's devices, and as they are."""
    images = leaderboard.other_look
    if images is None or not len(result.other_look):
        return {}
    plain = pd.Series(result.score, index=result.case_id).loc[images["case_id"]].to_numpy()
    columns = images[["patient", "label"]]
    figures = {"other_look": result.other_look, "same_images": plain}
    return {
        name: Measured.model_validate(block)
        for name, score in figures.items()
        if (block := detection_figures(columns.assign(score=score), line)) is not None
    }


def calibrated_threshold(leaderboard: Leaderboard, result: Result) -> Threshold:
    """The conformal threshold from the healthy images that calibrate.

    >>> from hilum.anomaly.result import Examples
    >>> leaderboard = Leaderboard(pd.DataFrame({"role": ["calibrate"] * 19 + ["test"]}), {}, 0.05, 200)
    >>> none = np.array([])
    >>> result = Result("", np.arange(20).astype(str), np.arange(20.0), Examples(none, none, none, none))
    >>> calibrated_threshold(leaderboard, result)
    Threshold(value=18.0, false_alarm_rate=0.05, n=19, chosen_on='val')
    """
    fixed = fixed_scores(leaderboard, result)
    value = threshold(fixed, leaderboard.rate)
    on = "counterfactual" if len(result.calibrate_look) else "val"
    return Threshold(value=value, false_alarm_rate=leaderboard.rate, n=len(fixed), chosen_on=on)


def fixed_scores(leaderboard: Leaderboard, result: Result) -> np.ndarray:
    """The scores of the healthy images that calibrate, float64 "images". Where they were scored in the look of the
    abnormal images' devices as well, the higher of both, so that the false-alarm rate holds in either look.

    >>> from hilum.anomaly.result import Examples
    >>> leaderboard = Leaderboard(pd.DataFrame({"role": ["calibrate", "calibrate", "test"]}), {}, 0.5, 200)
    >>> none = np.array([])
    >>> scores, look = np.array([1.0, 2.0, 9.0]), np.array([4.0, 0.0])
    >>> result = Result("", none, scores, Examples(none, none, none, none), calibrate_look=look)
    >>> fixed_scores(leaderboard, result).tolist()
    [4.0, 2.0]
    """
    plain = result.score[leaderboard.calibrate]
    return np.maximum(plain, result.calibrate_look) if len(result.calibrate_look) else plain


def measured(leaderboard: Leaderboard, part: str, score: np.ndarray, line: float) -> Measured | None:
    """The figures on one part at the threshold `line`; None where it holds no healthy or no abnormal image.
    `score`: float "cases".

    >>> table = {"role": ["test"] * 4, "patient": ["a", "b", "c", "d"], "label": ["normal"] * 2 + ["virus"] * 2}
    >>> leaderboard = Leaderboard(pd.DataFrame(table), {}, 0.05, replicates=20)
    >>> figures = measured(leaderboard, "test", np.array([1.0, 3.0, 2.0, 4.0]), line=2.5)
    >>> figures.auroc.value, figures.false_alarms.counts, figures.sensitivity.counts
    (0.75, '1/2', '1/2')
    """
    rows = np.flatnonzero(leaderboard.table["role"].to_numpy() == part)
    images = leaderboard.table.iloc[rows][["patient", "label"]].assign(score=score[rows])
    block = detection_figures(images, line)
    if block is None:
        return None
    matched = _matched(leaderboard, leaderboard.pairs.get(part, ""), score)
    return Measured.model_validate({**block, "matched": matched})


def _matched(leaderboard: Leaderboard, pairs: Pairs | str, score: np.ndarray) -> Matched | None:
    """AUROC among the images that the shortcuts can't tell apart; None where there are none."""
    if isinstance(pairs, str):
        return None
    rows = pairs.rows
    abnormal = (leaderboard.table["label"].to_numpy() != HEALTHY)[rows]
    patients = leaderboard.table["patient"].to_numpy(str)[rows]
    area = ranking_entry(score[rows], abnormal, patients)
    return Matched(**area, pairs=len(pairs.abnormal))


def ood_patients(table: pd.DataFrame) -> np.ndarray:
    """The patients of the healthy held-out images that OOD images are made from, in their order: of val; of test
    where val has none. `table`: role, label and patient of all images."""
    healthy = table["label"] == HEALTHY
    measured = table.loc[healthy & (table["role"] == "measure"), "patient"]
    tested = table.loc[healthy & (table["role"] == "test"), "patient"]
    return (measured if len(measured) else tested).to_numpy(str)


def ood_shares(ood: Mapping[str, np.ndarray], line: float, patients: np.ndarray) -> list[OodShare]:
    """Per kind of OOD image the share that scores above the threshold; first the same images unaltered.

    `patients`: of the images that were altered, from the first on.

    >>> ood_shares({"unaltered": np.array([0.0, 3.0])}, line=1.0, patients=np.array(["ann", "bob"]))[0].counts
    '1/2'
    """
    titles = {UNALTERED: UNALTERED_TITLE, **{kind: title for kind, (title, _) in KINDS.items()}}
    return [
        OodShare(
            kind=kind,
            title=titles[kind],
            **share_figure(values > line, patients[: len(values)], values).set_fields(),
        )
        for kind, values in ood.items()
    ]


def training_images(
    result: Result, fixed: np.ndarray, line: float, patient_of: pd.Series, plain: np.ndarray | None = None
) -> TrainingImages | None:
    """The training images with the highest cross-fitted scores; None without that ranking.

    Scores are in robust standard deviations from the median, so that they can be compared with those of the
    images that fix the threshold (`fixed`) although other copies gave them. `plain`: the scores of these images as they
    are, whose median and deviation count, like those of the training images; None where `fixed` are these.
    `flagged`: how many lie above the
    threshold `line`; `patient_of`: the patient by case_id. The copies were fitted on fewer images, so more than the
    false-alarm rate are to be expected.

    >>> from hilum.anomaly.result import Examples
    >>> none = np.array([])
    >>> own = {"own_id": np.array(["a", "b"]), "own": np.array([0.1, 5.0])}
    >>> result = Result("", none, none, Examples(none, none, none, none), **own)
    >>> patient_of = pd.Series({"a": "ann", "b": "bob"})
    >>> figures = training_images(result, fixed=np.arange(19.0), line=18.0, patient_of=patient_of)
    >>> figures.images[0].case_id, figures.images[0].p_value, figures.flagged.counts
    ('b', 0.05, '1/2')
    """
    if not len(result.own):
        return None
    order = np.lexsort((result.own_id, -result.own))[:SUSPECTS]
    unit = fixed if plain is None else plain
    p = p_values(result.own, robust(fixed, unit))
    flagged = result.own > robust(np.array([line]), unit)[0]
    images = [
        SuspectImage(case_id=str(result.own_id[at]), deviations=float(result.own[at]), p_value=float(p[at]))
        for at in order
    ]
    people = patient_of.loc[result.own_id].to_numpy(str)
    return TrainingImages(images=images, flagged=share_figure(flagged, people, result.own))


def robust(values: np.ndarray, healthy: np.ndarray) -> np.ndarray:
    """Values in robust standard deviations (1.4826 x the median absolute deviation) from the median of the
    healthy ones.

    >>> robust(np.array([5.0]), np.array([1.0, 2.0, 3.0])).round(2).tolist()
    [2.02]
    """
    middle = np.median(healthy)
    spread = 1.4826 * np.median(np.abs(healthy - middle))
    return (values - middle) / max(float(spread), 1e-12)


# -- all rows ------------------------------------------------------------------------------------------------


def scores_table(leaderboard: Leaderboard, results: Mapping[str, Result]) -> pd.DataFrame:
    """scores.csv: the images, and per row of the leaderboard its score and conformal p-value.

    >>> from hilum.anomaly.result import Examples
    >>> leaderboard = Leaderboard(pd.DataFrame({"role": ["calibrate", "test"]}), {}, 0.05, 200)
    >>> none = np.array([])
    >>> result = Result("", np.array(["a", "b"]), np.array([1.0, 2.0]), Examples(none, none, none, none))
    >>> scores_table(leaderboard, {"autoencoder": result})
            role  autoencoder  autoencoder_p
    0  calibrate          1.0            1.0
    1       test          2.0            0.5
    """
    columns: dict[str, np.ndarray] = {}
    for row, result in results.items():
        columns[row] = result.score
        columns[f"{row}_p"] = p_values(result.score, fixed_scores(leaderboard, result))
    return leaderboard.table.assign(**columns)


def best_row(rows: Mapping[str, DetectorFigures]) -> str:
    """The row with the highest AUROC on held-out images in the look of the other label's devices: the one that
    depends least on them. Without these it is the highest on the matched images that measure, else on all."""

    def worth(row: str) -> list[float]:
        look, block = rows[row].other_look, rows[row].parts.get("measure")
        areas = [look and look.auroc, block and block.matched, block and block.auroc]
        return [-1.0 if area is None or area.value is None else area.value for area in areas]

    return max(rows, key=worth)
