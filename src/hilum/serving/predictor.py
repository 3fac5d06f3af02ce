"""Single images through the models of the package: nothing to train, one answer with its doubts.

Three networks look at each image. Two are classifiers: normal vs pneumonia, and normal, bacteria or virus. The
third, a detector, says how unlike the images of the training set it is. Both classifiers say first whether the
image is abnormal, each by the threshold of its card; an abnormal image is then called by the likelier kind. "I do not
know" is an answer: when the image is strange, or when the two classifiers contradict each other.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.anomaly import Detector, load_detector
from hilum.anomaly.conformal import p_values
from hilum.data.cases import HEALTHY
from hilum.data.decode import read_grey
from hilum.errors import ModelError
from hilum.evaluation.answer import UNKNOWN, answer
from hilum.evaluation.decision import called_in_two_steps
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.predict import list_images
from hilum.evaluation.show import columns
from hilum.evaluation.stage import softmax
from hilum.explain.attribution import explain
from hilum.explain.network.layers import last_layer
from hilum.files import read_arrays
from hilum.models import ChestModel, load_model
from hilum.report.explanations.png import write_pictures
from hilum.serving.pack import WEIGHTS

HEAT = "layer_cam"
"""The method of the heat maps; hilum/explain/methods has the others."""

HEAT_STRIDE = 16
"""A position of the map for every so many rows that the network reads: finer than the last layer's."""

BATCH = 32


@dataclass(frozen=True)
class Packaged:
    """`known`: scores of held-back images, sorted; `rate`: a p-value of at most this is called strange."""

    binary: ChestModel
    multiclass: ChestModel
    detector: Detector
    known: np.ndarray
    rate: float


@cache
def packaged(folder: Path = WEIGHTS) -> Packaged:
    """The models that the package brings, read once. ModelError when one is missing or was changed."""
    missing = [name for name in ("binary", "multiclass", "anomaly") if not (folder / name).is_dir()]
    if missing:
        raise ModelError(f"{folder} lacks the model {missing[0]!r}", "install hilum again, or give --model")
    detector = load_detector(folder / "anomaly")
    return Packaged(
        load_model(folder / "binary"),
        load_model(folder / "multiclass"),
        detector,
        read_arrays(folder / "anomaly" / "golden.npz")["known"].astype(float),
        float(detector.card["threshold"]["rate"]),
    )


def predict_packaged(
    paths: Sequence[str | Path], heat_maps: Path | None = None, models: Packaged | None = None
) -> list[dict[str, Any]]:
    """One dict per image: "file"; "predicted", a class or "abstained"; "why", a sentence where it is the
    latter; "abnormal", true or false by the card's threshold; "pneumonia", the probability of that, and
    "probabilities" of the three classes, both calibrated where the cards say how; "set", the classes that
    hold the truth at least as often as "promised" says (0 to 1), the called one among them, or None;
    "strange", {"p_value", "flagged"}; "heat_map", a file or None.

    Folders stand for the images in them. Every image is read before anything is predicted (DataError for one
    that is damaged). With `heat_maps` a picture per image is written there: LayerCAM of the likeliest of the
    three classes.
    """
    models = models or packaged()
    files = list_images(paths)
    images = [read_grey(file) for file in files]
    raw = _logits(models.binary, images)
    predicted = predicted_classes(softmax(raw), models.binary.classes, _threshold(models.binary))
    abnormal = answer(_card(models.binary), raw)["probabilities"][:, 1]
    raw_kinds = _logits(models.multiclass, images)
    said = answer(_card(models.multiclass), raw_kinds)
    kinds = said["probabilities"]
    calls = _calls(models.multiclass, softmax(raw_kinds))
    with torch.inference_mode():
        x = torch.stack([models.detector.pixels.apply(image) for image in images])
        p = p_values(models.detector.score(x).score.double().numpy(), models.known)
    rows = []
    for place, file in enumerate(files):
        kind = str(calls[place])
        strange = bool(p[place] <= models.rate)
        ill = bool(predicted[place] != HEALTHY)
        why = _doubt(ill, float(abnormal[place]), kind, float(p[place]) if strange else None)
        rows.append(
            {
                "file": str(file),
                "predicted": UNKNOWN if why else kind,
                "why": why,
                "pneumonia": round(float(abnormal[place]), 6),
                "abnormal": ill,
                "probabilities": dict(
                    zip(models.multiclass.classes, np.round(kinds[place], 6).tolist(), strict=True)
                ),
                "set": None if said["sets"] is None else _with(kind, said["sets"][place], models.multiclass),
                "promised": None if said["alpha"] is None else 1 - said["alpha"],
                "strange": {"p_value": round(float(p[place]), 6), "flagged": strange},
                "heat_map": None,
            }
        )
    if heat_maps is not None:
        names = _names(files)
        for row, image, name in zip(rows, images, names, strict=True):
            row["heat_map"] = str(_heat_map(models.multiclass, image, name, row["probabilities"], heat_maps))
    return rows


