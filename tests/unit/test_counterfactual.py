"""The acquisition counterfactual: a network that reads the device is exposed, one that reads the lungs passes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hilum.artifacts.counterfactual import Counterfactual
from hilum.data.cases import Cases
from hilum.data.counterfactual.image import PARTS
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.reading_options import ReadingOptions
from hilum.data.sources.phantom import PhantomSettings, load, write
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.errors import DataError
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.counterfactual.config import CounterfactualConfig
from hilum.evaluation.counterfactual.figures import Answers, point, sensitivity_at
from hilum.evaluation.counterfactual.measure import chosen, measure, val_in_other_look
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.metrics import auroc
from hilum.files import read_table
from hilum.models import ChestModel
from hilum.recipe import load_recipe
from hilum.report.counterfactual.section import lead, make, verdict
from hilum.run import Run
from hilum.serving.counterfactual import model_figures
from hilum.serving.predictor import predict
from hilum.stages.contract import Context
from hilum.stages.evaluate import STAGE as EVALUATE
from hilum.stages.reliability import STAGE as RELIABILITY

from .cards import card

CONFIG = CounterfactualConfig(images=None, replicates=200, shown=1)
PIXELS = Pixels(size=(56, 64), mean=0.5, sd=0.25)


class Linear(nn.Module):
    """Logits (0, z) of a linear score of the pixels."""

    def __init__(self, weights: np.ndarray, bias: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x.flatten(1) @ self.weights + self.bias
        return torch.stack([torch.zeros_like(z), z], dim=1)


def model_of(head: nn.Module) -> ChestModel:
    same = nn.Identity()
    model = ChestModel(("normal", "pneumonia"), PIXELS, same, nn.Flatten(), same, head)
    model.card = card(("normal", "pneumonia"), "made by hand")
    return model.eval()


def ridge(cases: Cases, split: pd.Series) -> ChestModel:
    """A linear network fitted to the training part: it takes what separates the labels most easily."""
    rows = cases.table[cases.table["case_id"].map(split) == "train"]
    x = PIXELS.normalize(np.stack([PIXELS.prepare(read_grey(path)) for path in rows["path"]]))
    x = x.reshape(len(rows), -1).astype(np.float64)
    y = np.where(rows["label"] == "normal", -1.0, 1.0)
    weights = x.T @ np.linalg.solve(x @ x.T + 300 * np.eye(len(x)), y)
    return model_of(Linear(4 * weights, 0.0))


@pytest.fixture(scope="module")
def device_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = PhantomSettings(patients=60, size=(112, 128), shortcut="device")
    return write(tmp_path_factory.mktemp("device") / "set", settings)


def test_a_network_that_reads_the_device_is_exposed(device_set: Path) -> None:
    """Nearly perfect on plain held-out images, and the wrong way round in the look of the other devices."""
    cases = load(device_set)
    split = split_cases(cases, "patient", val_fraction=0.4).of
    binary = task("binary", cases.labels)
    figures = measure(ridge(cases, split), 0.5, cases, split, binary, CONFIG).figures
    aurocs = {name: each.auroc.value or 0.0 for name, each in figures.parts.items()}
    swapped = figures.all_parts.auroc.value
    assert (figures.plain.auroc.value or 0.0) > 0.95
    assert swapped is not None and swapped < 0.3
    assert min(aurocs["frame"], aurocs["tone"]) < aurocs["sharpness"]
    assert "relies on how images were taken" in verdict([figures])


def test_the_rows_are_those_of_the_figures(small_run: Run) -> None:
    for name in small_run.tasks:
        folder = small_run.task(name)
        figures = folder.counterfactual()
        rows = read_table(folder.counterfactual_predictions_file, case_id=str, patient=str, donor=str)
        assert list(dict.fromkeys(rows["images"])) == ["plain", "all", *PARTS]
        assert rows.groupby("images").size().eq(figures.images).all()
        swapped = rows[rows["images"] == "all"]
        assert figures.all_parts.accuracy.k == (swapped["predicted"] == swapped["target"]).sum()
        plain = rows[rows["images"] == "plain"]
        flips = swapped["predicted"].to_numpy() != plain["predicted"].to_numpy()
        assert figures.all_parts.flipped is not None and figures.all_parts.flipped.k == flips.sum()
        train = set(small_run.split(name).index[small_run.split(name) == "train"])
        assert set(rows["donor"]) <= train


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_plain_images_have_the_predictions_of_the_evaluation(small_run: Run, name: str) -> None:
    folder = small_run.task(name)
    rows = read_table(folder.counterfactual_predictions_file, case_id=str, patient=str)
    plain = rows[rows["images"] == "plain"].set_index("case_id")
    predictions = folder.predictions().set_index("case_id").loc[plain.index]
    assert np.allclose(plain["prob_normal"], predictions["prob_normal"], atol=1e-4)
    assert (plain["predicted"] == predictions["predicted"]).all()


def test_the_section_states_both_tasks_and_shows_the_sheet(small_run: Run) -> None:
    section = make(small_run)
    assert section is not None
    tasks = dict(**vars(section))["values"]["tasks"]
    assert len(tasks) == 2
    assert all(entry["swaps"] for entry in tasks)
    figures = small_run.task("binary").counterfactual()
    assert f"to {figures.all_parts.auroc.value:.3f}" in lead("binary", figures)


def test_sensitivity_at_a_fixed_specificity_against_all_thresholds() -> None:
    chance = np.random.default_rng(0)
    positive = chance.random(60) < 0.5
    score = np.round(positive * 0.5 + chance.normal(size=60), 1)
    weights = chance.integers(0, 3, (5, 60)).astype(float)
    for row, value in zip(weights, sensitivity_at(score, positive, 0.8, weights), strict=True):
        best = 0.0
        for cut in [*np.unique(score), np.inf]:
            above = score >= cut
            specificity = (row * ~above * ~positive).sum() / (row * ~positive).sum()
            if specificity >= 0.8 - 1e-9:
                best = max(best, (row * above * positive).sum() / (row * positive).sum())
        assert value == pytest.approx(best)


def test_the_change_of_auroc_is_paired() -> None:
    """The same answers twice: no change, and no spread of it."""
    rows = pd.DataFrame(
        {"case_id": [*"abcdef"], "patient": [*"abcdef"], "target": ["normal"] * 3 + ["virus"] * 3}
    )
    p = np.array([0.1, 0.6, 0.3, 0.5, 0.7, 0.9])
    answers = Answers(np.stack([1 - p, p], 1), ("normal", "virus"), 0.5)
    same = point(rows, answers, answers, 0.9, replicates=50)
    assert same.auroc_change is not None and same.auroc_change.value == 0
    assert same.auroc.value == pytest.approx(float(np.asarray(auroc(p, np.arange(6) > 2))))
    assert same.flipped is not None and same.flipped.counts == "0/6"


def test_images_are_chosen_in_proportion_and_the_other_part_stands_in(phantom_data: Path) -> None:
    cases = load(phantom_data)
    split = split_cases(cases, "patient").of
    binary = task("binary", cases.labels)
    rows, part, of = chosen(cases, split, binary, CounterfactualConfig(images=6))
    assert part == "val" and of == (split == "val").sum()
    assert len(rows) <= 6 and set(rows["target"]) == set(binary.classes)
    rows, part, _ = chosen(cases, split.replace("val", "unused"), binary, CONFIG)
    assert part == "test" and len(rows) == (split == "test").sum()
    with pytest.raises(DataError, match="no image is held out"):
        chosen(cases, split[:0], binary, CONFIG)


def test_the_models_of_the_package_are_measured_alone_and_together(phantom_data: Path) -> None:
    """The joined answer is of the same images and decides as the predictor does."""
    measured = dict(model_figures(phantom_data, None, ["images=null", "parts=[tone]", "replicates=20"]))
    assert list(measured) == ["binary", "multiclass", "normal vs abnormal, both together"]
    both = measured["normal vs abnormal, both together"]
    assert both.classes == ["normal", "abnormal"] and both.threshold == 0.5
    assert {figures.images for figures in measured.values()} == {both.images} and set(both.parts) == {"tone"}
    digests = {figures.weights_digest for figures in measured.values()}
    assert len(digests) == 3
    cases = load(phantom_data)
    rows, _, _ = chosen(
        cases,
        split_cases(cases, "patient", 0).of,
        task("binary", cases.labels),
        CounterfactualConfig(images=None),
    )
    paths = cases.table.set_index("case_id")["path"].loc[rows["case_id"]].tolist()
    answers = [answer.abnormal for answer in predict(paths)]
    healthy = [a.positive for a, label in zip(answers, rows["label"], strict=True) if a and label == "normal"]
    assert both.plain.specificity.counts == f"{healthy.count(False)}/{len(healthy)}"


def test_the_joined_answer_needs_two_labels_alone(
    phantom_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On data without the labels of the three-class network it counts in the joined answer alone."""
    options = ReadingOptions(classes=["normal", "virus"])
    changes = ["images=null", "parts=[]", "replicates=20"]
    measured = dict(model_figures(phantom_data, None, changes, options))
    assert list(measured) == ["binary", "normal vs abnormal, both together"]
    both = measured["normal vs abnormal, both together"]
    assert both.classes == ["normal", "abnormal"] and both.images == measured["binary"].images
    assert "multiclass: the data has no labels bacteria, virus; measured together" in capsys.readouterr().err


