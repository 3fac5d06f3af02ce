"""What training for corrupted images buys: a small network learns from images as they are, and again from images of
which a share is corrupted; both are asked about held-out images, corrupted in each way at each severity.

The network is that of the curve of labels. In training an image is corrupted with chance `share`, by any
corruption at any severity (augment.corrupt); the held-out images are never trained on. Calls are the likeliest
class: no threshold is chosen.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import Cases
from hilum.data.robustness import corrupt
from hilum.data.tasks import Task
from hilum.evaluation.missing_labels import Bench, mean_with_interval
from hilum.evaluation.missing_pixels import check_corruptions, confidence_error, held_out, logits_of_images
from hilum.files import digest, read_json, write_json
from hilum.inference.forward import softmax
from hilum.progress import advancing
from hilum.robustness.config import LabelsConfig, MissingConfig
from hilum.run import TaskFolder

FORMAT = 1
WAYS = ("whole", "corrupted")
"""Trained on images as they are; trained on images of which a share is corrupted."""


def missing_training(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, config: MissingConfig, force: bool = False
) -> dict[str, Any]:
    """Writes training.json of a task and gives it back: `plain` and `corruptions: {name: {severity: point}}`.

    A point has for each of `WAYS` the accuracy (mean over the seeds, 95 % interval over patients) and "ece",
    the calibration error of the likeliest class (mean over the seeds), and `gain`, the paired difference of
    the accuracies, corrupted minus whole. RecipeError names an unknown corruption; DataError when no image is
    held out.
    """
    names = check_corruptions(config)
    test, part = held_out(cases, split, task, config)
    asked = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    made_from = digest(cases.digest, asked, task.name, *split.to_csv().splitlines())
    if not force and folder.training_file.exists():
        known = read_json(folder.training_file)
        if known.get("made_from") == made_from and known.get("format") == FORMAT:
            return known
    benches = dict(zip(WAYS, _benches(cases, split, task, test, config), strict=True))
    wanted = [("", 0), *((name, severity) for name in names for severity in config.severities)]
    probabilities = {way: list(_probabilities(bench, wanted, config)) for way, bench in benches.items()}
    bench = benches["whole"]
    points = [
        _point(
            {way: np.stack([seed[place] for seed in found]) for way, found in probabilities.items()},
            bench,
            config,
        )
        for place in range(len(wanted))
    ]
    facts: dict[str, Any] = {
        "format": FORMAT,
        "made_from": made_from,
        "split": part,
        "images": len(test),
        "patients": int(test["patient"].nunique()),
        "train_images": len(bench.train),
        "choices": {**config.training.model_dump(mode="json"), "size": list(config.labels.pixels.size)},
        "replicates": config.replicates,
        "guessing": float(test["target"].value_counts(normalize=True).max()),
        "plain": points[0],
        "corruptions": {name: {} for name in names},
    }
    for (name, severity), point in zip(wanted[1:], points[1:], strict=True):
        facts["corruptions"][name][str(severity)] = point
    write_json(folder.training_file, facts)
    return facts


def _benches(
    cases: Cases, split: pd.Series, task: Task, test: pd.DataFrame, config: MissingConfig
) -> Iterator[Bench]:
    """The same images and network, with images as they are and with a share of them corrupted in training."""
    for share in (0.0, config.training.share):
        augment = config.labels.augment.model_copy(update={"corrupt": share})
        labels: LabelsConfig = config.labels.model_copy(update={"augment": augment})
        yield Bench.of(cases, split, task, test, labels)


def _probabilities(
    bench: Bench, wanted: list[tuple[str, int]], config: MissingConfig
) -> Iterator[list[np.ndarray]]:
    """For each seed, "images classes" for each corruption and severity."""
    everyone = np.arange(len(bench.train))
    for seed in range(config.training.seeds):
        words = f"{bench.task.name}: training {seed + 1} of {config.training.seeds}"
        words += ", some images corrupted" if bench.config.augment.corrupt else ", images as they are"
        with advancing(words) as advance:
            model = bench.fitted(bench.task.classes, everyone, config.training.steps, seed, None, advance)
        found = []
        with advancing(f"{bench.task.name}: asking about corrupted images") as advance:
            for done, (name, severity) in enumerate(wanted, start=1):
                images = _corrupted(bench.shown, bench.test["case_id"], name, severity, config.seed)
                found.append(softmax(logits_of_images(model, images)))
                advance(done, len(wanted))
        yield found


def _corrupted(images: np.ndarray, case_ids: pd.Series, name: str, severity: int, seed: int) -> np.ndarray:
    if not severity:
        return images
    return np.stack(
        [corrupt(image, name, severity, seed, case) for image, case in zip(images, case_ids, strict=True)]
    )


def _point(probabilities: dict[str, np.ndarray], bench: Bench, config: MissingConfig) -> dict[str, Any]:
    """Accuracy and calibration of both ways; `probabilities`: "seeds images classes" each."""
    point: dict[str, Any] = {}
    hits = {way: np.stack([bench.hits(one) for one in found]) for way, found in probabilities.items()}
    for way, found in probabilities.items():
        errors = [float(confidence_error(one, bench.truth)[0]) for one in found]
        point[way] = {
            "accuracy": mean_with_interval(hits[way].mean(0), bench, config),
            "seeds": hits[way].mean(1).tolist(),
            "ece": float(np.mean(errors)),
        }
    point["gain"] = mean_with_interval(hits["corrupted"].mean(0) - hits["whole"].mean(0), bench, config)
    return point
