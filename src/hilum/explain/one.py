"""What a model looked at in one image: a case of the run, or a file that is in no split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.data.decode import UnreadableImage, read_grey
from hilum.errors import DataError, ModelError, RunError, nearest
from hilum.explain import load_method
from hilum.explain.asked import chosen_layer
from hilum.explain.config import ExplainConfig
from hilum.explain.faithfulness import BASELINES, believed, ways
from hilum.explain.lungs import lung_field, share_inside
from hilum.explain.maps import Image, mask_side, method_map, options_of, probability_map
from hilum.files import digest_of_file
from hilum.inference.forward import softmax
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.run import AttributionFolder, Run


@dataclass(frozen=True)
class Answer:
    """`image`: the image as decoded, uint8 or uint16 "rows cols". `maps`: per method its raw map in the
    model's pixels and its facts. `occlusion`: the raw map of probabilities per mask position and its facts,
    if asked for. `figures`: how far each method may be believed on this image, the rows of
    `faithfulness.believed` with the share inside the lungs; empty where the recipe asks for no checks.
    `notes`: what was done to the image before the model saw it."""

    name: str
    image: np.ndarray
    pixels: dict[str, Any]
    probabilities: dict[str, float]
    asked: str
    maps: dict[str, tuple[np.ndarray, dict[str, Any]]]
    occlusion: tuple[np.ndarray, dict[str, Any]] | None
    figures: list[dict[str, Any]]
    folder: AttributionFolder
    notes: list[str]


def explain_image(
    run: Run,
    task: str,
    config: ExplainConfig,
    methods: Sequence[str],
    out: Path,
    case: str | None = None,
    image: Path | None = None,
    asked: str | None = None,
    force: bool = False,
) -> Answer:
    """Maps of one radiograph by `methods` (default: those of the recipe), written to `out` as .npz; maps that lie
    there and belong to the present weights are not made again. `asked`: the class whose evidence is shown,
    by default the one that the model finds most likely.

    DataError for an unknown case or unreadable file; ModelError for a class or layer that the model does not
    have; RecipeError for an unknown method or a mask that does not fit. Each names the nearest known.
    """
    model = run.task(task).load_model()
    names = list(methods) or list(config.methods)
    for name in names:
        load_method(name)
    chosen_layer(model, config.layer)
    if "occlusion" in names:
        mask_side(config.occlusion, model.pixels.size)
    path, name = _file(run, case, image)
    try:
        grey = read_grey(path)
    except (UnreadableImage, OSError) as error:
        reason = error.reason if isinstance(error, UnreadableImage) else (error.strerror or str(error))
        raise DataError(f"{path} can't be read ({reason})", "name a radiograph") from None
    if torch.cuda.is_available():
        model = model.cuda()
    radiograph, probabilities = _asked(model, path, name, grey, asked)
    folder = AttributionFolder(out)
    maps = {}
    for method in names:
        options = options_of(config, method, model.pixels.size)
        maps[method] = method_map(folder, model, radiograph, method, options, force)
    swept = None
    if "occlusion" in names:
        with advancing(f"{task}: occlusion of {name}") as advance:
            swept = probability_map(folder, model, radiograph, config.occlusion, config.seed, force, advance)
    return Answer(
        name,
        grey,
        model.pixels.to_json(),
        probabilities,
        radiograph.asked,
        maps,
        swept,
        _figures(model, radiograph, config, names, model.pixels.prepare(grey)),
        folder,
        _notes(grey, model),
    )


def _figures(
    model: ChestModel, image: Image, config: ExplainConfig, names: list[str], prepared: np.ndarray
) -> list[dict[str, Any]]:
    """The checks of the stage on one image, worthless maps beside them."""
    if not config.faithfulness.images:
        return []
    asked = ways({name: options_of(config, name, model.pixels.size) for name in names})
    steps = config.faithfulness.steps
    with advancing(f"{image.case_id}: can the maps be believed?") as advance:
        checked = believed(
            model,
            {image.case_id: (image.x, image.target)},
            asked,
            steps=steps,
            samples=2 * steps,
            seed=config.seed,
            progress=advance,
        )
    field = lung_field(prepared)
    for row in checked["rows"]:
        way = {**asked, **BASELINES}[row["name"]]
        heat = way(model, image.x, image.target)[0].float().cpu().numpy()
        row["lungs"], row["lung_area"] = share_inside(heat, field)
    return checked["rows"]


def choose_task(run: Run, task: str | None) -> str:
    """The task, by default the last one. RunError when it is not trained."""
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    if task is not None and task not in run.tasks:
        raise RunError(f"{run.path} has no task {task!r}", nearest(task, run.tasks))
    return task or run.tasks[-1]


def _file(run: Run, case: str | None, image: Path | None) -> tuple[Path, str]:
    if (case is None) == (image is None):
        raise DataError("one image is explained at a time", "give --case or --image")
    if image is not None:
        return image, image.stem
    table = run.cases().table
    paths = dict(zip(table["case_id"], table["path"], strict=True))
    if case is None or case not in paths:
        raise DataError(f"the run has no case {case!r}", _near(str(case), list(paths)))
    return Path(paths[case]), case


def _near(word: str, known: list[str]) -> str:
    """The nearest name; thousands of names are no help."""
    hint = nearest(word, known)
    return hint if hint.startswith("did") else f"cases.csv lists {len(known):,}, the first is {known[0]}"


def _asked(
    model: ChestModel, path: Path, name: str, grey: np.ndarray, asked: str | None
) -> tuple[Image, dict[str, float]]:
    x = model.pixels.apply(grey)[None].to(next(model.parameters()).device)
    with torch.inference_mode():
        logits = model(x).double().cpu().numpy()
    probabilities = dict(zip(model.classes, softmax(logits)[0].tolist(), strict=True))
    asked = asked or max(probabilities, key=lambda one: probabilities[one])
    if asked not in model.classes:
        raise ModelError(f"the model has no class {asked!r}", nearest(asked, model.classes))
    target = model.classes.index(asked)
    return Image(name, x, asked, target, probabilities[asked], digest_of_file(path)), probabilities


def _notes(grey: np.ndarray, model: ChestModel) -> list[str]:
    """Said when the image was not of the model's size."""
    rows, cols = model.pixels.size
    if grey.shape == (rows, cols):
        return []
    how = {
        "squeeze": "stretched to",
        "pad": "shrunk in its own shape into",
    }[model.pixels.fit]
    return [
        f"the image has {grey.shape[0]} x {grey.shape[1]} px;"
        f" it was {how} {rows} x {cols} px, as the model asks"
    ]
