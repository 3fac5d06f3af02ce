"""Models made of models: calibrated, several at once, one image seen in several ways, dropout left on.

Each takes a model and gives logits "batch classes" for images "batch 1 rows cols", as the model itself does.

References
    Gal Y, Ghahramani Z. Dropout as a Bayesian approximation. ICML (2016).
    Guo C et al. On calibration of modern neural networks. ICML (2017).
    Lakshminarayanan B, Pritzel A, Blundell C. Simple and scalable predictive uncertainty estimation using
        deep ensembles. NeurIPS (2017).
    Wang G et al. Aleatoric uncertainty estimation with test-time augmentation for medical image segmentation.
        Neurocomputing 338 (2019).
"""

from collections.abc import Sequence
from math import cos, radians, sin

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from hilum.errors import ModelError
from hilum.evaluation.answer import scaling_of
from hilum.evaluation.calibration import Scaling
from hilum.models import ChestModel

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

VIEWS = (
    (0.0, 0.0, 0.0, 1.0),
    (5.0, 0.0, 0.0, 1.0),
    (-5.0, 0.0, 0.0, 1.0),
    (0.0, 0.04, 0.0, 1.0),
    (0.0, -0.04, 0.0, 1.0),
    (0.0, 0.0, 0.0, 1.08),
)
"""Angle in degrees, shift right and down as a share of the image, magnification. No mirror image: in it the
heart would lie on the other side."""


class Calibrated(nn.Module):
    """A model whose logits are scaled, so that its stated probabilities come true as often as they say.

    `scaling` comes from `fit_temperature` or `fit_vector`; without it the model's card must hold one
    (ModelError otherwise, or where it was fitted for other weights).

    >>> from hilum.data.images import Pixels
    >>> from hilum.evaluation.calibration import temperature_scaling
    >>> from hilum.models import build
    >>> model = build("vgg", ["well", "abnormal"], Pixels(size=(32, 32)), {"blocks": [[4]], "dense": [4]}).eval()
    >>> x = torch.ones(1, 1, 32, 32)
    >>> torch.allclose(Calibrated(model, temperature_scaling(2.0, 2))(x), model(x) / 2)
    True
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: ChestModel, scaling: Scaling | None = None) -> None:
        super().__init__()
        chosen = scaling or scaling_of(model.card)
        if chosen is None:
            raise ModelError("the model's card holds no calibration", "run: hilum evaluate RUN")
        self.model = model
        self.classes, self.pixels, self.card = model.classes, model.pixels, model.card
        self.register_buffer("scale", torch.tensor(chosen.scale, dtype=torch.float32))
        self.register_buffer("shift", torch.tensor(chosen.shift, dtype=torch.float32))

    def embed(self, x: Tensor) -> Tensor:
        """As the model's own: calibration changes what is said, not what is seen."""
        return self.model.embed(x)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled logits "batch classes"."""
        return self.model(x) * self.scale + self.shift


class Ensemble(nn.Module):
    """The mean probability of several models, given as its logarithm (Lakshminarayanan 2017).

    ModelError when there are none, or when classes or pixel contracts differ.
    """

    def __init__(self, models: Sequence[ChestModel]) -> None:
        super().__init__()
        if not models:
            raise ModelError("an ensemble of no models has no answer", "name one model or more")
        for number, one in enumerate(models):
            if one.classes != models[0].classes or one.pixels != models[0].pixels:
                what = "classes" if one.classes != models[0].classes else "pixels"
                raise ModelError(
                    f"model {number} of the ensemble has other {what} than model 0",
                    "train them on one recipe",
                )
        self.models = nn.ModuleList(models)
        self.classes, self.pixels = models[0].classes, models[0].pixels

    def members(self, x: Tensor) -> Tensor:
        """The probabilities of each, "models batch classes": where they differ, the ensemble is unsure."""
        return torch.stack([one(x).softmax(1) for one in self.models])

    def forward(self, x: Tensor) -> Tensor:
        """Log of the mean probability "batch classes"; its softmax is the mean probability."""
        return _log(self.members(x).mean(0))


class TestTimeAugmented(nn.Module):
    """The mean probability over several views of each image (Wang 2019), given as its logarithm.

    `views`: angle in degrees, shift right and down as a share of the image, magnification; see VIEWS.
    """

    __test__ = False  # the name is the method's, and no test

    def __init__(self, model: ChestModel, views: Sequence[tuple[float, float, float, float]] = VIEWS) -> None:
        super().__init__()
        if not views:
            raise ModelError(
                "no view of the image was named", "name one or more, (0, 0, 0, 1) is the image itself"
            )
        self.model, self.views = model, tuple(views)
        self.classes, self.pixels = model.classes, model.pixels

    def members(self, x: Tensor) -> Tensor:
        """The probabilities of each view, "views batch classes"."""
        return torch.stack([self.model(seen(x, *view)).softmax(1) for view in self.views])

    def forward(self, x: Tensor) -> Tensor:
        """Log of the mean probability "batch classes"."""
        return _log(self.members(x).mean(0))


def seen(x: Tensor, angle: float, right: float, down: float, magnified: float) -> Tensor:
    """Images "batch channels rows cols", turned (degrees, anticlockwise), shifted and magnified; edges go on.

    >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> seen(image, 0, 0.25, 0, 1)[0, 0, 0].tolist()  # one pixel of four to the right
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
    dropped = [one for one in model.modules() if isinstance(one, DROPOUTS) and one.p > 0]
    if not dropped:
        raise ModelError(
            "the model has no dropout", "train one with dropout, e.g. --set binary.model.options.dropout=0.2"
        )
    inside = {id(one) for one in model.features.modules()}
    whole = any(id(one) in inside for one in dropped)
    training = model.training
    model.eval()
    fixed = x if whole else model.pool(model.features(x))
    devices = [x.device] if x.is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for one in dropped:
                one.train()
            drawn = [model(x) if whole else model.head(model.neck(fixed)) for _ in range(passes)]
    finally:
        for one in dropped:
            one.eval()
        model.train(training)
    return torch.stack(drawn).softmax(-1)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
