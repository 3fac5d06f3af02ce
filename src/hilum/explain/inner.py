"""Parts of the stage that ask what the network needs inside: filters, layers, concepts."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.decode import read_grey
from hilum.data.sources.phantom import masks as phantom_masks
from hilum.explain.ablation import ablate
from hilum.explain.asked import Subject
from hilum.explain.concepts import concept_scores, image_concepts, maps_and_slopes, sides
from hilum.explain.images import held_out, sample_images
from hilum.explain.probes import layer_means, probe_layers, probed_layers
from hilum.progress import advancing

BATCH = 32
RANKED = 20
"""Filters kept in figures.json, the costliest first."""


def ablation(subject: Subject, found: dict[str, Any]) -> dict[str, Any] | None:
    """What each filter of the late layer is worth, on held-out images of every label."""
    count = subject.config.layers.ablation
    if not count:
        return None
    images = sample_images(subject.predictions, count, subject.config.seed, right=False)
    targets = [subject.task.classes.index(name) for name in images["target"]]
    with advancing(f"{subject.task.name}: ablation of filters") as advance:
        x = subject.batch(images["case_id"].tolist())
        lost = ablate(subject.model, x, targets, subject.late_layer, progress=advance)
    costs, changes = lost.costs(), lost.changes()
    rows = [
        {
            "filter": int(lost.numbers[place]),
            "loss": float(costs[place]),
            "classes": _by_class(changes[place], subject.task.classes),
        }
        for place in lost.ranked()[:RANKED].tolist()
    ]
    whole = _by_class(lost.whole.sure - lost.base.sure, subject.task.classes)
    return {
        "layer": subject.late_layer,
        "images": len(images),
        "of": len(lost.numbers),
        "loss": lost.base.loss,
        "whole": {"loss": lost.whole.loss - lost.base.loss, "classes": whole},
        "helpful": int((costs > 0).sum()),
        "rows": rows,
    }


def _by_class(values: np.ndarray, classes: tuple[str, ...]) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in zip(classes, values, strict=True)
    }


def probes(subject: Subject, found: dict[str, Any]) -> dict[str, Any] | None:
    """A linear probe per layer: fitted on training images, measured on held-out images of other patients."""
    count = subject.config.layers.probes
    if not count:
        return None
    images, fit = probe_images(subject.predictions, count, subject.config.seed)
    ids = images["case_id"].tolist()
    names = probed_layers(copy.deepcopy(subject.model).cpu(), subject.model.pixels.size)
    with advancing(f"{subject.task.name}: probes by layer") as advance:
        features = layer_means(
            subject.model,
            (subject.batch(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)),
            names,
            lambda done, _: advance(done, len(ids)),
        )
    targets = [subject.task.classes.index(name) for name in images["target"]]
    measured = probe_layers(
        features, targets, subject.task.classes, images["patient"].tolist(), fit, 500, subject.config.seed
    )
    held = images[~fit]
    kept = ("value", "low", "high", "k", "n")
    rows = [
        {
            "layer": one.layer,
            "width": one.width,
            "accuracy": {key: one.accuracy[key] for key in kept if key in one.accuracy},
        }
        for one in measured
    ]
    return {
        "rows": rows,
        "head": float((held["target"] == held["predicted"]).mean()),
        "fitted": int(fit.sum()),
        "measured": int((~fit).sum()),
    }


def probe_images(predictions: pd.DataFrame, count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """At most `count` images, two thirds of them from train, and the mask of those that the probe is fitted
    on. A training image of a patient who is held out as well is left out: some splits leak."""
    part = held_out(predictions)
    held = predictions[predictions["split"] == part]
    held = held.sample(min(len(held), -(-count // 3)), random_state=seed)
    train = predictions[(predictions["split"] == "train") & ~predictions["patient"].isin(held["patient"])]
    train = train.sample(min(len(train), count - len(held)), random_state=seed)
    images = pd.concat([train, held], ignore_index=True)
    return images, np.arange(len(images)) < len(train)


def concepts(subject: Subject, found: dict[str, Any]) -> dict[str, Any] | None:
    """On phantom images: which named concepts the late layer knows, and which classes they move."""
    count = subject.config.layers.concepts
    if not count or subject.source != "phantom":
        return None
    table = subject.predictions
    images = table.sample(min(count, len(table)), random_state=subject.config.seed)
    measured = [_concepts_of(subject, case) for case in images["case_id"]]
    columns = {name: np.array([one[name] for one in measured]) for name in measured[0]}
    x, layer = subject.batch(images["case_id"].tolist()), subject.late_layer
    asked = sample_images(table, min(count, 60), subject.config.seed)
    means, _ = maps_and_slopes(subject.model, x, layer, 0)
    slopes = {}
    for target, name in enumerate(subject.task.classes):
        mine = asked.loc[asked["target"] == name, "case_id"].tolist()
        if mine:
            slopes[target] = maps_and_slopes(subject.model, subject.batch(mine), layer, target)[1]
    rows = []
    known = sides(columns)
    for name, side in known.items():
        people = images["patient"].tolist()
        scores = concept_scores(name, means, side, people, slopes, seed=subject.config.seed)
        tests = len(known) * len(slopes)
        rows.append(
            {
                "title": name,
                "accuracy": scores[0].accuracy,
                "chance": scores[0].chance,
                "images": list(scores[0].images),
                "classes": {
                    subject.task.classes[one.target]: {
                        "value": one.score,
                        "p": one.p,
                        "matters": one.matters(tests),
                    }
                    for one in scores
                },
            }
        )
    return {"layer": layer, "images": len(images), "rows": rows} if rows else None


def _concepts_of(subject: Subject, case_id: str) -> dict[str, float]:
    image = read_grey(Path(str(subject.cases.loc[case_id, "path"])))
    return image_concepts(image, phantom_masks(subject.root, case_id))
