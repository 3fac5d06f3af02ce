"""Few labels, an unseen class, corrupted training images: nested subsets, and nothing is trained on that was
left out."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.data.augment import Augment
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.errors import DataError
from hilum.folders import TaskFolder
from hilum.models import ChestModel, build
from hilum.report.robustness.section import make
from hilum.robustness import label_efficiency as under_test
from hilum.robustness import small_network
from hilum.robustness.config import CorruptionTrainingConfig, LabelEfficiencyConfig, UnseenClassConfig
from hilum.robustness.corruption_training import measure_corruption_training
from hilum.robustness.label_efficiency import WAYS, labelled_patients, measure_label_efficiency
from hilum.robustness.show import robustness_text
from hilum.robustness.unseen_class import measure_unseen_class, unseen_class
from hilum.run import Run
from hilum.stages import label_efficiency as label_efficiency_stage
from hilum.stages.contract import Context, Recipe
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import pretrain, simsiam_loss, train_briefly

TINY = {
    "replicates": 20,
    "pixels": {"size": [32, 32]},
    "model": {"name": "resnet", "options": {"width": 4, "stages": [1, 1], "embedding": 8}},
    "steps": 2,
    "batch_size": 8,
}
LABELS = LabelEfficiencyConfig.model_validate(
    {**TINY, "fractions": [0.2, 1.0], "seeds": 1, "pretrain_steps": 2, "pretrain_batch_size": 8}
)
UNSEEN = UnseenClassConfig.model_validate(TINY)
TRAINING = CorruptionTrainingConfig.model_validate(
    {**TINY, "seeds": 2, "corruptions": ["block", "blur"], "severities": [1, 5]}
)


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(small_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


# -- subsets -------------------------------------------------------------------------------------------------


def patients(counts: dict[str, int]) -> pd.DataFrame:
    """Two images per patient."""
    rows = [(f"{label}{i}", label) for label, n in counts.items() for i in range(n) for _ in range(2)]
    return pd.DataFrame(rows, columns=["patient", "target"])


@given(
    healthy=st.integers(10, 60),
    abnormal=st.integers(10, 60),
    small=st.floats(0.1, 0.5),
    more=st.floats(0.0, 0.5),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_subsets_are_nested_and_stratified(
    healthy: int, abnormal: int, small: float, more: float, seed: int
) -> None:
    train = patients({"normal": healthy, "virus": abnormal})
    few, many = (set(labelled_patients(train, fraction, seed)) for fraction in (small, small + more))
    assert few <= many
    assert sum(name.startswith("normal") for name in few) == round(small * healthy)
    assert sum(name.startswith("virus") for name in few) == round(small * abnormal)
    assert len(labelled_patients(train, 1.0, seed)) == healthy + abnormal


def test_another_seed_gives_other_patients() -> None:
    train = patients({"normal": 40, "virus": 40})
    assert labelled_patients(train, 0.2, 0) != labelled_patients(train, 0.2, 1)


def test_a_fraction_that_leaves_a_class_empty_is_one_sentence(run: Run, hilum) -> None:
    with pytest.raises(
        DataError, match=r"0.01 of 10 train patients leave class 'virus' empty; choose .* 0.1"
    ):
        labelled_patients(patients({"normal": 400, "virus": 10}), 0.01, 0)
    answer = hilum("robustness", run.path, "--labels", "--set", "fractions=[0.001, 1.0]")
    assert answer.code == 2
    assert "leave class" in answer.err
    assert not run.task("multiclass").label_efficiency_file.exists()


# -- training ------------------------------------------------------------------------------------------------


def image_set(targets: np.ndarray) -> ImageSet:
    """Dark images and bright images, in turn."""
    bright = np.arange(len(targets)) % 2 == 1
    noise = np.random.default_rng(0).integers(-15, 15, (len(bright), 32, 32))
    images = (np.where(bright, 170, 80)[:, None, None] + noise).astype(np.uint8)
    names = [str(number) for number in range(len(targets))]
    cache = ImageCache(images, {name: row for row, name in enumerate(names)}, Path())
    return ImageSet(cache, names, targets, Pixels((32, 32)))


def small_net() -> ChestModel:
    torch.manual_seed(0)
    options = {"width": 4, "stages": [1, 1], "embedding": 8}
    return build("resnet", ("dark", "bright"), Pixels((32, 32)), options)


def test_a_short_training_learns_what_is_there_and_repeats_itself() -> None:
    images = image_set(np.arange(16) % 2)
    logits = []
    for _ in range(2):
        model = small_net()
        train_briefly(model, images, Augment(), steps=15, batch_size=8, lr=1e-2, seed=0)
        x = torch.from_numpy(images.pixels.normalize(images.cache.images))[:, None]
        with torch.no_grad():
            logits.append(model(x))
    assert (logits[0].argmax(1).numpy() == images.targets).all()
    assert torch.equal(*logits)


def test_an_image_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="without a label"):
        train_briefly(small_net(), image_set(np.array([0, 1, -1, 1])), Augment(), 1, 4, 1e-3, 0)


def stripes(targets: np.ndarray) -> ImageSet:
    """16 images of stripes, each with a period and direction of its own."""
    images = image_set(targets)
    y, x = np.mgrid[:32, :32]
    waves = [(period, angle) for period in (4, 6, 9, 14) for angle in (0.0, 0.8, 1.6, 2.4)]
    patterns = [np.sin(2 * np.pi * (np.cos(a) * x + np.sin(a) * y) / period) for period, a in waves]
    images.cache.images[:] = (127 + 100 * np.stack(patterns)).astype(np.uint8)
    return images


def test_simsiam_lowers_its_loss_keeps_vectors_apart_and_reads_no_target() -> None:
    """The same weights whatever the targets are, and a loss that ends nearer -1 than it started."""
    ends = [
        pretrain(small_net(), stripes(targets), 30, 16, 2e-2, 0, lambda *_: None)
        for targets in (np.full(16, -1), np.arange(16) % 2)
    ]
    assert ends[0].weights.keys() == ends[1].weights.keys() and ends[0].weights
    for name, tensor in ends[0].weights.items():
        assert torch.equal(tensor, ends[1].weights[name])
    assert not any(name.startswith("head.") for name in ends[0].weights)
    start = pretrain(small_net(), stripes(np.full(16, -1)), 1, 16, 2e-2, 0, lambda *_: None)
    assert ends[0].loss < start.loss - 0.08
    assert ends[0].spread > 0.5


def test_vectors_of_an_image_do_not_depend_on_the_others() -> None:
    images = image_set(np.arange(8) % 2).cache.images
    model = small_net().train()
    together = under_test._vectors(model, images)
    alone = under_test._vectors(model, images[:1])
    assert together[0] == pytest.approx(alone[0], abs=1e-5)


def test_the_gradient_stops_at_the_other_view() -> None:
    p, z = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    simsiam_loss(p, p, z, z).backward()
    assert p.grad is not None
    assert z.grad is None


# -- the curve and the unseen class ----------------------------------------------------------------------------


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], float]]:
    """The case_ids of each short training, and the share of images that it corrupts."""
    trainings: list[tuple[list[str], float]] = []
    train = small_network.train_briefly

    def record(model: ChestModel, images: ImageSet, augment: Augment, *rest: object) -> None:
        trainings.append((list(images.case_ids), augment.corrupt))
        train(model, images, augment, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(small_network, "train_briefly", record)
    return trainings


def test_the_curve_trains_on_the_labelled_alone_and_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cases, split = run.task("multiclass"), run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    trainings = recorded(monkeypatch)
    pretrained: list[np.ndarray] = []
    first = under_test.pretrain
    monkeypatch.setattr(
        under_test,
        "pretrain",
        lambda m, images, *r: (pretrained.append(images.targets), first(m, images, *r))[1],
    )
    result = measure_label_efficiency(folder, cases, split, one, LABELS)
    train = set(cases.table["case_id"][cases.table["case_id"].map(split) == "train"])
    few, again, every, last = (set(case_ids) for case_ids, _ in trainings)
    assert few == again < every == last == train
    assert len(pretrained) == 1
    assert (pretrained[0] == -1).all(), "the pre-training must not get a label"
    assert set(result.curve) == set(WAYS)
    assert [point.images for point in result.curve["scratch"]] == [len(few), len(train)]
    accuracy = result.curve["knn"][1].accuracy
    assert accuracy.low is not None and accuracy.value is not None and accuracy.low <= accuracy.value
    trainings.clear()
    assert measure_label_efficiency(folder, cases, split, one, LABELS).curve == result.curve
    assert trainings == []
    assert folder.label_efficiency() == result


def test_the_unseen_class_is_never_trained_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    trainings = recorded(monkeypatch)
    result = measure_unseen_class(run.task("multiclass"), run.anomaly, cases, split, one, UNSEEN)
    labels = cases.table.set_index("case_id")["label"]
    [(case_ids, _)] = trainings
    assert set(labels[case_ids]) == {"normal", "bacteria"}
    assert len(case_ids) == (labels[split == "train"] != "virus").sum()
    assert result.unseen == "virus"
    n = len(result.confidence["virus"])
    assert n == sum(share.k or 0 for share in result.predicted.values()) > 0
    assert {share.n for share in result.predicted.values()} == {n}
    assert min(result.confidence["virus"]) >= 0.5 and max(result.confidence["virus"]) <= 1
    assert result.anomaly is not None
    assert result.anomaly.detector == run.anomaly.scores().columns[5]


def test_two_classes_are_too_few_to_leave_one_out() -> None:
    with pytest.raises(DataError, match="too few"):
        unseen_class(task("binary", ["normal", "virus"]), None)
    with pytest.raises(DataError, match=r"'virsu' is no class of 'multiclass'; did you mean 'virus'"):
        unseen_class(task("multiclass", ["normal", "virus", "bacteria"]), "virsu")


def test_further_measurements_are_made_for_the_last_task_only(run: Run) -> None:
    cases = run.cases()
    tasks = tuple(task(name, cases.labels) for name in run.tasks)
    context = Context(run, cases, Recipe.model_construct(), tasks, tasks[0])
    with pytest.raises(DataError, match="measured for one task only, multiclass"):
        label_efficiency_stage.STAGE.run(context, LABELS)


def test_the_terminal_and_the_report_show_all_three(run: Run) -> None:
    folder, cases, split = run.task("multiclass"), run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    labels = measure_label_efficiency(folder, cases, split, one, LABELS)
    unseen = measure_unseen_class(folder, run.anomaly, cases, split, one, UNSEEN)
    training = measure_corruption_training(folder, cases, split, one, TRAINING)
    assert "scratch" in robustness_text(run, "label_efficiency")
    share = unseen.predicted["normal"]
    assert f"virus predicted as normal: {share.value:.3f}" in robustness_text(run, "unseen_class")
    assert robustness_text(run, "corruption_training").count("blur") == 2
    section = make(run)
    assert section is not None
    values = section.values  # noqa: PD011, this is no table
    few, every = labels.curve["scratch"]
    lead = values["labels"].lead.replace("\xa0", " ")
    assert (
        f"accuracy {100 * (few.accuracy.value or 0):.1f} %" in lead and f"{every.patients} patients" in lead
    )
    assert values["unseen"].lead.startswith("A network that was never trained on virus classifies ")
    assert values["labels"].drawing.count("<svg") == values["unseen"].drawing.count("<svg") == 1
    gain = 100 * (training.clean.gain.value or 0)
    assert f"{gain:+.1f} points".replace("-", "−") in values["training"].lead
    assert [drawing.count("<svg") for drawing, _ in values["training"].panels] == [1, 1]
    assert len(values["training"].rows) == 1 + 2 * 2


# -- training on corrupted images ------------------------------------------------------------------------------


def test_only_the_second_network_is_trained_on_corrupted_images(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    trainings = recorded(monkeypatch)
    result = measure_corruption_training(run.task("multiclass"), cases, split, one, TRAINING)
    assert [share for _, share in trainings] == [0.0, 0.0, 0.5, 0.5]
    assert {name: set(points) for name, points in result.corruptions.items()} == {
        "block": {1, 5},
        "blur": {1, 5},
    }
    for point in (result.clean, result.corruptions["block"][5]):
        clean, corrupted = point.clean.accuracy.value or 0.0, point.corrupted.accuracy.value or 0.0
        assert np.mean(point.clean.seeds) == pytest.approx(clean)
        assert point.gain.value == pytest.approx(corrupted - clean)
    assert run.task("multiclass").corruption_training() == result


def test_a_network_trained_on_corrupted_images_reads_them_better(tmp_path: Path) -> None:
    """Classes differ in brightness alone: a network trained on clean images fails where pixels are black."""
    chance = np.random.default_rng(0)
    for number in range(60):
        label = "normal" if number % 2 else "virus"
        image = chance.integers(60, 100, (40, 40)) + (60 if label == "virus" else 0)
        path = tmp_path / label / f"p{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image.astype(np.uint8))
    cases = open_source(str(tmp_path), "folder")
    split = split_cases(cases, "patient", 0, val_fraction=0.5, test_fraction=0.2).of
    config = CorruptionTrainingConfig.model_validate(
        {**TINY, "steps": 150, "seeds": 1, "share": 0.8, "corruptions": ["random_pixels"], "severities": [5]}
    )
    folder = TaskFolder(tmp_path / "binary")
    result = measure_corruption_training(folder, cases, split, task("binary", cases.labels), config)
    gain = result.corruptions["random_pixels"][5].gain
    assert gain.value is not None and gain.value > 0.2
