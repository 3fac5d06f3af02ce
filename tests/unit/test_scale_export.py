"""hilum export and hilum predict --runtime: the same answers as torch, without torch, and bad input in one sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch

from hilum.artifacts.card import Architecture, ModelFacts
from hilum.artifacts.export import Export
from hilum.data.images import Pixels
from hilum.data.sources.phantom import draw
from hilum.errors import DataError, HilumError, ModelError
from hilum.files import digest_of_file
from hilum.inference.exported import load_exported
from hilum.inference.guard_fit import GuardImages, fitted_guard
from hilum.inference.predictor import Predictor
from hilum.inference.runtimes.graph import open_graph
from hilum.models import ChestModel, build, load_model, save_model
from hilum.scale import graphs, quantize
from hilum.scale.export import Request, export_model
from hilum.scale.pixel_graph import PixelGraph
from hilum.serving.predictor import predict, predictor_for

from .made_run import LABELS, made_run
from .test_every_architecture import OPTIONS, warmed_up

MISSING = {
    "torch",
    "lightning",
    "pandas",
    "scipy",
    "sklearn",
    "safetensors",
    "matplotlib",
    "jinja2",
    "jaxtyping",
}

BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {MISSING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""
"""Put first in a program, as if these were not installed."""

ABOVE_LUNGS = Pixels(size=(32, 40), fit="lungs", standardize="image")


def radiographs(count: int) -> list[np.ndarray]:
    return [draw(np.random.default_rng([4, number]), LABELS[number % 3]).image for number in range(count)]


def saved(folder: Path, name: str, pixels: Pixels, guarded: bool = False) -> Path:
    """A model folder with a network that has seen noise alone."""
    model = build(name, LABELS, pixels, OPTIONS[name])
    warmed_up(model)
    save_model(
        model.eval(), folder, Architecture(name=name, options=OPTIONS[name]), ModelFacts(task="multiclass")
    )
    if guarded:
        add_guard(folder, load_model(folder))
    return folder


def add_guard(folder: Path, model: ChestModel) -> None:
    images = np.stack([model.pixels.prepare(image) for image in radiographs(12)])
    parts = GuardImages(images[:6], images[:0], images[6:], images[:0])
    fitted_guard(model, parts, rate=0.3).save(folder / "guard.npz", model.weights_digest)


def same(exported: Predictor, wanted: Predictor, images: list[np.ndarray]) -> None:
    """The same answers, probabilities within 1e-4."""
    answers, expected = list(exported.stream(images)), list(wanted.stream(images))
    assert len(answers) == len(images)
    for answer, other in zip(answers, expected, strict=True):
        assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert (answer.prediction, answer.reason, answer.ood, answer.model) == (
            other.prediction,
            other.reason,
            other.ood,
            other.model,
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that reads lungs and has a guard, and its ONNX export."""
    place = tmp_path_factory.mktemp("exported")
    model, out = saved(place / "model", "vgg", ABOVE_LUNGS, guarded=True), place / "onnx"
    export_model(Request(str(model), "onnx", out))
    return model, out


@pytest.mark.parametrize("name", OPTIONS)
def test_every_architecture_gives_the_same_answers(name: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "model", name, Pixels(size=(32, 40)))
    export = export_model(Request(str(model), "onnx", tmp_path / "onnx"))
    assert export.graphs["model"].difference <= graphs.TOLERANCE["fp32"]
    same(load_exported(tmp_path / "onnx", "onnx"), Predictor.load(model, "cpu"), radiographs(3))


def test_lungs_and_guard_come_along(exported: tuple[Path, Path]) -> None:
    model, out = exported
    export = Export.load(out / "export.json")
    assert sorted(export.graphs) == ["lungs", "model"]
    assert export.graphs["model"].outputs == [
        "logits",
        *load_exported(out, "onnx").classifier.guard.layers,
        "embedding",
    ]
    for engine in ("onnx", "openvino"):
        same(load_exported(out, engine), Predictor.load(model, "cpu"), radiographs(4))


def test_the_file_tells_how_to_use_it(exported: tuple[Path, Path]) -> None:
    import onnx

    facts = {
        entry.key: json.loads(entry.value) for entry in onnx.load(exported[1] / "model.onnx").metadata_props
    }
    assert facts["hilum.classes"] == list(LABELS)
    assert (facts["hilum.pixels"]["size"], facts["hilum.pixels"]["fit"]) == ([32, 40], "lungs")
    assert facts["hilum.guard"]["rate"] == 0.3


def test_predict_needs_no_torch(exported: tuple[Path, Path], tmp_path: Path, hilum: Callable) -> None:
    model, out = exported
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), radiographs(1)[0])
    words = ["predict", str(image), "--format", "json", "--model"]
    program = BLOCK + f"sys.argv = ['hilum', *{[*words, str(out), '--runtime', 'onnx']!r}]\n"
    program += "from hilum.cli import main\nmain()"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    [answer], [wanted] = json.loads(ran.stdout), json.loads(hilum(*words, model).out)
    assert answer.pop("probabilities") == pytest.approx(wanted.pop("probabilities"), abs=1e-4)
    assert answer.pop("abnormal")["positive"] == wanted.pop("abnormal")["positive"]
    assert answer == wanted


