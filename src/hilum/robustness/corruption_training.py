"""What training on corrupted images changes: a small network learns from clean images, and again from images of
which a share is corrupted; both predict held-out images, corrupted in each way at each severity.

In training an image is corrupted with chance `share`, by any corruption at any severity (augment.corrupt); the
held-out images are never trained on. The prediction is the most probable class: no threshold is chosen.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hilum.artifacts.robustness import CorruptionTraining, PairedPoint, TrainedPoint
from hilum.data.cases import Cases
from hilum.data.tasks import Task
from hilum.evaluation.paired import permutation
from hilum.folders import TaskFolder
from hilum.progress import advancing
from hilum.robustness.config import CorruptionTrainingConfig
from hilum.robustness.corruptions import check_corruptions
from hilum.robustness.held_out import (
    accuracy_figure,
    bootstrapped,
    change_figure,
    confidence_error,
    corrupted_images,
    held_out,
)
from hilum.robustness.small_network import SmallNetworks

Wanted = list[tuple[str, int]]
"""Corruption and severity; the first is ("", 0), the images as they are."""


def measure_corruption_training(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, config: CorruptionTrainingConfig
) -> CorruptionTraining:
    """Writes corruption_training.json of a task and gives it back. RecipeError names an unknown corruption;
    DataError when no image is held out."""
    names = check_corruptions(config.corruptions)
    test, part = held_out(cases, split, task, config)
    wanted = [("", 0), *((name, severity) for name in names for severity in config.severities)]
    clean = SmallNetworks(cases, split, task, test, config)
    corrupted = SmallNetworks(cases, split, task, test, config, corrupted=config.share)
    clean_seeds = list(_probabilities(clean, wanted, config))
    corrupted_seeds = list(_probabilities(corrupted, wanted, config))
    points = [
        _point(
            np.stack([seed[place] for seed in clean_seeds]),
            np.stack([seed[place] for seed in corrupted_seeds]),
            clean,
            config,
        )
        for place in range(len(wanted))
    ]
    by_name: dict[str, dict[int, PairedPoint]] = {name: {} for name in names}
    for (name, severity), point in zip(wanted[1:], points[1:], strict=True):
        by_name[name][severity] = point
    result = CorruptionTraining(
        split=part,
        images=len(test),
        patients=int(test["patient"].nunique()),
        replicates=config.replicates,
        train_images=len(clean.train),
        size=config.pixels.size,
        share=config.share,
        steps=config.steps,
        n_seeds=config.seeds,
        majority=clean.majority,
        clean=points[0],
        corruptions=by_name,
    )
    result.save(folder.corruption_training_file)
    return result


def _probabilities(
    networks: SmallNetworks, wanted: Wanted, config: CorruptionTrainingConfig
) -> Iterator[list[np.ndarray]]:
    """For each seed, "images classes" for each corruption and severity."""
    rows, task = np.arange(len(networks.train)), networks.task
    kind = "partly corrupted images" if networks.augment.corrupt else "clean images"
    for seed in range(config.seeds):
        with advancing(f"{task.name}: training {seed + 1} of {config.seeds} on {kind}") as advance:
            model = networks.fitted(task.classes, rows, config.steps, seed, None, advance)
        probabilities = []
        with advancing(f"{task.name}: predicting corrupted images") as advance:
            for done, (name, severity) in enumerate(wanted, start=1):
                images = networks.test_images
                if severity:
                    case_ids = networks.test["case_id"].tolist()
                    images = corrupted_images(images, case_ids, name, severity, config.seed)
                probabilities.append(networks.probabilities(model, images))
                advance(done, len(wanted))
        yield probabilities


def _point(
    clean: np.ndarray, corrupted: np.ndarray, networks: SmallNetworks, config: CorruptionTrainingConfig
) -> PairedPoint:
    """Accuracy and calibration of both; arguments "seeds images classes"."""
    correct = [np.stack([networks.is_correct(seed) for seed in seeds]) for seeds in (clean, corrupted)]
    gain = correct[1].mean(0) - correct[0].mean(0)
    return PairedPoint(
        clean=_trained(clean, correct[0], networks, config),
        corrupted=_trained(corrupted, correct[1], networks, config),
        gain=change_figure(gain, networks.test, config),
        p=permutation(correct[1].sum(0), correct[0].sum(0), networks.test["patient"]).p,
    )


def _trained(
    probabilities: np.ndarray,
    correct: np.ndarray,
    networks: SmallNetworks,
    config: CorruptionTrainingConfig,
) -> TrainedPoint:
    def error(weights: np.ndarray | None = None) -> np.ndarray:
        return np.mean([confidence_error(seed, networks.truth, weights) for seed in probabilities], axis=0)

    return TrainedPoint(
        accuracy=accuracy_figure(
            correct.mean(0), networks.test, config, networks.of_truth(np.mean(probabilities, axis=0))
        ),
        seeds=correct.mean(1).tolist(),
        ece=bootstrapped(float(error()[0]), error, networks.test, config),
    )
