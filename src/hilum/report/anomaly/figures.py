"""The anomaly stage's figures, read and checked in one place for the sections that use them."""

import pandas as pd

from hilum.artifacts.anomaly import AnomalyFigures, Measured
from hilum.errors import RunError
from hilum.report import commands
from hilum.report.stated import stated
from hilum.report.wording import plural
from hilum.run import Run

TITLE = "Anomaly detection"
ENSEMBLE = "ensemble"

PARTS = {"test": "test images", "measure": "held-out validation images"}
"""The images that figures are measured on, those to quote first."""


def figures_of(run: Run) -> AnomalyFigures:
    """anomaly/figures.json of the run. RunError when it is missing, or a detector was fitted again since.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     figures_of(Run.create(place, RunFacts(), {"tasks": {}}))
    Traceback (most recent call last):
    hilum.errors.RunError: ...figures.json is missing; the stage that writes it has not run
    """
    figures = run.anomaly.figures()
    for row, detector in figures.detectors.items():
        known = detector.weights_digest
        if known is not None and run.anomaly.detector(row).card().weights_digest != known:
            raise RunError(
                f"{run.anomaly.figures_file} was made with another {row} than the run holds",
                f"run: {commands.stage(run, 'anomaly')}",
            )
    return figures


def quoted_part(figures: AnomalyFigures) -> str:
    """The images to quote first: test where there are any, else the held-out validation images.

    >>> from hilum.artifacts.anomaly import DetectorFigures
    >>> detector = DetectorFigures.model_construct(parts={"measure": None, "test": None})
    >>> quoted_part(AnomalyFigures.model_construct(best="patch_memory", detectors={"patch_memory": detector}))
    'test'
    """
    best = figures.detectors[figures.best]
    return next((part for part in PARTS if part in best.parts), "measure")


def summary(run: Run) -> str:
    """The result in one or two sentences, for the summary; empty where there is no leaderboard.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     summary(Run.create(place, RunFacts(), {"tasks": {}}))
    ''
    """
    if not run.anomaly.figures_file.exists():
        return ""
    figures = figures_of(run)
    part = quoted_part(figures)
    measured = figures.detectors[figures.best].on(part)
    return "" if measured is None else f"{TITLE}: {ranking(figures.best, part, measured)}"


def ranking(row: str, part: str, measured: Measured) -> str:
    """How well a detector ranks: on all images, and on the shortcut-matched pairs.

    >>> from hilum.artifacts.base import Figure
    >>> measured = Measured.model_construct(n_healthy=10, n_abnormal=20, auroc=Figure(value=0.9), matched=None)
    >>> ranking("patch_memory", "test", measured)
    'patch memory reaches AUROC 0.900 on 10 healthy and 20 abnormal test images, fitted on healthy images
    alone.'
    """
    images = f"{measured.n_healthy} healthy and {measured.n_abnormal} abnormal {PARTS[part]}"
    plain = f"{row_name(row)} reaches AUROC {stated(measured.auroc, '')} on {images}, fitted on healthy images alone."
    matched = measured.matched
    if matched is None or matched.value is None:
        return plain
    pairs = plural(matched.pairs, "shortcut-matched pair")
    return f"{plain} On {pairs} of a healthy and an abnormal image, AUROC is {stated(matched, '')}."


def anomaly_scores(run: Run) -> pd.Series | None:
    """case_id -> 1 minus the conformal p-value by the best detector, 0..1; None where there is no leaderboard.

    Ranks among healthy images, because a few extreme raw scores would take most of a colour scale.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     anomaly_scores(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    if not run.anomaly.figures_file.exists():
        return None
    best = figures_of(run).best
    table = run.anomaly.scores().set_index("case_id")
    return 1 - table[f"{best}_p"]


# -- words ---------------------------------------------------------------------------------------------------


def row_name(row: str) -> str:
    """A row of the leaderboard in words.

    >>> row_name("patch_memory@random"), row_name("ensemble")
    ('patch memory (random)', 'the ensemble')
    """
    if row == ENSEMBLE:
        return "the ensemble"
    name, _, variant = row.partition("@")
    words = name.rpartition(".")[2].replace("_", " ")
    return f"{words} ({variant.replace('_', ' ')})" if variant else words
