"""An exported model as a Predictor: no torch is needed. `hilum.scale` writes what is read here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.artifacts.anomaly import DetectorCard
from hilum.artifacts.card import ModelCard
from hilum.artifacts.export import Export, ExportedGraph
from hilum.data.images import Pixels
from hilum.errors import ModelError, RunError
from hilum.files import digest, digest_of_file, read_arrays
from hilum.inference.finding_rules import rules_of
from hilum.inference.guard import guard_of
from hilum.inference.intake import intake_of
from hilum.inference.memory import memory_in_words
from hilum.inference.p_values import p_values
from hilum.inference.prediction import ModelName
from hilum.inference.predictor import Classifier, Guard, Predictor
from hilum.inference.runtimes.graph import LOGITS, PACKAGES, Graph, GraphRuntime, open_graph
from hilum.lungs.field import Segment

FILE = "export.json"
SCORE, ODDS = "score", "odds"
"""Outputs of a detector and of the network that marks the lungs."""

RUNS = {
    "onnx": ("onnx", "openvino"),
    "openvino": ("openvino",),
    "torch-export": (),
    "monai-bundle": (),
    "browser": (),
}
"""Targets of an export, and the runtimes that open it."""

TOGETHER = ("binary", "multiclass", "anomaly")


def digest_of(folder: Path, files: list[str]) -> str:
    """The digest of an exported network, of all its files.

    >>> digest_of(Path("gone"), ["model.onnx"])
    Traceback (most recent call last):
    hilum.errors.ModelError: gone/model.onnx is missing; export the model again
    """
    missing = [folder / name for name in files if not (folder / name).exists()]
    if missing:
        raise ModelError(f"{missing[0]} is missing", "export the model again")
    return digest(*(digest_of_file(folder / name) for name in files))


def load_exported(folder: Path, engine: str) -> Predictor:
    """What `hilum export` has written, run by "onnx" or "openvino". ModelError for a folder without an export, one for
    other runtimes, a file that was changed, or a package that is missing.

    >>> load_exported(Path("gone"), "onnx")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no export (no export.json); run: hilum export MODEL --to onnx --out gone
    """
    export = read_export(folder, engine)
    with memory_in_words("loading the exported model"):
        opened = _Opened(folder, export, engine)
        return opened.together() if export.kind == "packaged" else opened.single()


def read_export(folder: Path, engine: str) -> Export:
    """export.json of a folder that an engine can run; errors as in `load_exported`.

    >>> read_export(Path("gone"), "openvino")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no export (no export.json); run: hilum export MODEL --to openvino --out gone
    """
    if engine not in PACKAGES:
        raise ModelError(f"runtime {engine!r} is not known", f"choose torch, {', '.join(PACKAGES)}")
    if not (folder / FILE).exists():
        raise ModelError(
            f"{folder} holds no export (no {FILE})", f"run: hilum export MODEL --to {engine} --out {folder}"
        )
    try:
        export = Export.load(folder / FILE)
    except RunError as error:
        raise ModelError(error.what, error.remedy) from None
    if engine not in RUNS[export.target]:
        raise ModelError(
            f"{folder} was exported to {export.target}, which the runtime {engine} can't run",
            f"run: hilum export MODEL --to {engine}",
        )
    return export


@dataclass(frozen=True)
class _Opened:
    """The networks of a folder."""

    folder: Path
    export: Export
    engine: str

    def graph(self, name: str) -> Graph:
        facts = self.export.graphs.get(name)
        if facts is None:
            raise ModelError(f"{self.folder} lacks the network {name!r}", "export the model again")
        return checked_graph(self.folder, facts, self.engine)

    def segment(self) -> Segment | None:
        """The engine for the lungs; None where no network needs them."""
        if "lungs" not in self.export.graphs:
            return None
        graph = self.graph("lungs")
        return lambda grey: graph(grey)[ODDS]

    def classifier(self, name: str, folder: Path, guarded: bool) -> Classifier:
        card = ModelCard.load(folder / "model.json")
        layers = [output for output in self.export.graphs[name].outputs if output != LOGITS]
        runtime = GraphRuntime(self.graph(name), Pixels.of(card.pixels), card.classes, layers)
        named = f"{card.task}/{card.architecture.name}" if card.task else card.architecture.name
        guard = guard_of(folder, card.weights_digest) if guarded else None
        return Classifier(runtime, rules_of(card), named, card.weights_digest, guard)

    def single(self) -> Predictor:
        classifier = self.classifier("model", self.folder, guarded=True)
        return Predictor(classifier, intake=intake_of(self.folder), segment=self.segment())

    def together(self) -> Predictor:
        """Two classifiers and a detector; see `hilum.serving.predictor.together`."""
        binary, multiclass, anomaly = (self.folder / name for name in TOGETHER)
        card = DetectorCard.load(anomaly / "detector.json")
        if card.threshold is None:
            raise ModelError(f"{anomaly} is not a packaged detector", "export the models again")
        first = self.classifier("binary", binary, guarded=False)
        marks = [first.digest or "", ModelCard.load(multiclass / "model.json").weights_digest]
        return Predictor(
            self.classifier("multiclass", multiclass, guarded=True),
            first,
            Guard(Pixels.of(card.pixels), self._p_values(anomaly), card.threshold.rate),
            name=ModelName(name="packaged", digest=digest(*marks, card.weights_digest)),
            intake=intake_of(multiclass),
            segment=self.segment(),
        )

    def _p_values(self, anomaly: Path) -> Callable[[np.ndarray], np.ndarray]:
        graph, known = self.graph("anomaly"), read_arrays(anomaly / "golden.npz")["known"].astype(float)

        def p_of(batch: np.ndarray) -> np.ndarray:
            return p_values(graph(batch[:, None])[SCORE].astype(np.float64), known)

        return p_of


def checked_graph(folder: Path, facts: ExportedGraph, engine: str) -> Graph:
    """The network of an export, opened. ModelError when a file was changed since it was written.

    >>> facts = ExportedGraph(files=["model.onnx"], digest="", outputs=[], difference=0.0)
    >>> checked_graph(Path("gone"), facts, "onnx")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone/model.onnx is missing; export the model again
    """
    if digest_of(folder, facts.files) != facts.digest:
        raise ModelError(
            f"{folder / facts.files[0]} was changed since it was exported", "export the model again"
        )
    return open_graph(engine, folder / facts.files[0])
