"""Studies of other diseases than the paediatric set's: no healthy class, numbers as names, five classes."""

import re
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum import cli
from hilum.data.tasks import possible_tasks, task
from hilum.errors import DataError
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import Predictor
from hilum.run import Run

SETTINGS = [
    *(f"--set={name}.pixels.size=[32, 40]" for name in ("binary", "multiclass")),
    *(f"--set={name}.training.epochs=1" for name in ("binary", "multiclass")),
    *(
        f"--set={name}.model={{name: vgg, options: {{blocks: [[4]], dense: [4]}}}}"
        for name in ("binary", "multiclass")
    ),
    "--set=leakage=null",
    "--set=replicates=20",
    "--set=reliability={mc_passes: 2, images: 8}",
    "--set=robustness={severities: [5], corruptions: [low_dose], replicates: 0}",
    "--set=explain={methods: {occlusion: {}}, occlusion: {stride: 16}, scan: 10, filters: 1, images: 1, synthesis:"
    " {filters: 1, steps: 1, clean_steps: 1}, faithfulness: {images: 1, steps: 2, truth: 0}, layers: {ablation: 0,"
    " probes: 0, concepts: 0}}",
    "--set=anomaly={detectors: {patch_gaussian: {features: pixels, channels: 8}}, pixels: {size: [32, 40]},"
    " split: {val_fraction: 0.5}, false_alarm_rate: 0.3, ood_images: 2}",
    "--set=counterfactual={images: 8, shown: 1, replicates: 10}",
]
"""Every stage, on few tiny images."""

OF_CHILDREN = re.compile(r"bacteri|viral|virus|pneumonia|paediat|seed report|child", re.IGNORECASE)
"""Words that belong to the paediatric set alone."""


def folders(root: Path, labels: tuple[str, ...], images: int) -> Path:
    """A folder of noise per label, a bright bar at the height of the label in each image."""
    rng = np.random.default_rng(0)
    for place, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for number in range(images):
            image = rng.integers(0, 256, (40, 48), np.uint8)
            image[4 * place : 4 * place + 6, 10:40] = 255
            cv2.imwrite(str(root / label / f"{number}.png"), image)
    return root


def study(data: Path, out: Path, *words: str) -> Run:
    """hilum study with the settings above."""
    patch = pytest.MonkeyPatch()
    patch.setattr("sys.argv", ["hilum", "study", str(data), "--out", str(out), *SETTINGS, *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    patch.undo()
    assert not end.value.code
    return Run(out)


def words_of(page: str) -> str:
    """What a reader sees of a page, drawings with their alternative text."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    page = re.sub(r'<svg[^>]*aria-label="([^"]*)"', r"\1<svg", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of the classes 0 and 1."""
    place = tmp_path_factory.mktemp("numbers")
    return study(folders(place / "data", ("0", "1"), 20), place / "run")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A study of five classes, one of them healthy."""
    place = tmp_path_factory.mktemp("five")
    labels = ("NORMAL", "COVID", "Tuberculosis", "Lung Cancer", "Other")
    return study(folders(place / "data", labels, 14), place / "run")


def test_two_classes_without_a_healthy_one_are_a_study(numbers: Run) -> None:
    assert numbers.tasks == ("multiclass",)
    records = numbers.stage_records()
    done = {label for label, record in records.items() if record.finished}
    assert done >= {
        f"{stage} multiclass"
        for stage in ("train", "evaluate", "reliability", "embed", "explain", "robustness")
    }
    assert {
        label: record.status for label, record in records.items() if not record.finished
    } == dict.fromkeys(("train binary", "counterfactual multiclass", "anomaly"), "skipped")
    card, block = numbers.task("multiclass").card(), numbers.task("multiclass").metrics()["test"]
    assert card.threshold is not None and card.threshold.positive == "1"
    table = numbers.task("multiclass").predictions().query("split == 'test'")
    is_one = table["target"] == "1"
    assert (block.sensitivity.k, block.sensitivity.n) == (
        (table["predicted"] == "1")[is_one].sum(),
        is_one.sum(),
    )
    assert numbers.task("multiclass").reliability().decision_curve is None


def test_the_report_names_the_classes_and_why_stages_are_absent(numbers: Run) -> None:
    text = words_of(numbers.report_file.read_text(encoding="utf-8"))
    assert "0 vs 1: Accuracy" in text and "Sensitivity for 1: " in text
    assert "An image is classified as 1 when its probability of 1 is at least" in text
    assert "none of the labels 0, 1 is known to mean healthy; name it with --healthy, for example" in text
    assert "no image is labelled 'normal' (labels: 0, 1), so nothing can be fitted" in text
    assert "leaving one of two classes out leaves nothing to classify" in text
    assert (
        "abnormal image"
        not in text.partition("Reproducibility")[0].rpartition("Overview")[2].split("Anomaly")[0]
    )
    assert not OF_CHILDREN.search(text) and "Published" not in text


def test_a_prediction_without_a_healthy_class_has_no_abnormal(numbers: Run) -> None:
    predictor = Predictor.load(numbers.task("multiclass").path, "cpu")
    [prediction] = predictor.stream([np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)])
    assert prediction.abnormal is None and prediction.probabilities is not None
    assert list(prediction.probabilities) == ["0", "1"]
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction


def test_five_classes_meet_no_word_of_the_paediatric_set(five: Run) -> None:
    assert five.tasks == ("binary", "multiclass")
    assert not five.failed_stages
    text = words_of(five.report_file.read_text(encoding="utf-8"))
    assert "Normal vs abnormal: Accuracy" in text and "5 classes: Accuracy" in text
    assert [found[0] for found in OF_CHILDREN.finditer(text)] == []
    assert "Published" not in text
    assert not any((five.path / name / "published.json").exists() for name in five.tasks)


def test_the_paediatric_labels_meet_them(small_run: Run) -> None:
    text = words_of(small_run.report_file.read_text(encoding="utf-8"))
    assert "Bacterial vs viral: Accuracy" in text and "Normal vs pneumonia: Accuracy" in text
    assert "The published baseline was measured on real radiographs, this run on synthetic images" in text


def test_tasks_come_from_the_labels() -> None:
    assert possible_tasks(["covid", "pneumonia"]) == ("multiclass",)
    assert possible_tasks(["normal", "covid"]) == ("binary",)
    assert possible_tasks(["normal", "covid", "virus"]) == ("binary", "multiclass")
    assert possible_tasks(["covid"]) == possible_tasks(["normal"]) == ()
    assert task("multiclass", ["1", "0"]).classes == ("0", "1")
    with pytest.raises(
        DataError, match="name it with --healthy, for example --healthy 'my label', or use --task"
    ):
        task("binary", ["my label", "other"])
    with pytest.raises(DataError, match="needs three labels, or two that are not normal"):
        task("multiclass", ["normal", "covid"])
