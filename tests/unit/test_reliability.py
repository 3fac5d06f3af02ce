"""The reliability stage on made-up predictions: judged on test or crossed in val, the card, bad input."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.data.cases import Cases
from hilum.errors import DataError, RecipeError, RunError
from hilum.evaluation.calibration import probabilities_of
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.conformal_sets import coverage_of_chance
from hilum.evaluation.reliability import reliability_task
from hilum.files import read_json, write_json, write_table
from hilum.recipe import load_recipe
from hilum.run import AnomalyFolder, Run, TaskFolder

CHOICE = ReliabilityConfig(mc_passes=0, views=False, divisions=20)
NO_CASES: Cases = None  # type: ignore[assignment]  # no image is looked at again


def made(
    path: Path, classes: tuple[str, ...], parts: tuple[str, ...] = ("train", "val", "test"), n: int = 300
) -> TaskFolder:
    """A task folder with a card and predictions whose logits are three times too large."""
    folder = TaskFolder(path)
    rng = np.random.default_rng(0)
    rows = n * len(parts)
    fair = rng.normal(size=(rows, len(classes))) * 2
    target = (rng.random(rows)[:, None] > probabilities_of(fair).cumsum(1)).sum(1).clip(0, len(classes) - 1)
    logits = 3 * fair
    table = pd.DataFrame(
        {
            "case_id": [f"case{number:04d}" for number in range(rows)],
            "patient": [f"patient{number // 2:04d}" for number in range(rows)],
            "split": np.repeat(parts, n),
            "label": np.array(classes)[target],
            "target": np.array(classes)[target],
            "predicted": np.array(classes)[logits.argmax(1)],
            **{f"logit_{name}": logits[:, one] for one, name in enumerate(classes)},
            **{f"prob_{name}": probabilities_of(logits)[:, one] for one, name in enumerate(classes)},
        }
    )
    write_table(folder.predictions_file, table)
    threshold = {"class": classes[1], "value": 0.5, "chosen_on": "val", "rule": "youden"}
    card = {
        "classes": list(classes),
        "weights_digest": "w",
        "threshold": threshold if len(classes) == 2 else None,
    }
    write_json(folder.card_file, card)
    return folder


def trusted(folder: TaskFolder, config: ReliabilityConfig = CHOICE, force: bool = False) -> dict:
    return reliability_task(
        folder, AnomalyFolder(folder.path.parent / "anomaly"), NO_CASES, config, 60, force
    )


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "val", "test")])
@pytest.mark.parametrize("classes", [("normal", "pneumonia"), ("normal", "bacteria", "virus")])
def test_planted_overconfidence_is_mended_on_cases_that_did_not_fit_it(
    tmp_path: Path, classes: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    found = trusted(made(tmp_path / "task", classes, parts, n=600))
    json.dumps(found, allow_nan=False)
    assert found["cross_fitted"] == ("test" not in parts)
    assert found["judged_on"] == parts[-1]
    calibration = found["calibration"]
    assert calibration["fitted"]["temperature"]["temperature"] == pytest.approx(3, rel=0.3)
    before, after = (calibration["ways"][way]["ece"]["value"] for way in ("none", calibration["used"]))
    assert after < before / 2
    for kind in ("marginal", "class_conditional"):
        sets = found["conformal"][kind]
        low, high = coverage_of_chance(sets["n_fitted"], sets["n_measured"], 0.1, level=0.999)
        assert low <= sets["coverage"]["value"] <= high
    rules = {row["rule"] for row in found["operating"]}
    assert {"sensitivity>=0.95", "sensitivity>=0.99", "precision>=0.95"} <= rules
    assert ("youden" in rules) == (len(classes) == 2)
    assert set(found["selective"]) == (
        {"probability"} if len(classes) == 2 else {"probability", "margin", "entropy"}
    )
    assert max(found["decision_curve"]["gain"]) > 0


def test_test_images_change_nothing_of_what_travels_with_the_weights(tmp_path: Path) -> None:
    one, other = (made(tmp_path / name, ("normal", "pneumonia")) for name in ("a", "b"))
    table = other.predictions()
    test = table["split"] == "test"
    table.loc[test, "logit_normal"] *= -1
    write_table(other.predictions_file, table)
    trusted(one), trusted(other)
    for key, inner in (("calibration", "scale"), ("calibration", "temperature"), ("conformal", "quantiles")):
        assert one.card()[key].get(inner) == other.card()[key].get(inner)
    first, second = one.reliability()["operating"], other.reliability()["operating"]
    assert [row["threshold"] for row in first] == [row["threshold"] for row in second]


def test_card_says_what_was_fitted_and_stays_otherwise_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path / "task", ("normal", "pneumonia"), ("train", "val"))
    before = folder.card()
    found = trusted(folder)
    card = folder.card()
    assert {key: card[key] for key in before} == before
    assert card["calibration"]["fitted_on"] == card["conformal"]["fitted_on"] == "val"
    assert card["calibration"]["judged_on"] == "val, cross-fitted by patient"
    assert card["calibration"]["ece_before"] == found["calibration"]["ways"]["none"]["ece"]
    assert card["conformal"]["kind"] == "class_conditional"


def test_done_once_and_again_when_something_changed(tmp_path: Path) -> None:
    folder = made(tmp_path / "task", ("normal", "pneumonia"), ("train", "val"))
    trusted(folder)
    made_at = folder.reliability_file.stat().st_mtime_ns
    trusted(folder)
    assert folder.reliability_file.stat().st_mtime_ns == made_at
    trusted(folder, CHOICE.model_copy(update={"alpha": 0.2}))
    assert folder.reliability()["conformal"]["alpha"] == folder.card()["conformal"]["alpha"] == 0.2
    scores = pd.read_csv(folder.predictions_file)[["case_id", "patient", "split", "label"]]
    scores["role"] = np.where(scores["split"] == "train", "fit", "measure")
    scores["autoencoder"], scores["autoencoder_p"] = np.linspace(0, 1, len(scores)), 0.5
    write_table(tmp_path / "anomaly" / "scores.csv", scores)
    found = trusted(folder)
    assert found["selective"]["anomaly"]["n_cases"] == 300
    assert found["selective"]["anomaly"]["less_probability"]["value"] > 0  # a score that knows nothing


def test_other_runs_join_as_an_ensemble_when_they_may(tmp_path: Path) -> None:
    """Two further models of the same images with noise of their own: their mean is the better order."""
    runs = [Run.create(tmp_path / name, {}, {}) for name in "abc"]
    for seed, run in enumerate(runs):
        folder = made(run.path / "binary", ("normal", "pneumonia"), ("train", "val"))
        table = folder.predictions()
        noise = np.random.default_rng(seed).normal(0, 4, len(table))
        table[["logit_normal", "logit_pneumonia"]] /= 3
        table["logit_pneumonia"] += noise
        write_table(folder.predictions_file, table)
    config = CHOICE.model_copy(update={"ensemble": tuple(str(run.path) for run in runs[1:])})
    block = trusted(runs[0].task("binary"), config)["selective"]["ensemble"]
    assert block["n_cases"] == 300
    assert block["less_probability"]["value"] < 0
    table = runs[2].task("binary").predictions()
    table.loc[table["case_id"] == "case0300", "split"] = "train"
    write_table(runs[2].task("binary").predictions_file, table)
    with pytest.raises(RunError) as caught:
        trusted(runs[0].task("binary"), config)
    assert str(caught.value) == (
        f"{runs[2].path} can't join the ensemble of binary: it trained on case 'case0300' or lacks it; "
        "name runs of the same split"
    )


def test_figures_beside_other_weights_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "task", ("normal", "pneumonia"), ("train", "val"))
    trusted(folder)
    write_json(folder.card_file, {**folder.card(), "weights_digest": "other"})
    with pytest.raises(
        RunError, match=r"reliability\.json was made with other weights than .* run: hilum evaluate"
    ):
        folder.reliability()


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    folder = made(tmp_path / "one", ("normal", "pneumonia"), ("train", "test"))
    with pytest.raises(DataError, match="there are no validation images to fit a temperature on"):
        trusted(folder)
    folder = made(tmp_path / "two", ("normal", "pneumonia"), ("train", "val"))
    table = folder.predictions()
    write_table(folder.predictions_file, table[(table["split"] == "train") | (table["target"] == "normal")])
    with pytest.raises(DataError, match="split val has no case of class 'pneumonia'"):
        trusted(folder)
    few = pd.concat([table[table["split"] == "val"].groupby("target").head(3)])
    write_table(folder.predictions_file, few)
    with pytest.raises(DataError, match="patients: too few for 5 parts by patient"):
        trusted(folder)
    write_table(folder.predictions_file, table.drop(columns="logit_normal"))
    with pytest.raises(DataError, match=r"predictions\.csv lacks the column 'logit_normal'"):
        trusted(folder)
    assert "calibration" not in read_json(folder.card_file)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("reliability.alpha=1.5", r"reliability\.alpha = 1\.5 is not possible"),
        ("reliability.prevalences=[0, 0.2]", r"reliability\.prevalences"),
        ("reliability.alpah=0.1", "did you mean 'alpha'"),
        ("reliability.folds=1", r"reliability\.folds = 1"),
    ],
)
def test_recipe_section_is_checked(item: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("quick", [item])
    assert load_recipe("quick", ["reliability=null"]).reliability is None
