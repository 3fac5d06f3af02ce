"""The anomaly stage on small synthetic squares: what it may see, what it keeps, and bad input."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.anomaly.conformal import threshold
from hilum.anomaly.detector import build
from hilum.anomaly.ensemble import mean_rank
from hilum.anomaly.examples import to_grey
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.leaderboard import (
    Leaderboard,
    best_row,
    calibrated_threshold,
    ensemble_row,
    measured,
    robust,
    training_images,
)
from hilum.anomaly.ood_images import KINDS, UNALTERED, ood_images, rotated
from hilum.anomaly.result import Examples, Result
from hilum.artifacts.anomaly import AnomalyFigures, DetectorFigures, Matched, Measured, Threshold
from hilum.artifacts.base import Figure
from hilum.artifacts.run import DataFacts, RunFacts
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.split import split_cases
from hilum.errors import DataError, RecipeError, RunError
from hilum.files import digest_of_file
from hilum.folders import AnomalyFolder
from hilum.recipe import load_recipe
from hilum.run import Run
from hilum.stages.anomaly import STAGE, AnomalyConfig, check, more_detectors
from hilum.stages.contract import Context
from hilum.training.config import PixelConfig, SplitConfig

COUNTING = '''
"""A detector for tests: how far an image is from the mean healthy one. It counts how often it is fitted."""
import torch
from hilum.anomaly.detector import Detector, Scored

fitted = []

class Mean(Detector):
    description = "distance to the mean healthy image"

    def __init__(self, pixels, power, fail, pretrained):
        super().__init__(pixels)
        self.power, self.fail, self.pretrained = power, fail, pretrained
        self.register_buffer("mean_image", torch.empty(0, 0))

    def learn(self, images, seed, advance):
        if self.fail:
            raise KeyboardInterrupt
        fitted.append(len(images))
        self.mean_image = torch.cat(list(images.batches(16)))[:, 0].mean(0)

    def measure(self, x):
        far = (x[:, 0] - self.mean_image).abs() ** self.power
        return Scored(far.flatten(1).mean(1), far, self.mean_image.expand(len(x), -1, -1))

def build(pixels, power: float = 1.0, fail: bool = False, pretrained: bool = False):
    return Mean(pixels, power, fail, pretrained)
'''
MEAN = "somebodys_detectors.mean"
PATCHES = {"features": "pixels", "feature_options": {"side": 8}, "memory": 40}


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The detector's module; its name in a recipe is MEAN."""
    package = tmp_path / "somebodys_detectors"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mean.py").write_text(COUNTING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("somebodys_detectors", MEAN):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module(MEAN)


