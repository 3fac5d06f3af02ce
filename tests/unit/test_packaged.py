"""The models that the package brings: whole, small, with a full card, and asked through `hilum predict`."""

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hilum.anomaly.saved import load_detector
from hilum.errors import ModelError, RunError
from hilum.evaluation.predict import predict_files
from hilum.files import digest, read_arrays, read_json, write_json
from hilum.models import check_golden, load_model
from hilum.run import Run
from hilum.serving import pack
from hilum.serving.pack import WEIGHTS, pack_detector, pack_task, rounded, to_int8
from hilum.serving.predictor import UNKNOWN, Packaged, packaged, packaged_text, predict_packaged

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
    assert card["pixels"]["size"] and card["threshold" if name != "multiclass" else "two_steps"]
    text = json.dumps(card)
    assert "/work" not in text and "/tmp" not in text and "/home" not in text


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_figures_have_counts_and_intervals_and_half_precision_costs_nothing(name: str) -> None:
    card = card_of(name)
    accuracy = card["figures"]["accuracy"]
    assert accuracy["low"] < accuracy["k"] / accuracy["n"] < accuracy["high"]
    half = card["half_precision"]
    assert half["right_in_float32"] == accuracy["k"] and half["images"] == accuracy["n"]
    assert abs(half["right"] - half["right_in_float32"]) <= 0.01 * half["images"]


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_golden_outputs_and_digest(name: str) -> None:
    folder = WEIGHTS / name
    assert digest((folder / "weights.safetensors").read_bytes()) == card_of(name)["weights_digest"]
    assert check_golden(folder) < 1e-3


def test_golden_scores_of_the_detector() -> None:
    import torch

    detector = load_detector(WEIGHTS / "anomaly")
    golden = read_arrays(WEIGHTS / "anomaly" / "golden.npz")
    x = torch.from_numpy(detector.pixels.normalize(golden["images"]))[:, None]
    np.testing.assert_allclose(detector.score(x).score.numpy(), golden["scores"], rtol=1e-3)
    assert (np.diff(golden["known"]) >= 0).all() and len(golden["known"]) == card_of("anomaly")["threshold"][
        "images"
    ]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    for name in ("binary", "multiclass", "anomaly"):
        for file in (WEIGHTS / name).iterdir():
            copy = tmp_path / name / file.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / "multiclass" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="not the file"):
        packaged(tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lacks the model 'binary'"):
        packaged(tmp_path)


# -- packing -------------------------------------------------------------------------------------------------


def test_a_packed_model_answers_like_the_trained_one_in_half_the_bytes(
    small_run: Run, tmp_path: Path
) -> None:
    card = pack_task(small_run, "multiclass", tmp_path)
    trained = small_run.task("multiclass").model_folder
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.6 * (
        trained / "weights.safetensors"
    ).stat().st_size
    images = small_run.cases().table["path"].head(8).tolist()
    ours, theirs = predict_files(tmp_path, images), predict_files(trained, images)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            list(one["probabilities"].values()), list(other["probabilities"].values()), atol=2e-3
        )
    assert (
        card["half_precision"]["right_in_float32"]
        == small_run.task("multiclass").metrics()["test"]["accuracy"]["k"]
    )
    assert card["data"]["attribution"]["title"] == "data of the kind 'phantom'"  # phantoms aren't Kermany's
    assert check_golden(tmp_path) < 1e-3
    for entry in ("calibration", "conformal"):
        if isinstance(card.get(entry), dict) and "weights_digest" in card[entry]:
            assert card[entry]["weights_digest"] == card["weights_digest"]


def test_halving_rounds_the_weights_and_leaves_the_original(small_run: Run) -> None:
    model = small_run.task("binary").load_model()
    before = (
        model.state_dict()["head.linear.weight"].clone()
        if "head.linear.weight" in model.state_dict()
        else None
    )
    half = rounded(model, lambda tensor: tensor.half().float())
    for name, tensor in half.state_dict().items():
        if tensor.is_floating_point():
            np.testing.assert_array_equal(tensor.numpy(), tensor.half().float().numpy())
            assert not np.array_equal(tensor.numpy(), model.state_dict()[name].numpy()) or tensor.numel() < 9
            break
    assert before is None or bool((before == model.state_dict()["head.linear.weight"]).all())


