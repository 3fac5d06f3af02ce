"""The one forward loop: prepared images, batch by batch, through a model.

Everything that asks a trained classifier about many images comes through here: evaluation, embedding,
robustness, and `hilum predict` by way of the predictor.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from hilum.ahead import on_cores
from hilum.inference.calibrate import softmax as softmax
from hilum.inference.runtimes.torch import TorchRuntime
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.threads import cores

BATCH = 64
"""Images that go through the network together."""

Output = TypeVar("Output")


def batches(
    model: ChestModel,
    images: np.ndarray,
    ask: Callable[[TorchRuntime, np.ndarray, int], Output],
    rows: np.ndarray | None = None,
    what: str = "",
    device: str = "auto",
    workers: int | None = None,
) -> list[Output]:
    """`ask(runtime, batch, start)` of each batch, in order. `images`: uint8 "images rows cols", in memory or
    mapped from disk; `rows`: which of them and in which order, None: all; `batch`: normalised float32;
    `start`: the position of its first image; `what`: the words beside the progress bar; `workers`: so many batches
    are worked on at a time, each by one thread; None: as many as there are cores, 1 for an `ask` that changes the model
    or draws random numbers.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32)))
    >>> batches(model, np.zeros((70, 32, 32), np.uint8), lambda runtime, batch, start: (start, batch.shape))
    [(0, (64, 32, 32)), (64, (6, 32, 32))]
    """
    order = np.arange(len(images)) if rows is None else rows
    starts = range(0, len(order), BATCH)
    with TorchRuntime(model, device).placed() as runtime, advancing(what or "predicting") as advance:

        def step(start: int) -> Output:
            prepared = np.asarray(images[order[start : start + BATCH]])
            with torch.inference_mode():
                return ask(runtime, model.pixels.normalize(prepared), start)

        outputs = []
        for output in on_cores(step, starts, _workers(workers, runtime, len(starts))):
            outputs.append(output)
            advance(min(len(outputs) * BATCH, len(order)), len(order))
    return outputs


def _workers(wanted: int | None, runtime: TorchRuntime, steps: int) -> int:
    """One thread asks a GPU; on the CPU each core has its own batch."""
    return max(1, min(wanted or (cores() if runtime.device == "cpu" else 1), steps))


def logits_of(
    model: ChestModel, images: np.ndarray, rows: np.ndarray | None = None, what: str = "predicting"
) -> np.ndarray:
    """float64 logits "images classes" of prepared uint8 images (see `batches`).

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32)))
    >>> logits_of(model, np.zeros((3, 32, 32), np.uint8)).shape
    (3, 2)
    """
    parts = batches(model, images, lambda runtime, batch, _: runtime.logits(batch), rows, what)
    return np.concatenate(parts) if parts else np.zeros((0, len(model.classes)))


def vectors_of(
    model: ChestModel,
    images: np.ndarray,
    layers: Sequence[str],
    rows: np.ndarray | None = None,
    what: str = "embedding",
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """float64 logits "images classes", and float32 vectors "images dim" by layer (see `batches`).

    RecipeError for a layer that the model lacks.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32)))
    >>> logits, vectors = vectors_of(model, np.zeros((3, 32, 32), np.uint8), ["embedding"])
    >>> logits.shape, vectors["embedding"].shape
    ((3, 2), (3, 128))
    """
    TorchRuntime(model).check_layers(layers)
    parts = batches(model, images, lambda runtime, batch, _: runtime.embed(batch, layers), rows, what)
    if not parts:
        return np.zeros((0, len(model.classes))), {name: np.zeros((0, 0), np.float32) for name in layers}
    return (
        np.concatenate([logits for logits, _ in parts]),
        {name: np.concatenate([vectors[name] for _, vectors in parts]) for name in layers},
    )
