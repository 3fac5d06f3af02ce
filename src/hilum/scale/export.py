"""`hilum export`: a trained model, or the models of the package, for engines without torch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Literal

from hilum import __version__
from hilum.anomaly.saved import load_detector
from hilum.artifacts.anomaly import DetectorCard
from hilum.artifacts.card import ModelCard
from hilum.artifacts.export import Export, ExportedGraph
from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError
from hilum.files import digest
from hilum.inference.exported import FILE, TOGETHER, digest_of
from hilum.inference.finding_rules import FindingRules, rules_of
from hilum.inference.guard import FILE as GUARD
from hilum.inference.guard import guard_of
from hilum.inference.intake import FILE as INTAKE
from hilum.models import load_model, model_folder
from hilum.scale.browser import ort_folder, write_page
from hilum.scale.bundle import write_bundle
from hilum.scale.facts import classifier_facts, detector_facts
from hilum.scale.graphs import open_exported, verified, write_onnx, write_openvino, write_torch_export
from hilum.scale.labelled import Labelled, run_of
from hilum.scale.networks import (
    Network,
    classifier_network,
    detector_network,
    lung_network,
    whole_network,
)
from hilum.scale.pixel_graph import check_whole
from hilum.scale.quantize import checked_accuracy, ranked_again, write_int8
from hilum.serving.predictor import WEIGHTS

Target = Literal["onnx", "openvino", "torch-export", "monai-bundle", "browser"]
Precision = Literal["fp32", "fp16", "int8"]

PACKAGED, WHOLE = "packaged", "whole"
PARTS = {
    "export",
    "model",
    "lungs",
    WHOLE,
    "guard",
    "intake",
    *TOGETHER,
    "configs",
    "models",
    "docs",
    "index",
    "eval",
}
"""Names in an exported folder, without their endings."""

SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}


def no_words(sentence: str) -> None:
    """Does nothing: for an export that says nothing.

    >>> no_words("model.onnx: 14.9 MB")
    """


@dataclass(frozen=True)
class Request:
    """`source`: "packaged", a task folder of a run or a model folder; `data`: labelled images for int8, where the run's
    own are not meant; `force`: write over an earlier export, and accept a loss of accuracy; `with_pixels`: a second
    graph, from raw pixels to the decision; `ort`: onnxruntime-web, for a page; `say`: gets a sentence for each file."""

    source: str
    target: Target
    out: Path
    precision: Precision = "fp32"
    data: str | None = None
    force: bool = False
    with_pixels: bool = False
    ort: Path | None = None
    say: Callable[[str], None] = field(default=no_words)


def export_model(request: Request) -> Export:
    """Writes the folder `out`, export.json last, and gives that back. Each network is compared with torch on its golden
    images.

    DataError for a folder that holds something else; ModelError for a model that is missing, a package that is not
    installed, a network that differs from torch's or loses accuracy in int8.

    >>> export_model(Request("gone", "onnx", Path("exported")))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    _check(request)
    folder = None if request.source == PACKAGED else model_folder(request.source)
    if request.with_pixels or request.target == "browser":
        card = ModelCard.load((folder or WEIGHTS / TOGETHER[0]) / "model.json")
        check_whole(Pixels.of(card.pixels))
    _refuse_taken(request)
    out = request.out.absolute()
    part = out.parent / f".{out.name}.part"
    rmtree(part, ignore_errors=True)  # of an export that was stopped
    part.mkdir(parents=True)
    try:
        export = _written(replace(request, out=part), folder)
        rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        rmtree(part, ignore_errors=True)
    return export


def _written(request: Request, folder: Path | None) -> Export:
    """Everything in the folder of the request, export.json last."""
    writer = _Writer(request)
    source = writer.packaged() if folder is None else writer.single(folder)
    export = Export(
        kind="packaged" if folder is None else "classifier",
        target=request.target,
        precision=request.precision,
        hilum=__version__,
        source=source,
        graphs={name: facts for name, facts in writer.graphs.items() if name != WHOLE},
        whole=writer.graphs.get(WHOLE),
    )
    export.save(request.out / FILE)
    return export


