"""Few labels, and a class that was never seen: nested subsets, and nothing is seen that was left out."""

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
from hilum.data.images import Pixels
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.errors import DataError
from hilum.evaluation import missing_labels as under_test
from hilum.evaluation.missing_classes import left_out, missing_classes
from hilum.evaluation.missing_labels import WAYS, labelled_patients, missing_labels
from hilum.evaluation.missing_training import missing_training
from hilum.models import ChestModel, build
from hilum.robustness.config import CorruptedConfig, MissingConfig
from hilum.run import Run, TaskFolder
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import pretrain, simsiam_loss, train_briefly

CHOICE = MissingConfig.model_validate(
    {
        "replicates": 20,
        "labels": {
            "fractions": [0.2, 1.0],
            "seeds": 1,
            "pixels": {"size": [32, 32]},
            "model": {"name": "resnet", "options": {"width": 4, "stages": [1, 1], "embedding": 8}},
            "steps": 2,
            "batch_size": 8,
            "pretrain_steps": 2,
            "pretrain_batch_size": 8,
        },
        "classes": {"steps": 2},
        "training": {"steps": 2, "seeds": 2},
        "corruptions": ["block", "blur"],
        "severities": [1, 5],
    }
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


def test_another_seed_draws_other_patients() -> None:
    train = patients({"normal": 40, "virus": 40})
    assert labelled_patients(train, 0.2, 0) != labelled_patients(train, 0.2, 1)


def test_a_fraction_that_leaves_a_class_empty_is_one_sentence(run: Run, hilum) -> None:
    with pytest.raises(
        DataError, match=r"0.01 of 10 train patients leave class 'virus' empty; choose .* 0.1"
    ):
        labelled_patients(patients({"normal": 400, "virus": 10}), 0.01, 0)
    answer = hilum("missing", run.path, "--labels", "--set", "labels.fractions=[0.001, 1.0]")
    assert answer.code == 2
    assert "leave class" in answer.err
    assert not run.task("multiclass").labels_file.exists()


# -- training ------------------------------------------------------------------------------------------------


class Images:
    """Dark images and bright images, in place of a cache."""

    def __init__(self, bright: np.ndarray) -> None:
        noise = np.random.default_rng(0).integers(-15, 15, (len(bright), 32, 32))
        self.images = (np.where(bright, 170, 80)[:, None, None] + noise).astype(np.uint8)

    def rows(self, wanted: list[str]) -> np.ndarray:
        return np.array([int(name) for name in wanted])


def image_set(targets: np.ndarray) -> ImageSet:
    bright = np.arange(len(targets)) % 2 == 1
    return ImageSet(Images(bright), [str(i) for i in range(len(targets))], targets, Pixels((32, 32)))  # type: ignore[arg-type]


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


def test_a_image_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="without a label"):
        train_briefly(small_net(), image_set(np.array([0, 1, -1, 1])), Augment(), 1, 4, 1e-3, 0)


def stripes(targets: np.ndarray) -> ImageSet:
    """16 images of stripes, each with a period and direction of its own."""
    images = image_set(targets)
    y, x = np.mgrid[:32, :32]
    waves = [(period, angle) for period in (4, 6, 9, 14) for angle in (0.0, 0.8, 1.6, 2.4)]
    drawn = [np.sin(2 * np.pi * (np.cos(a) * x + np.sin(a) * y) / period) for period, a in waves]
    images.cache.images[:] = (127 + 100 * np.stack(drawn)).astype(np.uint8)
    return images


def test_simsiam_lowers_its_loss_keeps_vectors_apart_and_reads_no_target() -> None:
    """The same weights whatever the targets are, and a loss that ends nearer -1 than it began."""
    ends = [
        pretrain(small_net(), stripes(targets), 30, 16, 2e-2, 0, lambda *_: None)
        for targets in (np.full(16, -1), np.arange(16) % 2)
    ]
    for name, tensor in ends[0].weights.items():
        assert torch.equal(tensor, ends[1].weights[name])
    assert not any(name.startswith("head.") for name in ends[0].weights)
    begun = pretrain(small_net(), stripes(np.full(16, -1)), 1, 16, 2e-2, 0, lambda *_: None)
    assert ends[0].loss < begun.loss - 0.08
    assert ends[0].spread > 0.5


def test_the_gradient_stops_at_the_other_view() -> None:
    p, z = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    simsiam_loss(p, p, z, z).backward()
    assert p.grad is not None
    assert z.grad is None


# -- the curve and the missing class -------------------------------------------------------------------------


def test_the_curve_trains_on_the_labelled_alone_and_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    seen: list[set[str]] = []
    pretrained: list[np.ndarray] = []
    real, first = under_test.train_briefly, under_test.pretrain
    monkeypatch.setattr(
        under_test,
        "train_briefly",
        lambda m, images, *r: (seen.append(set(images.case_ids)), real(m, images, *r)),
    )
    monkeypatch.setattr(
        under_test,
        "pretrain",
        lambda m, images, *r: (pretrained.append(images.targets), first(m, images, *r))[1],
    )
    facts = missing_labels(run.task("multiclass"), cases, split, one, CHOICE)
    train = set(cases.table["case_id"][cases.table["case_id"].map(split) == "train"])
    assert seen[0] == seen[1] < seen[2] == seen[3] == train
    assert len(pretrained) == 1
    assert (pretrained[0] == -1).all(), "the pre-training must not get a label"
    assert set(facts["curve"]) == set(WAYS)
    assert [entry["images"] for entry in facts["curve"]["scratch"]] == [len(seen[0]), len(train)]
    assert facts["curve"]["knn"][1]["accuracy"]["low"] <= facts["curve"]["knn"][1]["accuracy"]["value"]
    seen.clear()
    assert missing_labels(run.task("multiclass"), cases, split, one, CHOICE)["curve"] == facts["curve"]
    assert seen == []


