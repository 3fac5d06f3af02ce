"""The anomaly stage: roles, detectors fitted on healthy images alone, scores of every image, the leaderboard."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hilum.anomaly import Detector, build
from hilum.anomaly.config import AnomalyConfig
from hilum.anomaly.conformal import threshold
from hilum.anomaly.leaderboard import (
    ENSEMBLE,
    PARTS,
    Leaderboard,
    best_row,
    row_figures,
    scores_table,
    with_ensemble,
)
from hilum.anomaly.result import Result
from hilum.anomaly.roles import assign_roles, role_counts
from hilum.anomaly.scoring import Images, detector_of, result_of
from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY, Cases
from hilum.data.facts import facts_table
from hilum.data.split import split_cases, used_cases
from hilum.errors import DataError, HilumError
from hilum.evaluation.matching import Pairs, match, shortcut_figures
from hilum.files import digest, replacing, write_json, write_table
from hilum.models import parameters
from hilum.progress import advancing
from hilum.run import AnomalyFolder

FORMAT = 1


def detect(
    folder: AnomalyFolder, cases: Cases, config: AnomalyConfig, replicates: int, force: bool = False
) -> dict[str, Any]:
    """Writes anomaly/ of a run and gives figures.json back. What is finished for the same images and choices
    is not done again, detector by detector; with `again` it is.

    RecipeError names an unknown detector or option; DataError when no image is healthy, when too few healthy
    ones are held back for the false-alarm rate, or when a detector can't take the images.
    """
    made_from = digest(
        cases.digest, json.dumps(config.model_dump(mode="json"), sort_keys=True), str(replicates)
    )
    known = None if force else _finished(folder, made_from)
    if known is not None:
        return known
    start = time.perf_counter()
    images, facts = _images(cases, config)
    folder.figures_file.unlink(missing_ok=True)
    found = {
        row: result_of(folder.detector(row), images, options, force)
        for row, options in config.detectors.items()
    }
    results = {row: result for row, (_, result) in found.items()}
    table = images.table
    leaderboard = Leaderboard(
        table, _pairs(cases, images, table), config.false_alarm_rate, replicates, config.seed
    )
    members = _members(found) if config.ensemble else []
    shown = with_ensemble(leaderboard, results, members)
    rows = {
        row: {**_card(row, found.get(row), config, members), **row_figures(leaderboard, result)}
        for row, result in shown.items()
    }
    write_table(folder.scores_file, scores_table(leaderboard, shown))
    _write_examples(folder, results)
    figures = {
        "format": FORMAT,
        "made_from": made_from,
        "labels": list(cases.labels),
        "choices": config.model_dump(mode="json"),
        "pixels": images.pixels.to_json(),
        "split": facts,
        "roles": role_counts(cases, table.set_index("case_id")["role"]),
        "detectors": rows,
        "best": best_row(rows),
        "shortcuts": _shortcuts(cases, table),
        "matching": {part: _matching(cases, table, pairs) for part, pairs in leaderboard.pairs.items()},
        "replicates": replicates,
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_json(folder.figures_file, figures)
    return folder.figures()


def chosen(folder: AnomalyFolder, recipe: dict[str, Any] | None, detectors: Sequence[str]) -> dict[str, Any]:
    """The choices for one more call, as plain values: those of the leaderboard that is there, else of the recipe,
    else the defaults; with the named detectors beside those of the leaderboard.

    A named detector has the options that the leaderboard or recipe gives it, if any. Without a leaderboard the named
    ones stand alone.
    """
    values: dict[str, Any] = dict(recipe or AnomalyConfig().model_dump(mode="json"))
    options = dict(values["detectors"])
    on_leaderboard: dict[str, Any] = {}
    if folder.figures_file.exists():
        values = dict(folder.figures()["choices"])
        on_leaderboard = dict(values["detectors"])
    if not detectors:
        return values
    values["detectors"] = {
        **on_leaderboard,
        **{name: on_leaderboard.get(name, options.get(name, {})) for name in detectors},
    }
    return values


def _finished(folder: AnomalyFolder, made_from: str) -> dict[str, Any] | None:
    """figures.json if it was made from these images and choices, and every detector is still the same."""
    if not folder.figures_file.exists():
        return None
    figures = folder.figures()
    if figures.get("format") != FORMAT or figures.get("made_from") != made_from:
        return None
    for row, one in figures["detectors"].items():
        if row == ENSEMBLE:
            continue
        try:
            card = folder.detector(row).card()
        except HilumError:
            return None
        if card.get("weights_digest") != one["weights_digest"]:
            return None
    return figures


# -- what goes in --------------------------------------------------------------------------------------------


def _images(cases: Cases, config: AnomalyConfig) -> tuple[Images, dict[str, Any]]:
    """Roles, pixels and decoded images, and the facts of the split; every check that needs no fitting."""
    healthy = (cases.table["label"] == HEALTHY).to_numpy()
    if not healthy.any():
        raise DataError(
            f"no image is labelled {HEALTHY!r} (labels: {', '.join(cases.labels)}), so nothing can be learnt",
            f"label the healthy images {HEALTHY!r}",
        )
    raw = config.pixels.contract(0.5, 0.25)
    for row, options in config.detectors.items():  # a wrong name or option is found before minutes are spent
        build(detector_of(row), raw, options)
    asked = config.split
    split = split_cases(
        cases,
        asked.scheme,
        seed=asked.seed,
        val_fraction=asked.val_fraction,
        test_fraction=asked.test_fraction,
        fold=asked.fold,
        folds=asked.folds,
    )
    used = used_cases(cases, split.of)
    roles = assign_roles(used, split.of, config.calibrate_fraction, config.seed)
    threshold(np.zeros(int((roles == "calibrate").sum())), config.false_alarm_rate)  # enough for the rate?
    table = used.table[["case_id", "patient", "label"]].copy()
    table.insert(2, "split", split.of.loc[table["case_id"]].to_numpy())
    table["role"] = roles.loc[table["case_id"]].to_numpy()
    with advancing("anomaly: decoding") as advance:
        cache = ImageCache.of(used, raw, advance)
    fit = table["case_id"][(table["role"] == "fit").to_numpy()].tolist()
    if not fit:
        raise DataError("train holds no healthy image to learn from", "choose another split")
    pixels = config.pixels.contract(*cache.mean_sd(fit))
    images = Images(used, table, pixels, cache, config.ood_images, config.own_ranking, config.seed)
    return images, split.facts()


def _pairs(cases: Cases, images: Images, table: pd.DataFrame) -> dict[str, Pairs | str]:
    """Per part the images paired by their shortcut numbers. The propensity behind the images that measure is
    learnt without the test images."""
    facts = facts_table(images.cases)
    pairs: dict[str, Pairs | str] = {}
    for part in PARTS:
        asked = (table["role"] == part).to_numpy()
        if not asked.any():
            continue
        known = np.flatnonzero(np.ones(len(table), bool) if part == "test" else (table["role"] != "test"))
        found = match(
            facts.iloc[known].reset_index(drop=True),
            table["label"].iloc[known].reset_index(drop=True),
            table["patient"].iloc[known].reset_index(drop=True),
            asked[known],
        )
        if isinstance(found, Pairs):
            found = replace(found, healthy=known[found.healthy], abnormal=known[found.abnormal])
        pairs[part] = found
    return pairs


# -- what comes out ------------------------------------------------------------------------------------------


def _members(found: Mapping[str, tuple[Detector, Result]]) -> list[str]:
    """Who joins the ensemble: the rows without weights from elsewhere, so that it needs no declaration."""
    return [row for row, (detector, _) in found.items() if not detector.pretrained]


def _card(
    row: str, found: tuple[Detector, Result] | None, config: AnomalyConfig, members: Sequence[str]
) -> dict[str, Any]:
    """What a row is: the facts that do not come from its scores."""
    if found is None:
        reads = "mean of the conformal p-values of its members"
        return {"detector": ENSEMBLE, "members": list(members), "reads": reads, "pretrained": False}
    detector = found[0]
    return {
        "detector": detector_of(row),
        "options": config.detectors[row],
        "reads": detector.reads,
        "pretrained": detector.pretrained,
        "parameters": parameters(detector),
        "weights_digest": detector.card["weights_digest"],
    }


def _shortcuts(cases: Cases, table: pd.DataFrame) -> dict[str, Any]:
    """What the audit's numbers reach on the very images that the detectors are measured on."""
    facts = facts_table(cases).set_index("case_id")
    found = {}
    for part in PARTS:
        rows = table[table["role"] == part]
        if len(rows):
            found[part] = shortcut_figures(facts.loc[rows["case_id"]], rows["label"], rows["patient"])
    return found