def _with(kind: str, found: list[str], model: ChestModel) -> list[str]:
    """The set with the class that is called: the call has two steps, so its class may be missing, and a
    larger set holds the truth no less often."""
    return [name for name in model.classes if name in found or name == kind]


def _doubt(ill: bool, abnormal: float, kind: str, p: float | None) -> str:
    """Why there is no answer; empty when there is one. `p` is given for an out-of-distribution image only.

    >>> _doubt(True, 0.9, "virus", None), _doubt(False, 0.05, "virus", None)
    ('', 'the models disagree: P(pneumonia) = 0.05 is below its threshold, yet by its kind it is virus')
    """
    if p is not None:
        return f"the image is unlike those that the models know (p = {p:.3f})"
    if ill != (kind != HEALTHY):
        side = "above" if ill else "below"
        return (
            f"the models disagree: P(pneumonia) = {abnormal:.2f} is {side} its threshold, "
            f"yet by its kind it is {kind}"
        )
    return ""


def _calls(model: ChestModel, probabilities: np.ndarray) -> np.ndarray:
    """What the network of the kinds calls each image: the likeliest class where its card has no threshold."""
    steps = model.card.get("two_steps")
    if not steps:
        return np.array(model.classes)[probabilities.argmax(1)]
    return called_in_two_steps(probabilities, model.classes, steps["threshold"])


def _threshold(model: ChestModel) -> float | None:
    return (model.card.get("threshold") or {}).get("value")


def _card(model: ChestModel) -> dict[str, Any]:
    return {**model.card, "classes": list(model.classes)}


@torch.inference_mode()
def _logits(model: ChestModel, images: Sequence[np.ndarray]) -> np.ndarray:
    x = torch.stack([model.pixels.apply(image) for image in images])
    return torch.cat([model(part) for part in x.split(BATCH)]).double().numpy()


def _heat_map(
    model: ChestModel, image: np.ndarray, name: str, probabilities: dict[str, float], folder: Path
) -> Path:
    asked = max(probabilities, key=lambda one: probabilities[one])
    x = model.pixels.apply(image)[None]
    layer = last_layer(model, x, HEAT_STRIDE)
    values = explain(HEAT, model, x, model.classes.index(asked), {"layer": layer})[0].numpy()
    maps = {HEAT: ("LayerCAM", values)}
    sheet = write_pictures(name, image, model.pixels, asked, maps, None, folder / name)[0]
    final = folder / f"{name}.png"
    sheet.replace(final)
    (folder / name / f"{HEAT}.png").unlink()
    (folder / name).rmdir()
    return final


def _names(files: Sequence[Path]) -> list[str]:
    """A name for each picture: the image's, with a number where two images share it.

    >>> _names([Path("a/x.png"), Path("b/x.png")])
    ['x', 'x-2']
    """
    seen: dict[str, int] = {}
    names = []
    for file in files:
        seen[file.stem] = seen.get(file.stem, 0) + 1
        names.append(file.stem if seen[file.stem] == 1 else f"{file.stem}-{seen[file.stem]}")
    return names


def packaged_text(rows: list[dict[str, Any]], form: str) -> str:
    """The answers as 'table', 'json' or 'csv'."""
    if form == "json":
        return json.dumps(rows, indent=2)
    classes = list(rows[0]["probabilities"])
    head = ["file", "predicted", "pneumonia", *classes, "set", "p_value_known", "why"]
    if any(row["heat_map"] for row in rows):
        head.append("heat_map")
    body = [
        [
            row["file"],
            row["predicted"],
            f"{row['pneumonia']:.4f}",
            *(f"{row['probabilities'][name]:.4f}" for name in classes),
            _set_text(row["set"]),
            f"{row['strange']['p_value']:.4f}",
            row["why"],
            *([row["heat_map"] or ""] if "heat_map" in head else []),
        ]
        for row in rows
    ]
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([head, *body])
        return text.getvalue().rstrip("\n")
    return "\n".join(columns([tuple(head), *map(tuple, body)])) + "\n\n" + _note(rows[0]["promised"])


def _set_text(kinds: list[str] | None) -> str:
    """One word for the table; "none" where no class is likely enough.

    >>> _set_text(["bacteria", "virus"]), _set_text([]), _set_text(None)
    ('bacteria or virus', 'none', '')
    """
    return "" if kinds is None else " or ".join(kinds) or "none"


def _note(promised: float | None) -> str:
    promise = (
        ""
        if promised is None
        else f"set: holds the truth for {promised:.0%} of images like those it was set on. "
    )
    return (
        f"{promise}p_value_known: small when the image is unlike all that the models know.\n"
        "Research use only; not a medical device."
    )
