"""Single radiographs through a trained model: what `hilum predict` and the page call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.data.decode import read_grey
from hilum.data.listing import IMAGE_SUFFIXES
from hilum.errors import DataError
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.stage import softmax
from hilum.models import load_model


def predict_files(model_path: str | Path, paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """One dict per file: {"file", "predicted", "probabilities": {class: 0..1}, "threshold"}.

    Folders stand for the images in them. Every file is read before anything is predicted, so a damaged
    one is named at once (DataError) and no half answer is given.
    """
    model = load_model(model_path)
    files = list_images(paths)
    films = torch.stack([model.pixels.apply(read_grey(file)) for file in files])
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in films.split(32)]).double().numpy()
    probabilities = softmax(logits)
    threshold = (model.card.get("threshold") or {}).get("value")
    predicted = predicted_classes(probabilities, model.classes, threshold)
    return [
        {
            "file": str(file),
            "predicted": str(answer),
            "probabilities": dict(zip(model.classes, np.round(row, 6).tolist(), strict=True)),
            "threshold": threshold,
        }
        for file, answer, row in zip(files, predicted, probabilities, strict=True)
    ]


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
