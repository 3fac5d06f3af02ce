"""What training for spoilt films buys: a small network learns from films as they are, and again from films of
which a share is spoilt; both are asked about held-out films, spoilt in each way at each severity.

The network is that of the curve of labels. In training a film is spoilt with chance `share`, by any
corruption at any severity (augment.corrupt); the held-out films are never trained on. Calls are the likeliest
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
from hilum.evaluation.missing_pixels import check_corruptions, confidence_error, held_out, logits_of_films
from hilum.evaluation.stage import softmax
from hilum.files import digest, read_json, write_json
from hilum.progress import advancing
from hilum.run import TaskFolder
from hilum.training.recipe import LabelsChoice, MissingChoice

FORMAT = 1
WAYS = ("whole", "spoilt")
"""Trained on films as they are; trained on films of which a share is spoilt."""


def missing_training(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, choice: MissingChoice, again: bool = False
) -> dict[str, Any]:
    """Writes training.json of a task and gives it back: `plain` and `corruptions: {name: {severity: point}}`.

    A point has for each of `WAYS` the accuracy (mean over the seeds, 95 % interval over patients) and "ece",
    the calibration error of the likeliest class (mean over the seeds), and `gain`, the paired difference of
    the accuracies, spoilt minus whole. RecipeError names an unknown corruption; DataError when no film is
    held out.
    """
    names = check_corruptions(choice)
    test, part = held_out(cases, split, task, choice)
    asked = json.dumps(choice.model_dump(mode="json"), sort_keys=True)
    made_from = digest(cases.digest, asked, task.name, *split.to_csv().splitlines())
    if not again and folder.training_file.exists():
        known = read_json(folder.training_file)
        if known.get("made_from") == made_from and known.get("format") == FORMAT:
            return known
    benches = dict(zip(WAYS, _benches(cases, split, task, test, choice), strict=True))
    wanted = [("", 0), *((name, severity) for name in names for severity in choice.severities)]
    probabilities = {way: list(_probabilities(bench, wanted, choice)) for way, bench in benches.items()}
    bench = benches["whole"]
    points = [
        _point(
            {way: np.stack([seed[place] for seed in found]) for way, found in probabilities.items()},
            bench,
            choice,
        )
        for place in range(len(wanted))
    ]
    facts: dict[str, Any] = {
        "format": FORMAT,
        "made_from": made_from,
        "split": part,
        "films": len(test),
        "patients": int(test["patient"].nunique()),
        "train_films": len(bench.train),
        "choices": {**choice.training.model_dump(mode="json"), "size": list(choice.labels.pixels.size)},
        "replicates": choice.replicates,
        "guessing": float(test["target"].value_counts(normalize=True).max()),
        "plain": points[0],
        "corruptions": {name: {} for name in names},
    }
    for (name, severity), point in zip(wanted[1:], points[1:], strict=True):
        facts["corruptions"][name][str(severity)] = point
    write_json(folder.training_file, facts)
    return facts


def _benches(
    cases: Cases, split: pd.Series, task: Task, test: pd.DataFrame, choice: MissingChoice
) -> Iterator[Bench]:
    """The same films and network, with films as they are and with a share of them spoilt in training."""
    for share in (0.0, choice.training.share):
        augment = choice.labels.augment.model_copy(update={"corrupt": share})
        labels: LabelsChoice = choice.labels.model_copy(update={"augment": augment})
        yield Bench.of(cases, split, task, test, labels)


def _probabilities(
    bench: Bench, wanted: list[tuple[str, int]], choice: MissingChoice
) -> Iterator[list[np.ndarray]]:
    """For each seed, "films classes" for each corruption and severity."""
    everyone = np.arange(len(bench.train))
    for seed in range(choice.training.seeds):
        words = f"{bench.task.name}: training {seed + 1} of {choice.training.seeds}"
        words += ", some films spoilt" if bench.choice.augment.corrupt else ", films as they are"
        with advancing(words) as advance:
            model = bench.fitted(bench.task.classes, everyone, choice.training.steps, seed, None, advance)
        found = []
        with advancing(f"{bench.task.name}: asking about spoilt films") as advance:
            for done, (name, severity) in enumerate(wanted, start=1):
                films = _spoilt(bench.shown, bench.test["case_id"], name, severity, choice.seed)
                found.append(softmax(logits_of_films(model, films)))
                advance(done, len(wanted))
        yield found


def _spoilt(films: np.ndarray, case_ids: pd.Series, name: str, severity: int, seed: int) -> np.ndarray:
    if not severity:
        return films
    return np.stack(
        [corrupt(film, name, severity, seed, case) for film, case in zip(films, case_ids, strict=True)]
    )


def _point(probabilities: dict[str, np.ndarray], bench: Bench, choice: MissingChoice) -> dict[str, Any]:
    """Accuracy and calibration of both ways; `probabilities`: "seeds films classes" each."""
    point: dict[str, Any] = {}
    hits = {way: np.stack([bench.hits(one) for one in found]) for way, found in probabilities.items()}
    for way, found in probabilities.items():
        errors = [float(confidence_error(one, bench.truth)[0]) for one in found]
        point[way] = {
            "accuracy": mean_with_interval(hits[way].mean(0), bench, choice),
            "seeds": hits[way].mean(1).tolist(),
            "ece": float(np.mean(errors)),
        }
    point["gain"] = mean_with_interval(hits["spoilt"].mean(0) - hits["whole"].mean(0), bench, choice)
    return point
