"""Attribution maps for the page: a grey picture on the frame of the whole image, and how faithful the map is.

Each lane of work has a copy of the network of its own: gradient methods hang hooks on it, and predictions go on
meanwhile.
"""

import base64
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from hilum.data.images import Pixels
from hilum.data.place import Place
from hilum.errors import HilumError, ModelError, nearest
from hilum.explain.attribution import explain, load_method
from hilum.explain.faithfulness.curves import deletion
from hilum.explain.faithfulness.explainers import BASELINES
from hilum.explain.lung_share import lungs_seen, share_inside
from hilum.explain.network.layers import last_layer
from hilum.inference.finding_rules import FindingRules
from hilum.inference.runtimes.torch import TorchRuntime
from hilum.models import ChestModel
from hilum.report.heat import drawable
from hilum.serving.attribution import STRIDE
from hilum.web.models import Served

SLOW = ("integrated_gradients", "occlusion", "rise", "smooth_grad")
"""Methods that take seconds: they become jobs."""

SIDE = 512
"""Longest side of the picture of a map."""

STEPS = 8
"""Points of a deletion curve."""


@dataclass(frozen=True)
class Seen:
    """What a model sees of an image. `prepared`: uint8 "rows cols"; `place`: where that lies in the image of `shape`;
    `grey`: a small grey copy of the whole image."""

    prepared: np.ndarray
    place: Place
    shape: tuple[int, int]
    grey: np.ndarray

    @classmethod
    def of(cls, facts: dict[str, Any], payload: bytearray, pixels: Pixels) -> "Seen":
        """From the reply of the task "explain" (hilum.web.tasks).

        >>> facts = {"place": vars(Place(0, 0, 1, 1)), "shape": [4, 4], "copy": [2, 2]}
        >>> Seen.of(facts, bytearray(range(8)), Pixels(size=(2, 2))).grey.tolist()
        [[4, 5], [6, 7]]
        """
        values = np.frombuffer(payload, np.uint8)
        count = pixels.size[0] * pixels.size[1]
        place = {**facts["place"], "content": tuple(facts["place"]["content"])}
        rows, cols = facts["shape"]
        return cls(
            values[:count].reshape(pixels.size),
            Place(**place),
            (rows, cols),
            values[count:].reshape(facts["copy"]),
        )


class Lane:
    """A place where maps are made, one at a time, with copies of the networks. `last`: passes of the network that each
    method took the last time, for the time left."""

    def __init__(self) -> None:
        self._copies: dict[str, ChestModel] = {}
        self._passes: dict[tuple[str, str], int] = {}

    def explained(
        self,
        served: Served,
        seen: Seen,
        method: str,
        target: str | None,
        checks: bool = True,
        report: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> dict[str, Any]:
        """The answer of POST /v1/explain. `report`: called with the passes through the network done and, where that
        is known, to do; what it raises ends the work.

        RecipeError for an unknown method, ModelError for an unknown class or a model without gradients; each names the
        nearest known.

        >>> grey = np.arange(128 * 128, dtype=np.uint32).reshape(128, 128).astype(np.uint8)
        >>> seen = Seen(grey, Place(0, 0, 1, 1), (128, 128), grey)
        >>> shown = Lane().explained(Served("packaged", "cpu"), seen, "saliency", "virus", checks=False)
        >>> shown["target"], shown["signed"], shown["map"][:15]
        ('virus', True, 'data:image/png;')
        """
        module = load_method(check_method(method))
        model = self._model(served)
        x = TorchRuntime(model, served.device).tensor(model.pixels.normalize(seen.prepared)[None])
        name = target or self._most_probable(model, x)
        if name not in model.classes:
            raise ModelError(f"the model has no class {name[:80]!r}", nearest(name[:80], model.classes))
        number = model.classes.index(name)
        options = {"layer": last_layer(model, x, STRIDE)} if "cam" in method else {}
        with _counted(model, report, self._passes.get((served.id, method))) as passes:
            heat = explain(method, model, x, number, options)
        self._passes[served.id, method] = max(1, passes[0])
        values = heat[0].float().cpu().numpy()
        if not np.isfinite(values).all():
            raise HilumError(
                f"{module.TITLE} gives values that are not numbers for this image", "take another method"
            )
        png, low, high = map_picture(drawable(values, method), seen.place, seen.shape, module.SIGNED)
        return {
            "method": method,
            "title": module.TITLE,
            "source": module.SOURCE,
            "signed": module.SIGNED,
            "target": name,
            "map": data_uri(png),
            "low": low,
            "high": high,
            "faithfulness": faithfulness(model, x, number, heat, seen) if checks else None,
        }

    @staticmethod
    def _most_probable(model: ChestModel, x: Tensor) -> str:
        with torch.inference_mode():
            return model.classes[int(model(x).argmax())]

    def _model(self, served: Served) -> ChestModel:
        if served.id not in self._copies:
            classifier = served.predictor.classifier
            if not isinstance(classifier.runtime, TorchRuntime):
                raise ModelError(
                    "attribution maps need a model in torch", "serve the model that it was exported from"
                )
            if isinstance(classifier.rules, FindingRules):
                raise ModelError(
                    "attribution maps need a model of one class per image", "choose another model"
                )
            self._copies[served.id] = copy.deepcopy(classifier.runtime.model)
        return self._copies[served.id]


def check_method(name: str) -> str:
    """The name of a method of hilum. RecipeError for another, with the nearest; a module of somebody else's is not
    loaded for a request.

    >>> check_method("os.path")
    Traceback (most recent call last):
    hilum.errors.RecipeError: attribution method 'os_path' is not known; known are: deep_lift, ...
    """
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name[:80])
    load_method(plain)
    return plain


