"""The explanation stage of one task: maps of chosen images, filters, and how far all of it may be believed.

The stage is a list of parts. A finished part is kept in parts.json and is not done again for the same weights
and choices; a part that can't be done is a sentence in figures.json, never a lost stage.
"""

import json
import time
from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.errors import RunError
from hilum.explain import check_options
from hilum.explain.asked import Subject, chosen_layer
from hilum.explain.config import ExplainConfig
from hilum.explain.maps import mask_side
from hilum.explain.parts import PARTS, Part
from hilum.files import digest, read_json, write_json
from hilum.run import TaskFolder

FORMAT = 1


def check_choice(config: ExplainConfig, sizes: Iterable[tuple[int, int]]) -> None:
    """RecipeError for a method or an option of a method that does not exist, or a mask that does not fit
    images of one of `sizes`; asked before anything is trained."""
    for name, options in config.methods.items():
        check_options(name, options)
    for size in sizes:
        mask_side(config.occlusion, size)


def explain_task(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, config: ExplainConfig, force: bool = False
) -> dict[str, Any]:
    """Writes attributions/ of one task and gives figures.json back. What is there for the same weights and
    choices is not made again.

    RecipeError for a method that does not exist or a mask that does not fit, ModelError for a layer that the
    model does not have; RunError without predictions of these weights.
    """
    model = folder.load_model()
    check_choice(config, [model.pixels.size])
    chosen_layer(model, config.layer)
    wanted = config.model_dump(mode="json")
    target = folder.attributions.figures_file
    if target.exists() and not force:
        known = folder.attributions.figures()
        if known.get("weights_digest") == model.card["weights_digest"] and known.get("choices") == wanted:
            return known
    target.unlink(missing_ok=True)
    if torch.cuda.is_available():
        model = model.cuda()
    used = used_cases(cases, split)
    subject = Subject(
        folder,
        model,
        cases.table.set_index("case_id"),
        str(cases.root),
        cases.source,
        ImageCache.of(used, model.pixels),
        _predictions(folder),
        task,
        config,
        force,
    )
    figures = {
        "format": FORMAT,
        "weights_digest": subject.digest,
        "task": task.name,
        "classes": list(task.classes),
        "source": cases.source,
        "pixels": model.pixels.to_json(),
        "choices": wanted,
        **_done(subject),
        "failures": subject.failures,
    }
    write_json(target, figures)
    return figures


def _predictions(folder: TaskFolder) -> pd.DataFrame:
    from hilum.artifacts.metrics import Metrics

    if not (folder.predictions_file.exists() and folder.metrics_file.exists()):
        raise RunError(f"{folder.predictions_file} is missing", f"run: hilum evaluate {folder.path.parent}")
    Metrics.load(folder.metrics_file, folder.card()["weights_digest"])
    return folder.predictions()


def _done(subject: Subject) -> dict[str, Any]:
    """Every part of parts.PARTS in order. A finished one is kept under a key of all that it depends on."""
    file = subject.folder.attributions.parts_file
    kept: dict[str, Any] = {}
    if file.exists() and not subject.force:
        try:
            kept = read_json(file)
        except RunError:
            kept = {}  # damaged: every part is made again
    found: dict[str, Any] = {}
    for part in PARTS:
        choices = subject.config.model_dump(mode="json")
        depends = [FORMAT, subject.digest, subject.late_layer, found.get("images")]
        depends += [choices[name] for name in part.choices]
        key = digest(json.dumps(depends, sort_keys=True))
        if kept.get(part.name, {}).get("key") != key:
            start = time.perf_counter()
            result = _attempt(subject, part, found)
            if result is None:
                continue
            seconds = round(time.perf_counter() - start, 1)
            kept[part.name] = {"key": key, "seconds": seconds, "result": result}
            write_json(file, kept)
        found[part.name] = kept[part.name]["result"]
    found["seconds"] = {name: kept[name]["seconds"] for name in found}
    return found


def _attempt(subject: Subject, part: Part, found: dict[str, Any]) -> Any:
    """The part's result, or None with a sentence in the subject's failures."""
    try:
        return part.make(subject, found)
    except Exception as error:  # whatever a method stumbles over must not cost the others
        subject.fail(part.title, error)
        return None
