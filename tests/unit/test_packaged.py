"""The models that the package brings: whole, small, with a full card, and their predictions."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from hilum.anomaly.saved import load_detector
from hilum.artifacts.reliability import Reliability
from hilum.data.decode import read_grey
from hilum.data.sources.phantom import PhantomSettings, write
from hilum.data.tasks import task
from hilum.errors import ModelError, RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.files import digest, read_arrays, read_json, write_arrays, write_json
from hilum.inference.guard import FeatureGuard
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import Classifier, Predictor
from hilum.models import check_golden, load_model
from hilum.recipe import load_recipe
from hilum.run import Run
from hilum.serving import pack
from hilum.serving.pack import pack_detector, pack_task, rounded, to_int8
from hilum.serving.pack_ordered import add_ordered
from hilum.serving.predictor import WEIGHTS, check_golden_scores, check_packaged, packaged, predict, together
from hilum.stages.contract import Context
from hilum.stages.reliability import run as reliability_stage
from tests.unit.cards import card, two_steps

CARDS = {"binary": "model.json", "multiclass": "model.json", "anomaly": "detector.json"}


def card_of(name: str) -> dict:
    return read_json(WEIGHTS / name / CARDS[name])


# -- what lies in the package --------------------------------------------------------------------------------


def test_all_models_together_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 20e6


@pytest.mark.parametrize("name", CARDS)
def test_a_card_names_data_licence_figures_and_limits(name: str) -> None:
    card = card_of(name)
    origin = card["data"]["attribution"]
    assert origin["licence"] == "CC BY 4.0"
    assert all(person in origin["authors"] for person in ("Kermany", "Zhang", "Goldbaum"))
    assert "Mendeley" in origin["published"] and origin["year"] == 2018
    assert "Research" in card["intended_use"] and "Not a medical device" in card["intended_use"]
    assert len(card["known_failures"]) >= 3
    assert card["recipe_in_full"] and card["command"].startswith("hilum ")
    names = list(card)  # the figures that say most about other hospitals come first
    assert name == "anomaly" or names.index("counterfactual") < names.index("ordered") < names.index(
        "figures"
    )
    assert card["pixels"]["size"] and card["threshold" if name != "multiclass" else "two_steps"]
    text = json.dumps(card)
    assert "/work" not in text and "/tmp" not in text and "/home" not in text


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_figures_have_counts_and_intervals_and_half_precision_costs_nothing(name: str) -> None:
    card = card_of(name)
    accuracy = card["figures"]["accuracy"]
    assert card["figures"]["split"] == "val" and "the epoch that was kept" in card["figures"]["chose"]
    assert accuracy["low"] < accuracy["k"] / accuracy["n"] < accuracy["high"]
    half = card["half_precision"]
    assert half["correct_in_float32"] == accuracy["k"] and half["images"] == accuracy["n"]
    assert abs(half["correct"] - half["correct_in_float32"]) <= 0.01 * half["images"]


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_golden_outputs_and_digest(name: str) -> None:
    folder = WEIGHTS / name
    assert digest((folder / "weights.safetensors").read_bytes()) == card_of(name)["weights_digest"]
    assert check_golden(folder) < 1e-3


def test_golden_scores_of_the_detector() -> None:
    assert check_golden_scores(WEIGHTS / "anomaly") < 1e-3
    held_out = read_arrays(WEIGHTS / "anomaly" / "golden.npz")["known"]
    assert (np.diff(held_out) >= 0).all() and len(held_out) == card_of("anomaly")["threshold"]["images"]


def copied(folder: Path) -> Path:
    for name in CARDS:
        shutil.copytree(WEIGHTS / name, folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("binary", "logits", "gives logits"),
        ("multiclass", "logits", "gives logits"),
        ("anomaly", "scores", "scores"),
    ],
)
def test_golden_outputs_are_checked_whenever_a_packaged_model_loads(
    name: str, key: str, words: str, tmp_path: Path
) -> None:
    folder = copied(tmp_path)
    golden = read_arrays(folder / name / "golden.npz")
    assert golden[key].size >= 3
    write_arrays(folder / name / "golden.npz", {**golden, key: golden[key] * 1.01})
    with pytest.raises(ModelError, match=words):
        packaged("cpu", folder)
    with pytest.raises(ModelError, match=words):
        check_packaged(folder)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "multiclass" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="not the file"):
        packaged("cpu", folder)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lacks the model 'binary'"):
        packaged("cpu", tmp_path)


# -- packing -------------------------------------------------------------------------------------------------


def test_a_packed_model_answers_like_the_trained_one_in_half_the_bytes(
    small_run: Run, tmp_path: Path
) -> None:
    packed_card = pack_task(small_run, "multiclass", tmp_path)
    trained = small_run.task("multiclass").model_folder
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.6 * (
        trained / "weights.safetensors"
    ).stat().st_size
    images = small_run.cases().table["path"].head(8).tolist()
    packed, full = probabilities(predict(images, tmp_path)), probabilities(predict(images, trained))
    assert packed.shape == (8, 3)
    np.testing.assert_allclose(packed, full, atol=2e-3)
    metrics = small_run.task("multiclass").metrics()
    assert packed_card.half_precision is not None and packed_card.data is not None
    assert packed_card.half_precision.correct_in_float32 == metrics["test"].accuracy.k
    assert packed_card.data.attribution is not None
    assert packed_card.data.attribution.title == "data of the kind 'phantom'"  # phantoms aren't Kermany's
    assert check_golden(tmp_path) < 1e-3
    assert packed_card.guard is None and not (tmp_path / "guard.npz").exists()  # too few validation images
    for entry in (packed_card.calibration, packed_card.conformal):
        assert entry is not None and entry.weights_digest == packed_card.weights_digest


@pytest.fixture(scope="module")
def guarded_run(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small run with a guard on the embedding of the network of three classes; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("guarded") / "run"
    shutil.copytree(small_run.path, folder)
    run = Run(folder)
    this = task("multiclass", run.cases().labels)
    recipe = load_recipe("quick").model_copy(update={"replicates": 20})
    config = ReliabilityConfig(mc_passes=0, views=False, divisions=3, ood_rate=0.2, ood_images=4)
    reliability_stage(Context(run, run.cases(), recipe, (this,), this), config)
    return run


def by_guard_alone(images: list[str], place: Path) -> list[Prediction]:
    """Without the intake check."""
    return list(replace(Predictor.load(place, "cpu"), intake=None).stream(images))


def p_values_of(predictions: list[Prediction]) -> np.ndarray:
    return np.array([prediction.ood.p_value for prediction in predictions if prediction.ood])


def test_a_packed_model_keeps_its_guard_in_half_the_bytes(guarded_run: Run, tmp_path: Path) -> None:
    packed_card = pack_task(guarded_run, "multiclass", tmp_path)
    guard = FeatureGuard.load(tmp_path / "guard.npz", packed_card.weights_digest)
    assert {guard.mean.dtype.name, guard.precision.dtype.name} == {"float16"}
    folder = guarded_run.task("multiclass")
    ood = Reliability.load(folder.reliability_file).ood
    assert ood is not None and ood.test is not None
    entry = packed_card.guard
    assert entry is not None
    ranked = ood.n + ood.n_other_look
    assert (entry.rate, entry.validation_images, entry.images) == (0.2, ranked, ood.test.n)
    assert entry.flagged_in_float32 == ood.test.k
    table = folder.predictions()
    test = table[table["split"] == "test"]["case_id"]
    images = guarded_run.cases().table.set_index("case_id").loc[test, "path"].tolist()
    trained, packed = (p_values_of(by_guard_alone(images, place)) for place in (folder.path, tmp_path))
    assert len(packed) == len(images) > 3
    moved = float(np.abs(packed - trained).max())
    assert moved == pytest.approx(entry.largest_difference_of_a_p_value, abs=2 / (ranked + 1))
    assert moved <= 3.01 / (ranked + 1)
    assert int((packed <= 0.2).sum()) == pytest.approx(entry.flagged, abs=1)


def probabilities(predictions: list[Prediction]) -> np.ndarray:
    return np.array([[*(prediction.probabilities or {}).values()] for prediction in predictions])


def test_halving_rounds_the_weights_and_leaves_the_original(small_run: Run) -> None:
    model = small_run.task("binary").load_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    half = rounded(model, lambda tensor: tensor.half().float()).state_dict()
    floats = [name for name, tensor in before.items() if tensor.is_floating_point()]
    assert floats
    for name in floats:
        assert bool((half[name] == before[name].half().float()).all()), name
    assert any(bool((half[name] != before[name]).any()) for name in floats)
    assert all(bool((tensor == before[name]).all()) for name, tensor in model.state_dict().items())


def test_the_card_says_where_abnormal_begins_and_what_two_steps_earn(small_run: Run, tmp_path: Path) -> None:
    steps = pack_task(small_run, "multiclass", tmp_path).two_steps
    assert steps is not None
    rows = small_run.task("multiclass").predictions()
    rows = rows[rows["split"] == steps.split]
    abnormal = 1 - rows["prob_normal"] >= steps.threshold
    kind = np.where(rows["prob_bacteria"] >= rows["prob_virus"], "bacteria", "virus")
    right = np.where(abnormal, kind, "normal") == rows["target"]
    assert (steps.accuracy.k, steps.accuracy.n) == (right.sum(), len(rows))
    values = steps.accuracy.low, steps.accuracy.value, steps.accuracy.high
    assert list(values) == sorted(filter(None, values))
    assert pack_task(small_run, "binary", tmp_path / "binary").two_steps is None


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, {"bacteria", "virus"}), (1.1, {"normal"})])
def test_an_abnormal_image_gets_the_more_probable_abnormal_class(
    threshold: float, expected: set[str], small_run: Run
) -> None:
    """With a threshold of 0 no image is normal, above 1 every image is."""
    images = small_run.cases().table["path"].head(6).tolist()
    model = small_run.task("multiclass").load_model()
    model.card = card(model.classes, two_steps=two_steps(threshold))
    predictions = list(Predictor(Classifier.of(model, "cpu")).stream(images))
    assert len(predictions) == 6 and {prediction.prediction for prediction in predictions} <= expected
    for prediction in predictions:
        assert prediction.abnormal is not None and prediction.probabilities is not None
        assert prediction.abnormal.positive == (threshold == 0)
        kinds = {name: prediction.probabilities[name] for name in expected}
        assert prediction.prediction == max(kinds, key=lambda name: kinds[name])


def test_int8_has_255_steps_per_channel(small_run: Run) -> None:
    model = small_run.task("binary").load_model()
    copy = rounded(model, to_int8)
    pairs = [(tensor, model.state_dict()[name]) for name, tensor in copy.state_dict().items()]
    plain = [pair for pair in pairs if pair[0].ndim < 2]
    channels = [pair for tensors in pairs if tensors[0].ndim >= 2 for pair in zip(*tensors, strict=True)]
    assert plain and len(channels) > 8
    assert all(bool((tensor == original).all()) for tensor, original in plain)
    for tensor, original in channels:
        assert len(tensor.unique()) <= 255
        assert float((tensor - original).abs().max()) <= float(original.abs().max()) / 254 * 1.001


def test_a_student_is_compared_with_its_teachers(small_run: Run, tmp_path: Path) -> None:
    """A student that is its own only teacher predicts as the teacher does; the card names no folder."""
    copy = tmp_path / "run"
    shutil.copytree(small_run.path, copy)
    run = Run(copy)
    recipe = run.recipe()
    place = str(small_run.path / "multiclass")
    recipe["tasks"]["multiclass"]["training"]["distill"] = {
        "teachers": [place],
        "alpha": 0.7,
        "temperature": 2,
    }
    run.recipe_file.write_text(yaml.safe_dump(recipe))
    card_file = run.task("multiclass").card_file
    card = read_json(card_file)
    mark = card["weights_digest"]
    write_json(card_file, {**card, "training": {**card["training"], "teachers": [mark]}})
    packed = pack_task(run, "multiclass", tmp_path / "out")
    found, full = packed.distillation, packed.recipe_in_full
    assert found is not None and full is not None
    assert found.correct_by_teachers_together == found.correct == found.correct_by_each_teacher[0]
    assert found.teachers == full["training"]["distill"]["teachers"] == [mark]
    assert place not in (tmp_path / "out" / "model.json").read_text()


def with_split(run: Run, scheme: str, place: Path) -> Run:
    """A copy that says it was made with another split."""
    shutil.copytree(run.path, place)
    recipe = run.recipe()
    for settings in recipe["tasks"].values():
        settings["split"]["scheme"] = scheme
    Run(place).recipe_file.write_text(yaml.safe_dump(recipe))
    return Run(place)


def test_the_card_takes_figures_of_a_run_that_held_out_by_order(small_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed = pack_task(small_run, "binary", out)
    assert packed.ordered is None
    with pytest.raises(RunError, match="has the split 'patient'"):
        add_ordered(small_run, "binary", out)
    ordered = with_split(small_run, "ordered", tmp_path / "ordered")
    with pytest.raises(RunError, match="has another recipe than"):
        add_ordered(ordered, "multiclass", out)
    added = add_ordered(ordered, "binary", out).ordered
    assert added is not None and packed.counterfactual is not None
    assert added.auroc_swapped == packed.counterfactual.auroc_swapped  # the copy has the same figures
    assert added.split == "val"
    assert added.accuracy == small_run.task("binary").metrics()["val"].accuracy
    assert load_model(out).card.ordered == added
    ordered.task("binary").counterfactual_file.unlink()
    with pytest.raises(RunError, match="hilum counterfactual"):
        add_ordered(ordered, "binary", out)


def test_packing_names_what_is_not_there(small_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained task"):
        pack_task(small_run, "anomaly", tmp_path)
    with pytest.raises(RunError, match="no detector 'ensemble'"):
        pack_detector(small_run, "ensemble", tmp_path)


def test_a_packed_detector_keeps_the_scores_of_all_held_out_images(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "KNOWN_RATE", 0.2)
    packed_card = pack_detector(small_run, "patch_gaussian", tmp_path)
    scores = small_run.anomaly.scores()
    kept = scores[scores["role"].isin(["calibrate", "measure"])]
    known = read_arrays(tmp_path / "golden.npz")["known"]
    np.testing.assert_allclose(known, np.sort(kept["patch_gaussian"]), rtol=1e-5)
    assert packed_card.threshold is not None and packed_card.figures is not None
    assert (known > packed_card.threshold.value).mean() <= 0.2
    flagged = packed_card.figures.flagged_held_out_images
    assert sum(counts.n for counts in flagged.values()) == len(kept) > 0
    load_detector(tmp_path)


def test_the_packing_command(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(
        "sys.argv", ["pack", str(small_run.path), "--task", "binary", "--out", str(tmp_path / "b")]
    )
    pack.main()
    assert "MB" in capsys.readouterr().out
    assert load_model(tmp_path / "b").classes == ("normal", "pneumonia")


# -- predicting ------------------------------------------------------------------------------------------------


def of_run(run: Run, held_out: np.ndarray, embedding: FeatureGuard | None = None) -> Predictor:
    """The models of the small run, with a guard whose held-out scores are given, and one on the embedding."""
    detector = load_detector(run.anomaly.detector("patch_gaussian").path)
    binary, multiclass = (run.task(name).load_model() for name in ("binary", "multiclass"))
    return together(binary, multiclass, detector, held_out, 0.05, embedding=embedding)


def log_odds(p: float | np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-np.asarray(p))


def test_two_models_answer_together(small_run: Run) -> None:
    """By hand from what each of them says alone; the abnormal classes keep their proportion."""
    images = small_run.cases().table["path"].head(12).tolist()
    binary, kinds = predict(images, small_run.path / "binary"), predict(images, small_run.path / "multiclass")
    answers = list(of_run(small_run, np.array([1e9] * 99)).stream(images))
    for answer, two, three in zip(answers, binary, kinds, strict=True):
        assert (
            answer.abnormal
            and two.abnormal
            and three.abnormal
            and answer.probabilities
            and three.probabilities
        )
        for name in ("probability", "threshold"):
            middle = (log_odds(getattr(two.abnormal, name)) + log_odds(getattr(three.abnormal, name))) / 2
            assert log_odds(getattr(answer.abnormal, name)) == pytest.approx(middle, abs=1e-3)
        assert answer.abnormal.positive == (answer.abnormal.probability >= answer.abnormal.threshold)
        assert 1 - answer.probabilities["normal"] == pytest.approx(answer.abnormal.probability, abs=2e-6)
        kept = [told["virus"] / told["bacteria"] for told in (answer.probabilities, three.probabilities)]
        assert kept[0] == pytest.approx(kept[1], rel=1e-2)
    predicted = small_run.task("multiclass").predictions().set_index("case_id")["predicted"]
    classes = predicted.loc[small_run.cases().table["case_id"].head(12)].tolist()
    agree = [
        other.abnormal is not None and other.abnormal.positive == (name != "normal")
        for other, name in zip(binary, classes, strict=True)
    ]
    assert [answer.abstained for answer in answers] == [not same for same in agree]
    expected = [name if same else None for name, same in zip(classes, agree, strict=True)]
    assert [answer.prediction for answer in answers] == expected


@pytest.mark.parametrize(("threshold", "side"), [(0.0, "above"), (1.0, "below")])
def test_models_that_contradict_each_other_abstain(threshold: float, side: str, small_run: Run) -> None:
    """One network says abnormal of everything, or of nothing; the other says the opposite."""
    both = of_run(small_run, np.array([1e9] * 99))
    assert both.second is not None
    contrary = replace(
        both,
        classifier=replace(both.classifier, rules=replace(both.classifier.rules, threshold=1.1 - threshold)),
        second=replace(both.second, rules=replace(both.second.rules, threshold=threshold)),
    )
    images = small_run.cases().table["path"].head(3).tolist()
    answers = list(contrary.stream(images))
    assert [answer.abstained for answer in answers] == [True] * 3
    assert all(
        str(answer.reason).startswith("The models disagree: P(pneumonia) = ")
        and f"is {side} the threshold" in str(answer.reason)
        for answer in answers
    )


def test_an_ood_image_gets_no_class(small_run: Run) -> None:
    wary = of_run(small_run, np.full(99, -1e9))
    [answer] = wary.stream([small_run.cases().table["path"].iloc[0]])
    assert answer.prediction is None and answer.ood is not None
    assert (answer.ood.p_value, answer.ood.flagged) == (0.01, True)
    assert "out of distribution" in str(answer.reason)


def test_two_guards_are_one_p_value(guarded_run: Run) -> None:
    """The smaller of both, each divided by its weight, at most 1; the classes' probabilities stay the same."""
    folder = guarded_run.task("multiclass")
    guard = FeatureGuard.load(folder.guard_file, folder.card().weights_digest)
    images = guarded_run.cases().table["path"].head(9).tolist()
    scores = guarded_run.anomaly.scores()["patch_gaussian"].to_numpy(float)
    detector = list(of_run(guarded_run, scores).stream(images))
    both = list(of_run(guarded_run, scores, guard).stream(images))
    alone = by_guard_alone(images, folder.path)
    one, other, combined = (p_values_of(answers) for answers in (detector, alone, both))
    assert len(combined) == 9 and len(set(combined)) > 2
    tie = 2.01 / (len(guard.known) + 1)  # with itself among the known images: a rank may fall to either side
    np.testing.assert_allclose(combined, np.minimum(1, np.minimum(one / 0.1, other / 0.9)), atol=tie)
    assert [answer.probabilities for answer in both] == [answer.probabilities for answer in detector]
    assert [answer.ood.flagged for answer in both if answer.ood] == (combined <= 0.05).tolist()