class _counted:
    """Calls `report` with each pass of a network through a block."""

    def __init__(
        self, model: ChestModel, report: Callable[[int, int | None], None], total: int | None
    ) -> None:
        self._model, self._report, self._total = model, report, total
        self._passes = [0]

    def __enter__(self) -> list[int]:
        def count(*_: Any) -> None:
            self._passes[0] += 1
            self._report(self._passes[0], self._total)

        self._hook = self._model.features.register_forward_pre_hook(count)
        return self._passes

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def map_picture(
    values: np.ndarray, place: Place, shape: tuple[int, int], signed: bool
) -> tuple[bytes, float, float]:
    """A map "rows cols" as a grey PNG on the frame of an image of `shape`, with the values of black and white.

    `place`: the part of the image that the map lies on; outside it there is no evidence.

    >>> png, low, high = map_picture(np.ones((2, 2)), Place(0, 0, 1, 0.5), (100, 50), signed=False)
    >>> picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    >>> picture.shape, picture[0, [0, 255]].tolist(), low, high
    ((512, 256), [255, 0], 0.0, 1.0)
    """
    high = float(np.abs(values).max()) if signed else float(max(values.max(), 0.0))
    low = -high if signed else 0.0
    share = SIDE / max(shape)
    rows, cols = (max(1, round(side * share)) for side in shape)
    canvas = np.zeros((rows, cols), np.float32)
    top, left, bottom, right = (round(edge) for edge in place.scaled((rows, cols)))
    size = (max(bottom - top, 1), max(right - left, 1))
    part = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    into = canvas[max(top, 0) : bottom, max(left, 0) : right]
    into[:] = part[max(-top, 0) :, max(-left, 0) :][: into.shape[0], : into.shape[1]]
    levels = np.clip((canvas - low) / ((high - low) or 1.0), 0, 1)
    return cv2.imencode(".png", np.rint(255 * levels).astype(np.uint8))[1].tobytes(), low, high


def faithfulness(model: ChestModel, x: Tensor, target: int, heat: Tensor, seen: Seen) -> dict[str, Any]:
    """What the probability does when the marked pixels go, beside maps that know nothing of the network; and the share
    of the evidence inside the lungs.

    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "virus"), Pixels(size=(32, 32)), {"blocks": [[4]], "dense": [4]}).eval()
    >>> grey = np.zeros((32, 32), np.uint8)
    >>> seen = Seen(grey, Place(0, 0, 1, 1), (32, 32), grey)
    >>> sorted(faithfulness(model, torch.zeros(1, 1, 32, 32), 0, torch.rand(1, 32, 32), seen))
    ['deletion', 'deletion_baseline', 'lung_area', 'lung_share', 'sentence']
    """
    maps = [heat, *(baseline(model, x, target) for baseline in BASELINES.values())]
    gone, *unaware_gone = (float(deletion(model, x, target, each, STEPS).auc) for each in maps)
    values = heat[0].float().cpu().numpy()
    share, area = share_inside(values, lungs_seen(model.pixels, seen.grey))
    figures = {
        "deletion": gone,
        "deletion_baseline": min(unaware_gone),
        "lung_share": share if np.isfinite(share) else None,
        "lung_area": area,
    }
    rounded = {name: value if value is None else round(value, 4) for name, value in figures.items()}
    return {"sentence": _sentence(model.classes[target], rounded), **rounded}


def _sentence(target: str, figures: dict[str, Any]) -> str:
    verdict = "better" if figures["deletion"] < figures["deletion_baseline"] else "no better"
    sentence = (
        f"While the marked pixels are removed, P({target}) is {figures['deletion']:.2f} on average (deletion, lower is "
        f"better): {verdict} than the best map that knows nothing of the network ({figures['deletion_baseline']:.2f})."
    )
    if figures["lung_share"] is None:
        return sentence
    return (
        f"{sentence} {100 * figures['lung_share']:.0f} % of the evidence lies inside the lungs, which fill "
        f"{100 * figures['lung_area']:.0f} % of what the model sees."
    )


def data_uri(png: bytes) -> str:
    """A PNG as text.

    >>> data_uri(b"...")
    'data:image/png;base64,Li4u'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode()