def _check(request: Request) -> None:
    if request.target in ("torch-export", "monai-bundle") and request.precision != "fp32":
        raise ModelError(
            f"--to {request.target} has no precision {request.precision}", "leave --precision out"
        )
    if request.target == "monai-bundle" and (request.source == PACKAGED or request.with_pixels):
        raise ModelError(
            "a MONAI bundle holds one network, from prepared images to logits",
            f"leave --with-pixels out, and name one model, e.g. {WEIGHTS / 'binary'}",
        )
    if request.precision == "int8" and (request.with_pixels or request.target == "browser"):
        raise ModelError("a graph from raw pixels has no precision int8", "choose --precision fp16 or fp32")
    if request.precision == "int8" and request.source == PACKAGED and request.data is None:
        raise DataError(
            "int8 measures ranges on training images, and the models of the package carry none",
            "give labelled radiographs with --data FOLDER",
        )


def _refuse_taken(request: Request) -> None:
    """DataError where something else than an earlier export lies in the folder, or one and there is no `force`."""
    out = request.out
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / FILE).exists():
        raise DataError(f"{out} exists already", "name another folder with --out, or delete it")
    if not request.force:
        raise DataError(f"{out} exists already", "write over it with --force")
    others = [file.name for file in out.iterdir() if file.name.split(".")[0] not in PARTS]
    if others:
        raise DataError(
            f"{out} holds {others[0]}, which is no part of an export", "move it away, or name another --out"
        )


