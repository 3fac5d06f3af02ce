"""One row of the leaderboard: the detector is fitted and scores all images, unless both are there already."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from hilum import __version__
from hilum.anomaly.crossfit import cross_fitted
from hilum.anomaly.detector import Detector, build
from hilum.anomaly.examples import examples
from hilum.anomaly.inputs import Inputs, as_tensor
from hilum.anomaly.leaderboard import detector_of, robust
from hilum.anomaly.lesions import known_cases, lesions
from hilum.anomaly.ood_images import KINDS, UNALTERED, ood_images
from hilum.anomaly.result import Result
from hilum.anomaly.saved import load_detector, save_detector
from hilum.artifacts.anomaly import Localization, Seconds
from hilum.data.cases import HEALTHY
from hilum.errors import HilumError
from hilum.evaluation.localization import localization_figures
from hilum.files import digest
from hilum.folders import DetectorFolder
from hilum.inference.runtimes.torch import choose_device
from hilum.progress import advancing

BATCH = 64
"""Images read at once."""


def result_of(
    folder: DetectorFolder, detector: Detector, inputs: Inputs, options: dict[str, Any], force: bool = False
) -> Result:
    """The scores of the fitted detector of a row. The images are scored again only when what the scores depend on
    has changed, or with `force`."""
    card = detector.card
    assert card is not None and card.fit_seconds is not None and card.fitted_from is not None
    made_from = digest(card.weights_digest, card.fitted_from, inputs.digest)  # the second holds the options
    if not force:
        try:
            return Result.read(folder.result_file, made_from)
        except HilumError:
            pass  # missing, damaged or of other images: scored again
    took = {"fit": card.fit_seconds}
    with _timed(took, "score"):
        score, localization = _all_scores(detector, inputs, folder.name)
    with _timed(took, "ood"):
        ood = _ood_scores(detector, inputs, folder.name)
    with _timed(took, "other_look"):
        looks = [
            np.array([]) if look is None else _scores(detector, look.images, folder.name, "the other look")
            for look in (inputs.other_look, inputs.calibrate_look)
        ]
    with _timed(took, "own_ranking"):
        own_id, own = _own_scores(folder.name, inputs, options)
    case_id = inputs.table["case_id"].to_numpy(str)
    shown = examples(detector, inputs, score)
    result = Result(made_from, case_id, score, shown, ood, own_id, own, localization, Seconds(**took), *looks)
    result.write(folder.result_file)
    return result


# -- fitting -------------------------------------------------------------------------------------------------


def fitted_detector(
    folder: DetectorFolder, inputs: Inputs, options: dict[str, Any], force: bool = False
) -> Detector:
    """The detector of the folder, fitted again when its options, the images to fit on, the pixels, the seed or
    hilum's version have changed, or with `force`."""
    fitted_from = _fitted_from(folder.name, inputs, options)
    if not force:
        try:
            detector = load_detector(folder.path).to(choose_device())
            if detector.card is not None and detector.card.fitted_from == fitted_from:
                return detector
        except HilumError:
            pass  # missing, damaged or of another version: fitted again
    detector = build(detector_of(folder.name), inputs.pixels, options).to(choose_device())
    start = time.perf_counter()
    healthy = inputs.healthy
    with advancing(f"{folder.name}: fitting") as advance:
        detector.fit(healthy, inputs.seed, advance)
    save_detector(
        detector,
        folder.path,
        fitted_from=fitted_from,
        fit_seconds=round(time.perf_counter() - start, 2),
        seed=inputs.seed,
        images=len(healthy),
        patients=len(set(healthy.patients)),
    )
    return load_detector(folder.path).to(choose_device())


def _fitted_from(row: str, inputs: Inputs, options: dict[str, Any]) -> str:
    """Names everything that a fit depends on."""
    fit = inputs.table["case_id"].iloc[inputs.rows("fit")]
    contents = inputs.cases.table.set_index("case_id")["digest"].loc[fit]
    return digest(
        __version__,
        detector_of(row),
        json.dumps(options, sort_keys=True),
        json.dumps(asdict(inputs.pixels)),
        str(inputs.seed),
        *contents,
    )


# -- scoring -------------------------------------------------------------------------------------------------


def _all_scores(detector: Detector, inputs: Inputs, row: str) -> tuple[np.ndarray, Localization | None]:
    """float64 scores of all images, and how well the maps point at lesions where these are known."""
    known = known_cases(inputs.cases, inputs.table["role"].to_numpy(), inputs.pixels)
    place = {case: number for number, case in enumerate(known)}
    maps = np.zeros((len(known), *inputs.pixels.size), np.float32)
    score = np.empty(len(inputs.table))
    ids = inputs.table["case_id"].tolist()
    with advancing(f"{row}: scoring") as advance:
        for start in range(0, len(ids), BATCH):
            rows = np.arange(start, min(start + BATCH, len(ids)))
            scored = detector.score(as_tensor(inputs.pixels, inputs.images(rows)))
            score[rows] = scored.score.double().numpy()
            for at, number in enumerate(rows):
                if ids[number] in place:
                    maps[place[ids[number]]] = scored.map[at].numpy()
            advance(start + len(rows), len(ids))
    if not known:
        return score, None
    truth = lesions(inputs.cases, known, inputs.pixels)
    patients = inputs.table.set_index("case_id")["patient"].loc[known].tolist()
    return score, localization_figures(maps, truth, patients)


def _ood_scores(detector: Detector, inputs: Inputs, row: str) -> dict[str, np.ndarray]:
    """Kind -> float64 scores of OOD images made from the first held-out healthy images (of val; of test where val
    has none); UNALTERED for those images themselves."""
    rows = inputs.rows("measure", HEALTHY)
    rows = (rows if len(rows) else inputs.rows("test", HEALTHY))[: inputs.ood_images]
    if not len(rows):
        return {}
    images = inputs.images(rows)
    scores = {UNALTERED: _scores(detector, images, row, "OOD images")}
    for kind in KINDS:
        scores[kind] = _scores(detector, ood_images(images, kind, inputs.seed), row, "OOD images")
    return scores


def _scores(detector: Detector, images: np.ndarray, row: str, what: str) -> np.ndarray:
    """float64 scores of prepared images; `row`, `what`: for the progress bar."""
    parts = []
    with advancing(f"{row}: {what}") as advance:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            parts.append(detector.score(as_tensor(detector.pixels, batch)).score.double().numpy())
            advance(start + len(batch), len(images))
    return np.concatenate(parts)


def _own_scores(row: str, inputs: Inputs, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Case ids and cross-fitted scores of the training images, standardised within each fold because the scales of
    the copies differ. Empty where there are too few patients."""
    healthy, folds = inputs.healthy, inputs.own_ranking
    if not folds or len(set(healthy.patients)) < 2 * folds:
        return np.array([], str), np.array([])
    with advancing(f"{row}: ranking the training images") as advance:
        ranking = cross_fitted(detector_of(row), inputs.pixels, options, healthy, inputs.seed, folds, advance)
    own = np.empty(len(healthy))
    for fold in range(folds):
        inside = ranking.fold == fold
        own[inside] = robust(ranking.score[inside], ranking.score[inside])
    return np.array(healthy.case_ids), own


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)
