"""One detector of the stage: fitted unless it is there already, then asked about every image."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from hilum import __version__
from hilum.anomaly import Detector, HealthyImages, build, load_detector, save_detector
from hilum.anomaly.crossfit import cross_fitted
from hilum.anomaly.leaderboard import robust
from hilum.anomaly.odd import KINDS, ood_images
from hilum.anomaly.result import Examples, Result
from hilum.anomaly.truth import known_cases, lesions
from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY, Cases
from hilum.data.images import Pixels
from hilum.errors import HilumError
from hilum.evaluation.localization import localization_figures
from hilum.files import digest
from hilum.progress import advancing
from hilum.run import DetectorFolder

BATCH = 64
"""Images read at once."""

SHOWN = 3
"""Strangest healthy and least strange abnormal images kept as examples, one per patient."""


@dataclass(frozen=True)
class Images:
    """Everything that is the same for all detectors. `table`: a row per image with case_id, patient, split,
    label, role, in the order of `cases`; `cache`: the prepared images."""

    cases: Cases
    table: pd.DataFrame
    pixels: Pixels
    cache: ImageCache
    odd: int
    own_ranking: int
    seed: int

    def rows(self, role: str, label: str | None = None) -> np.ndarray:
        """Positions of the images with a role."""
        chosen = (self.table["role"] == role).to_numpy()
        if label is not None:
            chosen = chosen & (self.table["label"] == label).to_numpy()
        return np.flatnonzero(chosen)

    @property
    def healthy(self) -> HealthyImages:
        """The images to fit on."""
        part = self.table.iloc[self.rows("fit")]
        return HealthyImages.of(
            self.cache,
            part["case_id"].tolist(),
            part["label"].tolist(),
            self.pixels,
            part["patient"].tolist(),
        )

    def images(self, rows: np.ndarray) -> np.ndarray:
        """uint8 "images rows cols" of some positions."""
        return np.asarray(self.cache.images[self.cache.rows(self.table["case_id"].iloc[rows])])

    @property
    def digest(self) -> str:
        """Names images, roles, pixels and what is asked of each detector."""
        columns = self.table[["case_id", "patient", "label", "role"]]
        asked = json.dumps([self.pixels.to_json(), self.odd, self.own_ranking, self.seed])
        return digest(self.cases.digest, asked, *columns.to_csv(index=False).splitlines())


def detector_of(row: str) -> str:
    """The detector behind a row of the leaderboard.

    >>> detector_of("patch_memory@random"), detector_of("autoencoder")
    ('patch_memory', 'autoencoder')
    """
    return row.partition("@")[0]


def result_of(
    folder: DetectorFolder, images: Images, options: dict[str, Any], force: bool = False
) -> tuple[Detector, Result]:
    """The fitted detector of a row and what it says of all images; both are kept and used again as long as
    images, options and seed stay the same."""
    detector, seconds = _fitted(folder, images, options, force)
    made_from = digest(detector.card["weights_digest"], images.digest)
    if not force:
        try:
            return detector, Result.read(folder.result_file, made_from)
        except HilumError:
            pass  # missing, damaged or of other images: asked again
    took: dict[str, float] = {"fit": seconds}
    with _timed(took, "score"):
        score, truth = _all_scores(detector, images, folder.name)
    with _timed(took, "odd"):
        odd = _odd_scores(detector, images, folder.name)
    with _timed(took, "own"):
        own_id, own = _own_scores(folder.name, images, options)
    result = Result(
        made_from,
        images.table["case_id"].to_numpy(str),
        score,
        _examples(detector, images, score),
        odd,
        own_id,
        own,
        truth,
        {name: round(value, 2) for name, value in took.items()},
    )
    result.write(folder.result_file)
    return detector, result


# -- fitting -------------------------------------------------------------------------------------------------


def _fitted(
    folder: DetectorFolder, images: Images, options: dict[str, Any], force: bool
) -> tuple[Detector, float]:
    """The detector and the seconds that fitting took, now or then."""
    name = detector_of(folder.name)
    fit = images.table.iloc[images.rows("fit")]
    contents = images.cases.table.set_index("case_id")["digest"].loc[fit["case_id"]]
    fitted_from = digest(
        __version__,
        name,
        json.dumps(options, sort_keys=True),
        json.dumps(images.pixels.to_json()),
        str(images.seed),
        *contents,
    )
    if not force:
        try:
            detector = load_detector(folder.path)
            if detector.card.get("fitted_from") == fitted_from:
                return detector, float(detector.card.get("fit_seconds", 0.0))
        except HilumError:
            pass  # missing, damaged or of another version: fitted again
    detector = build(name, images.pixels, options)
    start = time.perf_counter()
    with advancing(f"{folder.name}: fitting") as advance:
        detector.fit(images.healthy, images.seed, advance)
    seconds = round(time.perf_counter() - start, 2)
    folder.result_file.unlink(missing_ok=True)
    card = {
        "fitted_from": fitted_from,
        "fit_seconds": seconds,
        "seed": images.seed,
        "images": len(fit),
        "patients": int(fit["patient"].nunique()),
    }
    save_detector(detector, folder.path, card)
    return load_detector(folder.path), seconds


def _own_scores(row: str, images: Images, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """How strange each image to fit on is to a copy that was fitted on other patients, standardised within
    its fold because the copies' scales differ."""
    healthy, folds = images.healthy, images.own_ranking
    if not folds or len(set(healthy.patients)) < 2 * folds:
        return np.array([], str), np.array([])
    with advancing(f"{row}: its own training images") as advance:
        found = cross_fitted(detector_of(row), images.pixels, options, healthy, images.seed, folds, advance)
    own = np.empty(len(healthy))
    for fold in range(folds):
        inside = found.fold == fold
        own[inside] = robust(found.score[inside], found.score[inside])
    return np.array(healthy.case_ids), own


