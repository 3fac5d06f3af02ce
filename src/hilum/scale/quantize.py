"""int8: weights and activations of a network as whole numbers, with ranges measured on training images.

Static quantisation after training (Jacob et al., CVPR 2018): weights per output channel and symmetric, activations per
tensor. The quantised graph holds pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime and OpenVINO turn
into arithmetic of 8 bits. The last layers stay float32: they are small, and probabilities hang on them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hilum.artifacts.export import Int8Check
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.inference.finding_rules import FindingRules
from hilum.inference.guard import FeatureGuard
from hilum.inference.rules import Rules
from hilum.inference.runtimes.graph import LOGITS, Graph
from hilum.scale.graphs import INPUT, package, quiet
from hilum.scale.labelled import Labelled

BATCH = 32

MOST_LOSS = 0.005
"""The accuracy on validation images may fall by half a point; more needs --force."""


class _Batches:
    """What onnxruntime asks for ranges: one batch after the other, None at the end."""

    def __init__(self, images: np.ndarray, pixels: Pixels) -> None:
        self._batches = batches_of(images, pixels)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def batches_of(images: np.ndarray, pixels: Pixels) -> Iterator[np.ndarray]:
    """uint8 "images rows cols" as normalised float32 batches "batch 1 rows cols".

    >>> [batch.shape for batch in batches_of(np.zeros((33, 4, 4), np.uint8), Pixels(size=(4, 4)))]
    [(32, 1, 4, 4), (1, 1, 4, 4)]
    """
    for start in range(0, len(images), BATCH):
        yield pixels.normalize(images[start : start + BATCH])[:, None]


def write_int8(source: Path, file: Path, images: np.ndarray, pixels: Pixels) -> None:
    """The int8 graph of a float32 .onnx file. `images`: of train, uint8 "images rows cols", to measure ranges on.

    >>> write_int8(Path("gone.onnx"), Path("int8.onnx"), np.zeros((1, 4, 4), np.uint8), Pixels(size=(4, 4)))
    Traceback (most recent call last):
    ...
    FileNotFoundError: ...
    """
    package("onnxruntime", "onnx")
    onnx = package("onnx", "onnx")
    from onnxruntime import quantization

    class Reader(_Batches, quantization.CalibrationDataReader):
        """Under the name that onnxruntime checks."""

    facts = list(onnx.load(source).metadata_props)
    with TemporaryDirectory() as place, quiet():
        simpler = Path(place) / "simpler.onnx"
        quantization.quant_pre_process(source, simpler, skip_symbolic_shape=True)
        quantization.quantize_static(
            simpler,
            file,
            Reader(images, pixels),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_last_layers(onnx.load(simpler)),
        )
    model = onnx.load(file)
    del model.metadata_props[:]
    model.metadata_props.extend(facts)
    onnx.save(model, file)


def _last_layers(model) -> list[str]:
    """The dense layers of a convolutional network: those after its last convolution. None of a transformer."""
    nodes = list(model.graph.node)
    last = max((place for place, node in enumerate(nodes) if node.op_type == "Conv"), default=len(nodes))
    dense = [node.name for node in nodes[last:] if node.op_type in ("Gemm", "MatMul", "Add")]
    return dense if sum(node.op_type == "MatMul" for node in nodes[last:]) <= 4 else []


def outputs_of(
    graph: Graph, images: np.ndarray, pixels: Pixels, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Outputs of a graph for many images, "images dim" by name.

    >>> graph = lambda x: {"logits": x[:, 0, 0, :2]}
    >>> outputs_of(graph, np.zeros((40, 4, 4), np.uint8), Pixels(size=(4, 4)), ["logits"])["logits"].shape
    (40, 2)
    """
    parts = [graph(batch) for batch in batches_of(images, pixels)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def checked_accuracy(
    before: Graph, after: Graph, labelled: Labelled, rules: Rules | FindingRules, pixels: Pixels, force: bool
) -> Int8Check:
    """How many validation images both graphs classify correctly. ModelError where int8 costs more than MOST_LOSS,
    unless `force`.

    >>> images = np.zeros((2, 4, 4), np.uint8)
    >>> sure = lambda x: {"logits": np.array([[9.0, 0.0]] * len(x))}
    >>> wrong = lambda x: {"logits": np.array([[0.0, 9.0]] * len(x))}
    >>> rules = Rules(("normal", "pneumonia"))
    >>> labelled = Labelled(images, images, ["normal", "normal"])
    >>> checked_accuracy(sure, wrong, labelled, rules, Pixels(size=(4, 4)), force=False)
    Traceback (most recent call last):
    hilum.errors.ModelError: in int8 0 of 2 validation images are classified correctly, in float32 2: ...
    """
    correct = []
    for graph in (before, after):
        logits = outputs_of(graph, labelled.val, pixels, [LOGITS])[LOGITS].astype(np.float64)
        predicted = rules.decide(logits).predicted
        correct.append(sum(name == target for name, target in zip(predicted, labelled.targets, strict=True)))
    check = Int8Check(
        calibrated_on=len(labelled.calibration),
        images=len(labelled.val),
        correct_in_float32=correct[0],
        correct=correct[1],
    )
    lost = (correct[0] - correct[1]) / len(labelled.val)
    if lost > MOST_LOSS and not force:
        raise ModelError(
            f"in int8 {correct[1]} of {check.images} validation images are classified correctly, in float32 "
            f"{correct[0]}: a loss of {100 * lost:.1f} points, more than {100 * MOST_LOSS:g}",
            "choose --precision fp16, or accept the loss with --force",
        )
    return check


def ranked_again(guard: FeatureGuard, graph: Graph, labelled: Labelled, pixels: Pixels) -> FeatureGuard:
    """The guard with the distances of validation images as the int8 graph sees them, in both looks.

    >>> guard = FeatureGuard(("pool",), np.zeros(1), np.eye(1), np.zeros(1))
    >>> images = np.zeros((2, 4, 4), np.uint8)
    >>> labelled = Labelled(images, images, ["normal"] * 2, images[:0])
    >>> ranked_again(guard, lambda x: {"pool": x[:, 0, 0, :1]}, labelled, Pixels(size=(4, 4))).known.tolist()
    [2.0, 2.0]
    """
    vectors = [
        guard.joined(outputs_of(graph, images, pixels, guard.layers))
        for images in (labelled.val, labelled.other_look)
        if len(images)
    ]
    return guard.calibrated(np.concatenate(vectors))