def test_the_card_says_where_abnormal_begins_and_what_two_steps_earn(small_run: Run, tmp_path: Path) -> None:
    steps = pack_task(small_run, "multiclass", tmp_path)["two_steps"]
    rows = small_run.task("multiclass").predictions()
    rows = rows[rows["split"] == steps["part"]]
    abnormal = 1 - rows["prob_normal"] >= steps["threshold"]
    kind = np.where(rows["prob_bacteria"] >= rows["prob_virus"], "bacteria", "virus")
    right = np.where(abnormal, kind, "normal") == rows["target"]
    assert (steps["accuracy"]["k"], steps["accuracy"]["n"]) == (right.sum(), len(rows))
    assert steps["accuracy"]["low"] <= steps["accuracy"]["value"] <= steps["accuracy"]["high"]
    assert pack_task(small_run, "binary", tmp_path / "binary")["two_steps"] is None


def test_a_abnormal_image_is_called_by_its_likelier_kind(mine: Packaged, small_run: Run) -> None:
    """With a threshold of 0 nothing is healthy to the network of the kinds, above 1 everything is."""
    images = small_run.cases().table["path"].head(6).tolist()
    for threshold in (0.0, 1.1):
        multiclass = small_run.task("multiclass").load_model()
        multiclass.card["two_steps"] = {"threshold": threshold}
        rows = predict_packaged(images, models=replace(mine, multiclass=multiclass))
        for row in rows:
            if row["predicted"] != UNKNOWN:
                assert (row["predicted"] == "normal") == (threshold > 1) == (not row["abnormal"])


def test_int8_has_255_steps_per_channel(small_run: Run) -> None:
    model = small_run.task("binary").load_model()
    copy = rounded(model, to_int8)
    for name, tensor in copy.state_dict().items():
        original = model.state_dict()[name]
        if tensor.ndim < 2:
            assert bool((tensor == original).all())
            continue
        for mine, theirs in zip(tensor, original, strict=True):
            assert len(mine.unique()) <= 255
            assert float((mine - theirs).abs().max()) <= float(theirs.abs().max()) / 254 * 1.001


def test_a_student_is_compared_with_its_teachers(small_run: Run, tmp_path: Path) -> None:
    """A student that is its own only teacher answers as the teacher does; the card names no place."""
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
    found = packed["distillation"]
    assert found["right_by_teachers_together"] == found["right"] == found["right_by_each_teacher"][0]
    assert found["teachers"] == packed["recipe_in_full"]["training"]["distill"]["teachers"] == [mark]
    assert place not in json.dumps(packed)


