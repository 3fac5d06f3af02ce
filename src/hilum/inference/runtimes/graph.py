"""GraphRuntime: an exported classifier, whatever engine runs its graph. An engine is a file here with `open_graph`."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from hilum.data.images import Pixels
from hilum.errors import ModelError, RecipeError, nearest

LOGITS = "logits"
"""Name of the first output; the others are layers, by the names that `hilum.inference.runtimes.torch` gives them."""

Graph = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""One input, outputs by name. Safe in several threads at once."""

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Engines and what must be installed for them."""

EXTRAS = {"onnx": "runtime", "openvino": "runtime-openvino"}
"""The extras of hilum that bring it."""


def open_graph(engine: str, file: Path) -> Graph:
    """The graph in a file, opened by an engine of PACKAGES. ModelError where the package is not installed, or can't
    read the file.

    >>> open_graph("onnx", Path("gone.onnx"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone.onnx is missing; export the model again
    """
    if not file.exists():
        raise ModelError(f"{file} is missing", "export the model again")
    try:
        opened = import_module(f"hilum.inference.runtimes.{engine}").open_graph
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != PACKAGES[engine]:
            raise
        raise ModelError(
            f"the runtime {engine!r} needs {PACKAGES[engine]}, which is not installed",
            f"pip install 'hilum[{EXTRAS[engine]}]'",
        ) from None
    try:
        return opened(file)
    except Exception as error:  # each engine has errors of its own for a file that it can't run
        raise ModelError(
            f"{file} can't be run by {engine} ({_first_line(error)})", "export it again"
        ) from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class GraphRuntime:
    """The runtime of a graph: input "batch 1 rows cols", outputs LOGITS and `layers`.

    >>> runtime = GraphRuntime(lambda x: {"logits": x[:, 0, 0, :2]}, Pixels(size=(4, 4)), ("normal", "pneumonia"))
    >>> runtime.logits(np.zeros((3, 4, 4), np.float32)).shape
    (3, 2)
    """

    device = "cpu"

    def __init__(
        self, graph: Graph, pixels: Pixels, classes: Sequence[str], layers: Sequence[str] = ()
    ) -> None:
        self.graph, self.pixels, self.classes, self.layers = graph, pixels, tuple(classes), tuple(layers)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """float32 "batch rows cols", normalised -> float64 logits "batch classes".

        >>> runtime = GraphRuntime(lambda x: {"logits": x[:, 0, 0, :1]}, Pixels(size=(4, 4)), ("Edema",))
        >>> runtime.logits(np.ones((1, 4, 4), np.float32)).tolist()
        [[1.0]]
        """
        return self.graph(batch[:, None])[LOGITS].astype(np.float64)

    def embed(self, batch: np.ndarray, layers: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Logits, and float32 vectors "batch dim" of each named layer. RecipeError for a layer that was not exported.

        >>> runtime = GraphRuntime(lambda x: {"logits": x}, Pixels(size=(4, 4)), ("Edema",), ("embedding",))
        >>> runtime.embed(np.ones((1, 4, 4), np.float32), ["pool"])
        Traceback (most recent call last):
        hilum.errors.RecipeError: the exported model has no layer 'pool'; known are: embedding
        """
        for name in layers:
            if name not in self.layers:
                raise RecipeError(f"the exported model has no layer {name!r}", nearest(name, self.layers))
        outputs = self.graph(batch[:, None])
        return outputs[LOGITS].astype(np.float64), {name: outputs[name] for name in layers}
