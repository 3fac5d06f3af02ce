"""The published baseline: what its matrices count, what its text states, and what the documents say of both."""

import re
from pathlib import Path

import pytest

from hilum.evaluation.seed_report import CLAIMS, KNN_TEST, RESNET34_TEST, baseline, block_of, claims

ROOT = Path(__file__).parents[2]
SEED = ROOT.parent / "shared" / "SEED.md"


def stated(task: str, split: str, metric: str) -> float:
    """The figure in the text of the seed report."""
    [value] = [claim.value for claim in claims(task) if (claim.split, claim.metric) == (split, metric)]
    assert value is not None
    return value


def test_both_matrices_are_of_one_test_set() -> None:
    first, second = ([sum(row) for row in matrix] for matrix in (RESNET34_TEST, KNN_TEST))
    assert first == second
    assert sum(first) == baseline("multiclass", True, "w").n_test


def test_the_stated_accuracy_of_resnet34_is_no_share_of_its_test_images() -> None:
    """So its matrix and its text disagree, and the matrix is compared."""
    accuracy = block_of(RESNET34_TEST)["accuracy"]
    images = stated("multiclass", "test", "accuracy") * accuracy["n"]
    assert abs(images - round(images)) > 0.2
    assert round(images) != accuracy["k"]


def test_the_stated_accuracy_of_knn_is_that_of_its_matrix() -> None:
    accuracy = block_of(KNN_TEST)["accuracy"]
    assert accuracy["value"] == pytest.approx(stated("embedding", "test", "accuracy"), abs=5e-5)


def test_the_seed_recipe_expects_the_accuracy_of_the_matrix() -> None:
    recipe = (ROOT / "src" / "hilum" / "recipes" / "seed.yaml").read_text(encoding="utf-8")
    [(k, n, share)] = re.findall(r"three classes (\d+)/(\d+) = ([\d.]+) %", recipe)
    accuracy = block_of(RESNET34_TEST)["accuracy"]
    assert (int(k), int(n)) == (accuracy["k"], accuracy["n"])
    assert float(share) == round(100 * accuracy["value"], 1)


def test_the_figures_are_those_of_the_transcript() -> None:
    """Every matrix and every stated figure, where the transcript of the report is at hand."""
    if not SEED.exists():
        pytest.skip("no transcript of the seed report")
    text = re.sub(r"\s+", "", SEED.read_text(encoding="utf-8"))
    for matrix in (RESNET34_TEST, KNN_TEST):
        assert str([list(row) for row in matrix]).replace(" ", "") in text
    values = [claim.value for claim in CLAIMS if claim.value is not None]
    assert len(values) == 6
    for claim in CLAIMS:
        if claim.value is None:
            continue
        printed = f"{claim.value:.4f}" if claim.metric == "log_loss" else f"{100 * claim.value:.2f}%"
        assert printed in text


def test_normal_vs_abnormal_takes_two_classes_as_one_by_hand() -> None:
    folded = block_of(RESNET34_TEST)["normal_vs_abnormal"]
    assert (folded["sensitivity"]["k"], folded["sensitivity"]["n"]) == (231 + 2 + 33 + 101, 390)
    assert (folded["specificity"]["k"], folded["specificity"]["n"]) == (189, 234)
    assert folded["accuracy"]["value"] == pytest.approx((367 + 189) / 624)


def test_per_class_by_hand() -> None:
    virus = block_of(RESNET34_TEST)["per_class"]["virus"]
    assert (virus["sensitivity"]["k"], virus["sensitivity"]["n"]) == (101, 148)
    assert (virus["precision"]["k"], virus["precision"]["n"]) == (101, 131)
    assert virus["f1"]["value"] == pytest.approx(2 * 101 / (148 + 131))


def test_every_claim_belongs_to_a_task() -> None:
    tasks = ("binary", "multiclass", "embedding", "anomaly")
    assert sum(len(claims(task)) for task in tasks) == len(CLAIMS)


def test_the_baseline_of_three_classes_has_a_test_accuracy_and_that_of_two_has_none() -> None:
    three, two = (baseline(task, True, "w") for task in ("multiclass", "binary"))
    row = three.accuracy_on("test")
    assert row is not None
    assert row.figure == three.accuracy
    assert two.accuracy_on("test") is None
    assert two.accuracy.k == sum(
        block_of(RESNET34_TEST)["normal_vs_abnormal"][key]["k"] for key in ("sensitivity", "specificity")
    )
    assert [row.split for row in three.figures if row.key == "log_loss"] == ["test", "train"]
