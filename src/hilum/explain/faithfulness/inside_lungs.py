"""The share of each method's evidence that lies inside the lungs, beside that of maps that know nothing."""

from collections.abc import Mapping, Sequence

import numpy as np

from hilum.artifacts.explanations import LungRow, Lungs
from hilum.evaluation.means import mean_over_patients
from hilum.explain.faithfulness.explainers import BASELINES, Explainer, title_of
from hilum.explain.lung_share import lungs_seen, share_inside
from hilum.explain.maps import PreparedImage
from hilum.lungs.card import card
from hilum.models import ChestModel


def lung_shares(
    model: ChestModel,
    images: Sequence[tuple[PreparedImage, np.ndarray]],
    methods: Mapping[str, Explainer],
    patients: Mapping[str, str] | None = None,
) -> Lungs:
    """Which share of each method's evidence lies inside the lungs, and what baselines score. `images`: each
    with the radiograph as decoded, grey "rows cols"; `patients`: by case_id, None: each image has its own.

    >>> import torch
    >>> from hilum.data.images import Pixels
    >>> from hilum.data.sources.phantom import draw
    >>> from hilum.models import build
    >>> radiograph = draw(np.random.default_rng(5), "normal").image
    >>> model = build("vgg", ["normal", "virus"], Pixels(size=(32, 32)), {"blocks": [[4]], "dense": [4]})
    >>> image = PreparedImage("a", model.pixels.apply(radiograph)[None], "virus", 1, 0.9, "")
    >>> [row.name for row in lung_shares(model.eval(), [(image, radiograph)], {}).rows]
    ['random', 'edges', 'centre']
    """
    tried = {**methods, **BASELINES}
    shares: dict[str, list[float]] = {name: [] for name in tried}
    areas = []
    for image, radiograph in images:
        field = lungs_seen(model.pixels, radiograph)
        areas.append(float(field.mean()))
        for name, explainer in tried.items():
            heat = explainer(model, image.x, image.target)[0].cpu().numpy()
            shares[name].append(share_inside(heat, field)[0])
    people = [(patients or {}).get(image.case_id, image.case_id) for image, _ in images]
    rows = [
        LungRow(
            name=name,
            title=title_of(name),
            kind="baseline" if name in BASELINES else "method",
            share=mean_over_patients(values, people, 0, 1),
        )
        for name, values in shares.items()
    ]
    area = mean_over_patients(areas, people, 0, 1)
    return Lungs(images=len(images), area=area, overlap=card().iou.mean, rows=rows)
