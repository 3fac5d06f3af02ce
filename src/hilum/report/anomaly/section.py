"""Anomaly detection: the leaderboard of detectors fitted on healthy images, beside shortcuts and the literature."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hilum.artifacts.anomaly import AnomalyFigures
from hilum.data.cases import HEALTHY, Cases
from hilum.data.public_set import is_public_set
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.anomaly import tables
from hilum.report.anomaly.figures import (
    ENSEMBLE,
    PARTS,
    TITLE,
    figures_of,
    quoted_part,
    ranking,
    row_name,
)
from hilum.report.anomaly.maps import compared, triptychs
from hilum.report.anomaly.plots import colour_bar, score_panels
from hilum.report.anomaly.published import published
from hilum.report.pictures import Image, picture_of
from hilum.report.section import Section
from hilum.report.stated import stated
from hilum.report.wording import count, listing, number, percent, plural, sentence
from hilum.run import Run

SUSPECTS = 8
"""Pictures of training images."""


@dataclass(frozen=True)
class Histogram:
    """Scores by label."""

    drawings: list[Markup]
    caption: str


@dataclass(frozen=True)
class Suspect:
    """One training image with its score and its p-value."""

    picture: Image
    case: str
    score: str
    p: str


@dataclass(frozen=True)
class TrainingRanking:
    """The training images with the highest scores by the detector `name`, each scored by one of `folds` copies."""

    name: str
    folds: int
    flagged: str
    images: list[Suspect]


def make(run: Run) -> Section | None:
    """The leaderboard, or why there is none; None where nothing is trained.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from hilum.files import write_json
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     write_json(run.task("binary").card_file, {})
    ...     make(run).values["sentence"]
    'This stage has not run yet.'
    """
    if not run.anomaly.figures_file.exists():
        return absent(run, "anomaly", "anomaly", TITLE) if run.tasks else None
    return Section("anomaly", TITLE, "anomaly/template.html", _values(run, figures_of(run)))


def _is_comparable(cases: Cases) -> bool:
    """Whether the published figures are of images like these."""
    return cases.source != "phantom" and is_public_set(cases.labels, cases.source)


def _values(run: Run, figures: AnomalyFigures) -> dict[str, Any]:
    cases, scores, examples = run.cases(), run.anomaly.scores(), run.anomaly.examples()
    paths = cases.table.set_index("case_id")["path"]
    shown = figures.best if figures.best != ENSEMBLE else _best_member(figures)
    labels = scores.set_index("case_id")["label"]
    single = [row for row in figures.detectors if row != ENSEMBLE]
    return {
        "lead": lead(figures),
        "how": how(figures),
        "warnings": warnings(figures),
        "leaderboards": [
            tables.leaderboard(figures, part) for part in PARTS if tables.is_measured(figures, part)
        ],
        "published": published() if _is_comparable(cases) else None,
        "histogram": histogram(figures, scores),
        "examples": triptychs(examples, shown, labels, scores),
        "shown": row_name(shown),
        "compared": compared(examples, single, labels),
        "bar": colour_bar(),
        "other_look": tables.other_look(figures),
        "ood": tables.ood(figures),
        "training_images": training_images(figures, shown, paths),
        "localization": tables.localization(figures),
        "matching": [tables.matching(figures, part) for part in PARTS if part in figures.matching],
        "detectors": [tables.detector(row, detector) for row, detector in figures.detectors.items()],
        "commands": [commands.stage(run, "anomaly"), commands.report(run)],
    }


def _best_member(figures: AnomalyFigures) -> str:
    """The best single detector, for the pictures: an ensemble has no map."""

    def worth(row: str) -> float:
        measured = figures.detectors[row].on("measure")
        if measured is None:
            return 0.0
        return (measured.matched or measured.auroc).value or 0.0

    return max((row for row in figures.detectors if row != ENSEMBLE), key=worth)


# -- sentences -----------------------------------------------------------------------------------------------


def lead(figures: AnomalyFigures) -> str:
    """What the best detector reaches.

    >>> from hilum.artifacts.anomaly import Counts, DetectorFigures
    >>> figures = AnomalyFigures.model_construct(best="patch_memory",
    ...     roles={"fit": {HEALTHY: Counts(images=20, patients=9)}},
    ...     detectors={"patch_memory": DetectorFigures.model_construct(parts={})})
    >>> print(lead(figures).replace("\\xa0", " "))
    Patch memory was fitted on 20 healthy images. There are no images of both kinds to measure it on.
    """
    part = quoted_part(figures)
    measured = figures.detectors[figures.best].on(part)
    if measured is None:
        fit = sum(known.images for known in figures.role("fit").values())
        name = sentence(row_name(figures.best)).removesuffix(".")
        fitted = f"{name} was fitted on {plural(fit, 'healthy image')}."
        return f"{fitted} There are no images of both kinds to measure it on."
    rate = percent(figures.false_alarm_rate, 0)
    return (
        f"{sentence(ranking(figures.best, part, measured))} At the threshold for a false-alarm rate of {rate},"
        f" sensitivity is {stated(measured.sensitivity)} and the observed false-alarm rate"
        f" {stated(measured.false_alarms)}."
    )


def how(figures: AnomalyFigures) -> list[str]:
    """Which images were used for what.

    >>> from hilum.artifacts.anomaly import Counts, DetectorFigures, Threshold
    >>> fixed = Threshold(value=1.0, false_alarm_rate=0.05, n=19)
    >>> detector = DetectorFigures.model_construct(parts={}, threshold=fixed)
    >>> figures = AnomalyFigures.model_construct(best="vae", detectors={"vae": detector},
    ...     roles={"fit": {HEALTHY: Counts(images=20, patients=9)}}, split_note="patients are apart")
    >>> how(figures)[0], how(figures)[-1]
    ('The detectors were fitted on 20 healthy training images.', 'Patients are apart.')
    """

    def images(role: str, healthy: bool) -> str:
        known = figures.role(role)
        return count(sum(known[label].images for label in known if (label == HEALTHY) == healthy))

    look = ""
    if any(detector.threshold.chosen_on == "counterfactual" for detector in figures.detectors.values()):
        look = ", each by the higher of its scores as it is and in the look of the abnormal images' devices"
    test = ""
    if "test" in figures.roles:
        test = f" and from {images('test', True)} healthy and {images('test', False)} abnormal test images"
    return [
        f"The detectors were fitted on {images('fit', True)} healthy training images.",
        f"{images('calibrate', True)} healthy validation images of other patients fixed the threshold{look}.",
        f"The figures come from {images('measure', True)} healthy and {images('measure', False)} abnormal validation"
        f" images of further patients{test}.",
        "No abnormal image and no disease label took part in fitting"
        + (" or in a threshold." if not look else "."),
        "The best detector was chosen on the validation images"
        + (", in the look of the other label's devices." if figures.basis == "other_look" else "."),
        sentence(figures.split_note),
    ]


def warnings(figures: AnomalyFigures) -> list[str]:
    """Where a shortcut does better than a detector; where pretrained weights are used; where the split leaks.

    >>> from hilum.artifacts.anomaly import DetectorFigures
    >>> detector = DetectorFigures.model_construct(parts={}, pretrained=True)
    >>> warnings(AnomalyFigures.model_construct(
    ...     best="patch_memory", detectors={"patch_memory": detector}, shortcuts={}, leaky=False))
    ['Pretrained weights are used by: patch memory.']
    """
    part = quoted_part(figures)
    single = figures.shortcuts[part].single if part in figures.shortcuts else []
    areas = {
        row: detector.parts[part].auroc.value or 0.0
        for row, detector in figures.detectors.items()
        if part in detector.parts
    }
    sentences = []
    if single and areas:
        area = single[0].auroc.value or 0.0
        best = f"{single[0].label}, AUROC {stated(single[0].auroc, '')}"
        below = [row for row, value in areas.items() if value < area]
        if area > max(areas.values()):
            sentences.append(
                f"A single number about the file has a higher AUROC on these images than every detector: {best}."
                " No test was made."
            )
        elif below:
            names = listing([row_name(row) for row in below])
            sentences.append(
                f"A single number about the file has a higher AUROC on these images than {names}: {best}. No test was"
                " made."
            )
    pretrained = [row_name(row) for row, detector in figures.detectors.items() if detector.pretrained]
    if pretrained:
        sentences.append(f"Pretrained weights are used by: {listing(pretrained)}.")
    if figures.leaky:
        sentences.append("The split leaks: a patient or an image is in more than one part.")
    return sentences


# -- pictures ------------------------------------------------------------------------------------------------


def histogram(figures: AnomalyFigures, scores: pd.DataFrame) -> Histogram | None:
    """The best detector's scores by label, on the images to quote first; None without images."""
    part, best = quoted_part(figures), figures.best
    rows = scores[scores["role"] == part]
    labels = [label for label in figures.labels if (rows["label"] == label).any()]
    if not labels:
        return None
    values = {label: rows.loc[rows["label"] == label, best].to_numpy(np.float64) for label in labels}
    line = figures.detectors[best].threshold
    rate = percent(figures.false_alarm_rate, 0)
    return Histogram(
        drawings=[score_panels(values, labels, line.value, "anomaly-scores")],
        caption=f"{sentence(row_name(best)).removesuffix('.')}, {len(rows)} {PARTS[part]}. Dashed: the"
        f" threshold for a false-alarm rate of {rate}, from {plural(line.n, 'other healthy image')}. Scores above the"
        " 99.5th percentile are in the last bar.",
    )


def training_images(figures: AnomalyFigures, shown: str, paths: pd.Series) -> TrainingRanking | None:
    """The training images with the highest cross-fitted scores; None without that ranking."""
    row = next((row for row in (figures.best, shown) if figures.detectors[row].training_images), None)
    ranked = figures.detectors[row].training_images if row is not None else None
    if row is None or ranked is None:
        return None
    return TrainingRanking(
        name=row_name(row),
        folds=figures.own_ranking,
        flagged=stated(ranked.flagged),
        images=[
            Suspect(
                picture=picture_of(paths.get(image.case_id, ""), 240),
                case=image.case_id,
                score=f"{number(image.deviations, 1)} deviations from the median",
                p=number(image.p_value),
            )
            for image in ranked.images[:SUSPECTS]
        ],
    )