def test_what_needs_torch_says_so_without_it() -> None:
    picture = Path(__file__).parents[2] / "docs" / "report.png"
    program = BLOCK + f"sys.argv = ['hilum', 'predict', {str(picture)!r}]\nfrom hilum.cli import main\nmain()"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == "hilum: this needs torch, which is not installed; pip install 'hilum[all]'\n"


def test_half_precision_is_half_the_size(exported: tuple[Path, Path], tmp_path: Path) -> None:
    model, out = exported
    export = export_model(Request(str(model), "onnx", tmp_path / "half", "fp16"))
    sizes = [(folder / "model.onnx").stat().st_size for folder in (out, tmp_path / "half")]
    assert sizes[1] < sizes[0]
    assert 0 < export.graphs["model"].difference <= graphs.TOLERANCE["fp16"]


def test_openvino_and_torch_export(exported: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = exported
    export_model(Request(str(model), "openvino", tmp_path / "ov"))
    same(load_exported(tmp_path / "ov", "openvino"), Predictor.load(model, "cpu"), radiographs(2))
    export_model(Request(str(model), "torch-export", tmp_path / "pt2"))
    loaded = torch.export.load(tmp_path / "pt2" / "model.pt2").module()
    assert loaded(torch.zeros(5, 1, 32, 40))[0].shape == (5, 3)
    with pytest.raises(
        ModelError, match=r"exported to torch-export, which the runtime onnx can't run; run: hilum"
    ):
        load_exported(tmp_path / "pt2", "onnx")
    with pytest.raises(ModelError, match="exported to openvino, which the runtime onnx can't run"):
        load_exported(tmp_path / "ov", "onnx")


def test_raw_pixels_to_the_decision(tmp_path: Path) -> None:
    """Of any size, with and without a frame."""
    pixels = Pixels(size=(32, 40), fit="pad", standardize="image")
    model = saved(tmp_path / "model", "vgg", pixels)
    export = export_model(Request(str(model), "onnx", tmp_path / "onnx", with_pixels=True))
    assert export.whole is not None and export.whole.outputs == ["probabilities", "predicted"]
    graph = open_graph("onnx", tmp_path / "onnx" / "whole.onnx")
    images = [radiographs(1)[0], framed(300, 200), framed(50, 170)]
    answers = list(Predictor.load(model, "cpu").stream(images))
    for image, answer in zip(images, answers, strict=True):
        outputs = graph(image)
        assert outputs["probabilities"] == pytest.approx(
            list((answer.probabilities or {}).values()), abs=2e-3
        )
        assert LABELS[int(outputs["predicted"])] == answer.prediction


@pytest.mark.parametrize("fit", ["squeeze", "pad"])
@pytest.mark.parametrize("shape", [(33, 41), (20, 30), (500, 90), (31, 200), (64, 64), (128, 128)])
def test_pixels_of_the_graph_are_those_of_the_contract(
    fit: Literal["squeeze", "pad"], shape: tuple[int, int]
) -> None:
    pixels = Pixels(size=(64, 64), fit=fit)
    image = framed(*shape)
    graph = PixelGraph(pixels).resized(torch.from_numpy(image)).numpy()
    assert np.abs(graph - pixels.prepare(image)).max() <= 1


def framed(rows: int, cols: int) -> np.ndarray:
    """Soft noise in a frame that is black above, white below, with a letter."""
    noise = np.random.default_rng(rows).integers(0, 256, (12, 12), np.uint8)
    image = np.asarray(cv2.resize(noise, (cols, rows), interpolation=cv2.INTER_CUBIC))
    image[: rows // 9], image[-rows // 12 :], image[:, : cols // 10] = 3, 250, 9
    image[1, 2:4] = 200
    return image


def test_models_that_read_lungs_need_the_runtime(exported: tuple[Path, Path], tmp_path: Path) -> None:
    for source in ("packaged", str(exported[0])):
        with pytest.raises(
            ModelError,
            match="can't find the lungs that the model reads; export to onnx without --with-pixels",
        ):
            export_model(Request(source, "onnx", tmp_path / "onnx", with_pixels=True))


def test_an_export_tells_nothing_of_this_machine(exported: tuple[Path, Path]) -> None:
    data = (exported[1] / "model.onnx").read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data and b"site-packages" not in data


# -- int8 ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_with_guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = made_run(tmp_path_factory.mktemp("int8") / "run")
    folder = run.task("multiclass").model_folder
    saved(folder, "vgg", Pixels(size=(32, 40)), guarded=True)
    return folder


def test_int8_counts_what_it_costs(run_with_guard: Path, tmp_path: Path) -> None:
    words: list[str] = []
    out = tmp_path / "int8"
    request = Request(str(run_with_guard.parent), "onnx", out, "int8", force=True, say=words.append)
    check = export_model(request).graphs["model"].int8
    assert check is not None and (check.calibrated_on, check.images) == (12, 12)
    assert f"correct on val {check.correct}/12 in int8, {check.correct_in_float32}/12 in float32" in words[-1]
    nodes = {node.op_type for node in __import__("onnx").load(out / "model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= nodes
    guard = load_exported(out, "onnx").classifier.guard
    assert guard is not None and len(guard.known) >= 12  # validation images, ranked by the int8 network


def test_int8_that_loses_accuracy_is_refused(
    run_with_guard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "MOST_LOSS", -2.0)
    with pytest.raises(
        ModelError, match=r"validation images are classified correctly, in float32 .* --force"
    ):
        export_model(Request(str(run_with_guard), "onnx", tmp_path / "int8", "int8"))


def test_int8_needs_training_images(exported: tuple[Path, Path], tmp_path: Path) -> None:
    for source in ("packaged", str(exported[0])):
        with pytest.raises(DataError, match="give labelled radiographs with --data FOLDER"):
            export_model(Request(source, "onnx", tmp_path / "int8", "int8"))


# -- the models of the package -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_models_of_the_package(tmp_path: Path) -> None:
    export = export_model(Request("packaged", "onnx", tmp_path / "onnx"))
    assert sorted(export.graphs) == ["anomaly", "binary", "lungs", "multiclass"]
    noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    answers = list(load_exported(tmp_path / "onnx", "onnx").stream([*radiographs(6), noise]))
    expected = predict([*radiographs(6), noise], device="cpu")
    for answer, other in zip(answers, expected, strict=True):
        assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert answer.ood == other.ood and answer.model == other.model
        assert (answer.prediction, answer.prediction_set) == (other.prediction, other.prediction_set)


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_changed_file_is_refused(exported: tuple[Path, Path], tmp_path: Path) -> None:
    for file in exported[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[-10] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(
        ModelError, match=r"model.onnx was changed since it was exported; export the model again"
    ):
        load_exported(tmp_path, "onnx")
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model.onnx is missing; export the model again"):
        load_exported(tmp_path, "onnx")


def test_a_file_that_no_engine_reads_is_one_sentence(exported: tuple[Path, Path], tmp_path: Path) -> None:
    for file in exported[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "lungs.onnx").write_text("no graph")
    export = Export.load(tmp_path / "export.json")
    from hilum.files import digest

    lungs = export.graphs["lungs"].model_copy(
        update={"digest": digest(digest_of_file(tmp_path / "lungs.onnx"))}
    )
    export.model_copy(update={"graphs": {**export.graphs, "lungs": lungs}}).save(tmp_path / "export.json")
    with pytest.raises(ModelError, match=r"lungs.onnx can't be run by onnx \(.*\); export it again"):
        load_exported(tmp_path, "onnx")


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_missing_package_is_named(
    engine: str, exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[engine]
    monkeypatch.delitem(sys.modules, f"hilum.inference.runtimes.{engine}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModelError, match=rf"needs {package}, which is not installed; pip install 'hilum\[runtime"
    ):
        load_exported(exported[1], engine)


def test_folders_without_an_export(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    with pytest.raises(
        ModelError, match=r"holds no export \(no export.json\); run: hilum export MODEL --to onnx"
    ):
        predictor_for(tmp_path, runtime="onnx")
    with pytest.raises(
        ModelError, match="the runtime onnx needs an exported model; run: hilum export packaged"
    ):
        predictor_for(None, runtime="onnx")
    with pytest.raises(ModelError, match="computes on the CPU, not on 'cuda'"):
        predictor_for(exported[1], "cuda", "onnx")


def test_an_export_is_not_written_over_other_things(exported: tuple[Path, Path], tmp_path: Path) -> None:
    model, out = exported
    with pytest.raises(DataError, match="exists already; write over it with --force"):
        export_model(Request(str(model), "onnx", out))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already; name another folder"):
        export_model(Request(str(model), "onnx", tmp_path, force=True))
    Export.load(out / "export.json").save(tmp_path / "export.json")
    with pytest.raises(DataError, match=r"holds notes.txt, which is no part of an export; move it away"):
        export_model(Request(str(model), "onnx", tmp_path, force=True))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_network_that_differs_is_refused(
    exported: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(graphs.TOLERANCE, "fp32", 0.0)
    with pytest.raises(HilumError, match=r"differs from torch by .*, more than 0; choose another --to"):
        export_model(Request(str(exported[0]), "onnx", tmp_path / "onnx"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_folder(exported: tuple[Path, Path], tmp_path: Path, hilum: Callable) -> None:
    answer = hilum("export", exported[0], "--out", tmp_path / "half", "--to", "torch-export")
    assert (answer.code, answer.out.strip()) == (0, str(tmp_path / "half"))
    assert "largest difference from torch" in answer.err
    refused = hilum(
        "predict", "x.png", "--model", exported[1], "--runtime", "onnx", "--attribution", tmp_path
    )
    assert refused.code == 2