def test_classes_without_a_healthy_one_are_a_sentence() -> None:
    rows = pd.DataFrame({"case_id": [*"ab"], "patient": [*"ab"], "target": ["bacteria", "virus"]})
    answers = Answers(np.eye(2), ("bacteria", "virus"), None)
    with pytest.raises(DataError, match="name the label of healthy images with --healthy"):
        point(rows, answers, None, 0.9, 0)


def test_the_file_is_read_as_it_was_written(small_run: Run, tmp_path: Path) -> None:
    figures = small_run.task("binary").counterfactual()
    figures.save(tmp_path / "counterfactual.json")
    assert Counterfactual.load(tmp_path / "counterfactual.json") == figures


@pytest.mark.parametrize("rule", ["sensitivity>=0.9", "youden"])
def test_the_threshold_may_hold_in_both_looks(rule: str, small_run: Run, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(small_run.path, tmp_path / "run")))
    recipe, cases = load_recipe(copy.path / "recipe.yaml"), copy.cases()
    binary = task("binary", cases.labels)
    tasks = {"threshold": rule, "threshold_on": "counterfactual"}
    changed = recipe.tasks["binary"].model_copy(update=tasks)
    recipe = recipe.model_copy(update={"tasks": {**recipe.tasks, "binary": changed}})
    EVALUATE.run(Context(copy, cases, recipe, (binary,), binary), EVALUATE.config())
    point = copy.task("binary").card().threshold
    assert point is not None and point.chosen_on == "val in both looks" and point.rule == rule
    other = val_in_other_look(copy.task("binary").load_model(), cases, copy.split("binary"), binary)
    assert set(other["case_id"]) == set(copy.split("binary").index[copy.split("binary") == "val"])
    plain = small_run.task("binary").predictions()
    looks = pd.DataFrame(
        {
            name: table.set_index("case_id")["prob_pneumonia"]
            for name, table in (("plain", plain), ("other", other))
        }
    ).loc[other["case_id"]]
    abnormal = (other["target"] == "pneumonia").to_numpy()
    probability = np.where(abnormal, looks.min(axis=1), looks.max(axis=1))
    assert (probability != looks["other"]).any() and (probability != looks["plain"]).any()
    assert point.value == pytest.approx(choose_threshold(probability, abnormal, rule))
    if rule.startswith("sensitivity"):
        assert all((looks.loc[abnormal, look] >= point.value).mean() >= 0.9 for look in looks)
    predicted = copy.task("binary").predictions()["predicted"]
    assert (predicted == np.where(plain["prob_pneumonia"] >= point.value, "pneumonia", "normal")).all()
    config = ReliabilityConfig(mc_passes=0, views=False, divisions=3, ood_rate=None)
    RELIABILITY.run(Context(copy, cases, recipe, (binary,), binary), config)
    made = copy.task("binary").reliability()
    used = [each for each in made.operating if each.in_use]
    assert [each.both_looks for each in used] == [True] and used[0].decisions is not None
    rows = copy.task("binary").predictions().query("split == @made.judged_on")
    found = (rows["target"] == "pneumonia") & (rows["predicted"] == "pneumonia")
    # of the threshold that decides, not of one chosen anew
    assert used[0].decisions.sensitivity.k == found.sum()
    values = copy.task("binary").card().predictive_values
    assert values is not None and values.sensitivity.k == found.sum()
