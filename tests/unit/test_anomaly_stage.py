"""The anomaly stage on small drawn squares: what it may see, what it keeps, and what it says of bad input."""

import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.anomaly import HealthyImages, build
from hilum.anomaly.config import AnomalyConfig
from hilum.anomaly.conformal import threshold
from hilum.anomaly.ensemble import mean_rank
from hilum.anomaly.leaderboard import Leaderboard, best_row, own_figures, robust, row_figures
from hilum.anomaly.odd import KINDS, ood_images, turned
from hilum.anomaly.result import Examples, Result
from hilum.anomaly.scoring import to_grey
from hilum.anomaly.stage import chosen, detect
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.errors import DataError, RecipeError, RunError
from hilum.files import digest_of_file, read_json
from hilum.recipe import load_recipe
from hilum.run import AnomalyFolder
from hilum.training.config import PixelConfig

COUNTING = '''
"""A detector for tests: how far an image is from the mean healthy one. It counts how often it is fitted."""
import torch
from hilum.anomaly import Detector, Scored

fitted = []

class Mean(Detector):
    reads = "distance to the mean healthy image"

    def __init__(self, pixels, power, fail, foreign):
        super().__init__(pixels)
        self.power, self.fail, self.pretrained = power, fail, foreign
        self.register_buffer("mean_image", torch.empty(0, 0))

    def learn(self, images, seed, advance):
        if self.fail:
            raise KeyboardInterrupt
        fitted.append(len(images))
        self.mean_image = torch.cat(list(images.batches(16)))[:, 0].mean(0)

    def measure(self, x):
        far = (x[:, 0] - self.mean_image).abs() ** self.power
        return Scored(far.flatten(1).mean(1), far, self.mean_image.expand(len(x), -1, -1))

def build(pixels, power: float = 1.0, fail: bool = False, foreign: bool = False):
    return Mean(pixels, power, fail, foreign)
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
    """120 healthy images and 50 abnormal ones, two per patient; the healthy image 'odd' is abnormal in truth."""
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
    given = {"ood_images": 6, "own_ranking": 0, "pixels": PixelConfig(size=(32, 32)), **more}
    given.setdefault("false_alarm_rate", 0.2)
    return AnomalyConfig(detectors=detectors, **given)


# -- the whole stage -----------------------------------------------------------------------------------------


def test_the_stage_writes_what_the_docs_promise(squares: Cases, tmp_path: Path, counting) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    asked = config({MEAN: {}, "patch_memory@tiny": PATCHES}, own_ranking=2)
    figures = detect(folder, squares, asked, replicates=50)
    assert figures == read_json(folder.figures_file)
    table = folder.scores()
    assert list(table) == [
        *("case_id", "patient", "split", "label", "role"),
        *(MEAN, f"{MEAN}_p", "patch_memory@tiny", "patch_memory@tiny_p"),
        *("ensemble", "ensemble_p"),
    ]
    assert len(table) == len(squares)
    assert set(table["role"]) == {"fit", "calibrate", "measure", "test", "unused"}
    for row in (MEAN, "patch_memory@tiny", "ensemble"):
        one = figures["detectors"][row]
        line = one["threshold"]["value"]
        fixed = table.loc[table["role"] == "calibrate", row]
        assert line == pytest.approx(threshold(fixed.to_numpy(), 0.2), rel=1e-6)
        held = table[table["role"] == "measure"]
        flagged = held[row] > line * (1 + 1e-7)
        assert one["measure"]["false_alarms"]["k"] == int((flagged & (held["label"] == "normal")).sum())
        assert one["measure"]["sensitivity"]["k"] == int((flagged & (held["label"] != "normal")).sum())
        assert one["measure"]["auroc"]["value"] > 0.9
        assert set(one["measure"]["causes"]) == {"bacteria", "virus"}
    assert figures["roles"]["fit"].keys() == {"normal"}
    assert counting.fitted[0] == figures["roles"]["fit"]["normal"]["images"]
    odd = {one["kind"]: one for one in figures["detectors"][MEAN]["odd"]}
    assert set(odd) == {"as_they_are", *KINDS}
    assert odd["noise"]["k"] == odd["noise"]["n"] == 6
    examples = folder.examples()
    assert examples[f"{MEAN}/map"].dtype == np.float32
    assert examples[f"{MEAN}/reconstruction"].shape == examples[f"{MEAN}/image"].shape
    assert "patch_memory@tiny/reconstruction" not in examples
    why = examples[f"{MEAN}/why"].tolist()
    assert (why.count("same"), why.count("strangest healthy"), why.count("least strange abnormal")) == (
        3,
        3,
        3,
    )


def test_nothing_that_is_finished_is_fitted_again(squares: Cases, tmp_path: Path, counting) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    first = detect(folder, squares, config({MEAN: {}}), replicates=0)
    assert len(counting.fitted) == 1
    assert detect(folder, squares, config({MEAN: {}}), replicates=0) == first
    more = config({MEAN: {}, "patch_memory": PATCHES})
    both = detect(folder, squares, more, replicates=0)
    assert list(both["detectors"]) == [MEAN, "patch_memory", "ensemble"]
    alone, beside = first["detectors"][MEAN], both["detectors"][MEAN]
    assert (alone["threshold"], alone["measure"]) == (beside["threshold"], beside["measure"])
    folder.detector(MEAN).result_file.write_bytes(b"half a file")
    folder.figures_file.unlink()
    assert detect(folder, squares, more, replicates=0)["detectors"] != {}
    assert len(counting.fitted) == 1
    detect(folder, squares, config({MEAN: {"power": 2.0}}), replicates=0)
    assert len(counting.fitted) == 2
    detect(folder, squares, config({MEAN: {"power": 2.0}}), replicates=0, force=True)
    assert len(counting.fitted) == 3


def test_a_stop_in_the_second_detector_keeps_the_first(squares: Cases, tmp_path: Path, counting) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    stopping = {MEAN: {}, f"{MEAN}@second": {"fail": True}}
    with pytest.raises(KeyboardInterrupt):
        detect(folder, squares, config(stopping), replicates=0)
    assert not folder.figures_file.exists()
    done = {MEAN: {}, f"{MEAN}@second": {}}
    detect(folder, squares, config(done), replicates=0)
    assert len(counting.fitted) == 2
    assert folder.figures_file.exists()


def test_a_abnormal_image_among_the_healthy_ones_shows(squares: Cases, tmp_path: Path, counting) -> None:
    """Its label is wrong: it is fitted on, and stands first among the images of the training set."""
    table = squares.table.copy()
    from hilum.data.split import split_cases

    part = split_cases(squares, "patient", val_fraction=0.3).of
    wrong = next(case for case in table.loc[table["label"] == "bacteria", "case_id"] if part[case] == "train")
    table.loc[table["case_id"] == wrong, ["label", "patient"]] = ["normal", "normal-wrong"]
    mixed = Cases(table, squares.source, squares.root)
    asked = config({MEAN: {}, "patch_memory": PATCHES}, own_ranking=3)
    for seed in range(4):  # the new patient may be drawn for another part
        figures = detect(
            AnomalyFolder(tmp_path / str(seed)),
            mixed,
            asked.model_copy(update={"split": asked.split.model_copy(update={"seed": seed})}),
            replicates=0,
        )
        table_now = AnomalyFolder(tmp_path / str(seed)).scores().set_index("case_id")
        if table_now.loc[wrong, "role"] == "fit":
            break
    assert table_now.loc[wrong, "role"] == "fit"
    for row in (MEAN, "patch_memory"):
        assert figures["detectors"][row]["own"]["images"][0]["case_id"] == wrong


def test_weights_from_elsewhere_stay_in_their_own_row(squares: Cases, tmp_path: Path, counting) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    rows = {MEAN: {"power": 1.0}, f"{MEAN}@square": {"power": 2.0}, f"{MEAN}@foreign": {"foreign": True}}
    figures = detect(folder, squares, config(rows), replicates=0)
    assert figures["detectors"]["ensemble"]["members"] == [MEAN, f"{MEAN}@square"]
    assert figures["detectors"][f"{MEAN}@foreign"]["pretrained"] is True
    assert figures["best"] != f"{MEAN}@foreign"
    alone = detect(folder, squares, config({MEAN: {}, f"{MEAN}@foreign": {"foreign": True}}), replicates=0)
    assert "ensemble" not in alone["detectors"]


# -- bad input -----------------------------------------------------------------------------------------------


def test_sentences_for_bad_input(squares: Cases, tmp_path: Path) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    asked = config({"patch_memory": PATCHES})
    abnormal = squares.where(squares.table["label"] != "normal")
    with pytest.raises(
        DataError, match=r"no image is labelled 'normal' .*bacteria, virus.* label the healthy"
    ):
        detect(folder, abnormal, asked, 0)
    with pytest.raises(
        DataError, match=r"healthy images are too few for a false-alarm rate of 0.01; keep 99"
    ):
        detect(folder, squares, config({"patch_memory": PATCHES}, false_alarm_rate=0.01), 0)
    with pytest.raises(
        RecipeError, match=r"detector 'patch_memroy' is not known; did you mean 'patch_memory'"
    ):
        detect(folder, squares, config({"patch_memroy": {}}), 0)
    with pytest.raises(RecipeError, match=r"no option 'memori'; did you mean 'memory'"):
        detect(folder, squares, config({"patch_memory": {"memori": 3}}), 0)
    assert not folder.path.exists()  # all of this is said before anything is fitted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("anomaly={detectors: {ensemble: {}}}", "'ensemble' can't name a detector"),
        ("anomaly={detectors: {'a/b': {}}}", "'a/b' can't name a detector"),
        ("anomaly={detectors: {}}", "anomaly.detectors"),
        ("anomaly={own_ranking: 1}", "own_ranking needs two parts or more"),
        ("anomaly={false_alarm_rate: 1}", "false_alarm_rate"),
        ("anomaly={detektors: {}}", "did you mean 'detectors'"),
    ],
)
def test_sentences_for_bad_recipes(change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("quick", [change])


def test_a_result_of_other_weights_is_refused(tmp_path: Path) -> None:
    one = result(np.arange(4.0))
    one.write(tmp_path / "result.npz")
    assert Result.read(tmp_path / "result.npz", "abc").score.tolist() == [0, 1, 2, 3]
    with pytest.raises(RunError, match="made from other weights or images"):
        Result.read(tmp_path / "result.npz", "abd")
    (tmp_path / "result.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RunError, match="damaged"):
        Result.read(tmp_path / "result.npz", "abc")


def test_named_detectors_stand_beside_those_on_the_leaderboard(
    squares: Cases, tmp_path: Path, counting
) -> None:
    folder = AnomalyFolder(tmp_path / "anomaly")
    recipe = config({MEAN: {"power": 2.0}}).model_dump(mode="json")
    assert chosen(folder, recipe, []) == recipe
    assert chosen(folder, recipe, ["patch_memory"])["detectors"] == {"patch_memory": {}}
    detect(folder, squares, AnomalyConfig(**recipe), 0)
    named = chosen(folder, None, ["patch_memory", MEAN])
    assert named["detectors"] == {MEAN: {"power": 2.0}, "patch_memory": {}}
    assert named["pixels"] == recipe["pixels"]


# -- the leaderboard -----------------------------------------------------------------------------------------------


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
    return Leaderboard(table, {}, 0.1, 0, 0), rng.standard_normal(120)


def test_abnormal_scores_change_nothing_about_threshold_and_false_alarms() -> None:
    leaderboard, score = a_leaderboard()
    before = row_figures(leaderboard, result(score))
    abnormal = (leaderboard.table["label"] != "normal").to_numpy()
    for shift in (-50.0, 50.0):
        after = row_figures(leaderboard, result(np.where(abnormal, score + shift, score)))
        assert after["threshold"] == before["threshold"]
        assert after["measure"]["false_alarms"] == before["measure"]["false_alarms"]
    assert after["measure"]["sensitivity"]["value"] == 1.0


def test_only_calibrating_images_move_the_threshold() -> None:
    leaderboard, score = a_leaderboard()
    before = row_figures(leaderboard, result(score))["threshold"]["value"]
    others = (leaderboard.table["role"] != "calibrate").to_numpy()
    assert (
        row_figures(leaderboard, result(np.where(others, score * 3 + 1, score)))["threshold"]["value"]
        == before
    )
    moved = row_figures(leaderboard, result(np.where(others, score, score + 1)))["threshold"]["value"]
    assert moved == pytest.approx(before + 1)


def test_the_best_leans_least_on_shortcuts() -> None:
    def row(area: float, matched: float, pretrained: bool = False) -> dict:
        return {
            "pretrained": pretrained,
            "measure": {"auroc": {"value": area}, "matched": {"value": matched}},
        }

    rows = {"cheat": row(0.95, 0.5), "honest": row(0.8, 0.75), "foreign": row(0.9, 0.9, pretrained=True)}
    assert best_row(rows) == "honest"
    assert best_row({"foreign": rows["foreign"]}) == "foreign"
    assert best_row({"a": {}, "b": row(0.6, 0.6)}) == "b"


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
    one = mean_rank({"a": scores["a"]}, calibrate)
    order = np.argsort(scores["a"][~calibrate])
    assert (np.diff(one[~calibrate][order]) >= 0).all()


def test_own_images_are_compared_on_the_scale_of_their_copies() -> None:
    rng = np.random.default_rng(0)
    fixed = 10 + 2 * rng.standard_normal(400)
    own = np.concatenate([robust(rng.standard_normal(200), np.array([-0.6745, 0.0, 0.6745])), [9.0]])
    one = Result(**{**vars(result(fixed)), "own": own, "own_id": np.array([f"f{n}" for n in range(201)])})
    found = own_figures(one, fixed, threshold(fixed, 0.05))
    assert found is not None
    assert found["images"][0]["case_id"] == "f200"
    assert found["images"][0]["p"] == pytest.approx(1 / 401)
    assert 0.01 < found["flagged"]["value"] < 0.12


# -- OOD images and pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_odd_images_have_the_size_of_the_image_and_are_the_same_again(kind: str) -> None:
    rng = np.random.default_rng(0)
    images = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (30, 44), dtype=np.uint8), (0, 0), 2)] * 3)
    made = ood_images(images, kind, seed=1)
    assert made.shape == images.shape and made.dtype == np.uint8
    assert np.array_equal(made, ood_images(images, kind, seed=1))
    assert not np.array_equal(made, images)
    if kind in ("noise", "photograph", "limb"):
        assert not np.array_equal(made[0], made[1])


def test_turning_and_inverting_can_be_undone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    assert np.array_equal(turned(turned(image, 1), 3), image)
    assert np.array_equal(ood_images(ood_images(image[None], "inverted", 0), "inverted", 0)[0], image)


@pytest.mark.parametrize("way", ["dataset", "image"])
def test_a_reconstruction_comes_back_to_grey_levels(way) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    pixels = Pixels(size=(8, 8), standardize=way, mean=0.4, sd=0.2)
    assert np.array_equal(to_grey(pixels, pixels.normalize(images), images), images)


@pytest.mark.parametrize("name", ["autoencoder", "student_teacher"])
def test_ten_steps_of_training_are_enough(name: str) -> None:
    """torch's one-cycle schedule divides by zero where its first tenth ends with the first of ten steps."""
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    radiographs = HealthyImages.of_images(images, ["normal"] * 8, Pixels(size=(32, 32)))
    detector = build(name, radiographs.pixels, {"epochs": 10, "batch_size": 8, "width": 8})
    detector.fit(radiographs, seed=0)
    assert np.isfinite(detector.score(radiographs.tensor([0])).score.numpy()).all()
