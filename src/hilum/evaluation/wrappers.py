"""One model's predictions of an image several times over: with dropout left on, or of several views of it.

References
    Gal Y, Ghahramani Z. Dropout as a Bayesian approximation. ICML (2016).
    Wang G et al. Aleatoric uncertainty estimation with test-time augmentation for medical image segmentation.
        Neurocomputing 338 (2019).
"""

from collections.abc import Sequence
from math import cos, radians, sin

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.errors import ModelError
from hilum.inference.forward import batches
from hilum.inference.runtimes.torch import TorchRuntime
from hilum.models import ChestModel

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

View = tuple[float, float, float, float]
"""Angle in degrees, shift right and down as a share of the image, magnification."""

VIEWS: tuple[View, ...] = (
    (0.0, 0.0, 0.0, 1.0),
    (5.0, 0.0, 0.0, 1.0),
    (-5.0, 0.0, 0.0, 1.0),
    (0.0, 0.04, 0.0, 1.0),
    (0.0, -0.04, 0.0, 1.0),
    (0.0, 0.0, 0.0, 1.08),
)
"""No mirror image: in it the heart would lie on the other side."""


def members_of_images(
    model: ChestModel, cases: Cases, ids: Sequence[str], way: str, passes: int, seed: int
) -> np.ndarray:
    """Probabilities float32 "members images classes" of these images. `way`: "mc_dropout" or "views".

    `cases`: all that a cache of the run holds, so that no image is decoded again. ModelError when the model
    has no dropout to leave on.
    """
    cache = ImageCache.of(cases, model.pixels)
    dropout = way == "mc_dropout"

    def ask(runtime: TorchRuntime, batch: np.ndarray, start: int) -> np.ndarray:
        x = runtime.tensor(batch)
        members = mc_dropout(model, x, passes, seed + start) if dropout else view_members(model, x)
        return members.float().cpu().numpy()

    parts = batches(
        model, cache.images, ask, cache.rows(ids), way.replace("_", " "), workers=1 if dropout else None
    )
    return np.concatenate(parts, axis=1)


def view_members(model: nn.Module, x: Tensor, views: Sequence[View] = VIEWS) -> Tensor:
    """Probabilities of several views of each image, "views batch classes" (Wang 2019); their mean is test-time
    augmentation. `x`: "batch channels rows cols".

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> view_members(model, torch.zeros(3, 1, 4, 4)).shape
    torch.Size([6, 3, 2])
    """
    return torch.stack([model(view_of(x, *view)).softmax(1) for view in views])


def view_of(x: Tensor, angle: float, right: float, down: float, magnified: float) -> Tensor:
    """Images "batch channels rows cols", turned (degrees, anticlockwise), shifted and magnified; edges go on.

    >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> view_of(image, 0, 0.25, 0, 1)[0, 0, 0].tolist()  # one pixel of four to the right
    [0.0, 0.0, 1.0, 2.0]
    """
    if (angle, right, down, magnified) == (0, 0, 0, 1):
        return x
    rows, cols = x.shape[-2:]
    c, s = cos(radians(angle)) / magnified, sin(radians(angle)) / magnified
    # Where each pixel comes from, in -1..1 of each axis; on an oblong image a turn must not shear.
    matrix = torch.tensor(
        [
            [c, -s * rows / cols, -2 * (c * right - s * down * rows / cols)],
            [s * cols / rows, c, -2 * (s * right * cols / rows + c * down)],
        ],
        dtype=x.dtype,
        device=x.device,
    )
    grid = affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def mc_dropout(model: ChestModel, x: Tensor, passes: int, seed: int) -> Tensor:
    """Probabilities "passes batch classes", dropout left on, all else in eval mode (Gal & Ghahramani 2016).

    Where no dropout lies in `features`, these are computed once. The same seed gives the same numbers, and
    the random state of torch stays as it was. ModelError when the model drops nothing.
    """
    if passes < 1:
        raise ModelError(f"{passes} passes with dropout are none", "ask for 1 or more")
    dropouts = [part for part in model.modules() if isinstance(part, DROPOUTS) and part.p > 0]
    if not dropouts:
        raise ModelError(
            "the model has no dropout", "train one with dropout, e.g. --set binary.model.options.dropout=0.2"
        )
    inside = {id(part) for part in model.features.modules()}
    whole = any(id(part) in inside for part in dropouts)
    training = model.training
    model.eval()
    fixed = x if whole else model.pool(model.features(x))
    devices = [x.device] if x.is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for part in dropouts:
                part.train()
            logits = [model(x) if whole else model.head(model.neck(fixed)) for _ in range(passes)]
    finally:
        for part in dropouts:
            part.eval()
        model.train(training)
    return torch.stack(logits).softmax(-1)