def test_the_class_left_out_is_never_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    seen: list[str] = []
    real = under_test.train_briefly
    monkeypatch.setattr(
        under_test, "train_briefly", lambda m, images, *r: (seen.extend(images.case_ids), real(m, images, *r))
    )
    facts = missing_classes(run.task("multiclass"), run.anomaly, cases, split, one, CHOICE)
    labels = cases.table.set_index("case_id")["label"]
    assert set(labels[seen]) == {"normal", "bacteria"}
    assert len(seen) == (labels[split == "train"] != "virus").sum()
    assert facts["without"] == "virus"
    assert facts["images"]["virus"] == sum(entry["k"] for entry in facts["answers"].values())
    assert len(facts["confidence"]["virus"]) == facts["images"]["virus"]
    assert all(0.5 <= value <= 1 for value in facts["confidence"]["virus"])


def test_two_classes_are_too_few_to_leave_one_out() -> None:
    with pytest.raises(DataError, match="too few"):
        left_out(task("binary", ["normal", "virus"]), None)
    with pytest.raises(DataError, match=r"'virsu' is no class of 'multiclass'; did you mean 'virus'"):
        left_out(task("multiclass", ["normal", "virus", "bacteria"]), "virsu")


def test_the_commands_print_and_the_report_draws(run: Run, hilum) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    missing_labels(run.task("multiclass"), cases, split, one, CHOICE)
    missing_classes(run.task("multiclass"), run.anomaly, cases, split, one, CHOICE)
    missing_training(run.task("multiclass"), cases, split, one, CHOICE)
    from hilum.evaluation.show import missing_table
    from hilum.report.sections.missing import missing

    printed = missing_table(run, ["labels", "classes", "training"])
    assert "virus predicted normal" in printed
    assert "scratch" in printed
    assert "some corrupted" in printed
    section = missing(run)
    assert section is not None
    said = section.values  # noqa: PD011, this is no table
    assert "names" in said["labels"]["lead"]
    assert said["classes"]["lead"].startswith("A network that never saw virus calls ")
    assert "<svg" in said["labels"]["drawing"]
    assert "<svg" in said["classes"]["drawing"]
    assert "kinds of corrupted images" in said["training"]["lead"]
    assert [drawing.count("<svg") for drawing, _ in said["training"]["panels"]] == [1, 1]
    assert len(said["training"]["rows"]) == 1 + 2 * 2


# -- training for corrupted images -------------------------------------------------------------------------------


def test_only_the_second_network_learns_from_spoilt_images(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, split = run.cases(), run.split("multiclass")
    one = task("multiclass", cases.labels)
    shares: list[float] = []
    real = under_test.train_briefly
    monkeypatch.setattr(
        under_test,
        "train_briefly",
        lambda m, f, augment, *r: (shares.append(augment.corrupt), real(m, f, augment, *r)),
    )
    facts = missing_training(run.task("multiclass"), cases, split, one, CHOICE)
    assert shares == [0.0, 0.0, 0.5, 0.5]
    assert set(facts["corruptions"]) == {"block", "blur"} and set(facts["corruptions"]["blur"]) == {"1", "5"}
    for point in (facts["plain"], facts["corruptions"]["block"]["5"]):
        whole, corrupted = point["whole"], point["corrupted"]
        assert np.mean(whole["seeds"]) == pytest.approx(whole["accuracy"]["value"])
        assert point["gain"]["value"] == pytest.approx(
            corrupted["accuracy"]["value"] - whole["accuracy"]["value"]
        )
    shares.clear()
    assert missing_training(run.task("multiclass"), cases, split, one, CHOICE) == facts
    assert not shares


def test_a_network_that_learnt_from_spoilt_images_reads_them_better(tmp_path: Path) -> None:
    """Classes differ in brightness alone: a network that knows whole images fails where pixels are black."""
    chance = np.random.default_rng(0)
    for number in range(60):
        label = "normal" if number % 2 else "virus"
        image = chance.integers(60, 100, (40, 40)) + (60 if label == "virus" else 0)
        path = tmp_path / label / f"p{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image.astype(np.uint8))
    cases = open_source(str(tmp_path), "folder")
    split = split_cases(cases, "patient", 0, val_fraction=0.5, test_fraction=0.2).of
    config = CHOICE.model_copy(
        update={
            "training": CorruptedConfig(steps=60, seeds=1, share=0.8),
            "corruptions": ("random_pixels",),
            "severities": (5,),
        }
    )
    folder = TaskFolder(tmp_path / "binary")
    facts = missing_training(folder, cases, split, task("binary", cases.labels), config)
    assert facts["corruptions"]["random_pixels"]["5"]["gain"]["value"] > 0.2
