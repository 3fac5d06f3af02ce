"""Single radiographs through a trained model: what `hilum predict` and the page call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.data.decode import read_grey
from hilum.data.listing import IMAGE_SUFFIXES
from hilum.errors import DataError
from hilum.evaluation.answer import with_answers
from hilum.evaluation.evaluate import predicted_classes
from hilum.inference.forward import softmax
from hilum.models import load_model


def predict_files(model_path: str | Path, paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """One dict per file: {"file", "predicted", "probabilities": {class: 0..1}, "threshold", ...}.

    Where the model's card says how, the probabilities are calibrated, and "answer" is a list of classes that
    holds the truth in a share of 1 - "alpha" of images, with "unknown" true where that says nothing (see
    `hilum.evaluation.answer`). "threshold" is one of "uncalibrated", from which "predicted" follows.

    Folders stand for the images in them. Every file is read before anything is predicted, so a damaged
    one is named at once (DataError) and no half answer is given.
    """
    model = load_model(model_path)
    files = list_images(paths)
    images = torch.stack([model.pixels.apply(read_grey(file)) for file in files])
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in images.split(32)]).double().numpy()
    probabilities = softmax(logits)
    threshold = (model.card.get("threshold") or {}).get("value")
    predicted = predicted_classes(probabilities, model.classes, threshold)
    rows = [
        {
            "file": str(file),
            "predicted": str(name),
            "probabilities": dict(zip(model.classes, np.round(row, 6).tolist(), strict=True)),
            "threshold": threshold,
        }
        for file, name, row in zip(files, predicted, probabilities, strict=True)
    ]
    return with_answers(rows, {**model.card, "classes": list(model.classes)}, logits)


def list_images(paths: Sequence[str | Path]) -> list[Path]:
    """The files themselves, folders replaced by the images in them, in order of name."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"folder {path} holds no images", "name image files or another folder")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"image {path} does not exist", "check the path")
    return files
