"""What a GPU gives: the seed report's training of ResNet34, and an exact occlusion map, each beside plain torch.

    python benchmarks/gpu.py                 # on a CUDA device, about three minutes
    python benchmarks/gpu.py --tiny          # anywhere, in seconds: shows that it works, and says nothing of speed

Training: resnet34_gelu with the settings of recipe `seed` (task 1b: 224 px, batches of 32, AdamW, 20 epochs, no
augmentation) on 4,816 images, then 416 for validation after each epoch. The images are noise: their content costs no
time. hilum's time is that of the whole call, from the untrained network to the saved model. Plain torch is the loop of
a notebook: fp32 with TF32 where the device has it, NCHW, uint8 images from as many loader workers; after a first epoch
two are timed and extrapolated to all.

Map: the VGG-like network at 224 px, zero mask of 90 px, stride 1, 18,225 positions, fp32. Plain torch forwards every
masked copy, 256 at a time. Either is done twice and the second time counts; hilum's first map, which plans the work and
compares some positions, is printed too. The largest difference of the two maps is that of fp32 on both sides.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from hilum.artifacts.card import ModelFacts
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.tasks import task as task_of
from hilum.explain.occlusion.occlusion_map import occlusion_map
from hilum.folders import TaskFolder
from hilum.inference.runtimes.torch import choose_device
from hilum.models import build
from hilum.recipe import load_recipe
from hilum.training.config import TaskRecipe
from hilum.training.fit import Hardware, fit_task
from hilum.training.loader import ImageSet

TASK = task_of("multiclass", ("normal", "bacteria", "virus"))
TARGETS = {"training": 60.0, "map": 1.0}
"""Seconds on an H100, of issue 18."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    images: int = 4816
    val: int = 416
    side: int = 224
    epochs: int = 20
    plain_epochs: int = 2
    mask: int = 90
    copies: int = 256


TINY = Size(images=8, val=4, side=32, epochs=1, plain_epochs=1, mask=24, copies=32)


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of wall time, the device's work in them, and what comes out."""
    _wait()
    begin = time.perf_counter()
    value = work()
    _wait()
    return time.perf_counter() - begin, value


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# -- training ------------------------------------------------------------------------------------------------


