"""`evaluate`: true to scikit-learn and to a plain bootstrap loop, ready for JSON, strict about its input; no interval
is a point."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from hilum.errors import DataError
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.intervals import bootstrap_weights
from hilum.evaluation.shares import wilson_interval

TWO = ("normal", "pneumonia")
THREE = ("normal", "bacteria", "virus")
TWO_METRICS = {
    *("accuracy", "balanced_accuracy", "auroc", "average_precision", "sensitivity", "specificity"),
    *("precision", "npv", "f1", "mcc", "brier", "log_loss", "accuracy_at_half"),
}
FACTS = {
    *("confusion", "classes", "n_cases", "n_patients", "threshold", "replicates"),
    *("replicates_dropped", "seed"),
}


def predictions(classes: tuple[str, ...], n: int = 120, patients: int = 50, seed: int = 0) -> pd.DataFrame:
    """Made-up predictions that are better than guessing, with ties (probabilities of one digit)."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, len(classes), n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), target] += 1.5
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).round(1)
    probabilities[:, 0] = 1 - probabilities[:, 1:].sum(1)
    return table(
        classes, target, probabilities.clip(0, 1), [f"p{one}" for one in rng.integers(0, patients, n)]
    )


def table(classes: tuple[str, ...], target: Any, probabilities: Any, patients: Any = None) -> pd.DataFrame:
    values = np.asarray(probabilities, float)
    ids = [f"case{number:03d}" for number in range(len(values))]
    frame = pd.DataFrame({"case_id": ids, "patient": ids if patients is None else patients})
    frame["target"] = [classes[index] for index in target]
    for column, name in enumerate(classes):
        frame[f"prob_{name}"] = values[:, column]
    return frame


def two(abnormal: list[int], probability: list[float]) -> pd.DataFrame:
    return table(TWO, abnormal, [[1 - one, one] for one in probability])


