"""Which images are explained: hand-made predictions, the most confident of each kind."""

import numpy as np
import pandas as pd
import pytest

from hilum.errors import RunError
from hilum.explain.images import choose_images, held_out, log_odds, probe_images, sample_images

CLASSES = ("normal", "pneumonia")


def table(rows: list[tuple[str, str, str, str, float]]) -> pd.DataFrame:
    """case, patient, split, label, logit of pneumonia (that of normal is 0)."""
    made = pd.DataFrame(rows, columns=["case_id", "patient", "split", "label", "z"])
    made["target"] = np.where(made["label"] == "normal", "normal", "pneumonia")
    made["predicted"] = np.where(made["z"] > 0, "pneumonia", "normal")
    made["logit_normal"], made["logit_pneumonia"] = 0.0, made["z"]
    made["prob_pneumonia"] = 1 / (1 + np.exp(-made["z"]))
    made["prob_normal"] = 1 - made["prob_pneumonia"]
    return made


ROWS = [
    ("n1", "p1", "val", "normal", -2.0),
    ("n2", "p2", "val", "normal", -30.0),
    ("n3", "p3", "val", "normal", -40.0),  # the same printed probability as n2, more confident
    ("n4", "p3", "val", "normal", -35.0),  # a second image of the most confident patient
    ("b1", "p4", "val", "bacteria", 3.0),
    ("v1", "p5", "val", "virus", 4.0),
    ("v2", "p6", "val", "virus", -6.0),  # wrong
    ("n5", "p7", "val", "normal", 1.0),  # wrong
    ("n6", "p8", "val", "normal", 5.0),  # wrong and more confident
    ("t1", "p9", "train", "normal", -99.0),
]


def test_most_confident_of_each_label_healthy_first() -> None:
    images = choose_images(table(ROWS), CLASSES, per_label=1, mistakes=0)
    assert images["case_id"].tolist() == ["n3", "b1", "v1"]
    assert images["target_class"].tolist() == ["normal", "pneumonia", "pneumonia"]
    assert set(images["role"]) == {"example"}


def test_two_per_label_are_two_patients() -> None:
    images = choose_images(table(ROWS), CLASSES, per_label=2, mistakes=0)
    assert images["case_id"].tolist() == ["n3", "n2", "b1", "v1"]


def test_mistakes_by_class_most_confident_first_with_the_predicted_class() -> None:
    images = choose_images(table(ROWS), CLASSES, per_label=1, mistakes=5)
    wrong = images[images["role"] == "mistake"]
    assert wrong["case_id"].tolist() == ["n6", "n5", "v2"]
    assert wrong["target_class"].tolist() == ["pneumonia", "pneumonia", "normal"]
    fewer = choose_images(table(ROWS), CLASSES, per_label=1, mistakes=1)
    assert fewer.loc[fewer["role"] == "mistake", "case_id"].tolist() == ["n6", "v2"]


def test_mistakes_are_those_of_the_gallery() -> None:
    """The report's section of the task shows the same images in the same order."""
    from hilum.report.performance.errors import ERRORS
    from hilum.stages.explain import ExplainConfig

    assert ExplainConfig().mistakes == ERRORS


def test_a_label_without_a_correct_prediction_has_no_example() -> None:
    rows = [("n1", "p1", "val", "normal", -1.0), ("b1", "p2", "val", "bacteria", -1.0)]
    images = choose_images(table(rows), CLASSES, per_label=1, mistakes=5)
    assert images["case_id"].tolist() == ["n1", "b1"]
    assert images["role"].tolist() == ["example", "mistake"]


def test_held_out_part() -> None:
    made = table(ROWS)
    assert held_out(made) == "val"
    assert held_out(made.assign(split="test")) == "test"
    assert held_out(made[made["split"] == "train"]) == "train"
    with pytest.raises(RunError, match=r"predictions\.csv has no row"):
        held_out(made.head(0))


def test_log_odds_of_three_classes_against_its_definition() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20, 3))
    classes = ("normal", "bacteria", "virus")
    made = pd.DataFrame(logits, columns=[f"logit_{name}" for name in classes])
    made["predicted"] = chance.choice(classes, 20)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mine = shares[np.arange(20), made["predicted"].map(classes.index)]
    np.testing.assert_allclose(log_odds(made, classes, "predicted"), np.log(mine / (1 - mine)), rtol=1e-9)


def test_sample_takes_labels_in_turn_and_no_patient_twice() -> None:
    images = sample_images(table(ROWS), count=4, seed=0)
    assert sorted(images["label"].head(3)) == ["bacteria", "normal", "virus"]
    assert not images["patient"].duplicated().any()
    assert (images["target"] == images["predicted"]).all()
    force = sample_images(table(ROWS), count=4, seed=0)
    assert images["case_id"].tolist() == force["case_id"].tolist()
    assert len(sample_images(table(ROWS), count=100, seed=1)) == 5  # n1 n2 (n3 or n4) b1 v1


def test_mistakes_are_sampled_too_where_the_images_stand_for_all() -> None:
    images = sample_images(table(ROWS), count=100, seed=0, correct=False)
    assert (images["target"] != images["predicted"]).any()
    assert len(images) == 8  # one image of patient p3


def test_a_probe_is_fitted_and_measured_on_different_patients() -> None:
    """Also where the split leaks: p1 has images in train and in val."""
    rows = [(f"t{i}", f"q{i}", "train", "normal", -1.0) for i in range(30)]
    rows += [("leak", "p1", "train", "normal", -1.0), ("n1", "p1", "val", "normal", -1.0)]
    rows += [(f"v{i}", f"r{i}", "val", "bacteria", 1.0) for i in range(9)]
    images, fit = probe_images(table(rows), count=30, seed=0)
    assert (len(images), int(fit.sum())) == (30, 20)
    assert set(images["split"][fit]) == {"train"} and set(images["split"][~fit]) == {"val"}
    assert not set(images["patient"][fit]) & set(images["patient"][~fit])
    assert "leak" not in set(images["case_id"])
    few, fitted = probe_images(table(rows), count=1000, seed=0)
    assert int((~fitted).sum()) == 10 and "leak" not in set(few["case_id"])