def square(rng: np.random.Generator, label: str) -> np.ndarray:
    """A healthy image is an even grey with grain; an abnormal one has a bright patch, larger for bacteria."""
    image = np.full((32, 32), 90.0) + 6 * rng.standard_normal((32, 32))
    if label != "normal":
        side = 12 if label == "bacteria" else 8
        row, col = rng.integers(2, 18, 2)
        image[row : row + side, col : col + side] += 60
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """120 healthy images and 50 abnormal ones, two per patient."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    rows = []
    for label, images in (("normal", 120), ("bacteria", 30), ("virus", 20)):
        for number in range(images):
            path = folder / f"{label}-{number:03d}.png"
            assert cv2.imwrite(str(path), square(rng, label))
            rows.append((path.stem, str(path), label, f"{label}-{number // 2}", "", digest_of_file(path)))
    columns = ["case_id", "path", "label", "patient", "split", "digest"]
    return Cases.checked(pd.DataFrame(rows, columns=columns), "folder", folder)


def config(detectors: dict[str, dict], **more) -> AnomalyConfig:
    given = {
        "ood_images": 6,
        "other_look_images": 0,
        "own_ranking": 0,
        "pixels": PixelConfig(size=(32, 32)),
        **more,
    }
    given.setdefault("false_alarm_rate", 0.2)
    return AnomalyConfig(detectors=detectors, **given)


def detect(
    folder: Path, cases: Cases, config: AnomalyConfig, replicates: int = 0, force: bool = False
) -> AnomalyFigures:
    """The stage on a new or a known run folder."""
    facts = RunFacts(name="squares", data=DataFacts(root=str(cases.root), source=cases.source))
    run = Run(folder) if folder.exists() else Run.create(folder, facts, {"tasks": {}})
    recipe = load_recipe("quick", [f"replicates={replicates}"])
    STAGE.run(Context(run, cases, recipe, (), force=force), config)
    return run.anomaly.figures()


def anomaly_of(folder: Path) -> AnomalyFolder:
    return Run(folder).anomaly


# -- the whole stage -----------------------------------------------------------------------------------------


def test_the_stage_writes_what_the_docs_promise(squares: Cases, tmp_path: Path, counting) -> None:
    both = config({MEAN: {}, "patch_memory@tiny": PATCHES}, own_ranking=2)
    figures = detect(tmp_path / "run", squares, both, replicates=50)
    folder = anomaly_of(tmp_path / "run")
    table = folder.scores()
    assert list(table) == [
        *("case_id", "patient", "split", "label", "role"),
        *(MEAN, f"{MEAN}_p", "patch_memory@tiny", "patch_memory@tiny_p"),
        *("ensemble", "ensemble_p"),
    ]
    assert len(table) == len(squares)
    assert set(table["role"]) == {"fit", "calibrate", "measure", "test", "unused"}
    held_out = table[table["role"] == "measure"]
    assert list(figures.detectors) == [MEAN, "patch_memory@tiny", "ensemble"]
    for row, detector in figures.detectors.items():
        line = detector.threshold.value
        fixed = table.loc[table["role"] == "calibrate", row]
        assert line == pytest.approx(threshold(fixed.to_numpy(), 0.2), rel=1e-6)
        flagged = held_out[row] > line * (1 + 1e-7)
        block = detector.parts["measure"]
        assert block.false_alarms.k == int((flagged & (held_out["label"] == "normal")).sum())
        assert block.sensitivity.k == int((flagged & (held_out["label"] != "normal")).sum())
        assert block.auroc.value is not None and block.auroc.value > 0.9
        assert set(block.causes) == {"bacteria", "virus"}
    assert figures.roles["fit"].keys() == {"normal"}
    assert counting.fitted[0] == figures.roles["fit"]["normal"].images
    ood = {share.kind: share for share in figures.detectors[MEAN].ood}
    assert list(ood) == [UNALTERED, *KINDS]
    assert ood["noise"].k == ood["noise"].n == 6


def test_a_detector_that_has_learned_a_device_loses_in_the_other_look(tmp_path: Path, counting) -> None:
    """Abnormal images are brighter and have nothing else: with the tones changed over, the order turns round."""
    rng, rows = np.random.default_rng(0), []
    for number in range(120):
        label = "virus" if number % 3 == 0 else "normal"
        path = tmp_path / f"{label}-{number}.png"
        grey = (130 if label == "virus" else 60) + 6 * rng.standard_normal((32, 32))
        assert cv2.imwrite(str(path), np.clip(grey, 0, 255).astype(np.uint8))
        rows.append((path.stem, str(path), label, path.stem, "", digest_of_file(path)))
    columns = ["case_id", "path", "label", "patient", "split", "digest"]
    cases = Cases.checked(pd.DataFrame(rows, columns=columns), "folder", tmp_path)
    chosen = config({MEAN: {}, f"{MEAN}@square": {"power": 2.0}}, other_look_images=12)
    figures = detect(tmp_path / "run", cases, chosen)
    for row in (MEAN, f"{MEAN}@square", "ensemble"):
        plain, look = figures.detectors[row].same_images, figures.detectors[row].other_look
        assert plain is not None and look is not None
        assert (plain.n_healthy, plain.n_abnormal) == (look.n_healthy, look.n_abnormal) == (6, 6)
        ties = 0.25 if row == "ensemble" else 0.0  # among its p-values
        assert plain.auroc.value is not None and plain.auroc.value >= 1 - ties
        assert look.auroc.value is not None and look.auroc.value <= ties
        assert look.false_alarms.counts == "6/6" and look.sensitivity.counts != "6/6"
    assert figures.basis == "other_look"
    without = detect(tmp_path / "run", cases, config({MEAN: {}}))
    assert without.detectors[MEAN].other_look is None and without.basis == "matched"


def test_examples_are_the_same_images_and_the_errors(squares: Cases, tmp_path: Path, counting) -> None:
    detect(tmp_path / "run", squares, config({MEAN: {}, "patch_memory": PATCHES}))
    examples = anomaly_of(tmp_path / "run").examples()
    assert examples[f"{MEAN}/map"].dtype == np.float32
    assert examples[f"{MEAN}/reconstruction"].shape == examples[f"{MEAN}/image"].shape
    assert "patch_memory/reconstruction" not in examples
    why = examples[f"{MEAN}/why"].tolist()
    assert why == ["random"] * 3 + ["highest healthy"] * 3 + ["lowest abnormal"] * 3
    assert examples[f"{MEAN}/case_id"][:3].tolist() == examples["patch_memory/case_id"][:3].tolist()


def test_a_fitted_detector_is_used_again(squares: Cases, tmp_path: Path, counting) -> None:
    run = tmp_path / "run"
    first = detect(run, squares, config({MEAN: {}}))
    assert len(counting.fitted) == 1
    more = config({MEAN: {}, "patch_memory": PATCHES})
    both = detect(run, squares, more)
    assert list(both.detectors) == [MEAN, "patch_memory", "ensemble"]
    assert both.detectors[MEAN] == first.detectors[MEAN]
    anomaly_of(run).detector(MEAN).result_file.write_bytes(b"half a file")
    again = detect(run, squares, more)
    assert again.detectors[MEAN].parts == both.detectors[MEAN].parts
    assert len(counting.fitted) == 1
    square = detect(run, squares, config({MEAN: {"power": 2.0}}))
    assert len(counting.fitted) == 2
    assert square.detectors[MEAN].threshold.value != first.detectors[MEAN].threshold.value, "scored again"
    detect(run, squares, config({MEAN: {"power": 2.0}}), force=True)
    assert len(counting.fitted) == 3


def test_a_stop_in_the_second_detector_keeps_the_first(squares: Cases, tmp_path: Path, counting) -> None:
    run = tmp_path / "run"
    detect(run, squares, config({"patch_memory": PATCHES}))
    with pytest.raises(KeyboardInterrupt):
        detect(run, squares, config({MEAN: {}, f"{MEAN}@second": {"fail": True}}))
    assert list(anomaly_of(run).figures().detectors) == ["patch_memory"]  # it is not lost
    figures = detect(run, squares, config({MEAN: {}, f"{MEAN}@second": {}}))
    assert len(counting.fitted) == 2
    assert list(figures.detectors) == [MEAN, f"{MEAN}@second", "ensemble"]


def test_a_leaderboard_goes_when_one_of_its_detectors_is_another(
    squares: Cases, tmp_path: Path, counting
) -> None:
    run = tmp_path / "run"
    detect(run, squares, config({MEAN: {}}))
    with pytest.raises(KeyboardInterrupt):
        detect(run, squares, config({MEAN: {}, f"{MEAN}@second": {"fail": True}}), force=True)
    assert anomaly_of(run).figures_file.exists(), "fitted again, and the same"
    with pytest.raises(KeyboardInterrupt):
        detect(run, squares, config({MEAN: {"power": 2.0}, f"{MEAN}@second": {"fail": True}}))
    assert not anomaly_of(run).figures_file.exists(), "other options, so another detector"


def test_an_abnormal_image_among_the_healthy_ones_shows(squares: Cases, tmp_path: Path, counting) -> None:
    """Its label is wrong: it is fitted on, and has the highest cross-fitted score of the training images."""
    table = squares.table.copy()
    wrong = table.loc[table["label"] == "bacteria", "case_id"].iloc[0]
    table.loc[table["case_id"] == wrong, ["label", "patient"]] = ["normal", "normal-wrong"]
    mixed = Cases(table, squares.source, squares.root)
    parts = (split_cases(mixed, "patient", seed=seed, val_fraction=0.3).of[wrong] for seed in range(20))
    seed = next(seed for seed, part in enumerate(parts) if part == "train")
    both = config(
        {MEAN: {}, "patch_memory": PATCHES},
        own_ranking=3,
        split=SplitConfig(val_fraction=0.3, seed=seed),
    )
    figures = detect(tmp_path / "run", mixed, both)
    scores = anomaly_of(tmp_path / "run").scores().set_index("case_id")
    assert scores.loc[wrong, "role"] == "fit"
    rankings = [figures.detectors[row].training_images for row in (MEAN, "patch_memory")]
    assert [ranking.images[0].case_id for ranking in rankings if ranking] == [wrong, wrong]


def test_pretrained_weights_are_declared(squares: Cases, tmp_path: Path, counting) -> None:
    run = tmp_path / "run"
    rows = {MEAN: {}, f"{MEAN}@square": {"power": 2.0}, f"{MEAN}@pretrained": {"pretrained": True}}
    figures = detect(run, squares, config(rows))
    assert figures.detectors["ensemble"].members == list(rows)
    assert [row for row, known in figures.detectors.items() if known.pretrained] == [
        f"{MEAN}@pretrained",
        "ensemble",
    ]
    own = detect(run, squares, config({MEAN: {}, f"{MEAN}@square": {"power": 2.0}}))
    assert not own.detectors["ensemble"].pretrained
    single = detect(run, squares, config({MEAN: {}, f"{MEAN}@square": {"power": 2.0}}, ensemble=False))
    assert list(single.detectors) == [MEAN, f"{MEAN}@square"]


# -- settings and bad input ----------------------------------------------------------------------------------


def test_sentences_for_bad_input(squares: Cases, tmp_path: Path) -> None:
    run = tmp_path / "run"
    abnormal = squares.where(squares.table["label"] != "normal")
    with pytest.raises(
        DataError,
        match=r"no image is labelled 'normal' .*bacteria, virus.* name the label of healthy images",
    ):
        detect(run, abnormal, config({"patch_memory": PATCHES}))
    with pytest.raises(
        DataError, match=r"healthy images are too few for a false-alarm rate of 0.01; hold out 99"
    ):
        detect(run, squares, config({"patch_memory": PATCHES}, false_alarm_rate=0.01))
    with pytest.raises(
        RecipeError, match=r"detector 'patch_memroy' is not known; did you mean 'patch_memory'"
    ):
        detect(run, squares, config({"patch_memroy": {}}))
    assert not anomaly_of(run).path.exists()  # all of this is said before anything is fitted
    with pytest.raises(RecipeError, match=r"no option 'memori'; did you mean 'memory'"):
        check(config({"patch_memory": {"memori": 3}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("anomaly={detectors: {ensemble: {}}}", "'ensemble' can't name a detector"),
        ("anomaly={detectors: {'a/b': {}}}", "'a/b' can't name a detector"),
        ("anomaly={detectors: {}}", "anomaly.detectors"),
        ("anomaly={own_ranking: 1}", "own_ranking needs two parts or more"),
        ("anomaly={false_alarm_rate: 1}", "false_alarm_rate"),
        ("anomaly={detektors: {}}", "did you mean 'detectors'"),
    ],
)
def test_sentences_for_bad_recipes(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("quick", [change])


def test_a_result_of_other_weights_is_refused(tmp_path: Path) -> None:
    made = result(np.arange(4.0))
    made.write(tmp_path / "result.npz")
    assert Result.read(tmp_path / "result.npz", "abc").score.tolist() == [0, 1, 2, 3]
    with pytest.raises(RunError, match="made from other weights or images"):
        Result.read(tmp_path / "result.npz", "abd")
    (tmp_path / "result.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RunError, match="damaged"):
        Result.read(tmp_path / "result.npz", "abc")


def test_named_detectors_join_those_of_the_recipe() -> None:
    recipe = config({MEAN: {"power": 2.0}}).model_dump(mode="json")
    assert more_detectors(recipe, []) == []
    [change] = more_detectors(recipe, ["patch_memory", MEAN])
    loaded = load_recipe("quick", [f"anomaly.{change}", "anomaly.detectors.patch_memory.memory=9"])
    rows = loaded.anomaly.detectors  # type: ignore[union-attr]
    assert rows == {MEAN: {"power": 2.0}, "patch_memory": {"memory": 9}}
    assert more_detectors(None, ["patch_memory"]) == ['detectors={"patch_memory": {}}']


# -- the leaderboard -----------------------------------------------------------------------------------------


def result(score: np.ndarray) -> Result:
    empty = np.zeros((0, 2, 2))
    examples = Examples(
        np.array([], str), np.array([], str), empty.astype(np.uint8), empty.astype(np.float32)
    )
    return Result("abc", np.array([f"c{n}" for n in range(len(score))]), score, examples)


def a_leaderboard(seed: int = 0) -> tuple[Leaderboard, np.ndarray]:
    rng = np.random.default_rng(seed)
    role = ["calibrate"] * 30 + ["measure"] * 60 + ["test"] * 20 + ["unused"] * 10
    label = ["normal"] * 30 + (["normal", "virus"] * 30) + (["normal", "bacteria"] * 10) + ["virus"] * 10
    table = pd.DataFrame(
        {
            "case_id": [f"c{n}" for n in range(120)],
            "patient": [f"p{n // 2}" for n in range(120)],
            "split": "val",
            "label": label,
            "role": role,
        }
    )
    return Leaderboard(table, {}, 0.1, 0), rng.standard_normal(120)


@pytest.mark.parametrize("shift", [-50.0, 50.0])
def test_abnormal_scores_change_nothing_about_threshold_and_false_alarms(shift: float) -> None:
    leaderboard, score = a_leaderboard()
    before = ensemble_row(leaderboard, {}, result(score))
    abnormal = (leaderboard.table["label"] != "normal").to_numpy()
    after = ensemble_row(leaderboard, {}, result(np.where(abnormal, score + shift, score)))
    assert after.threshold == before.threshold
    assert after.parts["measure"].false_alarms == before.parts["measure"].false_alarms
    assert after.parts["measure"].sensitivity.value == (1.0 if shift > 0 else 0.0)


def test_only_calibrating_images_move_the_threshold() -> None:
    leaderboard, score = a_leaderboard()
    before = calibrated_threshold(leaderboard, result(score)).value
    others = (leaderboard.table["role"] != "calibrate").to_numpy()
    assert calibrated_threshold(leaderboard, result(np.where(others, score * 3 + 1, score))).value == before
    moved = calibrated_threshold(leaderboard, result(np.where(others, score, score + 1))).value
    assert moved == pytest.approx(before + 1)


def test_the_higher_score_of_both_looks_fixes_the_threshold() -> None:
    """The false-alarm rate then holds in either look; images that do not calibrate change nothing."""
    leaderboard, score = a_leaderboard()
    fixed = score[leaderboard.calibrate]
    plain = calibrated_threshold(leaderboard, result(score))
    look = np.random.default_rng(3).normal(1.0, 1.0, len(fixed))
    both = calibrated_threshold(leaderboard, replace(result(score), calibrate_look=look))
    assert (plain.chosen_on, both.chosen_on) == ("val", "counterfactual")
    for scores in (fixed, look):
        assert np.mean(scores > both.value) <= leaderboard.rate
    assert both.value == threshold(np.maximum(fixed, look), leaderboard.rate) > plain.value
    low = calibrated_threshold(leaderboard, replace(result(score), calibrate_look=np.full(len(fixed), -9.0)))
    assert low.value == plain.value


def test_a_part_with_one_kind_of_image_has_no_figures() -> None:
    leaderboard, score = a_leaderboard()
    healthy = replace(leaderboard, table=leaderboard.table.assign(label="normal"))
    assert measured(healthy, "measure", score, 0.0) is None
    assert set(ensemble_row(leaderboard, {}, result(score)).parts) == {"measure", "test"}


def test_the_best_depends_least_on_shortcuts() -> None:
    leaderboard, score = a_leaderboard()
    block = measured(leaderboard, "measure", score, 0.0)
    assert block is not None

    def row(area: float, matched: float | None) -> DetectorFigures:
        pairs = None if matched is None else Matched(value=matched, pairs=9)
        part = Measured(**{**dict(block), "auroc": Figure(value=area), "matched": pairs})
        return DetectorFigures(
            detector="any",
            description="any",
            threshold=Threshold(value=0.0, false_alarm_rate=0.1, n=30),
            parts={"measure": part},
            ood=[],
        )

    rows = {"shortcut": row(0.95, 0.5), "lungs": row(0.8, 0.75)}
    assert best_row(rows) == "lungs"
    assert best_row({"a": row(0.6, None), "b": row(0.7, None)}) == "b"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_an_ensemble_sees_ranks_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = {"a": rng.standard_normal(40), "b": rng.standard_normal(40)}
    calibrate = np.arange(40) < 15
    joined = mean_rank(scores, calibrate)
    stretched = {"a": np.exp(3 * scores["a"]), "b": 100 * scores["b"] + 7}
    assert np.allclose(mean_rank(stretched, calibrate), joined)
    assert joined.min() >= 0 and joined.max() <= 1
    alone = mean_rank({"a": scores["a"]}, calibrate)
    order = np.argsort(scores["a"][~calibrate])
    assert (np.diff(alone[~calibrate][order]) >= 0).all()


def test_training_images_are_compared_on_the_scale_of_their_copies() -> None:
    rng = np.random.default_rng(0)
    fixed = 10 + 2 * rng.standard_normal(400)
    own = np.concatenate([robust(rng.standard_normal(200), np.array([-0.6745, 0.0, 0.6745])), [9.0]])
    ranked = replace(result(fixed), own=own, own_id=np.array([f"f{n}" for n in range(201)]))
    patients = pd.Series({f"f{n}": f"p{n // 3}" for n in range(201)})
    found = training_images(ranked, fixed, threshold(fixed, 0.05), patients)
    assert found is not None and found.flagged.value is not None
    assert found.images[0].case_id == "f200"
    assert found.images[0].p_value == pytest.approx(1 / 401)
    assert 0.01 < found.flagged.value < 0.12
    assert training_images(result(fixed), fixed, 0.0, patients) is None


def test_training_images_are_compared_with_images_as_they_are_where_another_look_fixed_the_threshold() -> (
    None
):
    """In the other look all scores are higher: then the threshold is, too, and next to no training image passes it."""
    rng = np.random.default_rng(0)
    plain = 10 + 2 * rng.standard_normal(400)
    fixed = plain + 6
    own = robust(rng.standard_normal(200), np.array([-0.6745, 0.0, 0.6745]))
    ranked = replace(result(plain), own=own, own_id=np.array([f"f{n}" for n in range(200)]))
    patients = pd.Series({f"f{n}": f"p{n}" for n in range(200)})
    found = training_images(ranked, fixed, threshold(fixed, 0.05), patients, plain)
    assert found is not None and found.flagged.k == 0
    assert found.images[0].p_value > 0.3


# -- OOD images and pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_ood_images_have_the_size_of_the_image_and_are_the_same_again(kind: str) -> None:
    rng = np.random.default_rng(0)
    images = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (30, 44), dtype=np.uint8), (0, 0), 2)] * 3)
    made = ood_images(images, kind, seed=1)
    assert made.shape == images.shape and made.dtype == np.uint8
    assert np.array_equal(made, ood_images(images, kind, seed=1))
    assert not np.array_equal(made, images)
    synthetic = kind in ("noise", "photograph", "limb")
    assert np.array_equal(made[0], made[1]) is not synthetic  # three times the same image goes in


def test_rotating_and_inverting_can_be_undone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    assert np.array_equal(rotated(rotated(image, 1), 3), image)
    assert np.array_equal(ood_images(ood_images(image[None], "inverted", 0), "inverted", 0)[0], image)


@pytest.mark.parametrize("way", ["dataset", "image"])
def test_a_reconstruction_comes_back_to_grey_levels(way) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    pixels = Pixels(size=(8, 8), standardize=way, mean=0.4, sd=0.2)
    assert np.array_equal(to_grey(pixels, pixels.normalize(images), images), images)


@pytest.mark.parametrize("name", ["autoencoder", "denoising_autoencoder"])
def test_ten_steps_of_training_are_enough(name: str) -> None:
    """torch's one-cycle schedule divides by zero where its first tenth ends with the first of ten steps."""
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    radiographs = HealthyImages.of_images(images, ["normal"] * 8, Pixels(size=(32, 32)))
    detector = build(name, radiographs.pixels, {"epochs": 10, "batch_size": 8, "width": 8})
    detector.fit(radiographs, seed=0)
    assert np.isfinite(detector.score(radiographs.tensor([0])).score.numpy()).all()