def noise(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 "images side side", and the index of a class for each."""
    chance = np.random.default_rng(seed)
    return chance.integers(0, 256, (count, side, side), dtype=np.uint8), np.arange(count) % len(TASK.classes)


def image_set(images: np.ndarray, targets: np.ndarray, name: str) -> ImageSet:
    """What `hilum train` would have read from its cache."""
    ids = [f"{name}-{row}" for row in range(len(images))]
    cache = ImageCache(images, {case: row for row, case in enumerate(ids)}, Path("cache"))
    return ImageSet(cache, ids, targets, Pixels(size=images.shape[1:], mean=0.5, sd=0.29))


def seed_recipe(size: Size) -> TaskRecipe:
    """Task 1b of the recipe seed."""
    recipe = load_recipe("seed").tasks[TASK.name]
    pixels = recipe.pixels.model_copy(update={"size": (size.side, size.side)})
    training = recipe.training.model_copy(update={"epochs": size.epochs})
    return recipe.model_copy(update={"pixels": pixels, "training": training})


def ours(size: Size) -> float:
    """Seconds of the training by hilum."""
    train, val = (
        image_set(*noise(size.images, size.side, 0), "train"),
        image_set(*noise(size.val, size.side, 1), "val"),
    )

    def score(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
        return {"accuracy": float((probabilities.argmax(1) == val.targets[positions]).mean())}

    with tempfile.TemporaryDirectory() as place:
        folder = TaskFolder(Path(place) / TASK.name)
        seconds, _ = clocked(
            lambda: fit_task(folder, seed_recipe(size), TASK, train, val, score, ModelFacts())
        )
    return seconds


def plain(size: Size, device: torch.device) -> float:
    """Seconds of the same training by a plain loop, extrapolated from some epochs."""
    recipe, workers = seed_recipe(size), Hardware.choose().workers
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    sets = [
        TensorDataset(*map(torch.from_numpy, noise(count, size.side, seed)))
        for seed, count in enumerate((size.images, size.val))
    ]
    batch, keep = recipe.training.batch_size, workers > 0
    train = DataLoader(
        sets[0], batch, shuffle=True, num_workers=workers, persistent_workers=keep, pin_memory=keep
    )
    val = DataLoader(sets[1], 2 * batch, num_workers=workers, persistent_workers=keep, pin_memory=keep)
    net = build(recipe.model.name, TASK.classes, Pixels(size=(size.side, size.side))).to(device)
    chosen = recipe.training.optimizer
    optimizer = torch.optim.AdamW(net.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay)

    def epochs(count: int) -> None:
        for _ in range(count):
            _plain_epoch(net, optimizer, train, val, device)

    epochs(1)
    seconds, _ = clocked(lambda: epochs(size.plain_epochs))
    return seconds / size.plain_epochs * size.epochs


def _plain_epoch(
    net: nn.Module, optimizer: torch.optim.Optimizer, train: Any, val: Any, device: torch.device
) -> int:
    """One epoch and its validation; the number of validation images that are classified correctly."""

    def prepared(x: Tensor) -> Tensor:
        return (x.to(device, non_blocking=True)[:, None].float() / 255 - 0.5) / 0.29

    net.train()
    for x, target in train:
        optimizer.zero_grad()
        functional.cross_entropy(net(prepared(x)), target.to(device)).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        return sum(int((net(prepared(x)).argmax(1) == target.to(device)).sum()) for x, target in val)


# -- the map -------------------------------------------------------------------------------------------------


def masked_copies(net: nn.Module, x: Tensor, size: Size) -> Tensor:
    """The probability of class 1 at every position, by forwarding every masked copy."""
    places = size.side - size.mask + 1
    values = torch.empty(places * places, device=x.device)
    for begin in range(0, len(values), size.copies):
        copies = x.repeat(min(size.copies, len(values) - begin), 1, 1, 1)
        for number, copy in enumerate(copies, start=begin):
            top, left = divmod(number, places)
            copy[:, top : top + size.mask, left : left + size.mask] = 0
        values[begin : begin + len(copies)] = net(copies).softmax(1)[:, 1]
    return values.view(places, places)


@torch.no_grad()
def maps(size: Size, device: torch.device) -> tuple[float, float, float, float]:
    """Seconds of hilum's first map, of its second and of plain torch's second, and the largest difference."""
    torch.manual_seed(0)
    net = build("vgg", ("normal", "pneumonia"), Pixels(size=(size.side, size.side))).to(device)
    net.eval().requires_grad_(False)
    x = torch.randn(1, 1, size.side, size.side).to(device)
    torch.backends.cudnn.allow_tf32 = False
    first, _ = clocked(lambda: occlusion_map(net, x, 1, size.mask))
    second, exact = clocked(lambda: occlusion_map(net, x, 1, size.mask))
    apart = float((exact - masked_copies(net, x, size)).abs().max())
    torch.backends.cudnn.allow_tf32 = True  # torch's default, for its time
    usual, _ = clocked(lambda: masked_copies(net, x, size))
    return first, second, usual, apart


def main(words: list[str] | None = None) -> None:
    """Prints a line for each of the two."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--tiny", action="store_true")
    size = TINY if parser.parse_args(words).tiny else Size()
    device = torch.device(choose_device("auto"))
    if device.type == "cpu" and size is not TINY:
        parser.error("there is no CUDA device; --tiny works without")
    name = torch.cuda.get_device_name(0) if device.type == "cuda" else "CPU"
    mine, usual = ours(size), plain(size, device)
    print(
        f"{name}, ResNet34, {size.side} px, {size.images} images, {size.epochs} epochs, {Hardware.choose().precision}:"
        f" {mine:.1f} s (aim {TARGETS['training']:.0f} s on an H100); plain torch {usual:.1f} s: {usual / mine:.2f} x"
    )
    first, second, plainly, apart = maps(size, device)
    print(
        f"{name}, exact occlusion map of a VGG-like network, {size.side} px, mask {size.mask}: {second:.2f} s (first"
        f" {first:.2f} s; aim {TARGETS['map']:.0f} s on an H100); plain torch {plainly:.2f} s:"
        f" {plainly / second:.2f} x; largest difference {apart:.1e}"
    )


if __name__ == "__main__":
    main()
