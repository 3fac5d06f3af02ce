"""Anomaly: detectors that are fitted on healthy images alone, the scores of every image, the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from hilum.config import Config
from hilum.errors import HilumError
from hilum.stages.contract import Context, Stage
from hilum.training.config import PixelConfig, SplitConfig

if TYPE_CHECKING:
    import numpy as np

    from hilum.anomaly.detector import Detector
    from hilum.anomaly.inputs import Inputs
    from hilum.anomaly.leaderboard import Leaderboard
    from hilum.anomaly.result import Result
    from hilum.artifacts.anomaly import AnomalyFigures
    from hilum.data.cases import Cases
    from hilum.data.split import Split
    from hilum.folders import AnomalyFolder

ROW = set(ascii_letters + digits + "_.-@")


class AnomalyConfig(Config):
    """Detectors that are fitted on healthy images alone; see docs/anomaly.md.

    `detectors`: row of the leaderboard -> options of its build(). The row is a detector's name; "name@variant"
    gives one detector several rows. `calibrate_fraction`: the share of the healthy val images that fix the
    threshold; the others, and the abnormal ones, measure. `ood_images`: how many held-out healthy images are
    rotated, inverted and so on. `other_look_images`: how many, half of them healthy, are measured in the look of the
    other label's devices (docs/shift.md); 0 leaves that out. `own_ranking`: into how many parts the images to fit on
    are divided to score each by a detector fitted on the others; 0 leaves that out, and each part costs one more fit.
    `threshold_on`: whether the healthy images fix the threshold as they are (val), or each by the higher of its scores
    as it is and in the look of the abnormal images' devices (counterfactual), so that the false-alarm rate holds there,
    too.
    """

    detectors: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"autoencoder": {}}, min_length=1)
    pixels: PixelConfig = PixelConfig(size=(96, 96))
    split: SplitConfig = SplitConfig(val_fraction=0.3)
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    threshold_on: Literal["val", "counterfactual"] = "val"
    calibrate_fraction: float = Field(default=0.5, gt=0, lt=1)
    ensemble: bool = True
    ood_images: int = Field(default=100, ge=0)
    other_look_images: int = Field(default=200, ge=0)
    own_ranking: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _rows_are_names(self) -> AnomalyConfig:
        for row in self.detectors:
            if row == "ensemble" or not row or not set(row) <= ROW:
                raise ValueError(f"{row!r} can't name a detector: use letters, digits, '_', '.', '-' and '@'")
        if self.own_ranking == 1:
            raise ValueError("own_ranking needs two parts or more, or 0 for none")
        return self


def more_detectors(config: AnomalyConfig | dict[str, Any] | None, names: Sequence[str]) -> list[str]:
    """The changes of a recipe ("detectors={...}") that add detectors to the leaderboard, with their default options
    where it does not know them yet. Empty without names.

    >>> more_detectors({"detectors": {"autoencoder": {"epochs": 3}}}, ["patch_memory"])
    ['detectors={"autoencoder": {"epochs": 3}, "patch_memory": {}}']
    """
    if not names:
        return []
    values = config.model_dump() if isinstance(config, AnomalyConfig) else config or {}
    known = values.get("detectors", {})
    return ["detectors=" + json.dumps({**known, **{name: known.get(name, {}) for name in names}})]


def check(config: AnomalyConfig, tasks: Sequence[Any] = ()) -> None:
    """RecipeError names an unknown detector or option before minutes are spent.

    >>> check(AnomalyConfig(detectors={"autoencodr": {}}))
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: detector 'autoencodr' is not known; did you mean 'autoencoder'?
    """
    from hilum.anomaly.detector import build
    from hilum.anomaly.leaderboard import detector_of

    for row, options in config.detectors.items():
        build(detector_of(row), config.pixels.contract(0.5, 0.25), options)


def run(context: Context, config: AnomalyConfig) -> None:
    """Writes anomaly/ of the run, figures.json last. A detector that is fitted and has scored the same images is
    not fitted again, unless `context.force`. A leaderboard that is there stays until the new one is written, or
    until one of its detectors is another.

    RecipeError names an unknown detector or option; DataError when no image is healthy, when too few healthy ones
    are held out for the false-alarm rate, or when a detector can't take the images.
    """
    from hilum.anomaly.inputs import prepare
    from hilum.anomaly.leaderboard import Leaderboard, scores_table, with_ensemble
    from hilum.anomaly.pairs import pairs_of
    from hilum.files import write_arrays, write_table

    check(config)
    split = _split(context.cases, config.split)
    inputs = prepare(
        context.cases,
        split,
        config.pixels,
        calibrate_fraction=config.calibrate_fraction,
        false_alarm_rate=config.false_alarm_rate,
        ood_images=config.ood_images,
        other_look_images=config.other_look_images,
        own_ranking=config.own_ranking,
        seed=config.seed,
        threshold_on=config.threshold_on,
    )
    folder = context.run.anomaly
    fitted = _fitted(folder, inputs, config, context.force)
    results = {row: result for row, (_, result) in fitted.items()}
    members = list(fitted) if config.ensemble else []
    replicates = context.recipe.replicates
    look = inputs.other_look.table if inputs.other_look else None
    leaderboard = Leaderboard(inputs.table, pairs_of(inputs), config.false_alarm_rate, replicates, look)
    every = with_ensemble(leaderboard, results, members)
    scores = scores_table(leaderboard, every)
    figures = _figures(inputs, split, config, leaderboard, fitted, every)
    folder.figures_file.unlink(missing_ok=True)  # it says that the other files belong to it
    write_table(folder.scores_file, scores)
    write_arrays(folder.examples_file, _examples(results))
    figures.save(folder.figures_file)


def _fitted(
    folder: AnomalyFolder, inputs: Inputs, config: AnomalyConfig, force: bool
) -> dict[str, tuple[Detector, Result]]:
    """Row -> the fitted detector and its scores. figures.json goes as soon as one of its detectors is another."""
    from hilum.anomaly.scoring import fitted_detector, result_of

    fitted = {}
    for row, options in config.detectors.items():
        detector = fitted_detector(folder.detector(row), inputs, options, force)
        _forget_other(folder, row, options, detector)
        fitted[row] = detector, result_of(folder.detector(row), detector, inputs, options, force)
    return fitted


def _forget_other(folder: AnomalyFolder, row: str, options: dict[str, Any], detector: Detector) -> None:
    """Deletes a leaderboard that was made with another detector of this name, or that can't be read."""
    try:
        before = folder.figures().detectors.get(row)
        digest = detector.card and detector.card.weights_digest
        same = before is None or (before.options, before.weights_digest) == (options, digest)
    except HilumError:
        same = False
    if not same:
        folder.figures_file.unlink(missing_ok=True)


