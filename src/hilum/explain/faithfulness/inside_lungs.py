"""The share of each method's evidence that lies inside the lungs, beside that of maps that know nothing."""

from collections.abc import Mapping, Sequence

import numpy as np

from hilum.artifacts.explanations import LungRow, Lungs
from hilum.explain.faithfulness.explainers import BASELINES, Explainer, title_of
from hilum.explain.lungs import card, lung_field, share_inside
from hilum.explain.maps import PreparedImage
from hilum.models import ChestModel


def lung_shares(
    model: ChestModel,
    images: Sequence[tuple[PreparedImage, np.ndarray]],
    methods: Mapping[str, Explainer],
) -> Lungs:
    """Which share of each method's evidence lies inside the lungs, and what baselines score. `images`: each
    with its pixels, uint8 "rows cols" as prepared for the model."""
    tried = {**methods, **BASELINES}
    shares: dict[str, list[float]] = {name: [] for name in tried}
    areas = []
    for image, pixels in images:
        field = lung_field(pixels)
        areas.append(float(field.mean()))
        for name, explainer in tried.items():
            heat = explainer(model, image.x, image.target)[0].cpu().numpy()
            shares[name].append(share_inside(heat, field)[0])
    rows = [
        LungRow(
            name=name,
            title=title_of(name),
            kind="baseline" if name in BASELINES else "method",
            share=_mean(values),
        )
        for name, values in shares.items()
    ]
    return Lungs(images=len(images), area=float(np.mean(areas)), overlap=card().iou.mean, rows=rows)


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None