# -- asking --------------------------------------------------------------------------------------------------


def _all_scores(detector: Detector, images: Images, row: str) -> tuple[np.ndarray, dict[str, Any] | None]:
    """float64 scores of all images, and how well the maps point where the truth is known."""
    roles = images.table["role"].to_numpy()
    known = known_cases(images.cases, roles, images.pixels)
    place = {case: number for number, case in enumerate(known)}
    maps = np.zeros((len(known), *images.pixels.size), np.float32)
    score = np.empty(len(images.table))
    ids = images.table["case_id"].tolist()
    with advancing(f"{row}: scoring") as advance:
        for start in range(0, len(ids), BATCH):
            rows = np.arange(start, min(start + BATCH, len(ids)))
            found = detector.score(_tensor(images.pixels, images.images(rows)))
            score[rows] = found.score.double().numpy()
            for at, number in enumerate(rows):
                if ids[number] in place:
                    maps[place[ids[number]]] = found.map[at].numpy()
            advance(len(rows) + start, len(ids))
    if not known:
        return score, None
    return score, localization_figures(maps, lesions(images.cases, known, images.pixels))


def _odd_scores(detector: Detector, images: Images, row: str) -> dict[str, np.ndarray]:
    """Kind -> float64 scores of OOD images made from the first healthy images that are held back for measuring
    (of val; of test where val has none); "as_they_are" for those images themselves."""
    rows = images.rows("measure", HEALTHY)
    rows = (rows if len(rows) else images.rows("test", HEALTHY))[: images.odd]
    if not len(rows):
        return {}
    plain = images.images(rows)
    scores = {"as_they_are": _scores(detector, plain, row)}
    for kind in KINDS:
        scores[kind] = _scores(detector, ood_images(plain, kind, images.seed), row)
    return scores


def _scores(detector: Detector, images: np.ndarray, row: str) -> np.ndarray:
    """float64 scores of prepared images."""
    parts = []
    with advancing(f"{row}: scoring") as advance:
        for start in range(0, len(images), BATCH):
            some = images[start : start + BATCH]
            parts.append(detector.score(_tensor(detector.pixels, some)).score.double().numpy())
            advance(start + len(some), len(images))
    return np.concatenate(parts)


def _tensor(pixels: Pixels, images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.normalize(images))[:, None]


# -- examples ------------------------------------------------------------------------------------------------


def _examples(detector: Detector, radiographs: Images, score: np.ndarray) -> Examples:
    """A few held-back radiographs with their maps: the same for every detector, and this one's own extremes."""
    chosen = _chosen(radiographs.table.assign(score=score))
    rows = np.array([row for row, _ in chosen], np.int64)
    images = radiographs.images(rows) if len(rows) else np.zeros((0, *radiographs.pixels.size), np.uint8)
    maps = np.zeros(images.shape, np.float32)
    force = None
    if len(rows):
        found = detector.score(_tensor(radiographs.pixels, images))
        maps = found.map.numpy().astype(np.float32)
        if found.reconstruction is not None:
            force = to_grey(radiographs.pixels, found.reconstruction.numpy(), images)
    ids = radiographs.table["case_id"].iloc[rows]
    truth = None
    if radiographs.cases.source == "phantom":
        truth = lesions(radiographs.cases, ids.tolist(), radiographs.pixels)
    return Examples(ids.to_numpy(str), np.array([why for _, why in chosen], str), images, maps, force, truth)


def _chosen(table: pd.DataFrame) -> list[tuple[int, str]]:
    """(position, why): per label the first image in the order of a digest of the names, the strangest healthy
    images and the least strange abnormal ones, one per patient."""
    held = table.reset_index(drop=True)
    held = (
        held[held["role"] == "measure"] if (held["role"] == "measure").any() else held[held["role"] == "test"]
    )
    names = sorted(set(held["label"]), key=lambda label: (label != HEALTHY, label))
    order = held.assign(order=[digest("example", case) for case in held["case_id"]]).sort_values("order")
    chosen = [(int(order.index[order["label"] == label][0]), "same") for label in names]
    ranked = held.sort_values(["score", "case_id"], kind="stable")
    healthy = ranked[ranked["label"] == HEALTHY].iloc[::-1].drop_duplicates("patient").head(SHOWN)
    abnormal = ranked[ranked["label"] != HEALTHY].drop_duplicates("patient").head(SHOWN)
    chosen += [(int(row), "strangest healthy") for row in healthy.index]
    chosen += [(int(row), "least strange abnormal") for row in abnormal.index]
    return chosen


def to_grey(pixels: Pixels, values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """What a detector made of images, in the units of the network, as grey levels uint8 "images rows cols":
    the inverse of `pixels.normalize` for those images.

    >>> pixels, image = Pixels(size=(1, 2)), np.array([[[0, 255]]], np.uint8)
    >>> to_grey(pixels, pixels.normalize(image), image).tolist()
    [[[0, 255]]]
    """
    if pixels.standardize == "image":
        plain = images.astype(np.float32) / 255
        mean = plain.mean(axis=(1, 2), keepdims=True)
        sd = np.maximum(plain.std(axis=(1, 2), keepdims=True), 1e-3)
    else:
        mean, sd = np.float32(pixels.mean), np.float32(pixels.sd)
    return np.clip(np.rint(255 * (values * sd + mean)), 0, 255).astype(np.uint8)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