def _split(cases: Cases, config: SplitConfig) -> Split:
    from hilum.data.split import split_cases

    return split_cases(
        cases,
        config.scheme,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        fold=config.fold,
        folds=config.folds,
    )


def _examples(results: dict[str, Result]) -> dict[str, np.ndarray]:
    """examples.npz: arrays named <row>/<what>."""
    return {
        f"{row}/{name}": values
        for row, result in results.items()
        for name, values in result.examples.arrays().items()
    }


def _figures(
    inputs: Inputs,
    split: Split,
    config: AnomalyConfig,
    leaderboard: Leaderboard,
    fitted: dict[str, tuple[Detector, Result]],
    results: dict[str, Result],
) -> AnomalyFigures:
    from hilum.anomaly.leaderboard import best_row, detector_row, ensemble_row
    from hilum.anomaly.pairs import matching_of, shortcuts_of
    from hilum.anomaly.roles import role_counts
    from hilum.artifacts.anomaly import AnomalyFigures

    table, pairs = inputs.table, leaderboard.pairs
    members = {row: detector for row, (detector, _) in fitted.items()}
    rows = {
        row: detector_row(leaderboard, row, config.detectors[row], members[row], result)
        if row in members
        else ensemble_row(leaderboard, members, result)
        for row, result in results.items()
    }
    return AnomalyFigures.model_validate(
        {
            "labels": list(inputs.cases.labels),
            "split_note": split.note,
            "leaky": split.leaky,
            "roles": role_counts(inputs.cases, table.set_index("case_id")["role"]),
            "false_alarm_rate": config.false_alarm_rate,
            "own_ranking": config.own_ranking,
            "replicates": leaderboard.replicates,
            "detectors": rows,
            "best": best_row(rows),
            "shortcuts": {part: shortcuts_of(inputs.cases, table[table["role"] == part]) for part in pairs},
            "matching": {part: matching_of(inputs, part, matched) for part, matched in pairs.items()},
        }
    )


STAGE = Stage(
    name="anomaly",
    about="Detectors fitted on healthy images alone: anomaly scores and maps of every image, and a leaderboard.",
    config=AnomalyConfig,
    run=run,
    version=2,
    needs=("prepare",),
    per_task=False,
    artifacts=("anomaly/figures.json", "anomaly/scores.csv", "anomaly/examples.npz"),
    check=check,
)
