"""What the tests of `hilum score` share: a tiny model, small phantoms, an engine without processes."""

from pathlib import Path

import cv2
import numpy as np

from hilum.data.images import Pixels
from hilum.scale.score_worker import Scorer, Settings

CLASSES = ("normal", "bacteria", "virus")


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """A model folder with an untrained network."""
    import torch

    from hilum.artifacts.card import Architecture
    from hilum.models import ModelFacts, build, save_model

    torch.manual_seed(seed)
    options = {"blocks": [[4]], "dense": [4]}
    model = build("vgg", CLASSES, Pixels(size=(32, 40)), options).eval()
    save_model(model, folder, Architecture(name="vgg", options=options), ModelFacts(task="multiclass"))
    return folder


def phantoms(count: int, size: tuple[int, int] = (64, 72)) -> list[np.ndarray]:
    """Small synthetic images, no two alike."""
    from hilum.data.sources.phantom import PhantomSettings, phantom_image

    made = [phantom_image(PhantomSettings(size=size), "normal", person, 0).image for person in range(4)]
    return [
        np.clip(made[number % 4].astype(np.int16) + number, 0, 255).astype(np.uint8)
        for number in range(count)
    ]


def encoded(count: int) -> dict[str, bytes]:
    """name -> bytes of a PNG file."""
    return {
        f"{number:04d}.png": cv2.imencode(".png", image)[1].tobytes()
        for number, image in enumerate(phantoms(count))
    }


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """The files in a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


class InProcess:
    """An engine without processes. It gives the chunks back in another order than it took them."""

    def __init__(self, settings: Settings) -> None:
        self.scorer, self.done = Scorer(settings), []

    def run(self, chunks):
        taken = list(chunks)
        for chunk in reversed(taken):
            self.done.append(chunk.number)
            yield chunk.number, self.scorer.score(chunk, lambda done: None)
