"""Learning from images without labels: SimSiam, and the short supervised training that comes after it.

SimSiam (Chen & He, CVPR 2021): two changed views of each image go through one network f and a small predictor
h, and each prediction should point where the other view's vector points, which is held fixed:

    L = D(p1, stop(z2)) / 2 + D(p2, stop(z1)) / 2,     z = f(view), p = h(z),     D(p, z) = -cos(p, z).

It needs neither negative pairs nor a second, averaged network, so it is the smallest method of its kind. That
all images get one and the same vector would be a solution, too; the stop of the gradient keeps the training
away from it, and `spread` says whether it did.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.data.augment import Augment
from hilum.data.augmented import augmented
from hilum.errors import DataError, TrainingError
from hilum.models import ChestModel
from hilum.training.config import Optimizer
from hilum.training.loader import ImageSet
from hilum.training.module import make_optimizer, warmup_cosine

VIEWS = Augment(
    rotate=15,
    translate=0.1,
    scale=0.2,
    crop=0.5,
    brightness=0.2,
    contrast=0.4,
    gamma=0.4,
    blur=1.0,
    noise=0.05,
)
"""What may differ between two views of an image: position, exposure, sharpness; no flip, for the heart has a
side."""

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Pretrained:
    """The `weights` of features and neck; `loss` over the last tenth of the steps, -1 (best) to 1; `spread`
    of the vectors: about 1 when images get vectors of all directions, near 0 when all get the same one."""

    weights: dict[str, Tensor]
    loss: float
    spread: float


def simsiam_loss(
    p1: Float[Tensor, "images dim"],
    p2: Float[Tensor, "images dim"],
    z1: Float[Tensor, "images dim"],
    z2: Float[Tensor, "images dim"],
) -> Tensor:
    """Equation 2 of the paper with its stop of the gradient; -1 where each points exactly at the other.

    >>> e = torch.eye(2)
    >>> float(simsiam_loss(e, e, e, e)), float(simsiam_loss(e, e, e.flip(0), e.flip(0)))
    (-1.0, -0.0)
    """
    first = functional.cosine_similarity(p1, z2.detach(), dim=1).mean()
    second = functional.cosine_similarity(p2, z1.detach(), dim=1).mean()
    return -(first + second) / 2


def pretrain(
    model: ChestModel, images: ImageSet, steps: int, batch_size: int, lr: float, seed: int, advance: Advance
) -> Pretrained:
    """Trains features and neck of `model` on all images of the set; their targets are not used.

    DataError for fewer than two images; TrainingError when the loss is no longer a number.

    >>> from pathlib import Path
    >>> from hilum.data.cache import ImageCache
    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> chance = np.random.default_rng(0)
    >>> cache = ImageCache(chance.integers(0, 256, (2, 32, 32), dtype=np.uint8), {"a": 0, "b": 1}, Path("cache"))
    >>> images = ImageSet(cache, ["a", "b"], np.array([-1, -1]), Pixels(size=(32, 32)))
    >>> model = build("vgg", ["normal", "pneumonia"], images.pixels, {"blocks": [[4]], "dense": [4]})
    >>> found = pretrain(model, images, 2, 2, 1e-3, seed=0, advance=lambda done, total: None)
    >>> -1 <= found.loss <= 1, any(name.startswith("head.") for name in found.weights)
    (True, False)
    """
    if len(images.case_ids) < 2:
        raise DataError("self-supervised training needs two images or more", "add images")
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    with torch.no_grad():
        first = torch.zeros(2, 1, *images.pixels.size, device=device)
        wide = model.eval().embed(first).shape[1]
    project = nn.Sequential(nn.Linear(wide, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Linear(wide, wide))
    project.append(nn.BatchNorm1d(wide, affine=False))
    predict = nn.Sequential(
        nn.Linear(wide, wide // 4 or 1),
        nn.BatchNorm1d(wide // 4 or 1),
        nn.ReLU(),
        nn.Linear(wide // 4 or 1, wide),
    )
    whole = nn.ModuleList([model.features, model.pool, model.neck, project, predict]).to(device)
    optimizer = make_optimizer(whole, Optimizer(lr=lr, weight_decay=1e-4))
    whole.train()
    losses: list[float] = []
    z = torch.zeros(2, wide)
    for step, positions in enumerate(batches(len(images.case_ids), steps, batch_size, seed)):
        _set_rate(optimizer, lr, step, steps)
        z1, z2 = (
            project(model.embed(_images(images, positions, VIEWS, (seed, step, view)).to(device)))
            for view in range(2)
        )
        loss = simsiam_loss(predict(z1), predict(z2), z1, z2)
        _step(optimizer, loss, step)
        losses.append(float(loss.detach()))
        z = z1.detach()
        advance(step + 1, steps)
    model.eval()
    unit = functional.normalize(z, dim=1)
    tail = losses[-max(1, steps // 10) :]
    return Pretrained(
        {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("head.")},
        float(np.mean(tail)),
        float(unit.std(0).mean() * wide**0.5),
    )


def train_briefly(
    model: ChestModel,
    images: ImageSet,
    augment: Augment,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    advance: Advance | None = None,
) -> None:
    """Cross-entropy on the targets of `images` for a fixed number of steps, so that few labels get as many
    steps as many; AdamW, warm-up of a tenth, half a cosine. No epoch is chosen: nothing is measured during
    training.

    DataError for a target of None or below 0: an image without a label must not be trained on.

    >>> from pathlib import Path
    >>> from hilum.data.cache import ImageCache
    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> cache = ImageCache(np.zeros((1, 32, 32), np.uint8), {"a": 0}, Path("cache"))
    >>> images = ImageSet(cache, ["a"], np.array([-1]), Pixels(size=(32, 32)))
    >>> model = build("vgg", ["normal", "pneumonia"], images.pixels, {"blocks": [[4]], "dense": [4]})
    >>> train_briefly(model, images, Augment(), steps=1, batch_size=1, lr=1e-3, seed=0)
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: an image without a label, or of another class, is in the training set; leave it out
    """
    targets = np.asarray(images.targets)
    if targets.dtype.kind != "i" or (targets < 0).any() or (targets >= len(model.classes)).any():
        raise DataError(
            "an image without a label, or of another class, is in the training set", "leave it out"
        )
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    truth = torch.from_numpy(targets).to(device)
    optimizer = make_optimizer(model, Optimizer(lr=lr, weight_decay=1e-2))
    model.train()
    for step, positions in enumerate(batches(len(targets), steps, batch_size, seed)):
        _set_rate(optimizer, lr, step, steps)
        logits = model(_images(images, positions, augment, (seed, step, 2)).to(device))
        _step(optimizer, functional.cross_entropy(logits, truth[positions]), step)
        if advance:
            advance(step + 1, steps)
    model.eval()


def batches(images: int, steps: int, batch_size: int, seed: int) -> list[np.ndarray]:
    """Positions of the images in each step: every image once before any comes again.

    >>> [sorted(map(int, part)) for part in batches(2, 2, 8, 0)]
    [[0, 1], [0, 1]]
    """
    chance = np.random.default_rng((seed, 7))
    size = min(batch_size, images)
    order = np.concatenate([chance.permutation(images) for _ in range(-(-steps * size // images))])
    return [order[start : start + size] for start in range(0, steps * size, size)]


def _images(images: ImageSet, positions: np.ndarray, augment: Augment, seed: tuple[int, ...]) -> Tensor:
    """The images at these positions, each changed at random by seed and position."""
    rows = images.rows[positions]
    changed = [
        augmented(
            augment, np.asarray(images.cache.images[row]), np.random.default_rng((*seed, int(position)))
        )
        for row, position in zip(rows, positions, strict=True)
    ]
    x = torch.from_numpy(images.pixels.standardized(np.stack(changed)))[:, None]
    return x.contiguous(memory_format=torch.channels_last)


def _set_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * warmup_cosine(step, max(1, steps // 10), steps)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(f"the loss is {float(loss)} in step {step + 1}", "lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
