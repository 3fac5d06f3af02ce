"""Anomaly detection: the contract of a detector that has seen healthy images alone, building by name, saving.

Every file in this folder with a `build` is one detector. Its file name is its name in a recipe, and it offers

    build(pixels, **options) -> Detector     options with defaults; RecipeError for a value out of range
    SMALLEST                                 options with which the contract tests run in a second

A dotted name ("my_package.my_detector") loads somebody else's file in the same way. Files without `build` are
helpers: conformal (threshold), coreset (k-centre), crossfit (how a detector ranks its own images); the folder
features/ holds the networks whose patch features the detectors read.

A detector is fitted on `HealthyImages`, which can't be made from an image with another label. So no disease
label and no abnormal image can take part, not even by mistake.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from hilum.builders import built, find_build, with_build
from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY
from hilum.data.images import Pixels
from hilum.errors import DataError, HilumError, ModelError, TrainingError
from hilum.files import digest, read_json, replacing, write_json

FORMAT = 1
SCORE_BATCH = 16
"""Images scored at once; bounds the memory however many are given."""

Advance = Callable[[int, int], None]
"""Called with (done, total) while a detector is fitted."""


# -- what a detector may see ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class HealthyImages:
    """Healthy images, and nothing else: the only thing that a detector is fitted on.

    `pixels`: how the images are prepared; `case_ids`, `patients`: one each per image (a patient is the case
    itself where none is known). The images stay in the memory map of the image cache until they are asked for.

    Make it with `of` (from a cache) or `of_images` (from an array); both raise DataError for an image that is
    not labelled healthy.

    >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
    >>> len(images), [tuple(x.shape) for x in images.batches(2)]
    (3, [(2, 1, 8, 8), (1, 1, 8, 8)])
    >>> HealthyImages.of_images(np.zeros((1, 8, 8), np.uint8), ["virus"], Pixels(size=(8, 8)))
    Traceback (most recent call last):
    ...
    hilum.errors.DataError: image 0 is labelled 'virus', a detector learns from 'normal' images alone; ...
    """

    pixels: Pixels
    case_ids: tuple[str, ...]
    patients: tuple[str, ...]
    source: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(
        cls,
        cache: ImageCache,
        case_ids: Sequence[str],
        labels: Sequence[str],
        pixels: Pixels,
        patients: Sequence[str] | None = None,
    ) -> "HealthyImages":
        """The images of these cases in an image cache; `labels` and `patients` in the order of `case_ids`.

        DataError when a label is not healthy, when there is no image, or when the cache has another size.
        """
        return cls._checked(cache.images, cache.rows(case_ids), tuple(case_ids), labels, pixels, patients)

    @classmethod
    def of_images(
        cls,
        images: np.ndarray,
        labels: Sequence[str],
        pixels: Pixels,
        case_ids: Sequence[str] | None = None,
        patients: Sequence[str] | None = None,
    ) -> "HealthyImages":
        """Prepared images, uint8 "images rows cols" (as `Pixels.prepare` gives them). DataError as in `of`."""
        ids = tuple(case_ids) if case_ids is not None else tuple(map(str, range(len(images))))
        return cls._checked(images, np.arange(len(images)), ids, labels, pixels, patients)

    @classmethod
    def _checked(
        cls,
        source: np.ndarray,
        rows: np.ndarray,
        case_ids: tuple[str, ...],
        labels: Sequence[str],
        pixels: Pixels,
        patients: Sequence[str] | None,
    ) -> "HealthyImages":
        if not len(rows):
            raise DataError("there is no healthy image to learn from", f"label healthy images {HEALTHY!r}")
        patients = tuple(patients) if patients is not None else case_ids
        if not len(rows) == len(case_ids) == len(labels) == len(patients):
            raise DataError(
                f"{len(rows)} images, {len(case_ids)} case ids, {len(labels)} labels and {len(patients)} "
                "patients do not go together",
                "give one of each per image",
            )
        for case, label in zip(case_ids, labels, strict=True):
            if label != HEALTHY:
                raise DataError(
                    f"image {case} is labelled {label!r}, a detector learns from {HEALTHY!r} images alone",
                    "take it out of the images to fit on",
                )
        if source.dtype != np.uint8:
            raise DataError(f"images of type {source.dtype} are not prepared", "use Pixels.prepare first")
        if source.shape[1:] != tuple(pixels.size):
            raise DataError(
                f"the images have the shape {source.shape[1:]}, the pixel contract says {pixels.size}",
                "prepare them with the same Pixels",
            )
        if not (np.isfinite(pixels.mean) and np.isfinite(pixels.sd) and pixels.sd > 0):
            raise DataError(
                f"the pixel contract has mean {pixels.mean} and sd {pixels.sd}", "give finite numbers, sd > 0"
            )
        return cls(pixels, case_ids, patients, source, np.asarray(rows, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> np.ndarray:
        """All images as a new array, uint8 "images rows cols" (16 kB per image of 128 px)."""
        return np.asarray(self.source[self.rows])

    def tensor(self, index: Sequence[int] | np.ndarray | slice) -> Float[Tensor, "batch 1 rows cols"]:
        """Some images in the units that a network sees, float32, in the order asked for."""
        return torch.from_numpy(self.pixels.normalize(np.asarray(self.source[self.rows[index]])))[:, None]

    def batches(self, size: int, seed: int | None = None) -> Iterator[Float[Tensor, "batch 1 rows cols"]]:
        """All images once, `size` at a time, in order or shuffled by a seed. The last may be smaller."""
        order = np.arange(len(self))
        if seed is not None:
            np.random.default_rng(seed).shuffle(order)
        for start in range(0, len(order), size):
            yield self.tensor(order[start : start + size])

    def part(self, index: Sequence[int] | np.ndarray) -> "HealthyImages":
        """Some of the images, by position."""
        where = np.asarray(index, np.int64)
        if not len(where):
            raise DataError("a part without images was asked for", "name one image or more")
        return HealthyImages(
            self.pixels,
            tuple(self.case_ids[i] for i in where),
            tuple(self.patients[i] for i in where),
            self.source,
            self.rows[where],
        )

    def halves(self, seed: int, share: float = 0.5) -> tuple["HealthyImages", "HealthyImages"]:
        """Two parts with no patient in both, the first with about `share` of the patients; for detectors
        that need healthy images which their own network did not learn from."""
        people = sorted(set(self.patients))
        if len(people) < 2:
            raise DataError("healthy images of one patient can't be divided", "give images of more patients")
        np.random.default_rng(seed).shuffle(people)
        count = min(max(round(share * len(people)), 1), len(people) - 1)
        chosen = set(people[:count])
        inside = np.array([person in chosen for person in self.patients])
        return self.part(np.flatnonzero(inside)), self.part(np.flatnonzero(~inside))

    @property
    def digest(self) -> str:
        """Names the set of images by their case ids."""
        return digest(*self.case_ids)


# -- the contract of a detector ------------------------------------------------------------------------------


class Scored(NamedTuple):
    """What a detector says about images.

    score: float32 "batch", higher = stranger. map: float32 "batch rows cols", in image coordinates and raw
    (not rescaled per image), higher = stranger. reconstruction: "batch rows cols" in the units that the
    network sees, or None where the detector makes none.
    """

    score: Float[Tensor, " batch"]
    map: Float[Tensor, "batch rows cols"]
    reconstruction: Float[Tensor, "batch rows cols"] | None = None


class Detector(nn.Module):
    """Base of all detectors. A detector implements `learn` and `measure`; `fit` and `score`, which everybody
    else calls, check what goes in and what comes out.

    All that a fitted detector knows lies in parameters and buffers. Buffers may change their shape in
    `learn`: register them empty, for example `self.register_buffer("memory", torch.empty(0, 0))`.
    """

    pretrained: bool = False
    """True when weights behind it come from elsewhere; such detectors stand in rows of their own."""
    reads: str = ""
    """One sentence for the report: what it was trained on and how it scores."""
    fitted_on: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.pixels = pixels
        self.name = type(self).__module__.rpartition(".")[2]
        self.options: dict[str, Any] = {}
        self.card: dict[str, Any] = {}
        self.register_buffer("fitted_on", torch.zeros((), dtype=torch.int64))

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """To be implemented: fits the parameters and buffers. torch's global generator is already seeded."""
        raise NotImplementedError

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """To be implemented: scores images, each independent of the others. Called in eval mode, no grad."""
        raise NotImplementedError

    def fit(self, images: HealthyImages, seed: int, advance: Advance | None = None) -> None:
        """Learns what healthy images look like; the same images and seed give the same detector.

        DataError when the images were prepared in another way or are fewer than two; TrainingError when a
        fitted number is not finite. The random state of the caller stays as it was.
        """
        if images.pixels != self.pixels:
            raise DataError(
                f"the images were prepared as {images.pixels}, detector {self.name!r} expects {self.pixels}",
                "use one pixel contract for both",
            )
        if len(images) < 2:
            raise DataError(f"{len(images)} healthy image is too few to fit on", "give two or more")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.learn(images, seed, advance or (lambda done, total: None))
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise TrainingError(
                    f"after fitting, {name} of detector {self.name!r} holds NaN or infinity",
                    "lower the learning rate or check the images",
                )
        self.fitted_on.fill_(len(images))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """Scores and maps of images in the units that the network sees (`pixels.normalize` or `.apply`).

        Deterministic; an image scores the same alone and in a batch, within float rounding. ModelError before
        `fit`; DataError for another size or number of channels, for NaN and for no image.
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
        parts = [self.measure(some.float()) for some in x.split(SCORE_BATCH)]
        reconstructions = [part.reconstruction for part in parts if part.reconstruction is not None]
        return Scored(
            torch.cat([part.score for part in parts]).float(),
            torch.cat([part.map for part in parts]).float(),
            torch.cat(reconstructions).float() if reconstructions else None,
        )


def names() -> list[str]:
    """The detectors that this package brings: the files of this folder that offer `build`.

    >>> "patch_memory" in names(), "coreset" in names()
    (True, False)
    """
    return with_build(__name__, __path__)


def build(name: str, pixels: Pixels, options: dict[str, Any] | None = None) -> Detector:
    """A detector that knows nothing yet. RecipeError for an unknown name or option, with the nearest known.

    >>> build("patch_memory", Pixels(size=(64, 64)), {"features": "pixels"}).name
    'patch_memory'
    """
    options = dict(options or {})
    maker = find_build("detector", name, __name__, names(), options, given=1)
    with torch.random.fork_rng(devices=[]):  # first weights are drawn again in `fit`, from its seed
        detector = built("detector", name, maker, pixels, **options)
    detector.name, detector.options = name, options
    return detector


# -- a detector on disk --------------------------------------------------------------------------------------


def save_detector(detector: Detector, folder: Path, card: dict[str, Any] | None = None) -> None:
    """Writes detector.safetensors and, last, detector.json with the digest of the first.

    `card`: further facts for detector.json (seed, images, threshold). ModelError if it has not been fitted.
    """
    if not int(detector.fitted_on):
        raise ModelError(f"detector {detector.name!r} has not been fitted", "call fit before saving")
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    data = save_tensors(tensors)
    with replacing(folder / "detector.safetensors") as temporary:
        temporary.write_bytes(data)
    write_json(
        folder / "detector.json",
        {
            **(card or {}),
            "format": FORMAT,
            "detector": {"name": detector.name, "options": detector.options},
            "pixels": detector.pixels.to_json(),
            "pretrained": detector.pretrained,
            "reads": detector.reads,
            "weights_digest": digest(data),
        },
    )


def load_detector(folder: str | Path) -> Detector:
    """A fitted detector, with what detector.json says in `.card`.

    ModelError when the folder holds none, or when a file is damaged or was changed since it was written.
    """
    folder = Path(folder)
    card = _read_card(folder)
    try:
        data = (folder / "detector.safetensors").read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{folder} has no detector.safetensors", "fit the detector again") from None
    if digest(data) != card["weights_digest"]:
        raise ModelError(
            f"{folder / 'detector.safetensors'} is not the file that detector.json was written for",
            "fit the detector again or restore both files together",
        )
    name = card["detector"]["name"]
    detector = build(name, Pixels.from_json(card["pixels"]), card["detector"]["options"])
    try:
        tensors = load_tensors(data)
        _take_shapes(detector, tensors)
        detector.load_state_dict(tensors)
    except Exception as error:  # safetensors and torch raise many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder} does not hold a {name} ({reason})", "fit it again") from None
    detector.card = card
    return detector.eval().requires_grad_(False)


def _take_shapes(detector: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Buffers take the stored shape: what `learn` filled is still empty in a new detector."""
    for name, buffer in list(detector.named_buffers()):
        if name in tensors and tensors[name].shape != buffer.shape:
            owner, _, short = name.rpartition(".")
            setattr(detector.get_submodule(owner), short, torch.empty_like(tensors[name], dtype=buffer.dtype))


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card = read_json(folder / "detector.json")
    except HilumError as error:
        raise ModelError(error.what, "restore the file or fit the detector again") from None
    found = card.get("format") if isinstance(card, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{folder / 'detector.json'} has format {found!r}, this hilum reads {FORMAT}",
            "fit the detector again or install the hilum version that wrote it",
        )
    missing = [key for key in ("detector", "pixels", "weights_digest") if key not in card]
    if missing:
        raise ModelError(f"{folder / 'detector.json'} lacks {missing[0]!r}", "fit the detector again")
    return card
