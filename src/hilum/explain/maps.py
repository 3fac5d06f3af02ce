"""Maps of single images: made once, kept with the digest of the weights, finished where they were cut off."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hilum.errors import HilumError
from hilum.explain import explain, load_method
from hilum.explain.config import ExplainConfig, OcclusionConfig
from hilum.explain.fills import fill_for
from hilum.explain.occlusion import occlusion_map, place_masks
from hilum.models import ChestModel
from hilum.run import AttributionFolder

PROBABILITY = "occlusion_probability"
"""Folder of the raw occlusion maps: a probability per mask position, not per pixel."""

SEED_SHARE = 90 / (200 * 224) ** 0.5
"""Side of the seed report's mask, relative to the root of the image's area."""

KEEP_EVERY = 15.0  # seconds between two writings of an unfinished map

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Image:
    """One prepared image and the class `asked` about it. `x`: "1 1 rows cols" on the model's device."""

    case_id: str
    x: Tensor
    asked: str
    target: int
    probability: float
    digest: str
    facts: dict[str, Any] = field(default_factory=dict)


def mask_side(config: OcclusionConfig, size: tuple[int, int]) -> int:
    """The mask's side in pixels. RecipeError for a mask that does not fit.

    >>> mask_side(OcclusionConfig(), (200, 224)), mask_side(OcclusionConfig(), (96, 96))
    (90, 41)
    """
    share = round(SEED_SHARE * (size[0] * size[1]) ** 0.5)
    side = config.mask if config.mask is not None else min(max(1, share), *size)
    place_masks(size, side, config.stride)
    return side


def options_of(config: ExplainConfig, method: str, size: tuple[int, int]) -> dict[str, Any]:
    """The options of a method: the recipe's, the mask of the occlusion map for `occlusion`, and for methods
    that read a layer the recipe's layer, if it names one.

    >>> options_of(ExplainConfig(layer="features.3"), "grad_cam", (96, 96))
    {'layer': 'features.3'}
    """
    options = dict(config.methods.get(method, {}))
    if method == "occlusion":
        options = {"mask": mask_side(config.occlusion, size), "fill": config.occlusion.fill, **options}
    if config.layer is not None and "layer" in signature(load_method(method).attribute).parameters:
        options.setdefault("layer", config.layer)
    return options


def method_map(
    folder: AttributionFolder,
    model: ChestModel,
    image: Image,
    method: str,
    options: dict[str, Any],
    force: bool,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The map "rows cols" of one method, float32 in image coordinates, and its facts; kept in the folder."""
    module = load_method(method)
    wanted = _facts(model, image, method) | {
        "title": module.TITLE,
        "source": module.SOURCE,
        "signed": module.SIGNED,
        "options": json.loads(json.dumps(options)),
    }
    path = folder.map_file(method, image.case_id)
    known = None if force else _kept(folder, path, wanted)
    if known is not None:
        return known
    values = explain(method, model, image.x, image.target, options)[0].cpu().numpy()
    if not np.isfinite(values).all():
        raise HilumError(f"{module.TITLE} gives values that are no numbers for {image.case_id}")
    folder.write_arrays(path, {"map": values.astype(np.float32)}, wanted)
    return values, wanted


def probability_map(
    folder: AttributionFolder,
    model: ChestModel,
    image: Image,
    config: OcclusionConfig,
    seed: int,
    force: bool,
    advance: Advance | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The probability of the asked class with the mask at each position, float32 "positions positions", and
    its facts. An unfinished map is kept every few seconds and finished by the next call."""
    size = (image.x.shape[2], image.x.shape[3])
    side = mask_side(config, size)
    masks = place_masks(size, side, config.stride)
    wanted = _facts(model, image, "occlusion") | {
        "mask": side,
        "stride": config.stride,
        "fill": config.fill,
        "precision": config.precision,
        "seed": seed,
        "size": list(size),
    }
    path = folder.map_file(PROBABILITY, image.case_id)
    known = None if force else _kept(folder, path, wanted)
    shape = (len(masks.tops), len(masks.lefts))
    values = torch.full(shape, float("nan")) if known is None else torch.from_numpy(known[0].copy())
    if not values.isnan().any():
        return values.numpy(), wanted
    values = values.to(image.x.device)
    written = time.monotonic()

    def keep(done: int, total: int) -> None:
        nonlocal written
        if advance is not None:
            advance(done, total)
        if time.monotonic() - written > KEEP_EVERY:
            folder.write_arrays(path, {"map": values.cpu().numpy()}, wanted)
            written = time.monotonic()

    occlusion_map(
        model,
        image.x,
        image.target,
        mask=side,
        stride=config.stride,
        fill=fill_for(model, image.x, config.fill, seed)[0],
        dtype=torch.bfloat16 if config.precision == "bf16" else None,
        progress=keep,
        into=values,
    )
    folder.write_arrays(path, {"map": values.cpu().numpy()}, wanted)
    return values.cpu().numpy(), wanted


def _facts(model: ChestModel, image: Image, method: str) -> dict[str, Any]:
    """What a kept map must agree in, to be used again."""
    return {
        "case_id": image.case_id,
        "image": image.digest,
        "method": method,
        "target": image.asked,
        "probability": image.probability,
        "weights_digest": str(model.card.get("weights_digest", "")),
    }


def _kept(
    folder: AttributionFolder, path: Path, wanted: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The map that lies there, if it answers the same question."""
    try:
        arrays, facts = folder.read_arrays(path, wanted["weights_digest"])
    except HilumError:
        return None
    return (arrays["map"], facts) if facts == wanted and "map" in arrays else None
