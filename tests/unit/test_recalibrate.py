"""`hilum recalibrate`: the promise on new healthy images, the card, the sentences."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import beta

from hilum.artifacts.card import ModelCard
from hilum.data.phantom.generate import phantom_image
from hilum.data.phantom.settings import PhantomSettings
from hilum.errors import DataError
from hilum.files import read_json, write_json
from hilum.inference.predictor import Predictor
from hilum.run import Run
from hilum.serving.recalibrate import expected_specificity, fewest_images, healthy_threshold

NEW = 100
"""New healthy images of the contract."""


def healthy_folder(folder: Path, n: int, seed: int) -> Path:
    """Healthy phantoms of `n` people."""
    folder.mkdir()
    settings = PhantomSettings(size=(96, 112), seed=seed)
    for person in range(n):
        cv2.imwrite(str(folder / f"{person}.png"), phantom_image(settings, "normal", person, 0).image)
    return folder


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return healthy_folder(tmp_path_factory.mktemp("own") / "healthy", 40, seed=11)


# -- the threshold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "specificity"), [(19, 0.95), (50, 0.9), (200, 0.95)])
def test_the_specificity_on_new_images_follows_the_beta_distribution(n: int, specificity: float) -> None:
    chance = np.random.default_rng(0)
    rank = healthy_threshold(chance.random(n), specificity).rank
    realised = np.array([healthy_threshold(chance.random(n), specificity).value for _ in range(4000)])
    assert realised.mean() == pytest.approx(rank / (n + 1), abs=0.005)
    assert rank / (n + 1) >= specificity
    assert (rank - 1) / (n + 1) < specificity  # no higher than it must be
    ends = expected_specificity(rank, n)
    assert np.mean((realised > ends.low) & (realised < ends.high)) == pytest.approx(0.95, abs=0.015)
    assert beta.cdf(np.median(realised), rank, n + 1 - rank) == pytest.approx(0.5, abs=0.03)


def test_equal_scores_break_no_promise() -> None:
    scores = np.repeat([0.1, 0.3, 0.7], 20)
    chosen = healthy_threshold(scores, 0.9)
    assert np.mean(scores < chosen.value) == 1 and 0.7 < chosen.value < 0.7 + 1e-12


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 0.95, 0.98, 0.99])
def test_the_fewest_images_suffice_and_one_less_does_not(specificity: float) -> None:
    n = fewest_images(specificity)
    assert healthy_threshold(np.linspace(0, 0.9, n), specificity).rank == n
    with pytest.raises(DataError, match=f"{n - 1} different healthy images cannot promise"):
        healthy_threshold(np.linspace(0, 0.9, n - 1), specificity)


def test_probabilities_of_one_leave_no_threshold() -> None:
    with pytest.raises(DataError) as caught:
        healthy_threshold([0.2] * 17 + [1.0] * 3, 0.9)
    assert str(caught.value) == (
        "3 of 20 healthy images have a probability of abnormal of 1, so no threshold has a specificity of 0.9;"
        " adapt or train the model"
    )


# -- the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_new_healthy_images_keep_the_promise_and_the_card_says_it(
    task: str, small_run: Run, healthy: Path, tmp_path: Path, hilum: Callable
) -> None:
    out = tmp_path / "new"
    source = small_run.task(task)
    answer = hilum("recalibrate", source.path, "--healthy", healthy, "--specificity", 0.9, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    before, after = read_json(source.card_file), read_json(out / "model.json")
    point = ModelCard.load(out / "model.json").threshold
    assert point is not None and point.expected_specificity is not None
    assert (point.rule, point.chosen_on, point.n) == ("healthy images", "healthy", 40)
    assert point.expected_specificity.value == pytest.approx(37 / 41)
    assert point.replaces == source.card().threshold_value
    changed = {"threshold", "predictive_values"}
    assert {key: value for key, value in after.items() if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }
    assert f"Threshold {point.value:.4g}" in answer.out and "from 40 healthy images" in answer.out
    chosen_on, new = healthy, healthy_folder(tmp_path / "others", NEW, seed=12)
    predictor = Predictor.load(out, "cpu")
    alarms = [
        sum(prediction.abnormal.positive for prediction in predictor.stream(sorted(folder.iterdir())))
        for folder in (chosen_on, new)
    ]
    assert alarms[0] == 3
    low = beta.ppf(0.0005, 37, 4)  # what one draw of 40 images may lead to
    assert alarms[1] <= NEW * (1 - low)


def test_predictive_values_follow_from_the_new_sensitivity(
    small_run: Run, healthy: Path, tmp_path: Path, hilum: Callable
) -> None:
    task = small_run.task("binary")
    hilum("recalibrate", task.path, "--healthy", healthy, "--specificity", 0.9, "--out", tmp_path / "new")
    card = ModelCard.load(tmp_path / "new" / "model.json")
    assert card.predictive_values is not None and card.threshold is not None
    rows = task.predictions().query("split == 'test' and target != 'normal'")
    found = int((rows["prob_pneumonia"] >= card.threshold.value).sum())
    assert card.predictive_values.sensitivity.counts == f"{found}/{len(rows)}"
    share, specificity = found / len(rows), 37 / 41
    at = card.predictive_values.values[1]
    assert at.ppv.value == pytest.approx(share * 0.2 / (share * 0.2 + (1 - specificity) * 0.8))


def test_the_card_of_a_run_has_predictive_values(small_run: Run) -> None:
    card = ModelCard.load(small_run.task("binary").card_file)
    assert card.predictive_values is not None
    assert [at.prevalence for at in card.predictive_values.values] == [0.05, 0.2, 0.5]
    assert ModelCard.load(small_run.task("multiclass").card_file).predictive_values is None


def test_a_copied_image_counts_once_and_a_damaged_one_is_left_out(
    small_run: Run, healthy: Path, tmp_path: Path, hilum: Callable
) -> None:
    own = tmp_path / "own"
    shutil.copytree(healthy, own)
    shutil.copy(own / "0.png", own / "copy.png")
    (own / "damaged.png").write_bytes(b"no image")
    answer = hilum("recalibrate", small_run.path / "binary", "--healthy", own, "--out", tmp_path / "new")
    assert answer.err.splitlines() == [
        "1 of 42 images could not be read and were left out",
        "1 of 42 images were left out: copies of others",
    ]
    assert read_json(tmp_path / "new" / "model.json")["threshold"]["n"] == 40


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--specificity", "0.99"],
            "40 different healthy images cannot promise a specificity of 0.99, which takes at least 99; add images"
            " or lower --specificity",
        ),
        (["--specificity", "95"], "specificity 95 is not between 0 and 1; write 0.95 for 95 %"),
    ],
)
def test_what_cannot_be_promised_is_one_sentence(
    words: list[str], sentence: str, small_run: Run, healthy: Path, tmp_path: Path, hilum: Callable
) -> None:
    out = tmp_path / "new"
    answer = hilum("recalibrate", small_run.path / "binary", "--healthy", healthy, "--out", out, *words)
    assert (answer.code, answer.err.strip()) == (2, f"hilum: {sentence}")
    assert not out.exists()


def test_nothing_is_overwritten(small_run: Run, healthy: Path, tmp_path: Path, hilum: Callable) -> None:
    write_json(tmp_path / "there" / "model.json", {})
    answer = hilum(
        "recalibrate", small_run.path / "binary", "--healthy", healthy, "--out", tmp_path / "there"
    )
    assert answer.code == 2
    assert answer.err.endswith("there exists already; name another folder with --out, or delete it\n")
    assert read_json(tmp_path / "there" / "model.json") == {}