def _matching(cases: Cases, table: pd.DataFrame, pairs: Pairs | str) -> dict[str, Any]:
    """How many pairs, and what is left of each shortcut among them."""
    if isinstance(pairs, str):
        return {"pairs": 0, "why": pairs}
    rows = table.iloc[pairs.rows]
    facts = facts_table(cases).set_index("case_id").loc[rows["case_id"]]
    left = shortcut_figures(facts, rows["label"], rows["patient"])
    return {
        "pairs": len(pairs.abnormal),
        "of_healthy": int((table["label"].iloc[_part_of(table, pairs)] == HEALTHY).sum()),
        "numbers": list(pairs.numbers),
        "caliper": pairs.caliper,
        "mean_distance": pairs.distance,
        "propensity": pairs.left,
        "residual": left,
    }


def _part_of(table: pd.DataFrame, pairs: Pairs) -> np.ndarray:
    """All images of the part that the pairs were taken from."""
    role = table["role"].iloc[pairs.healthy[0]]
    return np.flatnonzero((table["role"] == role).to_numpy())


def _write_examples(folder: AnomalyFolder, results: dict[str, Result]) -> None:
    arrays = {
        f"{row}/{name}": values
        for row, one in results.items()
        for name, values in one.examples.arrays().items()
    }
    with replacing(folder.examples_file) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
