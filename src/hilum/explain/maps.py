"""Maps of single images: made once, written with what they belong to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hilum.artifacts.explanations import MapRange, OcclusionMap
from hilum.errors import HilumError
from hilum.explain.attribution import explain, load_method
from hilum.explain.config import OcclusionConfig
from hilum.explain.fills import fill_for
from hilum.explain.occlusion.masks import place_masks
from hilum.explain.occlusion.occlusion_map import occlusion_map
from hilum.explain.parts import FinishedParts
from hilum.folders import AttributionFolder
from hilum.models import ChestModel

PROBABILITY = "occlusion_probability"
"""Folder of the raw occlusion maps: a probability per mask position, not per pixel."""

SEED_SHARE = 90 / (200 * 224) ** 0.5
"""Side of the seed report's mask, relative to the root of the image's area."""


@dataclass(frozen=True)
class PreparedImage:
    """One image as the model reads it, and the class to explain. `x`: "1 1 rows cols" on the model's device;
    `target`: the number of `target_class`, `probability`: what the model gives it; `digest`: of the file."""

    case_id: str
    x: Tensor
    target_class: str
    target: int
    probability: float
    digest: str

    @property
    def key(self) -> list[str]:
        """What a map of this image depends on, besides model and method."""
        return [self.case_id, self.digest, self.target_class]


def mask_side(config: OcclusionConfig, size: tuple[int, int]) -> int:
    """The mask's side in pixels. RecipeError for a mask that does not fit.

    >>> mask_side(OcclusionConfig(), (200, 224)), mask_side(OcclusionConfig(), (96, 96))
    (90, 41)
    """
    share = round(SEED_SHARE * (size[0] * size[1]) ** 0.5)
    side = config.mask if config.mask is not None else min(max(1, share), *size)
    place_masks(size, side, config.stride)
    return side


def options_of(
    method: str,
    options: Mapping[str, Any],
    size: tuple[int, int],
    occlusion: OcclusionConfig | None = None,
    layer: str | None = None,
) -> dict[str, Any]:
    """All options of a method: its own, for `occlusion` the mask and fill of the occlusion map, and `layer` for
    methods that read one.

    >>> options_of("grad_cam", {}, (96, 96), layer="features.3")
    {'layer': 'features.3'}
    """
    given = dict(options)
    if method == "occlusion" and occlusion is not None:
        given = {"mask": mask_side(occlusion, size), "fill": occlusion.fill, **given}
    if layer is not None and "layer" in signature(load_method(method).attribute).parameters:
        given.setdefault("layer", layer)
    return given


def method_map(
    folder: AttributionFolder,
    parts: FinishedParts,
    model: ChestModel,
    image: PreparedImage,
    method: str,
    options: dict[str, Any],
) -> MapRange:
    """Writes the map "rows cols" of one method, float32 in the model's pixels, unless it is there; gives its range.
    `parts`: where the range is kept. HilumError when the map holds numbers that are not finite."""
    module = load_method(method)
    path = folder.map_file(method, image.case_id)

    def make() -> MapRange:
        values = explain(method, model, image.x, image.target, options)[0].cpu().numpy().astype(np.float32)
        if not np.isfinite(values).all():
            raise HilumError(f"{module.TITLE} gives values that are not numbers for {image.case_id}")
        facts = {"title": module.TITLE, "source": module.SOURCE, "signed": module.SIGNED, "options": options}
        folder.write_arrays(path, {"map": values}, {**_facts(model, image, method), **facts})
        return MapRange(lowest=float(values.min()), highest=float(values.max()))

    return parts.get(f"{method} {image.case_id}", MapRange, [image.key, options], make, [path])


def probability_map(
    folder: AttributionFolder,
    parts: FinishedParts,
    model: ChestModel,
    image: PreparedImage,
    config: OcclusionConfig,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> OcclusionMap:
    """Writes the probability of the image's class with the mask at each position, float32 "positions
    positions", unless it is there; its settings and range."""
    side = mask_side(config, (image.x.shape[2], image.x.shape[3]))
    path = folder.map_file(PROBABILITY, image.case_id)

    def make() -> OcclusionMap:
        values = occlusion_map(
            model,
            image.x,
            image.target,
            mask=side,
            stride=config.stride,
            fill=fill_for(model, image.x, config.fill, seed)[0],
            dtype=torch.bfloat16 if config.precision == "bf16" else None,
            progress=progress,
        )
        values = values.cpu().numpy()
        made = OcclusionMap(
            lowest=float(values.min()),
            highest=float(values.max()),
            mask=side,
            stride=config.stride,
            fill=config.fill,
            precision=config.precision,
            probability=image.probability,
            target_class=image.target_class,
            positions=(values.shape[0], values.shape[1]),
        )
        facts = {**_facts(model, image, "occlusion"), **made.model_dump(mode="json"), "seed": seed}
        folder.write_arrays(path, {"map": values}, facts)
        return made

    depends = [image.key, config.model_dump(mode="json", exclude={"tasks"}), seed]
    return parts.get(f"{PROBABILITY} {image.case_id}", OcclusionMap, depends, make, [path])


def _facts(model: ChestModel, image: PreparedImage, method: str) -> dict[str, Any]:
    """What stands beside a map in its file."""
    return {
        "case_id": image.case_id,
        "image": image.digest,
        "method": method,
        "target_class": image.target_class,
        "probability": image.probability,
        "weights_digest": model.weights_digest,
    }