def test_packing_names_what_is_not_there(small_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained task"):
        pack_task(small_run, "anomaly", tmp_path)
    with pytest.raises(RunError, match="no detector 'ensemble'"):
        pack_detector(small_run, "ensemble", tmp_path)


def test_a_packed_detector_keeps_the_scores_of_all_held_back_images(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "KNOWN_RATE", 0.2)
    card = pack_detector(small_run, "patch_gaussian", tmp_path)
    scores = small_run.anomaly.scores()
    kept = scores[scores["role"].isin(["calibrate", "measure"])]
    known = read_arrays(tmp_path / "golden.npz")["known"]
    np.testing.assert_allclose(known, np.sort(kept["patch_gaussian"]), rtol=1e-5)
    assert (known > card["threshold"]["value"]).mean() <= 0.2
    flagged = card["figures"]["flagged_held_out_images"]
    assert sum(one["n"] for one in flagged.values()) == len(kept)
    load_detector(tmp_path)


def test_the_packing_command(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(
        "sys.argv", ["pack", str(small_run.path), "--task", "binary", "--out", str(tmp_path / "b")]
    )
    pack.main()
    assert "MB" in capsys.readouterr().out
    assert load_model(tmp_path / "b").classes == ("normal", "pneumonia")


# -- asking --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mine(small_run: Run) -> Packaged:
    """The models of the small run, with a detector for which every image is ordinary."""
    detector = load_detector(small_run.anomaly.detector("patch_gaussian").path)
    binary, multiclass = (small_run.task(name).load_model() for name in ("binary", "multiclass"))
    return Packaged(binary, multiclass, detector, np.array([1e9] * 99), 0.05)


def test_answers_are_those_of_the_single_models(small_run: Run, mine: Packaged) -> None:
    images = small_run.cases().table["path"].head(12).tolist()
    abnormal = predict_files(small_run.path / "binary", images)
    kinds = predict_files(small_run.path / "multiclass", images)
    rows = predict_packaged(images, models=mine)
    for row, one, kind in zip(rows, abnormal, kinds, strict=True):
        assert row["pneumonia"] == pytest.approx(one["probabilities"]["pneumonia"], abs=1e-5)
        assert row["probabilities"] == pytest.approx(kind["probabilities"], abs=1e-5)
        agree = (one["predicted"] == "normal") == (kind["predicted"] == "normal")
        assert row["predicted"] == (kind["predicted"] if agree else UNKNOWN)
        assert bool(row["why"]) != agree


def test_a_strange_image_gets_no_answer(small_run: Run, mine: Packaged) -> None:
    wary = Packaged(mine.binary, mine.multiclass, mine.detector, np.full(99, -1e9), 0.05)
    [row] = predict_packaged([small_run.cases().table["path"].iloc[0]], models=wary)
    assert row["predicted"] == UNKNOWN and row["strange"] == {"p_value": 0.01, "flagged": True}
    assert "unlike" in row["why"]


def test_the_packaged_detector_flags_noise_and_inverted_images(tmp_path: Path) -> None:
    """The one packed model asked with pictures that are no radiographs."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
    leaderboard = (255 * ((np.arange(300)[:, None] // 20 + np.arange(300) // 20) % 2)).astype(np.uint8)
    for name, picture in (("noise", noise), ("leaderboard", leaderboard)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    rows = predict_packaged([tmp_path])
    assert [row["strange"]["flagged"] for row in rows] == [True, True]
    assert {row["predicted"] for row in rows} == {UNKNOWN}


def test_predict_needs_no_model(small_run: Run, tmp_path: Path, hilum) -> None:
    image = Path(small_run.cases().table["path"].iloc[0])
    assert "p_value_known" in hilum("predict", image).out
    answer = hilum("predict", image, "--format", "json", "--heat-map", tmp_path / "maps")
    [row] = json.loads(answer.out)
    picture = cv2.imread(row["heat_map"])
    assert picture is not None and picture.shape[1] > 300
    assert [file.name for file in (tmp_path / "maps").iterdir()] == [f"{image.stem}.png"]
    table = list(csv.DictReader(io.StringIO(hilum("predict", image, "--format", "csv").out)))
    assert float(table[0]["pneumonia"]) == pytest.approx(row["pneumonia"], abs=1e-4)
    assert set(row["probabilities"]) == {"normal", "bacteria", "virus"}


def test_the_set_holds_what_is_called_and_stands_in_the_table(small_run: Run) -> None:
    images = small_run.cases().table["path"].iloc[:6].tolist()
    rows = predict_packaged(images)
    calls = {row["predicted"] for row in rows} - {UNKNOWN}
    assert all(row["predicted"] in row["set"] for row in rows if row["predicted"] in calls)
    assert all(row["promised"] == pytest.approx(0.9) for row in rows)
    table = packaged_text([{**rows[0], "set": ["bacteria", "virus"]}, {**rows[0], "set": []}], "table")
    assert "  bacteria or virus  " in table and "  none  " in table and "90% of images" in table
    assert packaged_text(rows, "csv").splitlines()[0].split(",")[6] == "set"


def test_heat_maps_need_the_packaged_models(small_run: Run, tmp_path: Path, hilum) -> None:
    image = small_run.cases().table["path"].iloc[0]
    answer = hilum("predict", image, "--model", small_run.path / "binary", "--heat-map", tmp_path)
    assert answer.code == 2 and "hilum explain" in answer.err


@pytest.mark.real
def test_the_originals(real_data: Path) -> None:
    """24 full-size images, all from the training set; most of them took part in the training."""
    folder = real_data.parent / "originals"
    if not folder.is_dir():
        pytest.skip("no full-size images beside the data")
    rows = predict_packaged([folder])
    truth = ["normal" if "NORMAL" in row["file"] else row["file"].split("_")[1] for row in rows]
    right = sum(row["predicted"] == label for row, label in zip(rows, truth, strict=True))
    abnormal = sum(row["abnormal"] == (label != "normal") for row, label in zip(rows, truth, strict=True))
    assert len(rows) == 24 and right >= 20 and abnormal == 24
    assert all(label in row["set"] for row, label in zip(rows, truth, strict=True))
    assert not any(row["strange"]["flagged"] for row in rows)
