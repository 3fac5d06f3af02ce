"""The contract of a detector: fit on healthy images, score any image; building by name."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.anomaly import detectors
from hilum.anomaly.healthy import HealthyImages
from hilum.artifacts.anomaly import DetectorCard
from hilum.builders import built, find_build, with_build
from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError, TrainingError
from hilum.progress import Advance

SCORE_BATCH = 16
"""Images scored at once; bounds the memory however many are given."""


def no_progress(done: int, total: int) -> None:
    """Does nothing: for a fit without a progress bar."""


class Scored(NamedTuple):
    """What a detector finds in images.

    score: the anomaly score, float32 "batch", higher = more anomalous. map: float32 "batch rows cols", in image
    coordinates and raw (not rescaled per image), higher = more anomalous. reconstruction: "batch rows cols" in the
    units that the network sees, or None where the detector makes none.
    """

    score: Float[Tensor, " batch"]
    map: Float[Tensor, "batch rows cols"]
    reconstruction: Float[Tensor, "batch rows cols"] | None = None


class Detector(nn.Module):
    """Base of all detectors. A detector implements `learn` and `measure`; callers use `fit` and `score`, which
    check input and output.

    What a detector has learnt lies in parameters and buffers. Buffers may change their shape in `learn`: register
    them empty, for example `self.register_buffer("memory", torch.empty(0, 0))`. `card`: the facts of a detector
    that was loaded from disk.
    """

    pretrained: bool = False
    """True when it uses weights from elsewhere; such detectors take no part in the ensemble."""
    description: str = ""
    """One sentence for the report: what it is trained on and how it scores."""
    fitted_on: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.pixels = pixels
        self.name = type(self).__module__.rpartition(".")[2]
        self.options: dict[str, Any] = {}
        self.card: DetectorCard | None = None
        self.register_buffer("fitted_on", torch.zeros((), dtype=torch.int64))

    @property
    def device(self) -> torch.device:
        """Where parameters and buffers lie; `to` moves them.

        >>> build("patch_memory", Pixels(size=(64, 64)), {"features": "pixels"}).device
        device(type='cpu')
        """
        return self.fitted_on.device

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """To be implemented: fits the parameters and buffers. torch's global generator is already seeded. What is new
        goes to `images.device`, where the images are."""
        raise NotImplementedError

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """To be implemented: scores images, each independent of the others. Called in eval mode, no grad."""
        raise NotImplementedError

    def fit(self, images: HealthyImages, seed: int, advance: Advance | None = None) -> None:
        """Fits on healthy images, on the device of the detector; the same images and seed give the same detector, on
        devices of one kind.

        DataError when the images were prepared in another way or are fewer than two; TrainingError when a
        fitted number is not finite. The random state of the caller stays as it was.

        >>> import numpy as np
        >>> images = HealthyImages.of_images(np.zeros((3, 16, 16), np.uint8), ["normal"] * 3, Pixels(size=(16, 16)))
        >>> detector = build("patch_memory", images.pixels, {"features": "pixels", "memory": 4})
        >>> detector.fit(images, seed=0)
        >>> int(detector.fitted_on)
        3
        """
        if images.pixels != self.pixels:
            raise DataError(
                f"the images were prepared as {images.pixels}, detector {self.name!r} expects {self.pixels}",
                "use one pixel contract for both",
            )
        if len(images) < 2:
            raise DataError(f"{len(images)} healthy image is too few to fit on", "give two or more")
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.learn(images.on(self.device), seed, advance or no_progress)
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise TrainingError(
                    f"after fitting, {name} of detector {self.name!r} holds NaN or infinity",
                    "lower the learning rate or check the images",
                )
        self.fitted_on.fill_(len(images))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, x: Tensor) -> Scored:
        """Scores and maps of images "batch 1 rows cols" in the units that the network sees (`pixels.normalize`). They
        are computed on the detector's device, wherever the images lie, and come back on the CPU.

        Deterministic; an image scores the same alone and in a batch, within float rounding. ModelError before
        `fit`; DataError for another size or number of channels, for NaN and for no image.

        >>> import numpy as np
        >>> black, white = np.zeros((2, 16, 16), np.uint8), np.full((1, 16, 16), 255, np.uint8)
        >>> images = HealthyImages.of_images(np.concatenate([black, white]), ["normal"] * 3, Pixels(size=(16, 16)))
        >>> detector = build("patch_memory", images.pixels, {"features": "pixels", "memory": 1})
        >>> detector.fit(images, seed=0)
        >>> scored = detector.score(images.tensor([0, 2]))
        >>> scored.score, tuple(scored.map.shape)
        (tensor([16.9706,  0.0000]), (2, 16, 16))
        """
        if not int(self.fitted_on):
            raise ModelError(f"detector {self.name!r} has not been fitted", "call fit with healthy images")
        expected = (self.pixels.channels, *self.pixels.size)
        if x.ndim != 4 or tuple(x.shape[1:]) != expected:
            raise DataError(
                f"images of shape {tuple(x.shape)} do not fit detector {self.name!r}",
                f"give (batch, {', '.join(map(str, expected))})",
            )
        if not len(x):
            raise DataError("there is no image to score", "give one or more")
        if not torch.isfinite(x).all():
            image = int((~torch.isfinite(x)).flatten(1).any(1).int().argmax())
            raise DataError(f"image {image} of the batch holds NaN or infinity", "prepare it again")
        self.eval()
        parts = [self.measure(some.to(self.device).float()) for some in x.split(SCORE_BATCH)]
        reconstructions = [part.reconstruction for part in parts if part.reconstruction is not None]
        return Scored(
            torch.cat([part.score for part in parts]).float().cpu(),
            torch.cat([part.map for part in parts]).float().cpu(),
            torch.cat(reconstructions).float().cpu() if reconstructions else None,
        )


def names() -> list[str]:
    """The detectors that this package brings: the files in detectors/ that offer `build`.

    >>> names()[:2]
    ['autoencoder', 'denoising_autoencoder']
    """
    return with_build(detectors.__name__, detectors.__path__)


def build(name: str, pixels: Pixels, options: dict[str, Any] | None = None) -> Detector:
    """A detector that is not fitted yet. RecipeError for an unknown name or option, with the nearest known one.

    >>> build("patch_memory", Pixels(size=(64, 64)), {"features": "pixels"}).name
    'patch_memory'
    """
    options = dict(options or {})
    maker = find_build("detector", name, detectors.__name__, names(), options, given=1)
    with torch.random.fork_rng(devices=[]):  # `fit` draws the first weights again, from its seed
        detector = built("detector", name, maker, pixels, **options)
    detector.name, detector.options = name, options
    return detector