def entries(block: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in block.items():
        if isinstance(value, dict) and "value" in value and name != "threshold":
            yield f"{place}{name}", value
        elif isinstance(value, dict) and name != "threshold":
            yield from entries(value, f"{place}{name}/")


# -- values --------------------------------------------------------------------------------------------------


def test_two_classes_equal_scikit_learn() -> None:
    rows = predictions(TWO)
    block = evaluate(rows, TWO, threshold=0.35, replicates=0)
    abnormal, probability = rows["target"] == "pneumonia", rows["prob_pneumonia"].to_numpy()
    predicted = probability >= 0.35
    expected = {
        "accuracy": sk.accuracy_score(abnormal, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(abnormal, predicted),
        "auroc": sk.roc_auc_score(abnormal, probability),
        "average_precision": sk.average_precision_score(abnormal, probability),
        "sensitivity": sk.recall_score(abnormal, predicted),
        "specificity": sk.recall_score(~abnormal, ~predicted),
        "precision": sk.precision_score(abnormal, predicted),
        "npv": sk.precision_score(~abnormal, ~predicted),
        "f1": sk.f1_score(abnormal, predicted),
        "mcc": sk.matthews_corrcoef(abnormal, predicted),
        "brier": sk.brier_score_loss(abnormal, probability),
        "log_loss": sk.log_loss(abnormal, probability.clip(1e-7, 1 - 1e-7)),
        "accuracy_at_half": sk.accuracy_score(abnormal, probability >= 0.5),
    }
    assert {name: entry["value"] for name, entry in entries(block)} == pytest.approx(expected, rel=1e-6)
    assert block["confusion"] == sk.confusion_matrix(abnormal, predicted).tolist()
    assert block["threshold"] == {"class": "pneumonia", "value": 0.35}
    assert set(block) == TWO_METRICS | FACTS


def test_three_classes_equal_scikit_learn() -> None:
    rows = predictions(THREE)
    block = evaluate(rows, THREE, replicates=0)
    probabilities = rows[[f"prob_{name}" for name in THREE]].to_numpy()
    target = rows["target"].map(THREE.index).to_numpy()
    predicted = probabilities.argmax(1)
    one_hot = np.eye(3)[target]
    expected = {
        "accuracy": sk.accuracy_score(target, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(target, predicted),
        "auroc": sk.roc_auc_score(one_hot, probabilities, average="macro"),
        "average_precision": sk.average_precision_score(one_hot, probabilities, average="macro"),
        "sensitivity": sk.recall_score(target, predicted, average="macro"),
        "specificity": np.mean([sk.recall_score(target != one, predicted != one) for one in range(3)]),
        "f1": sk.f1_score(target, predicted, average="macro"),
        "mcc": sk.matthews_corrcoef(target, predicted),
        "brier": ((probabilities - one_hot) ** 2).sum(1).mean(),
        "log_loss": -np.log(probabilities[np.arange(120), target].clip(1e-7)).mean(),
    }
    for index, name in enumerate(THREE):
        truth, claim = target == index, predicted == index
        expected |= {
            f"per_class/{name}/auroc": sk.roc_auc_score(truth, probabilities[:, index]),
            f"per_class/{name}/average_precision": sk.average_precision_score(truth, probabilities[:, index]),
            f"per_class/{name}/sensitivity": sk.recall_score(truth, claim),
            f"per_class/{name}/specificity": sk.recall_score(~truth, ~claim),
            f"per_class/{name}/precision": sk.precision_score(truth, claim),
            f"per_class/{name}/f1": sk.f1_score(truth, claim),
        }
    abnormal, called_abnormal = target > 0, 1 - probabilities[:, 0] >= 0.5
    expected |= {
        "normal_vs_abnormal/auroc": sk.roc_auc_score(abnormal, -probabilities[:, 0]),
        "normal_vs_abnormal/accuracy": sk.accuracy_score(abnormal, called_abnormal),
        "normal_vs_abnormal/sensitivity": sk.recall_score(abnormal, called_abnormal),
        "normal_vs_abnormal/specificity": sk.recall_score(~abnormal, ~called_abnormal),
    }
    assert {name: entry["value"] for name, entry in entries(block)} == pytest.approx(expected)
    assert block["confusion"] == sk.confusion_matrix(target, predicted).tolist()
    assert block["threshold"] is None


def test_without_a_healthy_class_there_is_no_normal_vs_abnormal() -> None:
    block = evaluate(
        predictions(("bacteria", "virus", "fungus")), ("bacteria", "virus", "fungus"), replicates=0
    )
    assert "normal_vs_abnormal" not in block


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_every_share_is_k_of_n(classes: tuple[str, ...]) -> None:
    shares = {name: entry for name, entry in entries(evaluate(predictions(classes), classes)) if "k" in entry}
    assert all(entry["value"] == entry["k"] / entry["n"] for entry in shares.values())
    assert all(type(entry["k"]) is int and type(entry["n"]) is int for entry in shares.values())
    expected = {
        2: {"accuracy", "accuracy_at_half", "sensitivity", "specificity", "precision", "npv"},
        3: {
            "accuracy",
            *(
                f"per_class/{name}/{share}"
                for name in THREE
                for share in ("sensitivity", "specificity", "precision")
            ),
            *(f"normal_vs_abnormal/{share}" for share in ("accuracy", "sensitivity", "specificity")),
        },
    }
    assert set(shares) == expected[len(classes)]


def test_figures_by_hand() -> None:
    block = evaluate(two([0, 0, 0, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.9]), TWO, threshold=0.4, replicates=0)
    assert block["confusion"] == [[2, 1], [0, 2]]
    assert block["accuracy"] == {"value": 0.8, "k": 4, "n": 5}
    assert block["accuracy_at_half"] == {"value": 0.6, "k": 3, "n": 5}
    assert block["sensitivity"] == {"value": 1.0, "k": 2, "n": 2}
    assert block["specificity"] == {"value": 2 / 3, "k": 2, "n": 3}
    assert block["precision"] == {"value": 2 / 3, "k": 2, "n": 3}
    assert block["npv"] == {"value": 1.0, "k": 2, "n": 2}
    assert block["auroc"] == {"value": 5 / 6}
    assert (block["n_cases"], block["n_patients"], block["classes"]) == (5, 5, list(TWO))


# -- intervals -----------------------------------------------------------------------------------------------


def test_intervals_of_means_equal_a_plain_loop_with_scikit_learn() -> None:
    rows = predictions(TWO, n=60, patients=25)
    block = evaluate(rows, TWO, replicates=300, seed=5)
    abnormal, probability = (rows["target"] == "pneumonia").to_numpy(), rows["prob_pneumonia"].to_numpy()
    scores = []
    for weights in np.concatenate(list(bootstrap_weights(rows["patient"], 300, seed=5))).astype(int):
        drawn = np.repeat(np.arange(60), weights)
        scores.append(sk.brier_score_loss(abnormal[drawn], probability[drawn]))
    ends = np.quantile(scores, [0.025, 0.975])
    assert (block["brier"]["low"], block["brier"]["high"]) == pytest.approx(tuple(ends))


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_every_interval_holds_its_value(classes: tuple[str, ...]) -> None:
    found = dict(entries(evaluate(predictions(classes), classes, replicates=300)))
    assert len(found) > 12
    assert all(entry["low"] < entry["value"] < entry["high"] for entry in found.values())


def test_images_of_one_patient_widen_the_interval() -> None:
    rows = predictions(TWO, n=60)
    rows["patient"] = rows["case_id"]
    five = pd.concat([rows.assign(case_id=rows["case_id"] + f"-{copy}") for copy in range(5)])
    by_patient = evaluate(five, TWO, replicates=500)["auroc"]
    by_image = evaluate(five.assign(patient=five["case_id"]), TWO, replicates=500)["auroc"]
    ratio = (by_patient["high"] - by_patient["low"]) / (by_image["high"] - by_image["low"])
    assert by_patient["value"] == by_image["value"]
    assert ratio == pytest.approx(5**0.5, rel=0.15)


def test_perfect_figures_have_an_interval_below_one() -> None:
    rows = two([0] * 40 + [1] * 60, [0.1] * 40 + [0.9] * 60)
    block = evaluate(rows, TWO, replicates=100)
    perfect = {name: entry for name, entry in entries(block) if entry["value"] == 1}
    assert set(perfect) == TWO_METRICS - {"brier", "log_loss"}
    assert all(0.9 < entry["low"] < 0.985 and entry["high"] == 1 for entry in perfect.values())
    assert (block["sensitivity"]["low"], block["sensitivity"]["high"]) == wilson_interval(60, 60)


def test_a_perfect_share_counts_patients_whose_images_are_alike() -> None:
    rows = two([0] * 4 + [1] * 6, [0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, 0.8, 0.8, 0.7])
    rows["patient"] = ["a", "b", "c", "d", "e", "e", "e", "f", "f", "g"]
    block = evaluate(rows, TWO, replicates=100)
    assert block["sensitivity"]["low"] == pytest.approx(wilson_interval(18 / 7, 18 / 7)[0])  # 6 / (14 / 6)
    assert (block["specificity"]["low"], block["specificity"]["high"]) == wilson_interval(4, 4)


def test_one_patient_of_a_class_is_too_few_and_said_to_be() -> None:
    rng = np.random.default_rng(0)
    rows = two([0] * 50 + [1] * 100, [*rng.uniform(0, 0.6, 50), *rng.uniform(0.4, 1, 100)])
    rows.loc[rows["target"] == "pneumonia", "patient"] = "the only one"
    block = evaluate(rows, TWO, replicates=2000)
    for name in ("auroc", "average_precision", "f1", "mcc", "balanced_accuracy"):
        assert (block[name]["low"], block[name]["high"]) == (None, None)
        assert block[name]["reason"] == "1 patient in a class: too few for an interval"
    assert block["sensitivity"]["high"] - block["sensitivity"]["low"] > 0.7
    assert block["replicates_dropped"] == 0


def test_same_seed_same_block_in_any_order_of_rows() -> None:
    rows = predictions(THREE)
    block = evaluate(rows, THREE, replicates=100, seed=1)
    assert evaluate(rows.sample(frac=1, random_state=0), THREE, replicates=100, seed=1) == block
    assert evaluate(rows, THREE, replicates=100, seed=2)["brier"]["low"] != block["brier"]["low"]


def test_without_replicates_there_are_no_intervals() -> None:
    found = dict(entries(evaluate(predictions(THREE), THREE, replicates=0)))
    assert not any({"low", "high"} & set(entry) for entry in found.values())


# -- undefined -----------------------------------------------------------------------------------------------


def test_one_class_alone() -> None:
    block = evaluate(two([1, 1, 1], [0.9, 0.6, 0.2]), TWO, replicates=100)
    assert block["auroc"] == {"value": None, "low": None, "high": None, "reason": "no case is 'normal'"}
    assert block["specificity"] == {
        **{"value": None, "low": None, "high": None, "k": 0, "n": 0},
        "reason": "no case is 'normal'",
    }
    assert block["accuracy"]["value"] == 2 / 3
    assert block["accuracy"]["low"] is not None
    assert block["replicates_dropped"] == 0


def test_a_class_that_is_never_called() -> None:
    block = evaluate(two([0, 1, 1], [0.1, 0.2, 0.3]), TWO, replicates=0)
    assert block["precision"] == {
        "value": None,
        "k": 0,
        "n": 0,
        "reason": "no case was classified as 'pneumonia'",
    }
    assert block["mcc"] == {"value": None, "reason": "no case was classified as 'pneumonia'"}
    assert block["f1"] == {"value": 0.0}


def test_an_absent_third_class() -> None:
    rows = predictions(THREE)
    block = evaluate(rows[rows["target"] != "virus"], THREE, replicates=50)
    assert block["auroc"]["value"] is None
    assert block["auroc"]["reason"] == "no case is 'virus'"
    assert block["per_class"]["bacteria"]["auroc"]["low"] is not None
    assert block["per_class"]["virus"]["sensitivity"]["n"] == 0
    assert [len(row) for row in block["confusion"]] == [3, 3, 3]


@pytest.mark.parametrize("replicates", [0, 50])
def test_json_without_nan(replicates: int) -> None:
    for rows, classes in (
        (predictions(TWO), TWO),
        (predictions(THREE), THREE),
        (two([1, 1], [0.1, 0.2]), TWO),
        (two([0], [0.1]), TWO),
    ):
        block = evaluate(rows, classes, replicates=replicates)
        assert json.loads(json.dumps(block, allow_nan=False)) == block


# -- predicted classes ---------------------------------------------------------------------------------------


def test_predicted_classes() -> None:
    assert predicted_classes([[0.7, 0.3], [0.5, 0.5]], TWO, 0.3).tolist() == ["pneumonia", "pneumonia"]
    assert predicted_classes([[0.2, 0.4, 0.4]], THREE).tolist() == ["bacteria"]
    assert predicted_classes(np.zeros((0, 2)), TWO).tolist() == []


def test_a_threshold_needs_two_classes() -> None:
    with pytest.raises(DataError, match=r"threshold 0\.3 was given for 3 classes; leave it out"):
        predicted_classes([[0.2, 0.4, 0.4]], THREE, 0.3)
    with pytest.raises(DataError, match=r"threshold nan is no number in 0\.\.1"):
        evaluate(predictions(TWO), TWO, threshold=float("nan"))


# -- input ---------------------------------------------------------------------------------------------------


def spoiled(column: str, value: Any) -> pd.DataFrame:
    rows = predictions(TWO, n=10).astype({column: object})
    rows.loc[3, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            spoiled("prob_normal", np.nan),
            "predictions: case 'case003' has prob_normal nan, which is no number in",
        ),
        (
            spoiled("prob_normal", 7.5),
            "predictions: case 'case003' has prob_normal 7.5, which is no number in 0..1",
        ),
        (spoiled("prob_normal", "high"), "predictions hold a probability that is no number"),
        (
            spoiled("target", "Virus"),
            "predictions: case 'case003' has target 'Virus', which is not one of normal, p",
        ),
        (
            spoiled("target", None),
            "predictions: case 'case003' has target None, which is not one of normal, pneum",
        ),
        (spoiled("patient", None), "predictions: case 'case003' has no patient; fill in the cell"),
        (spoiled("case_id", "case007"), "predictions: case 'case007' occurs twice; keep one row per case"),
        (spoiled("case_id", None), "predictions row 5: case_id is empty; give each image one id"),
        (
            predictions(TWO).drop(columns="target"),
            "predictions lack the column 'target'; make them again: hilum",
        ),
        (
            predictions(THREE),
            "predictions lack the column 'prob_pneumonia'; make them again: hilum evaluate RUN",
        ),
        (predictions(TWO)[:0], "predictions hold no cases; evaluate a split that has cases"),
    ],
)
def test_bad_predictions_are_named(rows: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        evaluate(rows, TWO)
    assert str(caught.value).startswith(sentence)


def test_probabilities_must_sum_to_one() -> None:
    rows = two([0, 1], [0.1, 0.9])
    rows.loc[1, "prob_pneumonia"] = 0.8
    with pytest.raises(DataError) as caught:
        evaluate(rows, TWO)
    assert str(caught.value) == (
        "predictions: case 'case001' has probabilities that sum to 0.9, not 1; "
        "pass the probabilities of all classes (softmax of the logits)"
    )


@pytest.mark.parametrize("classes", [("normal",), ("normal", "normal"), ()])
def test_classes_must_be_two_or_more(classes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="are not two or more different names; name each class once"):
        evaluate(predictions(TWO), classes)


def test_float32_probabilities_are_close_enough() -> None:
    rows = predictions(THREE)
    rows = rows.astype({f"prob_{name}": np.float32 for name in THREE})
    assert evaluate(rows, THREE, replicates=0)["n_cases"] == 120
