"""The reliability stage on made-up predictions: judged on test or cross-fitted in val, the card, bad input."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.artifacts.reliability import Reliability
from hilum.artifacts.run import RunFacts
from hilum.data.cases import Cases
from hilum.data.tasks import task
from hilum.errors import DataError, RecipeError, RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.files import read_json, write_table
from hilum.folders import TaskFolder
from hilum.inference.calibrate import softmax
from hilum.recipe import load_recipe
from hilum.run import Run
from hilum.stages.contract import Context
from hilum.stages.reliability import run as reliability_stage
from tests.unit.cards import card, threshold

CONFIG = ReliabilityConfig(mc_passes=0, views=False, ood_rate=None, divisions=20)
NO_CASES: Cases = None  # type: ignore[assignment]  # no image is predicted again
TWO, THREE = ("normal", "pneumonia"), ("normal", "bacteria", "virus")


def made(
    path: Path, classes: tuple[str, ...], parts: tuple[str, ...] = ("train", "val", "test"), n: int = 300
) -> TaskFolder:
    """A task of a new run with a card and predictions whose logits are three times too large."""
    folder = Run.create(path, RunFacts(), {}).task("binary" if len(classes) == 2 else "multiclass")
    rng = np.random.default_rng(0)
    rows = n * len(parts)
    fair = rng.normal(size=(rows, len(classes))) * 2
    target = (rng.random(rows)[:, None] > softmax(fair).cumsum(1)).sum(1).clip(0, len(classes) - 1)
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
            **{f"prob_{name}": softmax(logits)[:, one] for one, name in enumerate(classes)},
        }
    )
    write_table(folder.predictions_file, table)
    limit = threshold(0.5, classes[1]) if len(classes) == 2 else None
    card(classes, "w", threshold=limit).save(folder.card_file)
    return folder


def judged(folder: TaskFolder, config: ReliabilityConfig = CONFIG) -> Reliability:
    """What the stage writes."""
    recipe = load_recipe("quick").model_copy(update={"replicates": 60})
    this = task(folder.name, folder.card().classes)
    reliability_stage(Context(Run(folder.path.parent), NO_CASES, recipe, (this,), this), config)
    return folder.reliability()


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "val", "test")])
@pytest.mark.parametrize("classes", [TWO, THREE])
def test_planted_overconfidence_is_corrected_on_cases_that_did_not_fit_it(
    tmp_path: Path, classes: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    folder = made(tmp_path / "run", classes, parts, n=600)
    reliability = judged(folder)
    json.dumps(read_json(folder.reliability_file), allow_nan=False)
    assert reliability.cross_fitted == ("test" not in parts)
    assert reliability.judged_on == parts[-1]
    calibration = reliability.calibration
    assert calibration.fitted["temperature"].temperature == pytest.approx(3, rel=0.3)
    assert calibration.after.ece.value < calibration.before.ece.value / 2
    for sets in (reliability.conformal.marginal, reliability.conformal.class_conditional):
        low, high = sets.by_chance
        assert high - low < 0.15
        assert low <= sets.figures.coverage.value <= high
    rules = {point.rule for point in reliability.operating}
    assert {"sensitivity>=0.95", "sensitivity>=0.99", "precision>=0.95"} <= rules
    assert ("youden" in rules) == (len(classes) == 2)
    assert set(reliability.selective) == (
        {"probability"} if len(classes) == 2 else {"probability", "margin", "entropy"}
    )
    assert reliability.decision_curve is not None
    assert max(reliability.decision_curve.gain) > 0


def test_test_images_change_nothing_of_what_travels_with_the_weights(tmp_path: Path) -> None:
    first, other = (made(tmp_path / name, TWO) for name in ("a", "b"))
    table = other.predictions()
    test = table["split"] == "test"
    table.loc[test, "logit_normal"] *= -1
    write_table(other.predictions_file, table)
    before, after = judged(first), judged(other)
    cards = [read_json(folder.card_file) for folder in (first, other)]
    for key, inner in (("calibration", "temperature"), ("conformal", "quantiles")):
        assert cards[0][key][inner] == cards[1][key][inner]
    assert [point.threshold for point in before.operating] == [point.threshold for point in after.operating]
    assert before.calibration.before != after.calibration.before


def test_card_says_what_was_fitted_and_stays_otherwise_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path / "task", TWO, ("train", "val"))
    before = read_json(folder.card_file)
    reliability = judged(folder)
    card = read_json(folder.card_file)
    assert {key: card[key] for key in before} == before
    assert card["calibration"]["fitted_on"] == card["conformal"]["fitted_on"] == "val"
    assert card["calibration"]["judged_on"] == "val, cross-fitted by patient"
    assert card["calibration"]["ece_before"]["value"] == reliability.calibration.before.ece.value
    assert card["conformal"]["kind"] == "class_conditional"


def test_the_anomaly_score_is_judged_on_images_that_did_not_fit_the_detector(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", TWO, ("train", "val"))
    scores = pd.read_csv(folder.predictions_file)[["case_id", "patient", "split", "label"]]
    scores["role"] = np.where(scores["split"] == "train", "fit", "measure")
    scores["autoencoder"], scores["autoencoder_p"] = np.linspace(0, 1, len(scores)), 0.5
    write_table(Run(tmp_path / "run").anomaly.scores_file, scores)
    block = judged(folder).selective["anomaly"]
    assert block.n_cases == 300
    assert block.aurc_difference is not None
    assert block.aurc_difference.value > 0  # a score without information


def test_the_settings_change_the_result(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", TWO, ("train", "val"))
    narrow, wide = (judged(folder, CONFIG.model_copy(update={"alpha": alpha})) for alpha in (0.2, 0.02))
    sets = folder.card().conformal
    assert sets is not None
    assert (narrow.conformal.alpha, wide.conformal.alpha, sets.alpha) == (
        0.2,
        0.02,
        0.02,
    )
    assert narrow.conformal.in_use.figures.mean_size.value < wide.conformal.in_use.figures.mean_size.value


def test_other_runs_join_as_an_ensemble_when_they_may(tmp_path: Path) -> None:
    """Two further models of the same images with noise of their own: their mean is the better order."""
    folders = [made(tmp_path / name, TWO, ("train", "val")) for name in "abc"]
    for seed, folder in enumerate(folders):
        table = folder.predictions()
        noise = np.random.default_rng(seed).normal(0, 4, len(table))
        table[["logit_normal", "logit_pneumonia"]] /= 3
        table["logit_pneumonia"] += noise
        write_table(folder.predictions_file, table)
    config = CONFIG.model_copy(update={"ensemble": tuple(str(folder.path.parent) for folder in folders[1:])})
    block = judged(folders[0], config).selective["ensemble"]
    assert block.n_cases == 300
    assert block.aurc_difference is not None
    assert block.aurc_difference.value < 0
    table = folders[2].predictions()
    table.loc[table["case_id"] == "case0300", "split"] = "train"
    write_table(folders[2].predictions_file, table)
    with pytest.raises(RunError) as caught:
        judged(folders[0], config)
    assert str(caught.value) == (
        f"{tmp_path / 'c'} can't join the ensemble of binary: it trained on case 'case0300' or lacks it; "
        "name runs of the same split"
    )


def test_figures_beside_other_weights_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "task", TWO, ("train", "val"))
    judged(folder)
    folder.card().model_copy(update={"weights_digest": "other"}).save(folder.card_file)
    with pytest.raises(
        RunError, match=r"reliability\.json was made with other weights than .* run: hilum reliability"
    ):
        folder.reliability()


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    folder = made(tmp_path / "one", TWO, ("train", "test"))
    with pytest.raises(DataError, match="there are no validation images to fit a temperature on"):
        judged(folder)
    folder = made(tmp_path / "two", TWO, ("train", "val"))
    table = folder.predictions()
    write_table(folder.predictions_file, table[(table["split"] == "train") | (table["target"] == "normal")])
    with pytest.raises(DataError, match="split val has no case of class 'pneumonia'"):
        judged(folder)
    few = pd.concat([table[table["split"] == "val"].groupby("target").head(3)])
    write_table(folder.predictions_file, few)
    with pytest.raises(DataError, match="patients: too few for 5 parts by patient"):
        judged(folder)
    write_table(folder.predictions_file, table.drop(columns="logit_normal"))
    with pytest.raises(DataError, match=r"predictions\.csv lacks the column 'logit_normal'"):
        judged(folder)
    assert "calibration" not in read_json(folder.card_file)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("reliability.alpha=1.5", r"reliability\.alpha = 1\.5 is not possible"),
        ("reliability.prevalences=[0, 0.2]", r"reliability\.prevalences"),
        ("reliability.alpah=0.1", "did you mean 'alpha'"),
        ("reliability.folds=1", r"reliability\.folds = 1"),
    ],
)
def test_recipe_section_is_checked(item: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("quick", [item])
    assert load_recipe("quick", ["reliability=null"]).reliability is None
