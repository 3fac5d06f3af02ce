"""The networks of a model as modules with one input and named outputs, ready to be exported."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hilum.anomaly.detector import Detector
from hilum.data.images import Pixels
from hilum.inference.exported import ODDS, SCORE
from hilum.inference.finding_rules import FindingRules
from hilum.inference.rules import Rules
from hilum.inference.runtimes.graph import LOGITS
from hilum.inference.runtimes.torch import logits_and_layers
from hilum.lungs.outline import SIDE
from hilum.lungs.segment import Segmenter, trained
from hilum.models import ChestModel, golden_images
from hilum.scale.pixel_graph import Whole, whole_outputs

EMBEDDING = "embedding"


@dataclass(frozen=True)
class Network:
    """`module`: one tensor to the tensors of `outputs`, in eval mode; `example`: an input, with a batch of 2 or more
    where it has one; `facts`: text by name that goes into the file; `free`: the axes of the input that may have any
    length; `others`: further inputs that the export is checked on."""

    module: nn.Module
    example: Tensor
    outputs: tuple[str, ...]
    facts: dict[str, str] = field(default_factory=dict)
    free: tuple[str, ...] = ("batch",)
    others: tuple[Tensor, ...] = ()

    def answers(self, given: Tensor | None = None) -> dict[str, np.ndarray]:
        """The module's own outputs by name, of the example or another input.

        >>> sorted(lung_network().answers())
        ['odds']
        """
        with torch.no_grad():
            outputs = self.module(self.example if given is None else given)
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: value.numpy() for name, value in zip(self.outputs, values, strict=True)}


class _Classifying(nn.Module):
    """Logits, the embedding and the layers of the guard."""

    def __init__(self, model: ChestModel, layers: Sequence[str]) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits, vectors = logits_and_layers(self.model, x, self.layers)
        return logits, *(vectors[name] for name in self.layers)


class _Scoring(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Tensor:
        return self.detector.measure(x).score


def classifier_network(
    model: ChestModel, layers: Sequence[str] = (), facts: dict[str, str] | None = None
) -> Network:
    """Input "batch 1 rows cols", normalised; outputs: logits, the vectors of `layers`, and the embedding.

    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
    >>> {name: values.shape for name, values in classifier_network(model, ["pool"]).answers().items()}
    {'logits': (3, 2), 'pool': (3, 256), 'embedding': (3, 128)}
    """
    names = tuple(dict.fromkeys([*layers, EMBEDDING]))
    module = _Classifying(folded(model), names).eval()
    return Network(module, prepared(model.pixels), (LOGITS, *names), facts or {})


def detector_network(detector: Detector, facts: dict[str, str] | None = None) -> Network:
    """Input "batch 1 rows cols", normalised; output: anomaly scores "batch".

    >>> from hilum.anomaly.saved import load_detector
    >>> from hilum.serving.predictor import WEIGHTS
    >>> detector_network(load_detector(WEIGHTS / "anomaly")).answers()["score"].shape
    (3,)
    """
    return Network(_Scoring(detector).eval(), prepared(detector.pixels), (SCORE,), facts or {})


def whole_network(
    model: ChestModel, rules: Rules | FindingRules, facts: dict[str, str] | None = None
) -> Network:
    """Input: grey levels uint8 "rows cols" of any size; outputs: `whole_outputs`. ModelError for a pixel contract
    that no graph can follow.

    >>> from hilum.inference.rules import Rules
    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
    >>> whole_network(model, Rules(model.classes)).answers()["probabilities"].shape
    (2,)
    """
    module = Whole(folded(model), rules).eval()
    ramp, other = (torch.from_numpy(golden_images(Pixels(size=size))[0]) for size in ((96, 120), (60, 77)))
    return Network(module, ramp, whole_outputs(rules), facts or {}, ("rows", "cols"), (other.T.contiguous(),))


def lung_network() -> Network:
    """Input: grey levels 0 to 255, "images 64 64"; output: log-odds of lung of the same shape.

    >>> lung_network().answers()["odds"].shape
    (3, 64, 64)
    """
    grey = golden_images(Pixels(size=(SIDE, SIDE))).astype(np.float32)
    return Network(Segmenter(trained()).eval(), torch.from_numpy(grey), (ODDS,))


def prepared(pixels: Pixels) -> Tensor:
    """The golden images as the network reads them, float32 "3 1 rows cols".

    >>> prepared(Pixels(size=(8, 8))).shape
    torch.Size([3, 1, 8, 8])
    """
    return torch.from_numpy(pixels.normalize(golden_images(pixels)))[:, None]


def folded(model: ChestModel) -> ChestModel:
    """A copy whose batch normalisation is part of the convolution before it, where one follows the other inside a
    layer: half the operations, the same outputs within rounding. Layers keep their names.

    >>> from hilum.models import build
    >>> model = build("efficientnet_lite0", ("normal", "virus"), Pixels(size=(32, 32)), {"pretrained": False}).eval()
    >>> sum(isinstance(part, nn.BatchNorm2d) for part in folded(model).modules())
    0
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    for sequence in list(copy.modules()):
        if not isinstance(sequence, nn.Sequential) or sequence is copy.features:
            continue  # the parts of the trunk are layers that can be asked for, each with its own output
        parts = list(sequence.named_children())
        for (first, conv), (second, norm) in pairwise(parts):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(sequence, first, fuse_conv_bn_eval(conv, norm))
                setattr(sequence, second, nn.Identity())
    return copy
