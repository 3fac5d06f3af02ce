"""Explaining one image: a case of a run, or a file that is in no split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.artifacts.explanations import MethodFigures, OcclusionMap
from hilum.data.decode import UnreadableImage, read_grey
from hilum.data.listing import fitting
from hilum.data.place import WHOLE
from hilum.errors import DataError, ModelError, RunError, nearest
from hilum.explain.attribution import check_options
from hilum.explain.config import FaithfulnessConfig, OcclusionConfig
from hilum.explain.faithfulness.explainers import BASELINES, explainers
from hilum.explain.faithfulness.table import faithfulness_table
from hilum.explain.lung_share import lungs_seen, share_inside
from hilum.explain.maps import PROBABILITY, PreparedImage, mask_side, method_map, options_of, probability_map
from hilum.explain.network.layers import check_layer
from hilum.explain.parts import FinishedParts
from hilum.files import digest_of_file
from hilum.folders import AttributionFolder
from hilum.inference.runtimes.torch import choose_device
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.run import Run


@dataclass(frozen=True)
class ImageFigures:
    """Faithfulness of one method on one image, and the `share` of its evidence inside the lungs, NaN without
    any."""

    figures: MethodFigures
    share: float


@dataclass(frozen=True)
class Explanation:
    """Maps of one image. `grey`: the image as decoded, uint8 or uint16 "rows cols"; `maps`: by method "rows
    cols" in the model's pixels. `occlusion`: the raw map of probabilities per mask position and its settings,
    if asked for. `figures`: faithfulness of each method on this image, empty where no checks are asked for;
    `lung_area`: the share of the image that the lungs fill. `notes`: what was done to the image before the
    model saw it. `folder`: where the maps lie as .npz."""

    case_id: str
    grey: np.ndarray
    model: ChestModel
    probabilities: dict[str, float]
    target_class: str
    maps: dict[str, np.ndarray]
    occlusion: tuple[np.ndarray, OcclusionMap] | None
    figures: list[ImageFigures]
    lung_area: float
    folder: AttributionFolder
    notes: list[str]


def explain_image(
    model: ChestModel,
    source: tuple[str, Path],
    methods: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    target_class: str | None = None,
    occlusion: OcclusionConfig | None = None,
    layer: str | None = None,
    faithfulness: FaithfulnessConfig | None = None,
    seed: int = 0,
    force: bool = False,
) -> Explanation:
    """Maps of one radiograph by `methods` with their options, written to `out` as .npz; maps that lie there and
    belong to the same weights, image and settings are not made again, unless `force`.

    `source`: the name and the file of the image (see `find_image`). `target_class`: the class whose evidence
    is shown, by default the most probable one. `occlusion`, `layer`, `faithfulness`: see ExplainConfig.

    DataError for an unreadable file; ModelError for a class or layer that the model does not have; RecipeError
    for an unknown method or option, or a mask that does not fit. Each names the nearest known.
    """
    occlusion, checks = occlusion or OcclusionConfig(), faithfulness or FaithfulnessConfig()
    _check(model, methods, occlusion, layer)
    case_id, path = source
    grey = _read(path)
    model = model.to(choose_device())
    image, probabilities = _prepared(model, path, case_id, grey, target_class)
    options = {
        name: options_of(name, given, model.pixels.size, occlusion, layer) for name, given in methods.items()
    }
    folder = AttributionFolder(out)
    digest = model.weights_digest
    parts = FinishedParts(folder.parts_file, digest, force)
    maps = {}
    for name in methods:
        method_map(folder, parts, model, image, name, options[name])
        maps[name] = folder.read_arrays(folder.map_file(name, case_id), digest)["map"]
    swept = None
    if "occlusion" in methods:
        with advancing(f"occlusion of {case_id}") as advance:
            facts = probability_map(folder, parts, model, image, occlusion, seed, advance)
        swept = (folder.read_arrays(folder.map_file(PROBABILITY, case_id), digest)["map"], facts)
    field = lungs_seen(model.pixels, grey)
    return Explanation(
        case_id,
        grey,
        model,
        probabilities,
        image.target_class,
        maps,
        swept,
        _figures(model, image, options, checks, seed, field),
        float(field.mean()),
        folder,
        _notes(grey, model),
    )


def _check(
    model: ChestModel,
    methods: Mapping[str, Mapping[str, Any]],
    occlusion: OcclusionConfig,
    layer: str | None,
) -> None:
    """Mistakes are found before anything is computed."""
    for name, options in methods.items():
        check_options(name, options)
    if layer is not None:
        check_layer(model, layer)
    if "occlusion" in methods:
        mask_side(occlusion, model.pixels.size)


def _read(path: Path) -> np.ndarray:
    try:
        return read_grey(path)
    except (UnreadableImage, OSError) as error:
        reason = error.reason if isinstance(error, UnreadableImage) else (error.strerror or str(error))
        raise DataError(f"{path} can't be read ({reason})", "name a radiograph") from None


def _figures(
    model: ChestModel,
    image: PreparedImage,
    options: Mapping[str, Mapping[str, Any]],
    config: FaithfulnessConfig,
    seed: int,
    field: np.ndarray,
) -> list[ImageFigures]:
    """The checks of the stage on one image, baselines beside them."""
    if not config.images:
        return []
    methods = explainers(options)
    with advancing(f"{image.case_id}: faithfulness of the maps") as advance:
        table = faithfulness_table(
            model,
            {image.case_id: (image.x, image.target)},
            methods,
            config.steps,
            2 * config.steps,
            seed,
            advance,
        )
    rows = []
    for row in table.rows:
        heat = {**methods, **BASELINES}[row.name](model, image.x, image.target)[0].float().cpu().numpy()
        rows.append(ImageFigures(row, share_inside(heat, field)[0]))
    return rows


def choose_task(run: Run, task: str | None) -> str:
    """The task, by default the last one. RunError when it is not trained.

    >>> import tempfile
    >>> from hilum.artifacts.run import RunFacts
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     for name in ("binary", "multiclass"):
    ...         run.task(name).model_folder.mkdir(parents=True)
    ...         run.task(name).card_file.touch()
    ...     choose_task(run, None), choose_task(run, "binary")
    ('multiclass', 'binary')
    """
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    if not run.class_tasks:
        raise RunError(f"{run.path} has no task of one class per image", "train one: hilum train")
    if task is not None and task not in run.class_tasks:
        raise RunError(
            f"{run.path} has no task {task!r} of one class per image", nearest(task, run.class_tasks)
        )
    return task or run.class_tasks[-1]


def find_image(run: Run, case: str | None, image: Path | None) -> tuple[str, Path]:
    """Name and file of one image: a case of the run by its case_id, or a file. DataError for both, neither, or
    an unknown case.

    >>> import tempfile
    >>> from hilum.artifacts.run import RunFacts
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     print(*find_image(run, None, Path("images/a.png")))
    ...     find_image(run, "a", Path("images/a.png"))
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: one image is explained at a time; give --case or --image
    """
    if (case is None) == (image is None):
        raise DataError("one image is explained at a time", "give --case or --image")
    if image is not None:
        return fitting(image.stem), image
    table = run.cases().table
    paths = dict(zip(table["case_id"], table["path"], strict=True))
    if case is None or case not in paths:
        raise DataError(f"the run has no case {case!r}", _near(str(case), list(paths)))
    return case, Path(paths[case])


def _near(word: str, known: list[str]) -> str:
    """The nearest name; thousands of names are no help."""
    hint = nearest(word, known)
    return hint if hint.startswith("did") else f"cases.csv lists {len(known):,}, the first is {known[0]}"


def _prepared(
    model: ChestModel, path: Path, case_id: str, grey: np.ndarray, target_class: str | None
) -> tuple[PreparedImage, dict[str, float]]:
    """The image with the class to explain, and the probability of every class."""
    x = model.pixels.apply(grey)[None].to(next(model.parameters()).device)
    with torch.inference_mode():
        shares = model(x).double().softmax(1)[0].tolist()
    probabilities = dict(zip(model.classes, shares, strict=True))
    name = target_class or max(probabilities, key=lambda known: probabilities[known])
    if name not in model.classes:
        raise ModelError(f"the model has no class {name!r}", nearest(name, model.classes))
    target = model.classes.index(name)
    image = PreparedImage(case_id, x, name, target, probabilities[name], digest_of_file(path))
    return image, probabilities


def _notes(grey: np.ndarray, model: ChestModel) -> list[str]:
    """Sentences about what the model saw of the image, when that is not the image itself."""
    rows, cols = model.pixels.size
    place = model.pixels.place(grey)
    if grey.shape == (rows, cols) and place == WHOLE:
        return []
    how = {
        "squeeze": "it was stretched to",
        "pad": "it was scaled to fit, and filled with its reflection, to",
        "lungs": "the part around the lungs was stretched to",
    }[model.pixels.fit]
    given = f"the image has {grey.shape[0]} x {grey.shape[1]} px"
    size = f"{given}; {how} {rows} x {cols} px, the size that the model takes"
    lost = "no lungs were found in the image; its central part was used" if place.lungs is False else ""
    return [note for note in (size, lost) if note]