def test_the_package_takes_a_guard_that_lies_beside_its_weights(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "multiclass" / "guard.npz").unlink()
    packaged.cache_clear()
    assert packaged("cpu", folder).classifier.guard is None
    mark = card_of("multiclass")["weights_digest"]
    guard = FeatureGuard(("embedding",), np.zeros(256), np.eye(256), np.zeros(99))
    guard.save(folder / "multiclass" / "guard.npz", mark)
    packaged.cache_clear()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    wary = packaged("cpu", folder)
    [answer] = wary.stream([noise])
    assert wary.classifier.guard is not None and answer.ood is not None
    assert answer.ood.p_value <= 0.02 and answer.ood.flagged  # 2 / 100 by the embedding alone
    guard.save(folder / "multiclass" / "guard.npz", "other")
    packaged.cache_clear()
    with pytest.raises(ModelError, match="fitted on other weights"):
        packaged("cpu", folder)
    packaged.cache_clear()


def test_the_packaged_guard_flags_noise_and_patterns(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    pattern = (255 * ((np.arange(300)[:, None] // 20 + np.arange(300) // 20) % 2)).astype(np.uint8)
    answers = predict([noise, pattern])
    assert [answer.ood is not None and answer.ood.flagged for answer in answers] == [True, True]
    assert [answer.abstained for answer in answers] == [True, True]


def test_the_set_holds_the_prediction(phantom_images: list[Path]) -> None:
    answers = predict(phantom_images)
    predicted = [answer for answer in answers if answer.prediction is not None]
    assert predicted, "every image was abstained from"
    assert all(answer.prediction in (answer.prediction_set or []) for answer in predicted)
    assert {answer.coverage for answer in answers} == {0.9}


@pytest.fixture(scope="module")
def phantom_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Phantom images large enough for the packaged models, some of which they take for radiographs."""
    folder = write(
        tmp_path_factory.mktemp("phantom") / "large", PhantomSettings(patients=20, size=(400, 500))
    )
    return sorted((folder / "images").glob("*.png"))


@pytest.mark.real
def test_the_originals(real_data: Path) -> None:
    """24 full-size images, all from the training set; most of them took part in the training."""
    folder = real_data.parent / "originals"
    if not folder.is_dir():
        pytest.skip("no full-size images beside the data")
    answers = predict([folder])
    names = [Path(str(answer.file)) for answer in answers]
    truth = ["normal" if "NORMAL" in str(name) else name.name.split("_")[1] for name in names]
    correct = sum(answer.prediction == label for answer, label in zip(answers, truth, strict=True))
    positive = [answer.abnormal is not None and answer.abnormal.positive for answer in answers]
    assert len(answers) == 24 and correct >= 16
    abnormal = [label != "normal" for label in truth]
    agreed = sum(flag == expected for flag, expected in zip(positive, abnormal, strict=True))
    assert agreed >= 22
    held = [label in (answer.prediction_set or []) for answer, label in zip(answers, truth, strict=True)]
    assert sum(held) >= 22
    # at a rate of 0.03 one is expected: a noisy one that ends above the diaphragm is flagged
    assert sum(answer.ood is None or answer.ood.flagged for answer in answers) <= 2


# -- what a camera leaves beside the chest -----------------------------------------------------------------------


def with_frame(image: np.ndarray, shade: int) -> np.ndarray:
    rows, cols = (round(0.1 * side) for side in image.shape)
    return np.asarray(cv2.copyMakeBorder(image, rows, rows, cols, cols, cv2.BORDER_CONSTANT, value=shade))


def with_marker(image: np.ndarray) -> np.ndarray:
    """A letter in the upper left corner."""
    image, rows = image.copy(), image.shape[0]
    place = (round(0.02 * rows), round(0.12 * rows))
    cv2.putText(image, "R", place, cv2.FONT_HERSHEY_SIMPLEX, rows / 400, 255, max(1, rows // 200))
    return image


def moved(name: str, images: list[np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest change of a logit of a packaged network."""
    model = load_model(WEIGHTS / name)
    with torch.inference_mode():
        pairs = [(model.pixels.apply(image), model.pixels.apply(change(image))) for image in images]
        before, after = (model(torch.stack(side)) for side in zip(*pairs, strict=True))
    return float((after - before).abs().max())


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "black frame": lambda image: with_frame(image, 0),
    "white frame": lambda image: with_frame(image, 255),
    "marker": with_marker,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_frames_and_markers_hardly_move_the_logits(
    name: str, change: str, phantom_images: list[Path]
) -> None:
    images = [read_grey(path) for path in phantom_images[:12]]
    assert moved(name, images, CHANGES[change]) < 0.5


@pytest.mark.real
@pytest.mark.parametrize(
    ("change", "most"), [("black frame", 0.001), ("white frame", 0.001), ("marker", 0.5)]
)
@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_frames_do_not_move_the_logits_of_radiographs(
    name: str, change: str, most: float, real_data: Path
) -> None:
    folder = real_data.parent / "originals"
    if not folder.is_dir():
        pytest.skip("no full-size images beside the data")
    images = [read_grey(path) for path in sorted(folder.rglob("*.jpeg"))]
    assert len(images) == 24
    assert moved(name, images, CHANGES[change]) < most


def test_without_lungs_the_package_abstains_and_says_so() -> None:
    ramp = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (300, 1))
    assert load_model(WEIGHTS / "binary").pixels.place(ramp).lungs is False
    [answer] = predict(ramp)
    assert answer.abstained and answer.prediction is None  # the intake check is first to say why
    package = packaged("cpu")
    bare = replace(package, intake=None, guard=None, classifier=replace(package.classifier, guard=None))
    [answer] = bare.stream([ramp])
    assert answer.abstained and answer.prediction is None
    assert answer.reason == "No lungs were found in the image, and the model reads the part around the lungs."
