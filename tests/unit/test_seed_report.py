"""The seed report's figures, as its own matrices count them."""

import pytest

from hilum.evaluation.seed_report import CLAIMS, KNN_TEST, RESNET34_TEST, block_of, claims


def test_the_matrices_are_of_the_official_test_split() -> None:
    for matrix in (RESNET34_TEST, KNN_TEST):
        assert [sum(row) for row in matrix] == [234, 242, 148]


def test_the_matrix_and_the_text_disagree_on_resnet34() -> None:
    block = block_of(RESNET34_TEST)
    assert (block["accuracy"]["k"], block["accuracy"]["n"]) == (521, 624)
    (claim,) = [one for one in claims("multiclass") if (one.split, one.metric) == ("test", "accuracy")]
    assert claim.value == 0.8328
    assert round(block["accuracy"]["value"], 4) == 0.8349
    assert round(0.8328 * 624, 1) == 519.7  # no whole number of images


def test_the_matrix_and_the_text_agree_on_knn() -> None:
    block = block_of(KNN_TEST)
    (claim,) = claims("embedding")
    assert (block["accuracy"]["k"], round(block["accuracy"]["value"], 4)) == (437, claim.value)


def test_normal_vs_abnormal_folds_two_classes_by_hand() -> None:
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