@dataclass
class _Writer:
    """Writes networks into the folder of a request and keeps their facts in `graphs`."""

    request: Request
    graphs: dict[str, ExportedGraph] = field(default_factory=dict)

    def packaged(self) -> str:
        """The two classifiers, the detector and the lungs."""
        marks = [self.classifier(name, WEIGHTS / name, self.request.out / name) for name in TOGETHER[:2]]
        anomaly, out = WEIGHTS / "anomaly", self.request.out / "anomaly"
        out.mkdir()
        for name in ("detector.json", "golden.npz"):
            copyfile(anomaly / name, out / name)
        card = DetectorCard.load(anomaly / "detector.json")
        network = detector_network(load_detector(anomaly), detector_facts(card))
        self.write("anomaly", network, "anomaly/detector", "fp32")
        return digest(*marks, card.weights_digest)

    def single(self, folder: Path) -> str:
        if self.request.target == "monai-bundle":
            card = ModelCard.load(folder / "model.json")
            self.keep("model", write_bundle(load_model(folder), card, self.request.out))
            return card.weights_digest
        if self.request.target == "browser":
            return self.page(folder)
        mark = self.classifier("model", folder, self.request.out)
        if self.request.with_pixels:
            card = ModelCard.load(folder / "model.json")
            network = whole_network(load_model(folder), rules_of(card), classifier_facts(card))
            self.write(WHOLE, network, WHOLE, self.request.precision)
        return mark

    def page(self, folder: Path) -> str:
        """index.html alone."""
        card, out = ModelCard.load(folder / "model.json"), self.request.out
        ort, whole = ort_folder(self.request.ort), out / "whole.onnx"
        network = whole_network(load_model(folder), rules_of(card), classifier_facts(card))
        write_onnx(network, whole, self.request.precision)
        facts = verified(network, out, [whole.name], self.request.precision)
        write_page(whole, card, ort, out / "index.html")
        whole.unlink()
        page = {"files": ["index.html"], "digest": digest_of(out, ["index.html"])}
        self.keep("model", facts.model_copy(update=page))
        return card.weights_digest

    def classifier(self, name: str, folder: Path, out: Path) -> str:
        """One classifier with its card, its guard and its intake check; the digest of its weights."""
        model, card = load_model(folder), ModelCard.load(folder / "model.json")
        guard = guard_of(folder, card.weights_digest)
        out.mkdir(exist_ok=True)
        for file in ("model.json", INTAKE, GUARD):
            if (folder / file).exists():
                copyfile(folder / file, out / file)
        network = classifier_network(model, guard.layers if guard else (), classifier_facts(card, guard))
        stem = (out / "model").relative_to(self.request.out).as_posix()
        if self.request.precision == "int8":
            self.int8(name, network, folder, card)
        else:
            self.write(name, network, stem, self.request.precision)
        if model.pixels.fit == "lungs" and "lungs" not in self.graphs:
            self.write("lungs", lung_network(), "lungs", "fp32")
        return card.weights_digest

    def write(self, name: str, network: Network, stem: str, precision: str) -> None:
        """One network, checked."""
        out, target = self.request.out, self.request.target
        file = out / f"{stem}{SUFFIX[target]}"
        files = [f"{stem}{SUFFIX[target]}"]
        if target == "torch-export":
            write_torch_export(network, file)
        elif target == "onnx":
            write_onnx(network, file, precision)
        else:
            between = out / f"{stem}.onnx"
            write_onnx(network, between)
            write_openvino(between, file, network.facts, precision)
            between.unlink()
            files.append(f"{stem}.bin")
        self.keep(name, verified(network, out, files, precision))

    def keep(self, name: str, facts: ExportedGraph) -> None:
        self.graphs[name] = facts
        size = sum((self.request.out / file).stat().st_size for file in facts.files)
        allowed = "" if facts.tolerance is None else f" (allowed {facts.tolerance:g})"
        self.request.say(
            f"{facts.files[0]}: {size / 1e6:.1f} MB, largest difference from torch {facts.difference:.1e}{allowed}"
        )

    def int8(self, name: str, network: Network, folder: Path, card: ModelCard) -> None:
        """One classifier in int8; the guard's ranks are taken anew."""
        rules, pixels, out = rules_of(card), Pixels.of(card.pixels), self.request.out
        if isinstance(rules, FindingRules):
            raise ModelError("int8 is checked by the accuracy of one class per image", "use --precision fp16")
        place = out if name == "model" else out / name
        guard = guard_of(folder, card.weights_digest)
        labelled = self._labelled(folder, card, pixels, guard is not None)
        before, after = place / "float32.onnx", place / "model.onnx"
        write_onnx(network, before)
        write_int8(before, after, labelled.calibration, pixels)
        files = [after.relative_to(out).as_posix()]
        if self.request.target == "openvino":
            write_openvino(after, after.with_suffix(".xml"), network.facts, "int8")
            files = [f"{files[0].removesuffix('.onnx')}{end}" for end in (".xml", ".bin")]
        facts = verified(network, out, files, "int8")
        graph = open_exported(out / files[0])
        check = checked_accuracy(open_exported(before), graph, labelled, rules, pixels, self.request.force)
        before.unlink()
        if self.request.target == "openvino":
            after.unlink()
        if guard is not None:
            ranked_again(guard, graph, labelled, pixels).save(place / GUARD, card.weights_digest)
        self.keep(name, facts.model_copy(update={"int8": check}))
        self.request.say(
            f"{files[0]}: correct on val {check.correct}/{check.images} in int8, "
            f"{check.correct_in_float32}/{check.images} in float32; ranges of {check.calibrated_on} training images"
        )

    def _labelled(self, folder: Path, card: ModelCard, pixels: Pixels, guarded: bool) -> Labelled:
        if self.request.data is not None:
            return Labelled.of_data(self.request.data, card, pixels, guarded)
        home = run_of(folder)
        if home is None:
            raise DataError(
                f"{folder} belongs to no run, so there are no training images to measure ranges on",
                "give labelled radiographs with --data FOLDER",
            )
        return Labelled.of_run(home[0], home[1], pixels, guarded)
