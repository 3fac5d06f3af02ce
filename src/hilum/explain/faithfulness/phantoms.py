"""Explanations of phantoms, whose lesions are known: does each method find them?

What is true of a phantom need not be true of a chest: synthetic lesions are clean and their networks are certain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hilum.artifacts.explanations import Truth, TruthFigure, TruthRow
from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY, Cases
from hilum.data.sources import phantom
from hilum.data.split import used_cases
from hilum.errors import DataError, HilumError
from hilum.evaluation.means import mean_over_patients
from hilum.explain.faithfulness.curves import check_map
from hilum.explain.faithfulness.explainers import BASELINES, Explainer, title_of
from hilum.explain.faithfulness.lesions import lesion_figures
from hilum.models import ChestModel

TOLERANCE = 0.03
"""How far from the mask a peak may lie and still count as a hit, as a share of the shorter side (3 of 96 px).
Zhang et al. allow 15 px on photographs of about 500 px, which is the same share."""


@dataclass(frozen=True)
class PhantomLesions:
    """Abnormal images of a phantom as a network reads them, with the truth.

    `x`: float32 "images 1 rows cols". `masks`: bool "images rows cols" by name (see hilum.data.sources.phantom).
    `predicted_abnormal`: the model's prediction at its threshold, bool "images". `case_ids`, `patients`,
    `labels`: "images".
    """

    x: Tensor
    masks: Mapping[str, np.ndarray]
    predicted_abnormal: np.ndarray
    case_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: np.ndarray) -> "PhantomLesions":
        """Some of the images. `keep`: bool "images".

        >>> names = np.array(["a", "b"])
        >>> images = PhantomLesions(torch.zeros(2, 1, 4, 4), {}, np.array([True, False]), names, names, names)
        >>> images.where(images.predicted_abnormal).case_ids.tolist()
        ['a']
        """
        rows = np.flatnonzero(keep)
        return PhantomLesions(
            self.x[rows],
            {name: mask[rows] for name, mask in self.masks.items()},
            *(
                values[rows]
                for values in (self.predicted_abnormal, self.case_ids, self.patients, self.labels)
            ),
        )


def phantom_lesions(
    cases: Cases,
    split: pd.Series,
    model: ChestModel,
    part: str = "test",
    limit: int | None = None,
    seed: int = 0,
) -> PhantomLesions:
    """The abnormal images of one part of the split of a phantom, one image per patient, as `model` reads them.

    `limit`: so many images, drawn at random. Images whose lesion vanishes at the model's size are left out.
    DataError when the data are no phantom or there is no such image.
    """
    if not (cases.root / "masks").is_dir():
        raise DataError(f"{cases.root} holds no masks", "use a run on phantoms")
    table = cases.table.set_index("case_id", drop=False)
    table = table[(split.reindex(table.index) == part) & (table["label"] != HEALTHY)]
    table = table.drop_duplicates("patient")
    if limit is not None and limit < len(table):
        table = table.sample(limit, random_state=seed).sort_index()
    if table.empty:
        raise DataError(f"part {part!r} of {cases.root} has no abnormal image", "choose train, val or test")
    cache = ImageCache.of(used_cases(cases, split), model.pixels)
    prepared = cache.images[cache.rows(table["case_id"])]
    images = torch.from_numpy(model.pixels.normalize(prepared))[:, None].to(next(model.parameters()).device)
    truths = [phantom.masks_seen(cases, name, model.pixels) for name in table["case_id"]]
    masks = {
        name: np.stack([truth[name] for truth in truths]) for name in ("lesion", "shortcut", "lung", "marker")
    }
    names, patients, labels = (table[key].to_numpy() for key in ("case_id", "patient", "label"))
    lesions = PhantomLesions(images, masks, predicted_abnormal(model, images), names, patients, labels)
    return lesions.where(np.asarray(masks["lesion"].any((1, 2))))


@torch.no_grad()
def predicted_abnormal(model: ChestModel, x: Tensor) -> np.ndarray:
    """Whether a binary model classifies each image as abnormal at the threshold of its card (else 0.5),
    bool "images"."""
    own = model.card.threshold_value if model.card else None
    threshold = 0.5 if own is None else own
    healthy = model.classes.index(HEALTHY)
    shares = torch.cat([model(part).softmax(1)[:, healthy] for part in x.split(32)])
    return (1 - shares).cpu().numpy() >= threshold


def maps_of(model: nn.Module, x: Tensor, target: int, explainer: Explainer, batch: int = 8) -> np.ndarray:
    """The maps of one method for many images, float32 "images rows cols".

    >>> maps_of(nn.Identity(), torch.ones(5, 1, 2, 3), 1, lambda model, x, target: x[:, 0], batch=2).shape
    (5, 2, 3)
    """
    parts = []
    for part in x.split(batch):
        heat = explainer(model, part, target)
        check_map(part, heat)
        parts.append(heat.cpu().numpy())
    return np.concatenate(parts)


def truth_table(
    model: ChestModel,
    images: PhantomLesions,
    methods: Mapping[str, Explainer],
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Every method beside the lesions of phantoms that the model classifies as abnormal: a finding that was
    missed has no explanation. `methods`: see `explainers`; one that fails is a sentence in `failures`.

    DataError when no image or no method is left.
    """
    abnormal = images.where(images.predicted_abnormal)
    if not len(abnormal):
        raise DataError(
            "the model classifies no abnormal image as abnormal", "train it longer or choose another split"
        )
    mask, target = abnormal.masks["lesion"], abnormal_class(model)
    tolerance = round(TOLERANCE * min(mask.shape[1:]))
    table: dict[str, dict[str, TruthFigure]] = {}
    failures: list[str] = []
    for place, (name, explainer) in enumerate(methods.items()):
        try:
            heat = maps_of(model, abnormal.x, target, explainer)
            table[name] = lesion_figures(heat, mask, abnormal.patients, tolerance, replicates, seed)
        except HilumError as error:
            failures.append(f"{name}: {error}")
        if progress:
            progress(place + 1, len(methods))
    if not table:
        raise DataError("no method gave a map", failures[0] if failures else "name one method or more")
    return Truth(
        images=len(abnormal),
        missed=len(images) - len(abnormal),
        lesion_area=mean_over_patients(mask.mean((1, 2)), abnormal.patients, 0, 1),
        tolerance=tolerance,
        rows=[_row(name, figures) for name, figures in table.items()],
        best=max(table, key=lambda name: (table[name]["pointing"].value, table[name]["iou"].value)),
        failures=failures,
    )


def _row(name: str, figures: Mapping[str, TruthFigure]) -> TruthRow:
    kind = "baseline" if name in BASELINES else "method"
    return TruthRow(name=name, title=title_of(name), kind=kind, **figures)


def abnormal_class(model: ChestModel) -> int:
    """The position of the abnormal class of a binary model. DataError for a model of other classes.

    >>> from hilum import models
    >>> from hilum.data.images import Pixels
    >>> abnormal_class(models.build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64))))
    1
    """
    if len(model.classes) != 2 or HEALTHY not in model.classes:
        raise DataError(f"the model's classes are {', '.join(model.classes)}", "use a binary model")
    return 1 - model.classes.index(HEALTHY)
