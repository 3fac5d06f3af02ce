"""A detector on disk: detector.safetensors and, written last, detector.json with the digest of the first."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from hilum.anomaly.detector import Detector, build
from hilum.artifacts.anomaly import DetectorCard
from hilum.artifacts.card import Architecture
from hilum.data.images import Pixels
from hilum.errors import HilumError, ModelError
from hilum.files import digest, replacing

WEIGHTS, CARD = "detector.safetensors", "detector.json"


def save_detector(detector: Detector, folder: Path, **facts: Any) -> DetectorCard:
    """Writes detector.safetensors and, last, detector.json with the digest of the first; gives that card back.

    `facts`: further fields of the card, see `DetectorCard`. ModelError if the detector has not been fitted.

    >>> save_detector(build("autoencoder", Pixels(size=(64, 64))), Path("detector"))
    Traceback (most recent call last):
        ...
    hilum.errors.ModelError: detector 'autoencoder' has not been fitted; call fit before saving
    """
    if not int(detector.fitted_on):
        raise ModelError(f"detector {detector.name!r} has not been fitted", "call fit before saving")
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    data = save_tensors(tensors)
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(data)
    known = {
        "detector": Architecture(name=detector.name, options=detector.options),
        "pixels": detector.pixels.to_contract(),
        "pretrained": detector.pretrained,
        "description": detector.description,
        "weights_digest": digest(data),
    }
    card = DetectorCard.model_validate({**facts, **known})
    card.save(folder / CARD)
    return card


def load_detector(folder: str | Path) -> Detector:
    """A fitted detector, with detector.json as its `card`.

    ModelError when the folder holds none, or when a file is damaged or was changed since it was written.

    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from hilum.anomaly.healthy import HealthyImages
    >>> images = HealthyImages.of_images(np.zeros((3, 16, 16), np.uint8), ["normal"] * 3, Pixels(size=(16, 16)))
    >>> detector = build("patch_memory", images.pixels, {"features": "pixels", "memory": 4})
    >>> detector.fit(images, seed=0)
    >>> with TemporaryDirectory() as folder:
    ...     _ = save_detector(detector, Path(folder), seed=0)
    ...     load_detector(Path(folder)).card.seed
    0
    """
    folder = Path(folder)
    card = _read_card(folder)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{folder} has no {WEIGHTS}", "fit the detector again") from None
    if digest(data) != card.weights_digest:
        raise ModelError(
            f"{folder / WEIGHTS} is not the file that {CARD} was written for",
            "fit the detector again or restore both files together",
        )
    detector = build(card.detector.name, Pixels.of(card.pixels), card.detector.options)
    try:
        tensors = load_tensors(data)
        _take_shapes(detector, tensors)
        detector.load_state_dict(tensors)
    except Exception as error:  # safetensors and torch raise many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{folder} does not hold a {card.detector.name} ({reason})", "fit it again"
        ) from None
    detector.card = card
    return detector.eval().requires_grad_(False)


def _take_shapes(detector: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Buffers take the stored shape: those that `learn` fills are still empty in a new detector."""
    for name, buffer in list(detector.named_buffers()):
        if name in tensors and tensors[name].shape != buffer.shape:
            owner, _, short = name.rpartition(".")
            setattr(detector.get_submodule(owner), short, torch.empty_like(tensors[name], dtype=buffer.dtype))


def _read_card(folder: Path) -> DetectorCard:
    try:
        return DetectorCard.load(folder / CARD)
    except HilumError as error:
        raise ModelError(error.what, "restore the file or fit the detector again") from None
